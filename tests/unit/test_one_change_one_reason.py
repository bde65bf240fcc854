"""One thing changes: exactly that is the reason, with its evidence, and nothing else is rebuilt. Or nothing is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tasker_build.plan.facts import SCHEMA
from tasker_build.plan.installation import host_platform
from tasker_build.plan.words import Action, ReasonKind, unique_reference
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tasker_build.view import wording
from tasker_build.work.planning import plan_project
from tests.conftest import REPOSITORY, write_files
from tests.unit.tiny import BASE, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[Path, TinyEngine], None]

FILES = {
    "stacks.yaml": """\
version: 1
project: demo
workspace: work
templates: tpl
vars: {greeting: hello}
bases:
  debian: debian:13
targets:
  base:
    template: base.j2
    from: {system: debian}
    context: [lib]
  app:
    template: app.j2
    from: {builder: base, runtime: debian}
    context: [app]
    args: {FLAVOUR: plain, NOBODY: asks}
    env: {MOOD: calm}
    secrets: [{id: token, version: "1"}]
    vars: {word: "{{ greeting }}"}
  other:
    template: base.j2
    from: {system: debian}
    context: [other]
tools: {formatter: wheel:formatter@1.0}
""",
    "tpl/common.j2": "{% macro note(what) %}\nRUN echo {{ what }}\n{% endmacro %}\n",
    "tpl/base.j2": "FROM {{ images[0][1] }}\nCOPY {{ closure.runtime[0] }}/ /x/\nRUN cat /x/*.txt\n",
    "tpl/app.j2": (
        '{% import "common.j2" as common %}\nFROM {{ images[0][1] }} AS made\nARG FLAVOUR\nCOPY app/ /app/\n'
        "{{ common.note(target.vars.word) }}\nRUN cat /app/main.txt\n"
        "FROM {{ images[1][1] }} AS last\n{% for name, value in target.env.items() %}\nENV {{ name }}={{ value }}\n{% endfor %}\n"
        "COPY --from=made /app /app\n"
        "RUN pip install {{ tool('formatter').words }}{{ tool('formatter').digests | join }}\n"
    ),
    "work/lib/a.txt": "1\n",
    "work/app/main.txt": "1\n",
    "work/app/more.txt": "1\n",
    "work/other/x.txt": "1\n",
}


TOOL_PIN = f'version: 1\ntools: {{formatter: {{tool: "wheel:formatter@1.0", digests: {{any: "sha256:{"a" * 64}"}}}}}}\n'


def rewrite(path: str, old: str, new: str) -> Change:
    return lambda root, _: edit(root, path, old, new)


def spec(old: str, new: str) -> Change:
    return rewrite("stacks.yaml", old, new)


def on_disk(change: Callable[[Path], object]) -> Change:
    def do(root: Path, _: TinyEngine) -> None:
        change(root)

    return do


def edit_behind_the_clock(root: Path) -> None:
    file = root / "work/app/main.txt"
    before = file.stat()
    file.write_text("3\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def age(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (1, 1))


def close(root: Path) -> None:
    for path in [root / "work", *(root / "work").rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)


def swap_for_a_link(root: Path) -> None:
    (root / "work/app/more.txt").unlink()
    (root / "work/app/more.txt").symlink_to("main.txt")


def wanted_tag(root: Path, name: str) -> str:
    item = Project.open([root / "stacks.yaml"]).wanted[TargetName(name)]
    return unique_reference(item.image, item.facts.fingerprint)


def lose(root: Path, engine: TinyEngine) -> None:
    for reference in (wanted_tag(root, "other"), "demo-other:latest"):
        engine.remove(reference)


def forge(root: Path, engine: TinyEngine, name: str = "other") -> None:
    image = engine.image(wanted_tag(root, name))
    assert image is not None
    engine.put("sha256:by-hand", [wanted_tag(root, name)], image.label)


def an_older_schema(root: Path, engine: TinyEngine) -> None:
    """Images of a version of the tool that counted differently: other fingerprints, and another number on them."""
    reference = wanted_tag(root, "other")
    image = engine.image(reference)
    assert image is not None
    assert image.label is not None
    old = replace(image.label, schema=SCHEMA - 1, fingerprint="0" * 64)
    engine.remove(reference)
    engine.put(image.id, [unique_reference("demo-other", "0" * 64), "demo-other:latest"], old)


OTHER_PLATFORM = "linux/arm64" if host_platform() == "linux/amd64" else "linux/amd64"

# What changes → the target it changes, the one reason, and its evidence; `app` stands on `base`.
REASONS: dict[str, tuple[Change, str, ReasonKind, str, str]] = {
    # name: (change, target, kind, evidence, a detail)
    "a file edited": (rewrite("work/app/main.txt", "1", "2"), "app", ReasonKind.CONTEXT, "1 file: ~ app/main.txt", ""),
    "a file added": (on_disk(lambda root: (root / "work/app/new.txt").write_text("")), "app", ReasonKind.CONTEXT, r"1 file: \+ app/new.txt", ""),
    "a file removed": (on_disk(lambda root: (root / "work/app/more.txt").unlink()), "app", ReasonKind.CONTEXT, "1 file: - app/more.txt", ""),
    "a file renamed": (
        on_disk(lambda root: (root / "work/app/more.txt").rename(root / "work/app/less.txt")),
        "app", ReasonKind.CONTEXT, r"2 files: \+ app/less.txt, - app/more.txt", "",
    ),
    "a file made executable": (on_disk(lambda root: (root / "work/app/main.txt").chmod(0o755)), "app", ReasonKind.CONTEXT, "1 file: ~ app/main.txt", ""),
    "a file that became a link": (on_disk(swap_for_a_link), "app", ReasonKind.CONTEXT, "1 file: ~ app/more.txt", ""),
    "an edit of equal size and time": (
        on_disk(edit_behind_the_clock),
        "app", ReasonKind.CONTEXT, "1 file: ~ app/main.txt", "",
    ),
    "what is ignored": (spec("templates: tpl", "templates: tpl\nsources: {ignore: ['**/more.txt']}"), "app", ReasonKind.CONTEXT, "1 file: - app/more.txt", ""),
    "the template": (rewrite("tpl/app.j2", "cat", "ls"), "app", ReasonKind.TEMPLATE, "app.j2", r"\+ RUN ls /app/main.txt"),
    "an included template": (rewrite("tpl/common.j2", "echo", "printf"), "app", ReasonKind.TEMPLATE, "app.j2 → common.j2", r"\+ RUN printf hello"),
    "an argument": (spec("FLAVOUR: plain", "FLAVOUR: spicy"), "app", ReasonKind.ARG, r"FLAVOUR plain → spicy @stacks.yaml:17:21", ""),
    "an argument emptied": (spec("FLAVOUR: plain", 'FLAVOUR: ""'), "app", ReasonKind.ARG, r'FLAVOUR plain → "" @stacks.yaml:17:21', ""),
    "an argument taken away": (spec("FLAVOUR: plain, ", ""), "app", ReasonKind.ARG, r"- FLAVOUR @stacks.yaml:17:11", ""),
    "a value of the spec": (spec("calm", "wild"), "app", ReasonKind.SPEC, "targets.app.env.MOOD @stacks.yaml:18:17", r"\+ ENV MOOD=wild"),
    "a variable": (spec("hello", "hi"), "app", ReasonKind.SPEC, "targets.app.vars.word, vars.greeting @stacks.yaml:20:18, stacks.yaml:5:18", r"- RUN echo hello"),
    "a tool's version": (
        spec("formatter@1.0", "formatter@1.1"),
        "app", ReasonKind.TOOL, "tools.formatter @stacks.yaml:25:20", r"\+ RUN pip install formatter==1.1",
    ),
    "a tool's checksum": (
        on_disk(lambda root: (root / "stacks.lock").write_text(TOOL_PIN)),
        "app", ReasonKind.TOOL, "tools.formatter @stacks.yaml:25:20", r"\+ RUN pip install formatter==1.0a{64}",
    ),
    "the network": (spec("    env:", "    network: none\n    env:"), "app", ReasonKind.SPEC, "network default → none @stacks.yaml:18:14", ""),
    "the platform": (
        spec("    env:", f"    platforms: [{OTHER_PLATFORM}]\n    env:"),
        "app", ReasonKind.SPEC, f"platform {host_platform()} → {OTHER_PLATFORM} @stacks.yaml:18:16", "",
    ),
    "the stage": (spec("    env:", "    stage: last\n    env:"), "app", ReasonKind.SPEC, 'stage "" → last @stacks.yaml:18:12', ""),
    "a secret's version": (spec('version: "1"', 'version: "2"'), "app", ReasonKind.SECRET, r"token optional, version 1 → optional, version 2 @stacks.yaml:19:14", ""),
    "a secret that must be there": (spec('version: "1"', 'version: "1", required: true'), "app", ReasonKind.SECRET, "token optional, version 1 → required and not here, version 1 @stacks.yaml:19:14", ""),
    "an image that was removed": (lose, "other", ReasonKind.MISSING, r"demo-other:tb-\w{12} was built here and is gone", ""),
    "an image made by hand": (forge, "other", ReasonKind.NOT_OURS, r"demo-other:tb-\w{12} is by-hand; what was built here is 03\w{10}", ""),
    "an image that is too old": (
        spec("    context: [other]", "    context: [other]\n    refresh: 7d"),
        "other", ReasonKind.AGE, r"built \d{3,} days ago, refresh: 7d @stacks.yaml:25:14", "",
    ),
    "another way to count": (an_older_schema, "other", ReasonKind.SCHEMA, f"fingerprint schema {SCHEMA - 1} → {SCHEMA}", ""),
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "checkout", FILES)


@pytest.fixture
def engine(root: Path) -> TinyEngine:
    found = TinyEngine()
    build_all(found, root)
    return found


def stale(root: Path, engine: TinyEngine, *forced: str) -> dict[str, list[tuple[ReasonKind, str, tuple[str, ...]]]]:
    """Target → its reasons, with evidence and place, for targets that are not kept."""
    plan = plan_project(Project.open([root / "stacks.yaml"]), engine, (), forced)
    return {
        step.target: [
            (
                reason.kind,
                wording.evidence(reason) + f" @{wording.place(reason)}".removesuffix(" @").replace(f"{root}/", ""),
                wording.details(reason),
            )
            for reason in step.reasons
        ]
        for step in plan.steps
        if step.reasons
    }


@pytest.mark.parametrize("what", REASONS)
def test_one_change_is_one_reason(root: Path, engine: TinyEngine, what: str) -> None:
    change, target, kind, evidence, detail = REASONS[what]
    change(root, engine)
    found = stale(root, engine)
    assert set(found) == {target}
    ((found_kind, found_evidence, details),) = found[target]
    assert found_kind is kind
    assert re.fullmatch(evidence, found_evidence), found_evidence
    assert not detail or any(re.fullmatch(detail, line) for line in details), details


@pytest.mark.parametrize(
    "what",
    [
        what
        for what, row in REASONS.items()
        if row[2] not in {ReasonKind.MISSING, ReasonKind.NOT_OURS, ReasonKind.SCHEMA, ReasonKind.AGE}
    ],
)
def test_without_a_record_the_kind_is_known_and_that_no_record_is_here(root: Path, engine: TinyEngine, what: str) -> None:
    change, target, kind, _, _ = REASONS[what]
    change(root, engine)
    shutil.rmtree(root / ".tasker-build")
    ((found_kind, evidence, _),) = stale(root, engine).pop(target)
    # Instructions of a Dockerfile can come from the template or from the spec; only a record knows which.
    in_dockerfile = kind in {ReasonKind.SPEC, ReasonKind.TOOL} and what not in {"the network", "the platform", "the stage"}
    assert found_kind is (ReasonKind.TEMPLATE if in_dockerfile else kind)
    # The platform is on the image by name.
    assert evidence.startswith("platform " if what == "the platform" else "no record here: group only")


def test_a_base_that_moved_rebuilds_what_stands_on_it_and_says_from_where_to_where(root: Path, engine: TinyEngine) -> None:
    engine.put("debian-2", [BASE], None)
    moved = (ReasonKind.BASE, f"{BASE} debian-1 → debian-2", ())
    assert stale(root, engine) == {"base": [moved], "app": [moved, (ReasonKind.PARENT, "base", ())], "other": [moved]}


def test_a_pinned_base_says_old_and_new_digest_and_its_line(root: Path) -> None:
    old, new = "a" * 64, "b" * 64
    edit(root, "stacks.yaml", "debian: debian:13", f"debian: debian:13@sha256:{old}")
    engine = TinyEngine()
    engine.put("debian-1", [f"{BASE}@sha256:{old}"], None)
    build_all(engine, root)
    edit(root, "stacks.yaml", old, new)
    assert stale(root, engine)["other"] == [(ReasonKind.BASE, f"{BASE} {old[:12]} → {new[:12]} @stacks.yaml:7:11", ())]


def test_a_parent_takes_its_children_along_by_name(root: Path, engine: TinyEngine) -> None:
    edit(root, "work/lib/a.txt", "1", "2")
    assert stale(root, engine) == {
        "base": [(ReasonKind.CONTEXT, "1 file: ~ lib/a.txt", ("~ lib/a.txt",))],
        "app": [(ReasonKind.PARENT, "base", ())],
    }


def test_a_parent_made_again_by_hand_is_seen_below_it(root: Path, engine: TinyEngine) -> None:
    forge(root, engine, "base")
    shutil.rmtree(root / ".tasker-build")  # without a record nobody can tell that it is not ours, but its child can
    found = stale(root, engine)
    assert [kind for kind, _, _ in found.pop("base")] == [ReasonKind.TAG]
    ((kind, evidence, _),) = found.pop("app")
    assert (kind, found) == (ReasonKind.PARENT, {})
    assert re.fullmatch(r"base was built again: 01\w{10} → by-hand", evidence)


def test_what_is_forced_says_so(root: Path, engine: TinyEngine) -> None:
    assert stale(root, engine, "other") == {"other": [(ReasonKind.FORCED, "asked for on the command line", ())]}


def test_a_new_target_is_new_and_nothing_else_is(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "  other:\n", "  fresh: {template: base.j2, from: {system: debian}, context: [other]}\n  other:\n")
    assert stale(root, engine) == {"fresh": [(ReasonKind.NEW, "no image of this target is here", ())]}


def test_another_engine_is_no_loss(root: Path, engine: TinyEngine) -> None:
    lose(root, engine)
    engine.id = "ANOTHER"
    evidence = "no image of this target on this engine; it was built on another one"
    assert stale(root, engine) == {"other": [(ReasonKind.NEW, evidence, ())]}


def test_an_image_of_another_engine_is_not_taken_for_the_one_built_here(root: Path, engine: TinyEngine) -> None:
    forge(root, engine)
    engine.tag("sha256:by-hand", "demo-other:latest")
    assert [kind for kind, _, _ in stale(root, engine)["other"]] == [ReasonKind.NOT_OURS]
    engine.id = "ANOTHER"
    assert stale(root, engine) == {}


def test_an_image_of_the_wanted_platform_that_was_here_is_gone_whatever_others_are(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "    context: [other]\n", f"    context: [other]\n    platforms: [{OTHER_PLATFORM}]\n")
    build_all(engine, root)
    assert stale(root, engine) == {}
    engine.remove(wanted_tag(root, "other"))
    ((kind, _, _),) = stale(root, engine)["other"]
    assert kind is ReasonKind.MISSING


def test_an_engine_is_asked_who_it_is_only_where_it_matters(
    root: Path, engine: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def identity() -> str:
        asked.append(1)
        return "ENGINE"

    monkeypatch.setattr(engine, "identity", identity)
    edit(root, "work/app/main.txt", "1", "2")
    stale(root, engine)
    assert not asked
    lose(root, engine)
    assert stale(root, engine)["other"][0][0] is ReasonKind.MISSING
    assert asked == [1]


def refreshed_at(engine: TinyEngine, root: Path, built: int) -> None:
    """The image of `other` as an apply at that time would have left it; its layers stay as old as they are."""
    image = engine.image(wanted_tag(root, "other"))
    assert image is not None
    assert image.label is not None
    engine.put(image.id, image.references, replace(image.label, redone=True, built=built), image.created)


def test_an_image_is_as_old_as_its_label_says_whatever_its_layers_are(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "    context: [other]", "    context: [other]\n    refresh: 12h")
    now = int(time.time())
    refreshed_at(engine, root, now - 11 * 3600)
    assert stale(root, engine) == {}
    refreshed_at(engine, root, now - 13 * 3600)
    place = "stacks.yaml:25:14"
    assert stale(root, engine) == {"other": [(ReasonKind.AGE, f"built 13 hours ago, refresh: 12h @{place}", ())]}
    refreshed_at(engine, root, now + 3600)  # another machine's clock
    assert stale(root, engine) == {}
    image = engine.image(wanted_tag(root, "other"))
    assert image is not None
    engine.stored[image.id] = replace(image, created=0)
    refreshed_at(engine, root, 0)
    assert stale(root, engine)["other"][0][1].startswith("nobody knows when it was built, refresh: 12h")


def test_an_image_that_is_too_old_takes_its_children_along(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "    context: [lib]", "    context: [lib]\n    refresh: 4w")
    found = stale(root, engine)
    assert {name: [kind for kind, _, _ in reasons] for name, reasons in found.items()} == {
        "base": [ReasonKind.AGE],
        "app": [ReasonKind.PARENT],
    }


def test_age_is_named_beside_what_else_there_is(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "    context: [other]", "    context: [other]\n    refresh: 7d")
    edit(root, "work/other/x.txt", "1", "2")
    assert [kind for kind, _, _ in stale(root, engine)["other"]] == [ReasonKind.CONTEXT, ReasonKind.AGE]


def test_when_to_build_is_no_part_of_what_is_built(root: Path, engine: TinyEngine) -> None:
    edit(root, "stacks.yaml", "    context: [other]", "    context: [other]\n    refresh: 9999w")
    assert stale(root, engine) == {}
    edit(root, "tpl/base.j2", "RUN cat", "RUN ls && cat")
    assert [(kind, evidence) for kind, evidence, _ in stale(root, engine)["other"]] == [(ReasonKind.TEMPLATE, "base.j2")]


def test_a_build_that_failed_is_named_beside_the_reason_until_one_ends_well(root: Path, engine: TinyEngine) -> None:
    records = Project.open([root / "stacks.yaml"]).records
    records.note_failure(TargetName("other"), "20300102T030405-6")
    assert stale(root, engine) == {}, "it is no reason by itself"
    edit(root, "work/other/x.txt", "1", "2")
    failed = (ReasonKind.FAILED_BEFORE, "its last build failed: run 20300102T030405-6, 2030-01-02 03:04 UTC", ())
    context = (ReasonKind.CONTEXT, "1 file: ~ other/x.txt", ("~ other/x.txt",))
    assert stale(root, engine) == {"other": [context, failed]}
    build_all(engine, root)
    edit(root, "work/other/x.txt", "2", "3")
    assert stale(root, engine) == {"other": [context]}


def test_a_failure_changes_no_action(root: Path, engine: TinyEngine) -> None:
    Project.open([root / "stacks.yaml"]).records.note_failure(TargetName("app"), "r")
    edit(root, "work/lib/a.txt", "1", "2")
    plan = plan_project(Project.open([root / "stacks.yaml"]), engine, ())
    (step,) = [step for step in plan.steps if step.target == "app"]
    assert (step.action, [wording.evidence(reason) for reason in step.reasons]) == (
        Action.CASCADE,
        ["base", "its last build failed: run r"],
    )


def test_a_moved_tag_is_put_back_without_a_build(root: Path, engine: TinyEngine) -> None:
    engine.tag("debian-1", "demo-other:latest")
    assert stale(root, engine) == {"other": [(ReasonKind.TAG, "demo-other:latest is debian-1, which we did not build", ())]}


# What cannot change an image.


def there_and_back(root: Path) -> None:
    """What `git switch` there and back does: other bytes in between, the same ones with new times after it."""
    for path in (root / "work").rglob("*.txt"):
        text = path.read_text()
        path.unlink()
        path.write_text("elsewhere")
        path.write_text(text)


NEEDLESS: dict[str, Change] = {
    "times": on_disk(age),
    "a checkout there and back": on_disk(there_and_back),
    "comments in the spec": spec("targets:\n", "# why\n\ntargets:   # here\n"),
    "lines of the spec that moved": spec("version: 1\n", "\n\n\nversion: 1\n"),
    "the order of roles": spec("{builder: base, runtime: debian}", "{runtime: debian, builder: base}"),
    "the order of arguments": spec("{FLAVOUR: plain, NOBODY: asks}", "{NOBODY: asks, FLAVOUR: plain}"),
    "the order of keys": spec(
        "    context: [app]\n    args: {FLAVOUR: plain, NOBODY: asks}\n", "    args: {FLAVOUR: plain, NOBODY: asks}\n    context: [app]\n"
    ),
    "a target that is not enabled": spec("targets:\n", "targets:\n  aaa: {enabled: false, template: base.j2, from: {system: debian}, context: [other]}\n"),
    "comments and blank lines in a template": rewrite("tpl/base.j2", "COPY", "# why\n\n{# and why not #}COPY"),
    "a macro nobody uses": rewrite("tpl/common.j2", "{% macro note", "{% macro more() %}{% endmacro %}{% macro note"),
    "an argument that no ARG asks for": spec("NOBODY: asks", "NOBODY: knows"),
    "a variable nobody uses": spec("{greeting: hello}", "{greeting: hello, more: x}"),
    "a file of nobody": on_disk(lambda root: (root / "work/README.md").write_text("x")),
    "build outputs": on_disk(lambda root: write_files(root / "work", {"app/target/x": "", "lib/.a.txt.swp": ""})),
    "an empty folder of nobody": on_disk(lambda root: (root / "work/empty").mkdir()),
    "the umask": on_disk(close),
    "the rendered files": on_disk(lambda root: write_files(root / "work/docker", {"app/Dockerfile": "FROM x"})),
}  # fmt: skip


@pytest.mark.parametrize("what", NEEDLESS)
def test_what_cannot_change_an_image_rebuilds_nothing(root: Path, engine: TinyEngine, what: str) -> None:
    NEEDLESS[what](root, engine)
    assert stale(root, engine) == {}


def test_another_checkout_rebuilds_nothing(root: Path, engine: TinyEngine, tmp_path: Path) -> None:
    other = tmp_path / "some where else"
    shutil.copytree(root, other)
    assert stale(other, engine) == {}
    shutil.rmtree(other / ".tasker-build")
    assert stale(other, engine) == {}


def test_another_version_of_the_tool_rebuilds_nothing(root: Path, engine: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasker_build  # noqa: PLC0415

    monkeypatch.setattr(tasker_build, "__version__", "99.0")
    assert stale(root, engine) == {}


_FINGERPRINTS = """
import sys
from pathlib import Path
from tasker_build.project import Project
print(*[item.facts.fingerprint for item in Project.open([Path("stacks.yaml")]).wanted.values()])
"""


def test_hash_seed_locale_umask_time_zone_and_user_settings_change_no_fingerprint(root: Path) -> None:
    found = set()
    for settings, umask in (
        ({"PYTHONHASHSEED": "1"}, 0o022),
        ({"PYTHONHASHSEED": "2", "LC_ALL": "C", "TZ": "Asia/Tokyo", "HOME": "/nonexistent"}, 0o077),
        (
            {"PYTHONHASHSEED": "3", "LC_ALL": "C.UTF-8", "http_proxy": "http://proxy", "SOURCE_DATE_EPOCH": "7", "COLUMNS": "20"},
            0o002,
        ),
    ):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **settings}
        done = subprocess.run(
            [sys.executable, "-c", _FINGERPRINTS],
            cwd=root,
            env=environment,
            umask=umask,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    (same,) = found
    assert len(same.split()) == 3
