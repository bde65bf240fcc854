"""Cause chains to their roots, what is not the cause, where an image comes from, and wrong guesses."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import pytest

from tasker_build.errors import SelectionError
from tasker_build.graph import dependency_path, path_to_any
from tasker_build.plan.history import History
from tasker_build.plan.judge import StepReport, judge_run, judge_steps, wrong_guesses
from tasker_build.plan.origin import Origin, find_image, origin
from tasker_build.plan.planner import Observed, make_plan
from tasker_build.plan.situation import Situation
from tasker_build.plan.why import Explanation, explain
from tasker_build.plan.words import Action, unique_reference
from tasker_build.project import Project
from tasker_build.records.revision import git_revision
from tasker_build.spec.model import TargetName
from tasker_build.view.why import (
    explanation_data,
    explanation_text,
    origin_data,
    origin_text,
    path_text,
    run_text,
    steps_data,
    steps_text,
)
from tasker_build.view.wording import cause_details, cause_evidence, place, unchanged_words, verdict_words
from tests.conftest import write_files
from tests.unit.tiny import BASE, FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from pathlib import Path

T = TargetName


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "checkout", FILES)


@pytest.fixture
def engine(root: Path) -> TinyEngine:
    found = TinyEngine()
    build_all(found, root, revision="abcdef" * 6)
    return found


def situation(root: Path, engine: TinyEngine) -> Situation:
    project = Project.open([root / "stacks.yaml"])
    observed = Observed(images=engine.images())
    records = project.records.builds(project.order)
    every = frozenset(project.order)
    plan = make_plan("demo", tuple(project.wanted.values()), observed, history=History.of(records), selected=every)
    lines = {
        name: (f"docker/{name}/Dockerfile", [i.line for i in file.instructions]) for name, file in project.dockerfiles.items()
    }
    return Situation(
        spec=project.spec,
        wanted=project.wanted,
        observed=observed,
        records=records,
        plan=plan,
        places=project.places,
        lines=lines,
    )


def why(root: Path, engine: TinyEngine, name: str) -> Explanation:
    found = explain(T(name), situation(root, engine))
    json.dumps(explanation_data(found))
    return found


def same(found: Explanation) -> list[str]:
    return list(map(unchanged_words, found.same))


def chain(found: Explanation) -> list[tuple[str, int, list[str]]]:
    return [(link.target, link.depth, [cause.reason.kind.value for cause in link.causes]) for link in found.links]


def test_a_kept_target_says_since_when_and_what_it_stands_on(root: Path, engine: TinyEngine) -> None:
    found = why(root, engine, "app")
    text = explanation_text(found)
    assert text.startswith("= app is kept since 2030-01-02 00:00 UTC: nothing it depends on changed")
    assert "Git revision abcdefabcdef" in text
    assert [row.name for row in found.stands_on] == ["base", BASE]
    assert "unchanged: spec same, Dockerfile same (8 instructions), context same (1 file), args same (1 argument)" in text


def test_the_baseline_is_the_image_that_the_plan_keeps(root: Path, engine: TinyEngine) -> None:
    now = situation(root, engine)
    for step in now.plan.steps:
        image = explain(step.target, now).against
        assert step.action is Action.KEEP
        assert image is not None
        assert image.id == step.image_id


def test_a_chain_leads_to_its_root_with_the_file_old_and_new(root: Path, engine: TinyEngine) -> None:
    edit(root, "work/lib/a.txt", "1", "2")
    found = why(root, engine, "app")
    assert chain(found) == [("app", 0, []), ("base", 1, ["context"])]
    (cause,) = found.links[1].causes
    assert cause_evidence(cause) == "1 file: ~ lib/a.txt"
    assert cause_details(cause)[0].startswith("~ lib/a.txt  file:")
    assert " → file:" in cause_details(cause)[0]
    assert "context same (1 file)" in same(found)
    assert not [words for words in same(found) if "parents" in words]


def test_a_parent_that_was_built_meanwhile_still_leads_to_the_root(root: Path, engine: TinyEngine) -> None:
    edit(root, "work/lib/a.txt", "1", "2")
    build_all(engine, root, "base")
    found = why(root, engine, "app")
    assert chain(found) == [("app", 0, []), ("base", 1, ["context"])]
    assert "was built meanwhile" in explanation_text(found)
    assert cause_evidence(found.links[1].causes[0]) == "~ lib/a.txt"


def test_several_roots_are_all_named_with_their_places(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "plain", "spicy")
    edit(root, "tpl/base.j2", "RUN cat", "RUN echo new\nRUN cat")
    edit(root, "work/app/main.txt", "1", "2")
    found = why(root, engine, "app")
    assert chain(found) == [("app", 0, ["context", "arg"]), ("base", 1, ["template"])]
    arg = found.links[0].causes[1]
    assert cause_evidence(arg) == "FLAVOUR plain → spicy"
    assert place(arg.reason).endswith("stacks.yaml:16:21")
    template = found.links[1].causes[0]
    assert cause_evidence(template) == "base.j2"
    assert cause_details(template) == ("docker/base/Dockerfile:5", "+ RUN echo new")


def test_a_parent_reached_on_two_ways_is_explained_once(root: Path) -> None:
    edit(
        root,
        "stacks.yaml",
        "from: {runtime: debian}\n    context: [other]",
        "from: {runtime: app, b: base}\n    context: [other]",
    )
    engine = TinyEngine()
    build_all(engine, root)
    edit(root, "work/lib/a.txt", "1", "2")
    found = why(root, engine, "other")
    assert [(link.target, link.above) for link in found.links] == [
        ("other", False),
        ("app", False),
        ("base", False),
        ("base", True),
    ]
    assert explanation_text(found).count("ROOT") == 1


def test_without_a_record_the_group_is_all_there_is(root: Path, engine: TinyEngine) -> None:
    edit(root, "work/app/main.txt", "1", "2")
    for file in (root / ".tasker-build/targets").iterdir():
        file.unlink()
    found = why(root, engine, "app")
    assert cause_evidence(found.links[0].causes[0]) == "no record here: group only"
    assert "no record of its build here" in explanation_text(found)
    assert "spec same" in same(found)


ESCAPE = "\x1b[2J\x1b]0;title\x07"


def test_control_characters_of_names_do_not_reach_a_terminal(root: Path, engine: TinyEngine) -> None:
    (root / f"work/app/{ESCAPE}\n").write_text("")
    found = why(root, engine, "app")
    (cause,) = found.links[0].causes
    assert cause_details(cause)[0].startswith(r"+ app/\x1b[2J\x1b]0;title\x07\n  file:")
    assert "\x1b" not in explanation_text(found)
    label = engine.images()[1].label
    assert label is not None
    engine.put("evil", ["evil:1"], replace(label, target=ESCAPE, project=ESCAPE))
    shown = origin_text(come(root, engine, "evil:1"), ["stacks.yaml"])
    assert r"target       \x1b[2J\x1b]0;title\x07" in shown
    assert "\x1b" not in shown


def test_nothing_is_there_to_compare_with(root: Path) -> None:
    found = why(root, TinyEngine(), "app")
    assert chain(found)[0] == ("app", 0, ["new"])
    assert found.same == ()
    assert "nothing to compare with" in explanation_text(found)


def test_a_base_that_moved_is_a_root_with_both_ids(root: Path, engine: TinyEngine) -> None:
    engine.put("debian-2", [BASE], None)
    found = why(root, engine, "other")
    assert chain(found) == [("other", 0, ["base"])]
    assert "debian-1 → debian-2" in cause_evidence(found.links[0].causes[0])
    assert place(found.links[0].causes[0].reason).endswith("stacks.yaml:6:17")


def test_a_parent_made_again_by_hand_is_a_root(root: Path, engine: TinyEngine) -> None:
    now = situation(root, engine)
    item = now.wanted[T("base")]
    unique = unique_reference(item.image, item.facts.fingerprint)
    old = engine.image(unique)
    assert old is not None
    engine.put("other-base", [unique, "demo-base:latest"], old.label)
    for file in (root / ".tasker-build/targets").iterdir():
        file.unlink()
    found = why(root, engine, "app")
    assert chain(found) == [("app", 0, ["parent"])]
    assert "base was built again" in cause_evidence(found.links[0].causes[0])
    assert found.stands_on[0].now == "other-base"


def test_a_long_chain_needs_no_recursion(tmp_path: Path) -> None:
    count = 1200
    targets = "".join(
        f"  t{i}: {{template: t.j2, from: {{b: {f't{i - 1}' if i else 'debian'}}}, context: [{'lib' if not i else 'app'}]}}\n"
        for i in range(count)
    )
    head = FILES["stacks.yaml"].split("targets:")[0]
    template = (
        "ARG B_IMAGE={{ images[0][1] }}\nFROM {{ image('b') }}\n{% if target.from_.b == 'debian' %}\nCOPY lib/ /l/\n{% endif %}\n"
    )
    root = write_files(tmp_path, FILES | {"stacks.yaml": f"{head}targets:\n{targets}", "tpl/t.j2": template})
    engine = TinyEngine()
    build_all(engine, root, record=False)
    edit(root, "work/lib/a.txt", "1", "2")
    found = explain(T(f"t{count - 1}"), situation(root, engine))
    assert [link.depth for link in found.links] == list(range(count))
    assert [cause.reason.kind.value for cause in found.links[-1].causes] == ["context"]


def test_a_path_to_one_of_several_is_the_shortest_downwards() -> None:
    graph: nx.DiGraph[TargetName] = nx.DiGraph([(T("a"), T("b")), (T("b"), T("c")), (T("x"), T("c")), (T("c"), T("d"))])
    assert path_to_any(graph, T("c"), [T("a"), T("x"), T("d")]) == ("c", "x")
    assert path_to_any(graph, T("c"), [T("c"), T("x")]) == ("c",)
    assert path_to_any(graph, T("c"), [T("d")]) == ()


def test_the_path_between_two_targets_runs_from_child_to_parent(root: Path) -> None:
    graph = Project.open([root / "stacks.yaml"]).graph
    assert dependency_path(graph, T("app"), T("base")) == ("app", "base")
    assert dependency_path(graph, T("base"), T("app")) == ("app", "base")
    assert dependency_path(graph, T("app"), T("other")) == ()
    assert dependency_path(graph, T("app"), T("app")) == ("app",)
    roles = {("app", "base"): ("builder", "stacks.yaml:13:21")}
    assert path_text(("app", "base"), "app", "base", roles) == "app\n  <- base  its `builder` (stacks.yaml:13:21)"
    assert "it is app that needs base" in path_text(("app", "base"), "base", "app", roles)
    assert path_text((), "app", "other", {}) == "app and other do not depend on each other"


def come(root: Path, engine: TinyEngine, text: str) -> Origin:
    found = origin(find_image(text, engine.images()), situation(root, engine))
    json.dumps(origin_data(found, ["stacks.yaml"]))
    return found


def test_an_image_of_ours_by_every_name_it_has(root: Path, engine: TinyEngine) -> None:
    image = engine.image("demo-app:latest")
    assert image is not None
    for text in ("demo-app:latest", "demo-app", image.id, image.id[:14], image.id.removeprefix("sha256:")[:12]):
        found = come(root, engine, text)
        assert found.image == image
        assert found.ours
        assert found.current
        assert [row.name for row in found.stands_on] == ["base", BASE]
        shown = origin_text(found, ["stacks.yaml"])
        assert "target       app  (project demo, stacks.yaml)" in shown
        assert "run 20300102T000000-1, Git revision abcdefabcdef" in shown


@pytest.mark.parametrize("store", ["its configuration", "its manifest"])
def test_an_image_by_what_registries_call_it(root: Path, engine: TinyEngine, store: str) -> None:
    digest = "sha256:" + "c" * 64
    # One kind of image store names images by their configuration, the other by what registries name them by.
    image_id = digest if store == "its manifest" else "sha256:" + "d" * 64
    label = engine.images()[1].label
    engine.put(image_id, ["ghcr.io/me/app:1"], label, digests=[f"ghcr.io/me/app@{digest}", f"app@{digest}"])
    for text in (f"ghcr.io/me/app@{digest}", f"ghcr.io/me/app:1@{digest}", f"docker.io/library/app@{digest}", digest, "c" * 12):
        assert find_image(text, engine.images()).id == image_id
    for text in (f"other@{digest}", "ghcr.io/me/app@sha256:" + "0" * 64, "0" * 64):
        with pytest.raises(SelectionError):
            find_image(text, engine.images())
    assert f"digests      app@{digest}, ghcr.io" in origin_text(come(root, engine, digest), ["stacks.yaml"])


def test_an_older_image_is_ours_and_not_current(root: Path, engine: TinyEngine) -> None:
    edit(root, "work/app/main.txt", "1", "2")
    found = come(root, engine, "demo-app:latest")
    assert (found.ours, found.current) == (True, False)
    assert found.record is not None


def test_what_only_carries_our_label_is_not_ours(root: Path, engine: TinyEngine) -> None:
    image = engine.image("demo-app:latest")
    assert image is not None
    engine.put("by-hand", ["mine:1"], image.label)
    assert "made by hand, copied, or its tag was moved" in verdict_words(come(root, engine, "mine:1"))
    reference = next(name for name in image.references if ":tb-" in name)
    engine.put("by-hand-2", [reference], image.label)
    found = come(root, engine, reference)
    assert not found.ours
    assert "the image built here under that tag was another" in verdict_words(found)
    assert verdict_words(come(root, engine, BASE)) == "it carries no label of ours; it is the base `debian`"
    engine.put("theirs", ["theirs:1"], None)
    assert verdict_words(come(root, engine, "theirs:1")) == "it carries no label of ours"


def test_an_image_that_is_not_here_or_not_one(root: Path, engine: TinyEngine) -> None:
    with pytest.raises(SelectionError):
        find_image("demo-none:1", engine.images())
    engine.put("sha256:abcd1", [], engine.images()[1].label)
    engine.put("sha256:abcd2", [], engine.images()[1].label)
    with pytest.raises(SelectionError, match="begins with"):
        find_image("abcd", engine.images())
    assert find_image("abcd2", engine.images()).id == "sha256:abcd2"


def summary(action: str, kinds: list[str], rows: list[tuple[str, bool]], *, as_before: bool = True) -> dict[str, Any]:
    steps = [
        {"target": target, "name": f"[1/2] RUN {i}", "cached": cached, "seconds": 0.5} for i, (target, cached) in enumerate(rows)
    ]
    planned = [
        {"target": "base", "action": "keep", "reasons": []},
        {"target": "app", "action": action, "reasons": [{"kind": kind} for kind in kinds]},
    ]
    result = {"target": "app", "result": "built", "steps": steps, "as_before": as_before}
    return {"revision": "f" * 40, "plan": {"steps": planned}, "results": [result]}


def judged(action: str, kinds: list[str], rows: list[tuple[str, bool]], **more: bool) -> StepReport:
    report = judge_steps(T("app"), iter([("r2", {"results": []}), ("r1", summary(action, kinds, rows, **more))]))
    assert report is not None
    assert report.run == "r1"
    json.dumps(steps_data(report))
    return report


@pytest.mark.parametrize(
    ("kinds", "rows", "wrong"),
    [
        (["context"], [("base", True), ("app", True), ("app", False)], []),
        (["context"], [("base", True), ("app", True), ("app", True)], [("app", "needless")]),
        (["context", "failed-before"], [("app", True)], [("app", "needless")]),
        (["parent"], [("app", True)], []),
        (["context", "secret"], [("app", True)], []),
        (["missing"], [("app", True)], []),
        (["new"], [("app", True)], []),
        (["forced"], [("app", True)], []),
        (["context"], [("base", False), ("app", False)], []),
        (["context"], [("base", True), ("base", False), ("app", False)], [("base", "missed")]),
        (["context"], [("elsewhere", True), ("elsewhere", False), ("app", True)], [("app", "needless"), ("elsewhere", "missed")]),
        (["context"], [], [("app", "needless")]),
    ],
)
def test_every_wrong_guess_is_reported(kinds: list[str], rows: list[tuple[str, bool]], wrong: list[tuple[str, str]]) -> None:
    report = judged("rebuild", kinds, rows)
    assert [(guess.target, guess.verdict) for guess in report.wrong] == wrong
    text = steps_text(report)
    assert text.count("wrong guess: ") == len(wrong)
    assert ("no wrong guess" in text) == (not wrong)


def test_steps_that_another_build_left_are_no_wrong_guess() -> None:
    assert judged("rebuild", ["context"], [("app", True)], as_before=False).wrong == ()


def test_a_whole_run_is_judged_and_each_wrong_guess_said_once() -> None:
    rows = [("base", True), ("base", False), ("app", False)]
    last = summary("rebuild", ["context"], rows)
    last["plan"]["steps"].append({"target": "other", "action": "rebuild", "reasons": []})
    last["results"] += [{**last["results"][0], "target": "other"}, {"target": "base", "result": "kept"}]
    older = summary("rebuild", ["context"], [("app", False)])
    reports = judge_run(iter([("r3", {"results": []}), ("r2", last), ("r1", older)]))
    assert [(report.run, report.target) for report in reports] == [("r2", "app"), ("r2", "other")]
    assert [(guess.target, guess.verdict) for guess in wrong_guesses(reports)] == [("base", "missed")]
    text = run_text(reports)
    assert text.startswith(f"run r2, Git revision {'f' * 12}\n  app    1 of 1 steps ran, predicted rebuild (context)\n")
    assert text.count("wrong guess: missed: base was predicted to be kept") == 1
    assert "this is a defect of tasker-build" in text
    assert ".tasker-build/runs/r2/summary.json" in text
    good = judge_run(iter([("r1", older)]))
    assert run_text(good).endswith("no wrong guess")
    assert run_text(judge_run(iter([("r", None), ("r", {"results": [{"steps": 5}]})]))) == "no run recorded here built anything"


def test_the_first_step_that_ran_is_marked() -> None:
    report = judged("rebuild", ["context"], [("base", False), ("app", True), ("app", False), ("app", False)])
    assert report.first_run == 2
    assert steps_text(report).splitlines()[3].endswith("<- first step that ran")


@pytest.mark.parametrize(
    "broken", [None, [], {}, {"results": 5}, {"results": [{"target": "app", "steps": [{}]}]}, {"results": [5]}]
)
def test_a_summary_that_cannot_be_read_counts_as_none(broken: Any) -> None:
    assert judge_steps(T("app"), iter([("r", broken)])) is None


def edit_a_file(root: Path) -> None:
    edit(root, "work/app/main.txt", "1", "2")


def add_a_file(root: Path) -> None:
    (root / "work/app/new.txt").write_text("")


def remove_a_file(root: Path) -> None:
    (root / "tpl/base.j2").unlink()


def test_uncommitted_changes_are_said_with_the_commit(root: Path) -> None:
    engine = TinyEngine()
    build_all(engine, root, revision="abcdef" * 6 + "0123 + uncommitted changes")
    assert "Git revision abcdefabcdef + uncommitted changes" in explanation_text(why(root, engine, "app"))
    found = come(root, engine, "demo-app:latest")
    assert "Git revision abcdefabcdef + uncommitted changes" in origin_text(found, ["stacks.yaml"])
    data = origin_data(found, [])["image"]
    assert (data["revision"], data["uncommitted"]) == ("abcdef" * 6 + "0123", True)
    report = judge_steps(T("app"), iter([("r1", summary("rebuild", ["context"], [("app", False)]) | {"uncommitted": True})]))
    assert report is not None
    assert f"Git revision {'f' * 12} + uncommitted changes: predicted" in steps_text(report)
    assert steps_data(report)["revision"] == "f" * 40


def test_the_revision_is_in_the_record_and_in_no_fingerprint(root: Path, engine: TinyEngine) -> None:
    assert git_revision(root / "nowhere") == ""
    before = {name: item.facts.fingerprint for name, item in Project.open([root / "stacks.yaml"]).wanted.items()}
    command = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*command, "init", "-q"], check=True)
    assert git_revision(root / "work") == ""
    subprocess.run([*command, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    revision = git_revision(root / "work")
    assert re.fullmatch(r"[0-9a-f]{40} \+ uncommitted changes", revision)
    subprocess.run([*command, "add", "."], check=True)
    subprocess.run([*command, "commit", "-q", "-m", "x"], check=True)
    revision = git_revision(root / "work")
    assert re.fullmatch(r"[0-9a-f]{40}", revision)
    for change in (edit_a_file, add_a_file, remove_a_file):
        change(root)
        assert git_revision(root / "work") == f"{revision} + uncommitted changes", change.__name__
        subprocess.run([*command, "stash", "-q", "--include-untracked"], check=True)
        assert git_revision(root / "work") == revision
    assert before == {name: item.facts.fingerprint for name, item in Project.open([root / "stacks.yaml"]).wanted.items()}


def test_there_is_no_git_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert git_revision(root) == ""
