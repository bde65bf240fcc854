"""The lock as text and value, what a pin does to files and fingerprints, and what a move rebuilds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tasker_build.cli import main
from tasker_build.dockerfile import parse
from tasker_build.errors import SpecError, TemplateError
from tasker_build.plan.facts import Facts, Group, differences, fixed_facts
from tasker_build.plan.radius import blast_radius
from tasker_build.project import Project
from tasker_build.registries.trouble import RegistryError, Trouble
from tasker_build.spec import lock
from tasker_build.spec.lock import Lock, Pin, ToolPin
from tasker_build.spec.names import lock_name
from tasker_build.work.locking import State, state_of
from tests.conftest import HEAD, REPOSITORY, load_text, places, problems_of, write_files
from tests.unit.test_registry import INDEX, Fake, entry, fake
from tests.unit.tiny import edit

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fake"]

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
LOCK = Lock(
    bases={
        "rust": Pin(image=f"rust:1@{A}", index=A, platforms={"linux/arm64": B, "linux/amd64": C}),
        "debian": Pin(image=f"example.org:5000/debian@{B}"),
        "1.10": Pin(image=f"x@{C}"),
    },
    tools={
        "on": ToolPin(tool="crate:on@1.0.0", digests={"any": A}),
        "mill": ToolPin(tool="wheel:mill@2.1", digests={"linux/arm64": B, "linux/amd64": C}),
    },
)
TEXT = f"""\
{lock.HEADER}version: 1
bases:
  "1.10":
    image: "x@{C}"
  debian:
    image: "example.org:5000/debian@{B}"
  rust:
    image: "rust:1@{A}"
    index: "{A}"
    platforms:
      linux/amd64: "{C}"
      linux/arm64: "{B}"
tools:
  mill:
    tool: "wheel:mill@2.1"
    digests:
      linux/amd64: "{C}"
      linux/arm64: "{B}"
  "on":
    tool: "crate:on@1.0.0"
    digests:
      any: "{A}"
"""
SPEC = (
    HEAD
    + """\
workspace: work
templates: tpl
bases: {debian: "HOST/debian:x", rust: "HOST/rust:1"}
targets:
  base: {template: base.j2, from: {system: debian}}
  app: {template: app.j2, from: {builder: base, runtime: debian}}
  leaf: {template: leaf.j2, from: {builder: app}}
  other: {template: base.j2, from: {system: rust}}
"""
)
TEMPLATES = {
    "tpl/base.j2": "ARG SYSTEM_IMAGE={{ images[0][1] }}\nFROM {{ image('system') }} AS s\nLABEL from=debian:x\n",
    "tpl/app.j2": "ARG BUILDER_IMAGE={{ images[0][1] }}\nARG RUNTIME_IMAGE={{ images[1][1] }}\n"
    "FROM {{ image('builder') }} AS b\nFROM {{ image('runtime') }}\nCOPY --from=b /x /x\n",
    "tpl/leaf.j2": "ARG BUILDER_IMAGE={{ images[0][1] }}\nFROM {{ image('builder') }}\n",
    "work/a.txt": "a",
}


def space(folder: Path, host: str = "example.org") -> Path:
    write_files(folder, TEMPLATES | {"stacks.yaml": SPEC.replace("HOST", host)})
    return folder / "stacks.yaml"


def pins(host: str, debian: str = A, rust: str = B) -> Lock:
    return Lock(
        bases={
            "debian": Pin(image=f"{host}/debian:x@{debian}", index=debian, platforms={"linux/amd64": debian}),
            "rust": Pin(image=f"{host}/rust:1@{rust}", index=rust, platforms={"linux/amd64": rust}),
        }
    )


def facts(text: str) -> Facts:
    target = load_text(HEAD + "targets: {a: {template: x}}\n").targets
    (only,) = target.values()
    return Facts.of(fixed_facts(only, parse(text), references={}, platform="linux/amd64"))


def test_text_and_value_are_one() -> None:
    assert lock.lock_text(LOCK) == TEXT
    assert lock.read_lock(TEXT.encode(), "stacks.lock") == LOCK
    assert lock.read_lock(lock.lock_text(Lock()).encode(), "stacks.lock") == Lock()
    turned = replace(LOCK, bases=dict(reversed(list(LOCK.bases.items()))), tools=dict(reversed(list(LOCK.tools.items()))))
    assert lock.lock_text(turned) == TEXT


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("version: 1", "version: 2"), ("S011", 3, 10)),
        ((f'image: "x@{C}"', 'image: "x"'), ("S011", 6, 12)),
        ((f'image: "x@{C}"', "images: 3"), ("S009", 6, 5)),
        (("  rust:\n", "  debian:\n"), ("S005", 9, 3)),
        ((f'linux/amd64: "{C}"', "linux/amd64: 7"), ("S012", 13, 20)),
        ((f'linux/amd64: "{C}"', f'../x: "{C}"'), ("S014", 13, 7)),
        (("bases:\n", "bases: [\n"), ("S001", 6, 10)),
        (("<<<<", ""), None),
    ],
)
def test_a_damaged_lock_is_located(change: tuple[str, str], place: tuple[str, int, int] | None) -> None:
    text = TEXT.replace(*change)
    if place is None:
        lock.read_lock(text.encode(), "stacks.lock")
        return
    problems = problems_of(lambda: lock.read_lock(text.encode(), "stacks.lock"))
    assert place in places(problems)
    assert {problem.span.file for problem in problems if problem.span} == {"stacks.lock"}
    assert "tasker-build lock" in problems[0].hints[-1]


def test_conflict_markers_are_located(tmp_path: Path) -> None:
    spec = space(tmp_path)
    (tmp_path / "stacks.lock").write_text(TEXT.replace("  debian:\n", "<<<<<<< ours\n  debian:\n"))
    with pytest.raises(SpecError) as caught:
        Project.open((spec,))
    assert "stacks.lock:" in caught.value.draw()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("spec", "name"),
    [("stacks.yaml", "stacks.lock"), ("a.b.yml", "a.b.lock"), ("stacks", "stacks.lock"), (".yaml", ".yaml.lock")],
)
def test_the_lock_is_named_after_its_spec(spec: str, name: str) -> None:
    assert lock_name(spec) == name


def test_what_can_be_locked() -> None:
    spec = load_text(
        HEAD + f'bases: {{a: "a:1", b: "b:1@{A}", own: "demo-t:latest", t: "t:1"}}\ntargets: {{t: {{template: x}}}}\n'
    )
    assert dict(lock.lockable(spec)) == {"a": "a:1"}


def test_a_pin_is_for_its_very_reference() -> None:
    spec = load_text(HEAD + 'bases: {rust: "rust:2", debian: "example.org:5000/debian"}\ntargets: {}\n')
    assert dict(lock.pinned(spec, LOCK).bases) == {"rust": "rust:2", "debian": f"example.org:5000/debian@{B}"}
    assert state_of(LOCK, "rust", "rust:2") is State.MISSING
    assert state_of(LOCK, "rust", "rust:1") is State.PINNED
    assert state_of(LOCK, "debian", "example.org:5000/debian") is State.INCOMPLETE
    moved = replace(LOCK.bases["rust"], image=f"rust:1@{B}")  # as a bot does it
    assert state_of(lock.with_pins(LOCK, {"rust": moved}), "rust", "rust:1") is State.INCOMPLETE


def test_a_moved_pin_changes_the_base_fact_and_nothing_else() -> None:
    text = "ARG X=debian:x@{0}\nARG Y=1\nFROM ${{X}} AS debian\nRUN echo debian:x\nFROM debian:x@{0}\n"
    old, new, bare = facts(text.format(A)), facts(text.format(B)), facts(text.replace("@{0}", "").format())
    for other in (new, bare):
        assert {d.group for d in differences(old.facts, other.facts)} == {Group.BASE}
        assert old.fingerprint != other.fingerprint
    (fact,) = (fact for fact in old.facts if fact.group is Group.BASE)
    assert (fact.label, fact.value) == ("debian:x", A)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("FROM d:x@{A} AS a\nFROM d:x@{B}\n", "FROM d:x@{B} AS a\nFROM d:x@{A}\n"),
        ("FROM d:x@{A} AS a\nFROM d:x\n", "FROM d:x AS a\nFROM d:x@{A}\n"),
        ("FROM d:x@{A}\nRUN echo d:x@{A}\n", "FROM d:x@{A}\nRUN echo d:x\n"),
        ("ARG Q=d:x@{A}\nFROM d:x@{A}\nARG Q\nRUN echo $Q\n", "ARG Q=d:x\nFROM d:x@{A}\nARG Q\nRUN echo $Q\n"),
        ("ARG Q=d:x@{B}\nFROM d:x@{A}\nARG Q\nRUN echo $Q\n", "ARG Q=d:x@{A}\nFROM d:x@{A}\nARG Q\nRUN echo $Q\n"),
        ("FROM d:x@{A} AS a\nFROM d:x-slim\n", "FROM d:x@{A} AS a\nFROM d:x@{A}-slim\n"),
        ("FROM d:x@{A}\nCOPY --from=d:x /a /a\n", "FROM d:x\nCOPY --from=d:x@{A} /a /a\n"),
    ],
)
def test_two_different_files_are_never_taken_for_one(one: str, two: str) -> None:
    first, second = (facts(text.replace("{A}", A).replace("{B}", B)) for text in (one, two))
    assert first.fingerprint != second.fingerprint


def test_files_name_the_digest_and_the_plan_names_the_move(tmp_path: Path) -> None:
    spec = space(tmp_path)
    bare = Project.open((spec,))
    (tmp_path / "stacks.lock").write_text(lock.lock_text(pins("example.org")))
    old = Project.open((spec,))
    assert f"ARG RUNTIME_IMAGE=example.org/debian:x@{A}\n" in old.tree.files["app/Dockerfile"].text
    (tmp_path / "stacks.lock").write_text(lock.lock_text(pins("example.org", debian=C)))
    new = Project.open((spec,))
    order = list(new.order)
    for before in (bare, old):
        found = {
            str(name): {d.group for d in differences(before.wanted[name].facts.facts, new.wanted[name].facts.facts)}
            for name in order
        }
        assert found["base"] == {Group.BASE}
        assert found["app"] == {Group.BASE, Group.PARENT}
        assert found["leaf"] == {Group.PARENT}
    assert new.wanted["leaf"].spec == old.wanted["leaf"].spec  # type: ignore[index]


def test_what_a_move_rebuilds(tmp_path: Path) -> None:
    spec = space(tmp_path)
    project = Project.open((spec,))
    old = project.with_lock(lock.lock_text(pins("example.org")))
    new = project.with_lock(lock.lock_text(pins("example.org", debian=C)))
    durations = {"base": 60.0, "app": 30.0, "other": 1000.0}
    radius = blast_radius(old.wanted, new.wanted, durations)
    assert dict(radius.direct) == {"base": ("example.org/debian:x",), "app": ("example.org/debian:x",)}
    assert dict(radius.through) == {"leaf": ("app",)}
    assert (radius.count, radius.total, radius.time.seconds, radius.time.unknown) == (3, 4, 90.0, ("leaf",))
    assert (radius.time.critical, radius.time.critical_seconds) == (("base", "app", "leaf"), 90.0)
    none = blast_radius(old.wanted, old.wanted, {})
    assert (none.count, none.time.critical) == (0, ())


def test_update_bots_find_every_pin_by_the_documented_expression() -> None:
    guide = (REPOSITORY / "docs/lock.md").read_text()
    snippet = json.loads(re.findall(r"```json\n(.*?)```", guide, re.DOTALL)[0])
    (expression,) = snippet["customManagers"][0]["matchStrings"]
    expression = re.sub(r"\(\?<([a-zA-Z])", r"(?P<\1", expression)
    found = {m["depName"]: (m["currentValue"], m["currentDigest"]) for m in re.finditer(expression, TEXT)}
    assert found == {"rust": ("1", A), "x": (None, C), "example.org:5000/debian": (None, B)}


# The command, on a registry of our own.


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["-f", str(folder / "stacks.yaml"), "lock", *arguments], standalone_mode=False)
    if done.exception:
        raise done.exception
    assert done.return_value == code, done.output
    return done.output


@pytest.fixture
def served(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    for repository, tag in (("debian", "x"), ("rust", "1")):
        fake.put(repository, tag, {"manifests": [entry("linux/amd64"), entry("linux/arm64/v8")], "of": repository})
    space(tmp_path, fake.host)
    return tmp_path


def test_lock_then_check_then_upgrade(served: Path, fake: Fake) -> None:
    file = served / "stacks.lock"
    assert "unpinned" in run(served, "--check", code=2)
    assert "unpinned" in run(served, "--dry-run")
    assert not file.exists()
    said = run(served)
    assert "2 platforms" in said
    assert "rebuilds 4 of 4 targets (3 directly, 1 through parents)" in said
    first = file.read_text()
    assert lock.read_lock(file.read_bytes(), "x").bases["rust"].complete

    asked = len(fake.asked)
    assert "rebuilds" not in run(served)
    assert len(fake.asked) == asked, "nothing is missing, nobody is asked"
    run(served, "--check")
    run(served, "--check", "--offline")

    moved = fake.put("debian", "x", {"manifests": [], "moved": True})
    said = run(served, "--check", code=2)
    assert re.search(rf"debian .* [0-9a-f]{{12}} → {lock.short(moved)}", said)
    assert "rebuilds 3 of 4 targets (2 directly, 1 through parents)" in said
    run(served, "--check", "--offline")
    run(served, "--upgrade", "rust")
    assert file.read_text() == first
    said = run(served, "--upgrade", "--dry-run")
    assert file.read_text() == first
    assert "  ~ base  base      " in said
    assert "  ^ leaf  parent    app" in said
    assert "critical path: base → app → leaf" in said
    document = json.loads(run(served, "--upgrade", "--dry-run", "--format", "json"))
    assert document["rebuilds"]["through_parents"] == {"leaf": ["app"]}
    assert [row["state"] for row in document["bases"]] == ["moved", "pinned"]
    run(served, "--upgrade", "debian")
    assert f'image: "{fake.host}/debian:x@{moved}"' in file.read_text()


def test_tools_are_pinned_by_checksum_and_move_like_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"wheel:mill@2.1": {"linux/amd64": B, "linux/arm64": C}}

    def asked(reference: str) -> dict[str, str]:
        if reference not in said:
            raise RegistryError(f"nobody serves {reference}", Trouble.MISSING)
        return said[reference]

    monkeypatch.setattr("tasker_build.work.locking.checksums", asked)
    template = "FROM scratch\nRUN install {{ tool('mill').words }}{% for d in tool('mill').digests %} {{ d }}{% endfor %}\n"
    targets = "targets: {app: {template: app.j2}, leaf: {template: leaf.j2, from: {builder: app}}}\n"
    head = HEAD + "workspace: work\ntemplates: tpl\n" + targets
    write_files(tmp_path, TEMPLATES | {"tpl/app.j2": template, "stacks.yaml": f"{head}tools: {{mill: wheel:mill@2.1}}\n"})
    file = tmp_path / "stacks.lock"

    def dockerfile() -> str:
        return Project.open((tmp_path / "stacks.yaml",)).tree.files["app/Dockerfile"].text

    assert "RUN install mill==2.1\n" in dockerfile()
    assert "unpinned" in run(tmp_path, "--check", code=2)
    printed = run(tmp_path)
    assert "rebuilds 2 of 2 targets (1 directly, 1 through parents)" in printed
    assert "~ app   tool      mill" in printed
    assert f"RUN install mill==2.1 {'b' * 64} {'c' * 64}\n" in dockerfile()
    run(tmp_path, "--check")
    run(tmp_path, "--check", "--offline")

    first = file.read_text()
    said["wheel:mill@2.1"] = {"any": A}
    assert "rebuilds 2 of 2 targets" in run(tmp_path, "--check", code=2)
    run(tmp_path)
    assert file.read_text() == first, "what is pinned stays until it is upgraded"
    run(tmp_path, "--upgrade", "mill")
    assert f"RUN install mill==2.1 {'a' * 64}\n" in dockerfile()

    edit(tmp_path, "stacks.yaml", "mill@2.1", "mill@2.2")
    assert "RUN install mill==2.2\n" in dockerfile(), "a pin is for its very version"
    assert "nobody serves wheel:mill@2.2" in run(tmp_path, code=1)
    edit(tmp_path, "stacks.yaml", "tools: {mill: wheel:mill@2.2}", "")
    with pytest.raises(TemplateError) as caught:
        dockerfile()
    assert "needs the tool `mill`" in caught.value.draw()


def test_an_upgrade_is_shown_before_it_is_written(served: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    run(served)
    file = served / "stacks.lock"
    first = file.read_text()
    fake.put("debian", "x", {"manifests": [], "moved": True})
    said: list[tuple[str, bool]] = []
    monkeypatch.setattr("click.echo", lambda text, **_: said.append((text, file.read_text() == first)))
    run(served, "--upgrade")
    assert [untouched for text, untouched in said if "rebuilds 3 of 4" in text or "critical path" in text] == [True, True]
    assert [untouched for text, untouched in said if "wrote " in text] == [False]


def test_a_check_without_pins_names_the_command_that_pins(served: Path) -> None:
    assert "no pin yet: tasker-build lock\n" in run(served, "--check", "--offline", code=2)


def test_who_has_no_cargo_locks_and_checks_the_rest(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    edit(served, "stacks.yaml", "targets:\n", "tools: {mill: crate:mill@1.0.0}\ntargets:\n")
    said = run(served)
    assert "not asked: cargo is not here to say what crate:mill@1.0.0 is" in said
    assert lock.read_lock((served / "stacks.lock").read_bytes(), "x").bases.keys() == {"debian", "rust"}
    assert "not asked" in run(served, "--check", code=2)  # it has no pin
    pin = f'tools: {{mill: {{tool: "crate:mill@1.0.0", digests: {{any: "{A}"}}}}}}\n'
    (served / "stacks.lock").write_text((served / "stacks.lock").read_text() + pin)
    assert "not asked" in run(served, "--check")


def test_what_a_bot_moved_is_completed(served: Path, fake: Fake) -> None:
    run(served)
    file = served / "stacks.lock"
    old = lock.read_lock(file.read_bytes(), "x").bases["debian"].digest
    new = fake.put("debian", "x", {"manifests": [entry("linux/arm64")]})
    file.write_text(file.read_text().replace(f'debian:x@{old}"', f'debian:x@{new}"'))
    assert "platforms are not listed" in run(served, "--check", "--offline", code=2)
    run(served)
    assert lock.read_lock(file.read_bytes(), "x").bases["debian"].platforms == {"linux/arm64": "sha256:" + "1" * 64}
    run(served, "--check")


def test_a_platform_that_a_base_does_not_have_is_named(served: Path, fake: Fake) -> None:
    fake.put("rust", "1", {"manifests": [entry("linux/arm64")]})
    spec = served / "stacks.yaml"
    spec.write_text(
        spec.read_text().replace(
            "{template: base.j2, from: {system: rust}}", "{template: base.j2, from: {system: rust}, platforms: [linux/amd64]}"
        )
    )
    assert "it has no linux/amd64" in run(served)


def test_what_cannot_be_asked_is_told_and_the_rest_is_written(served: Path, fake: Fake) -> None:
    del fake.files["/v2/rust/manifests/1"]
    said = run(served, code=1)
    assert "has no rust:1" in said
    assert set(lock.read_lock((served / "stacks.lock").read_bytes(), "x").bases) == {"debian"}
    fake.status = 503
    said = run(served, "--upgrade", code=1)
    assert "a problem of its own: 503" in said
    assert set(lock.read_lock((served / "stacks.lock").read_bytes(), "x").bases) == {"debian"}
    document = json.loads(run(served, "--check", "--offline", "--format", "json", code=2))
    assert {row["name"]: row["state"] for row in document["bases"]} == {"debian": "pinned", "rust": "missing"}


class Engine:
    """An engine that has one image of every name."""

    def __init__(self, layers: list[str], digests: list[str]) -> None:
        self.answer = {"RepoDigests": digests, "RootFS": {"Layers": layers}}

    def details(self, _: str) -> object:
        return self.answer


def test_a_local_image_is_recorded_here_and_never_in_the_lock(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    space(tmp_path, fake.host)
    local = tmp_path / ".tasker-build/local-bases.json"
    before = Project.open((tmp_path / "stacks.yaml",)).wanted["base"].facts.fingerprint  # type: ignore[index]

    engine = Engine(["sha256:1"], [])
    monkeypatch.setattr("tasker_build.cli.lock.DockerEngine.connect", lambda: engine)
    run(tmp_path, "--check")
    assert not local.exists()
    assert "local image of this engine" in run(tmp_path)
    assert not (tmp_path / "stacks.lock").exists()
    assert json.loads(local.read_text())["bases"]["debian"]["reference"] == f"{fake.host}/debian:x"
    run(tmp_path, "--check", "--offline")
    engine.answer["RootFS"] = {"Layers": ["sha256:2"]}
    assert "another one than recorded here" in run(tmp_path, "--check", code=2)
    run(tmp_path)
    run(tmp_path, "--check")
    # It explains; no fingerprint knows of it.
    assert Project.open((tmp_path / "stacks.yaml",)).wanted["base"].facts.fingerprint == before  # type: ignore[index]

    # An image that came from a registry is no local one while that registry is merely away.
    engine.answer["RepoDigests"] = [f"{fake.host}/debian@{A}"]
    for fake.status in (401, 503):
        run(tmp_path, code=1)
    # And once a registry serves it, it is pinned.
    fake.status = 0
    for repository, tag in (("debian", "x"), ("rust", "1")):
        fake.put(repository, tag, {"mediaType": INDEX, "manifests": []})
    run(tmp_path)
    assert json.loads(local.read_text())["bases"] == {}


@pytest.mark.parametrize("text", ["", "[]", '{"bases": 3}', '{"bases": {"debian": {}}}'])
def test_a_damaged_local_record_is_as_none(served: Path, text: str) -> None:
    write_files(served, {".tasker-build/local-bases.json": text})
    run(served)


def test_wrong_words(served: Path) -> None:
    with pytest.raises(Exception, match="give one of them"):
        run(served, "--upgrade", "--check")
    with pytest.raises(Exception, match="goes with --check"):
        run(served, "--offline")
    assert "did you mean `debian`" in problems_of(lambda: run(served, "debain"))[0].hints[0]


def test_the_time_it_takes_comes_from_recorded_runs(served: Path) -> None:
    for day, seconds in (("01", 600), ("02", 300.0), ("03", 10)):
        row = {"target": "base", "result": "built", "seconds": seconds, "run": 3, "cached": 0}
        path = f".tasker-build/runs/202601{day}T000000-1/summary.json"
        write_files(served, {path: json.dumps({"version": 1, "results": [row]})})
    write_files(served, {".tasker-build/runs/20260104T000000-1/summary.json": "[1"})
    said = run(served, "--dry-run")
    assert "about 5m00s of building" in said
    assert "no duration is recorded here for: app, leaf, other" in said
