"""Annotations as GitHub reads them, and a plan as a step summary: escaped, grouped, and never longer than GitHub takes."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.cli import run
from tasker_build.engine.docker import DockerEngine
from tasker_build.errors import Problem, RefusedError, Span, SpecError
from tasker_build.finding import Finding, Level
from tasker_build.lint import Result
from tasker_build.output import Drift, State
from tasker_build.plan.changes import ParentChange, Quoted, TemplateChange
from tasker_build.plan.facts import Difference, Group, Hunk
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tasker_build.view.github import (
    SHOWN,
    Annotation,
    _place,
    commands,
    drift_annotations,
    error_annotations,
    finding_annotations,
    plan_annotations,
    plan_summary,
)
from tasker_build.work.planning import plan_project
from tests.conftest import EIGHT_MISTAKES, write_files
from tests.unit.tiny import FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TargetName


def unescape(text: str, *, data: bool) -> str:
    """What GitHub's runner makes of it: the percent sign last."""
    signs = [("%0D", "\r"), ("%0A", "\n"), *([] if data else [("%3A", ":"), ("%2C", ",")]), ("%25", "%")]
    for sign, meant in signs:
        text = text.replace(sign, meant)
    return text


def read(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner takes it apart."""
    match = re.fullmatch(r"::(\w+)(?: ([^:]*))?::(.*)", line)
    assert match, line
    pairs = [pair.split("=", 1) for pair in (match[2] or "").split(",") if pair]
    return match[1], {name: unescape(value, data=False) for name, value in pairs}, unescape(match[3], data=True)


def test_a_spec_with_a_comma_in_its_name_is_a_place() -> None:
    reason = Reason(
        kind=ReasonKind.SPEC, spans=(Span(file="a, b/stacks.yaml", line=3, col=7), Span(file="a, b/stacks.yaml", line=9, col=1))
    )
    assert _place(reason, Path(), {}) == ("a, b/stacks.yaml", 3, 7)


def test_an_annotation_in_full() -> None:
    row = Annotation(level="error", message="50%\nof: a, b", title="a: b, c", file="x,y:z.yaml", line=3, column=5)
    (line,) = commands([row])
    assert line == "::error file=x%2Cy%3Az.yaml,line=3,col=5,title=a%3A b%2C c::50%25%0Aof: a, b"
    assert list(commands([Annotation(level="notice", message="hello")])) == ["::notice::hello"]


@given(st.text(), st.text(min_size=1), st.sampled_from(["error", "warning", "notice"]))
def test_whatever_it_says_github_reads_it_back(message: str, title: str, level: str) -> None:
    (line,) = commands([Annotation(level=level, message=message, title=title)])
    assert not set(line) & set("\r\n")
    if not set(message) & set("\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
        assert read(line) == (level, {"title": title}, message)


@pytest.mark.parametrize("count", [SHOWN, SHOWN + 1, 60])
def test_more_than_github_shows_end_in_one_that_names_the_rest(count: int) -> None:
    rows = [Annotation(level="error", message=f"m{i}", file="f", line=i + 1) for i in range(count)]
    lines = list(commands([*rows, Annotation(level="notice", message="n")]))
    errors = [read(line) for line in lines if line.startswith("::error")]
    assert len(errors) == SHOWN
    if count > SHOWN:
        assert errors[-1][1]["title"] == f"tasker-build: {count - SHOWN + 1} more"
        assert errors[-1][2].split("\n")[-1] == f"f:{count}: m{count - 1}"
    assert lines[-1] == "::notice::n"


def test_mistakes_are_annotated_at_their_places() -> None:
    span = Span(file="stacks.yaml", line=3, col=5, length=4)
    problem = Problem(code="S001", message="unknown key `x`", span=span, hints=("did you mean `y`?",))
    (row,) = error_annotations(SpecError([problem]))
    assert (row.file, row.line, row.column, row.title) == ("stacks.yaml", 3, 5, "tasker-build S001")
    assert row.message == "unknown key `x`\ndid you mean `y`?"
    (row,) = error_annotations(RefusedError("no", hints=("do that",)))
    assert (row.file, row.message) == ("", "no\ndo that")


def test_findings_and_drift_are_annotated() -> None:
    finding = Finding(checker="hadolint DL3003", path="a/Dockerfile", line=7, message="Use WORKDIR")
    results = [Result(checker="hadolint", findings=(finding,)), Result(checker="shellcheck", missing="not installed")]
    found = list(finding_annotations(results, Path("docker"), strict=False))
    assert [(row.level, row.file, row.line) for row in found] == [("error", "docker/a/Dockerfile", 7), ("notice", "", 0)]
    assert [row.level for row in finding_annotations(results, Path("docker"), strict=True)] == ["error", "error"]
    findings = [replace(finding, level=level, origin="a.j2:3", cost="much") for level in (Level.WARNING, Level.ADVICE)]
    found = list(finding_annotations([Result(checker="caching", findings=tuple(findings))], Path("docker"), strict=True))
    assert [row.level for row in found] == ["warning", "notice"]
    assert found[0].message == "Use WORKDIR\nfrom: a.j2:3\ncost: much"
    diff = ("--- a", "+++ b", "@@ -4,5 +4,6 @@", " one", " two", "-three", "+four")
    drift = [
        Drift(path="same", state=State.SAME),
        Drift(path="a", state=State.BEHIND, diff=diff),
        Drift(path="b", state=State.MISSING),
        Drift(path="c", state=State.EDITED, diff=("--- c", "+++ c", "@@ -0,0 +1 @@", "+new")),
    ]
    rows = list(drift_annotations(drift, Path("docker"), "warning"))
    assert [(row.level, row.file, row.line) for row in rows] == [
        ("warning", "docker/a", 6),
        ("warning", "docker/b", 1),
        ("warning", "docker/c", 1),
    ]
    assert rows[0].message.startswith("behind its template or spec\n")


# A plan.


def test_a_plan_is_annotated_where_its_evidence_is() -> None:
    lock = files(gone="-", **{"Cargo.lock": "~"})
    own = files(new="+")
    argument = Reason(
        kind=ReasonKind.ARG,
        changes=(Difference(group=Group.ARG, label="A", old="1", new="2"),),
        spans=(Span(file="stacks.yaml", line=26, col=15), Span(file="stacks.yaml", line=30, col=1)),
    )
    chains = (TemplateChange(chain=("app.j2", "common.j2")), TemplateChange(chain=("other.j2",)))
    template = Reason(kind=ReasonKind.TEMPLATE, changes=chains)
    layout = Reason(kind=ReasonKind.CONTEXT, hunks=(Hunk(at=0, went=(), came=("COPY x",)),))
    nowhere = [Reason(kind=kind) for kind in (ReasonKind.NEW, ReasonKind.PARENT, ReasonKind.TEMPLATE, ReasonKind.MISSING)]
    gone = files(gone="-")
    plan = Plan(
        steps=(
            step("a", Action.REBUILD, argument, own),
            step("b", Action.REBUILD, lock, layout, gone),
            step("c", Action.REBUILD, lock, template),
            *(step(f"more{i}", Action.REBUILD, lock, *nowhere) for i in range(10)),
        )
    )
    total, *rows = plan_annotations(plan, Path("work"), {"common.j2": "tpl/common.j2"})
    assert (total.message, total.file) == ("13 to rebuild.", "")
    assert [(row.file, row.line, row.column) for row in rows] == [
        ("work/Cargo.lock", 1, 0),
        ("stacks.yaml", 26, 15),
        ("work/new", 1, 0),
        ("tpl/common.j2", 1, 0),
    ]
    assert rows[0].message.startswith("context 2 files: - gone, ~ Cargo.lock: changes b, c, more0, ")
    assert rows[0].message.endswith("more7 and 2 more")
    assert rows[1].message == "arg A 1 → 2: changes a"


# The step summary.


def step(name: str, action: Action, *reasons: Reason) -> Step:
    return Step(target=T(name), action=action, reasons=reasons, fingerprint="0" * 64, image=name)


def changed(name: str, *hunks: tuple[str, ...]) -> Step:
    found = tuple(
        Hunk(
            at=i + len(name),
            went=tuple(line[2:] for line in lines if line.startswith("-")),
            came=tuple(line[2:] for line in lines if line.startswith("+")),
        )
        for i, lines in enumerate(hunks)
    )
    return step(name, Action.REBUILD, Reason(kind=ReasonKind.TEMPLATE, changes=(TemplateChange(chain=("t.j2",)),), hunks=found))


def files(**signs: str) -> Reason:
    """Path → its sign."""
    values = {"-": ("1", None), "+": (None, "1"), "~": ("1", "2")}
    changes = [
        Difference(group=Group.CONTEXT, label=path, old=values[sign][0], new=values[sign][1]) for path, sign in signs.items()
    ]
    return Reason(kind=ReasonKind.CONTEXT, changes=tuple(changes))


def test_the_same_difference_is_shown_once_with_the_targets_it_hits() -> None:
    same, own = ("- RUN old", "+ RUN new"), ("+ USER x",)
    plan = Plan(
        steps=(
            changed("zeta", same),
            changed("b", same, own),
            changed("alpha", same),
            step("kept", Action.KEEP),
            step("c", Action.REBUILD, files(a="~"), Reason(kind=ReasonKind.PARENT, changes=(ParentChange(parent="b"),))),
        )
    )
    text = plan_summary(plan, "demo")
    assert text.startswith(
        "## Plan of `demo`\n\n4 to rebuild, 1 unchanged.\n\n| | target | action | reasons |\n|---|---|---|---|\n"
    )
    assert "| `~` | `c` | rebuild | context `1 file: ~ a`<br>parent `b` |\n" in text
    assert "`kept`" not in text
    assert text.count("RUN new") == 1
    assert "3 targets: `alpha`, `b`, `zeta`\n\n```diff\n- RUN old\n+ RUN new\n```\n" in text
    assert "\n`b`\n\n```diff\n+ USER x\n```\n" in text
    assert text.index("RUN new") < text.index("USER x")


def test_nothing_to_do_has_no_table() -> None:
    assert plan_summary(Plan(steps=(step("a", Action.KEEP),)), "demo") == (
        "## Plan of `demo`\n\nnothing to do: 1 target up to date\n\n"
    )


def test_what_markdown_would_take_for_markup_is_text() -> None:
    evidence = "a|b `c` <img src=x> _d_ *e* \\ @sha256:1\n## f"
    text = plan_summary(
        Plan(steps=(step("x|y", Action.REBUILD, Reason(kind=ReasonKind.ARG, changes=(Quoted(evidence=evidence),))),)), "demo"
    )
    (row,) = (line for line in text.split("\n") if "rebuild" in line and line.startswith("|"))
    assert row.count("|") == 5
    assert not set("`\\*_@#") & set(row.split("arg ")[1].replace("&#", ""))
    assert "<img" not in row
    fences = changed("a", ("+ RUN echo '```' # ````",))
    assert "\n`````diff\n+ RUN echo '```' # ````\n`````\n" in plan_summary(Plan(steps=(fences,)), "demo")


@pytest.mark.parametrize("limit", [2_000, 20_000, 1024 * 1024])
def test_it_is_never_longer_than_it_may_be(limit: int) -> None:
    steps = [changed(f"target-ä{i}", (f"- RUN {i} {'x' * 300}", f"+ RUN {i} é"), ("+ RUN same",)) for i in range(3000)]
    text = plan_summary(Plan(steps=tuple(steps)), "demo", limit)
    assert len(text.encode()) <= limit
    assert re.search(r"\n\d+ more .*too long to show here", text)
    assert text.count("```") % 2 == 0


def test_a_long_difference_is_cut() -> None:
    plan = Plan(steps=(changed("a", tuple(f"+ RUN {i}" for i in range(500))),))
    assert "+ RUN 79\n… 420 more lines\n```" in plan_summary(plan, "demo")


def test_names_that_are_not_utf_8_can_be_written() -> None:
    odd = replace(changed("a"), reasons=(Reason(kind=ReasonKind.CONTEXT, changes=(Quoted(evidence="caf\udce9"),)),))
    assert plan_summary(Plan(steps=(odd,)), "demo").encode()


# On the command line.


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Everything is rendered, built and then changed; the checkout is the folder above."""
    folder = write_files(tmp_path / "checkout/sub", FILES)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "checkout"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    engine = TinyEngine()
    build_all(engine, folder)
    monkeypatch.setattr(DockerEngine, "connect", lambda *_: engine)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    assert run(["render"]) == 0
    edit(folder, "tpl/base.j2", "RUN cat", "RUN echo new\nRUN cat")
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_plan_on_github(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["plan", "--format", "github"]) == 0
    out = capfd.readouterr().out
    rows = [read(line) for line in out.splitlines() if line.startswith("::")]
    assert [(level, words.get("file"), words.get("line")) for level, words, _ in rows] == [
        ("warning", "sub/work/docker/base/Dockerfile", "5"),
        ("notice", None, None),
        ("notice", "sub/tpl/base.j2", "1"),
    ]
    assert rows[1][2] == "1 to rebuild, 1 because of a parent, 1 unchanged."
    assert "~ base  template  base.j2" in out


def test_a_plan_on_github_says_how_long_it_takes(here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = [{"target": "base", "seconds": 90.0}, {"target": "other", "seconds": 999.0}]
    write_files(here, {".tasker-build/runs/1/summary.json": json.dumps({"results": results})})
    capfd.readouterr()
    assert run(["plan", "--format", "github", "--summary"]) == 0
    said = "About 1m30s of building. Critical path, about 1m30s: base → app. 1 target more whose duration is not recorded."
    assert said in capfd.readouterr().out
    assert said.replace("base → app", "`base` → `app`") in (tmp_path / "summary.md").read_text()


def test_render_check_on_github(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["render", "--check", "--format=github"]) == 2
    assert read(capfd.readouterr().out.splitlines()[0])[0] == "error"
    assert run(["render", "--format=github"]) == 64


def test_check_on_github(here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(checker="c", path="app/Dockerfile", line=2, message="m")
    monkeypatch.setattr("tasker_build.cli.check.CHECKERS", [lambda _: Result(checker="c", files=1, findings=(finding,))])
    capfd.readouterr()
    assert run(["check", "--format", "github"]) == 3
    rows = [read(line) for line in capfd.readouterr().out.splitlines() if line.startswith("::")]
    assert [(level, words["file"]) for level, words, _ in rows] == [
        ("error", "sub/work/docker/app/Dockerfile"),
        ("warning", "sub/work/docker/base/Dockerfile"),
    ]


@pytest.mark.parametrize("command", ["plan", "check"])
def test_mistakes_on_github(here: Path, capfd: pytest.CaptureFixture[str], command: str) -> None:
    (here / "stacks.yaml").write_text(EIGHT_MISTAKES)
    capfd.readouterr()
    assert run([command, "--format", "github"]) == 3
    out, err = capfd.readouterr()
    rows = [read(line) for line in out.splitlines()]
    assert (len(rows), rows[0][0], rows[0][1]["file"], rows[0][1]["line"]) == (8, "error", "sub/stacks.yaml", "3")
    assert "--> stacks.yaml:3:1" in err


def test_the_step_summary_is_added_to(here: Path, tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("# before\n")
    assert run(["plan", "--summary"]) == 0
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("# before\n## Plan of `demo`\n")
    assert "```diff\n+ RUN echo new\n```" in text
    (tmp_path / "summary.md").write_text("x" * (1024 * 1024 - 500))
    assert run(["plan", "--summary"]) == 0
    assert (tmp_path / "summary.md").stat().st_size <= 1024 * 1024


def test_a_summary_in_a_file_of_its_own(here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run(["plan", "--offline", "--summary=plan.md"]) == 0
    project = Project.open([here / "stacks.yaml"])
    assert (here / "plan.md").read_text() == plan_summary(plan_project(project, None, ()), "demo")
    assert not (tmp_path / "summary.md").exists()
    assert "wrote plan.md" in capfd.readouterr().err


def test_without_github_the_summary_wants_a_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert run(["plan", "--offline", "--summary"]) == 64
