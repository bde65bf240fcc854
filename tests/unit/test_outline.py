"""What is kept of a spec between runs: a run that remembers says what one that remembers nothing says, whatever was changed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tasker_build
from tasker_build.cache import Cache
from tasker_build.errors import SpecError, TaskerBuildError
from tasker_build.outline import runs
from tasker_build.plan.facts import Facts
from tasker_build.plan.installation import installation
from tasker_build.project import Project
from tests.conftest import HEAD, cargo_lock, write_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasker_build.rendered import Tree

SPEC = f"""\
{HEAD}workspace: work
templates: tpl
bases: {{rust: "rust:1", debian: "debian:13"}}
targets:
  build: {{kind: cargo-chef, from: {{rust: rust}}}}
  app:
    kind: rust-service
    from: {{builder: build, runtime: debian}}
    cargo: {{packages: [app], binaries: {{app: app}}}}
    context: [config]
    user: {{name: app, uid: 1000}}
  plain: {{template: plain.j2, from: {{system: debian}}, context: [plain], secrets: [{{id: token, required: true}}]}}
files:
  notes.md: {{template: notes.j2}}
"""
FILES = {
    "stacks.yaml": SPEC,
    "tpl/plain.j2": "{% include 'part.j2' %}\n",
    "tpl/part.j2": "FROM {{ spec.bases.debian }}\nCOPY plain/ /plain/\n",
    "tpl/notes.j2": "{{ spec.project }}\n",
    "work/Cargo.toml": '[workspace]\nmembers = ["app", "lib"]\n',
    "work/Cargo.lock": cargo_lock("app", "lib"),
    "work/app/Cargo.toml": '[package]\nname = "app"\n[dependencies]\nlib = {path = "../lib"}\n',
    "work/app/src/main.rs": "fn main() {}\n",
    "work/lib/Cargo.toml": '[package]\nname = "lib"\n',
    "work/lib/src/lib.rs": "",
    "work/config/base.toml": "",
    "work/plain/x.txt": "x",
}


@pytest.fixture(params=["young files", "old files"])
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that was planned and rendered once; with the clock ahead, its files are old enough to be remembered."""
    if request.param == "old files":
        ahead(monkeypatch)
    folder = write_files(tmp_path / "here", FILES)
    assert not isinstance(outcome(folder), str)
    return folder


def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10_000_000_000)
    monkeypatch.setattr("tasker_build.filestate._is_sound", lambda _: True)


Outcome = tuple[list[Any], Any]


def outcome(folder: Path, **options: Any) -> Outcome | str:
    """All that a plan and a render rest on; or what is wrong."""
    try:
        # Each by itself, as in commands that ask for one of them only.
        wanted = list(Project.open([folder / "stacks.yaml"], **options).wanted.values())
        tree: Tree = Project.open([folder / "stacks.yaml"], **options).tree
    except TaskerBuildError as error:
        return error.draw()
    return wanted, (dict(tree.files), dict(tree.dockerfiles), {name: dict(used) for name, used in tree.templates.items()})


def afresh(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, **options: Any) -> Any:
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("empty")))
        return outcome(folder, **options)


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        status = (folder / path).stat()
        (folder / path).write_text(text.replace(old, new))
        os.utime(folder / path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


def write(path: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (write_files(folder, {path: text}), None)[1]


def become_folder(folder: Path) -> None:
    (folder / "work/plain/x.txt").unlink()
    write_files(folder, {"work/plain/x.txt/y": ""})


CHANGES: dict[str, Callable[[Path], None]] = {
    "a value of the spec": replace("stacks.yaml", "packages: [app]", "packages: [lib]"),
    "a base": replace("stacks.yaml", "debian:13", "debian:12"),
    "another workspace": lambda folder: (replace("stacks.yaml", "workspace: work", "workspace: next")(folder), (folder / "work").rename(folder / "next"), None)[2],
    "what is ignored": replace("stacks.yaml", "files:", "sources: {ignore: ['**/x.txt']}\nfiles:"),
    "a mistake in the spec": replace("stacks.yaml", "kind: cargo-chef", "kind: cargo-chif"),
    "a template": replace("tpl/plain.j2", "%}\n", "%}\nRUN true\n"),
    "a template that is included": replace("tpl/part.j2", "/plain/\n", "/other/\n"),
    "a template of another file": replace("tpl/notes.j2", "}}", "}}!"),
    "a broken template": replace("tpl/notes.j2", "}}", "}"),
    "a template that hides a built-in one": write("tpl/dockerfile/rust-service.Dockerfile.j2", "FROM scratch\nCOPY config/ /\n"),
    "a manifest": replace("work/lib/Cargo.toml", '"lib"\n', '"lib"\n[[bench]]\nname = "b"\npath = "b.rs"\n'),
    "a dependency that is gone": replace("work/app/Cargo.toml", 'lib = {path = "../lib"}\n', ""),
    "the layout of a manifest": replace("work/lib/Cargo.toml", "\n", "\n\n"),
    "a new source": write("work/lib/src/more.rs", ""),
    "a new package": write("work/more/Cargo.toml", '[package]\nname = "more"\n'),
    "a source that is gone": lambda folder: os.remove(folder / "work/lib/src/lib.rs"),
    "a file that became a folder": become_folder,
    "content": replace("work/plain/x.txt", "x", "y"),
    "the exec bit": lambda folder: (folder / "work/plain/x.txt").chmod(0o755),
    "a link that leads out": lambda folder: (folder / "work/plain/l").symlink_to("../config/base.toml"),
    "a lock": write("stacks.lock", f"version: 1\nbases:\n  debian:\n    image: debian:13@sha256:{'a' * 64}\n"),
    "a broken lock": write("stacks.lock", "version: 2\n"),
}  # fmt: skip


HARMLESS = {"another workspace", "a new package"}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(
    here: Path, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = outcome(here)
    assert before == afresh(here, monkeypatch, tmp_path_factory)
    saved = tmp_path_factory.mktemp("saved") / "here"
    shutil.copytree(here, saved, symlinks=True)
    CHANGES[what](here)
    changed = outcome(here)
    assert changed == afresh(here, monkeypatch, tmp_path_factory)
    assert (changed == before) == (what in HARMLESS)
    assert outcome(here) == changed
    # And back: what was kept first is still there.
    shutil.rmtree(here)
    shutil.copytree(saved, here, symlinks=True)
    assert outcome(here) == before


def test_what_is_no_part_of_the_spec_is_asked_each_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outcome(here)
    (here / "token").write_text("secret")
    monkeypatch.setenv("TASKER_BUILD_TOKEN", str(here / "token"))
    assert outcome(here) != before
    monkeypatch.delenv("TASKER_BUILD_TOKEN")
    versioned = outcome(here, version="1.2")
    assert not isinstance(versioned, str)
    assert {wanted.tags for wanted in versioned[0]} == {("1.2",)}
    monkeypatch.setattr("tasker_build.project.host_platform", lambda: "linux/other")
    assert outcome(here) != before


def test_another_workspace_is_another_scene(here: Path) -> None:
    other = here.parent / "other"
    shutil.copytree(here / "work", other)
    (other / "plain/x.txt").write_text("y")
    assert outcome(here, workspace=other) != outcome(here)


def test_a_workspace_that_is_gone_is_told(here: Path) -> None:
    (here / "work").rename(here / "gone")
    with pytest.raises(SpecError) as caught:
        Project.open([here / "stacks.yaml"])
    assert "stacks.yaml:3:12" in caught.value.draw()


def test_a_plan_that_knows_its_outlines_reads_no_spec(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_loaded", "_cold"):
        monkeypatch.setattr(Project, name, property(lambda _: pytest.fail("was needed")))
    assert not isinstance(outcome(here), str)


def test_another_tool_believes_nothing_of_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasker_build.project.installation", lambda: b"another")
    monkeypatch.setattr(Project, "_loaded", property(lambda _: pytest.fail("was needed")))
    with pytest.raises(pytest.fail.Exception):
        outcome(here)


def test_an_upgrade_of_the_tool_is_another_tool(tmp_path: Path) -> None:
    before = installation.__wrapped__()
    assert installation.__wrapped__() == before
    file = Path(tasker_build.__file__).parent / "cli" / "__init__.py"
    os.utime(file)
    assert installation.__wrapped__() != before


@pytest.mark.parametrize("damage", ["cut", "writable"])
def test_a_cache_that_cannot_be_believed_is_not(here: Path, damage: str) -> None:
    before = outcome(here)
    folder = Path(Cache("outlines").folder)
    for file in folder.iterdir():
        if damage == "cut":
            file.write_bytes(file.read_bytes()[:-3])
        else:
            name = file.name.removesuffix(f"-{sys.implementation.cache_tag}")
            Cache("outlines").save(name, ({}, ()))
    folder.chmod(0o777 if damage == "writable" else 0o700)
    assert outcome(here) == before


def test_nothing_of_it_lies_in_the_checkout(here: Path) -> None:
    assert {path.name for path in here.iterdir()} == {"stacks.yaml", "tpl", "work"}


def test_runs() -> None:
    assert runs([]) == ()
    assert runs([3]) == (3, 4)
    assert runs([0, 1, 2, 5, 7, 8]) == (0, 3, 5, 6, 7, 9)


def test_while_nothing_changes_nothing_is_digested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead(monkeypatch)
    folder = write_files(tmp_path / "here", FILES)
    (folder / "work/plain/l").symlink_to("x.txt")
    first = outcome(folder)
    # What a manifest says is asked for by its digest from the second run on.
    assert outcome(folder) == first
    with monkeypatch.context() as patch:
        patch.setattr("tasker_build.plan.facts.Facts.of", lambda _: pytest.fail("was digested"))
        wanted = Project.open([folder / "stacks.yaml"]).wanted
        assert list(wanted.values()) == first[0]
        # And still there is everything to explain a plan with.
        rows = {name: item.facts.facts for name, item in wanted.items()}
    write_files(folder, {"work/plain/x.txt": "y"})
    changed = Project.open([folder / "stacks.yaml"]).wanted
    for name, item in changed.items():
        assert (item.facts.facts == rows[name]) == (name != "plain")
        assert item.facts.fingerprint == Facts.of(item.facts.facts).fingerprint


def test_fingerprints_are_those_of_what_the_manifests_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a manifest was read before anybody asked whether it changed."""
    ahead(monkeypatch)
    folder = write_files(tmp_path / "here", FILES)
    for _ in range(2):
        outcome(folder)
    replace("work/lib/Cargo.toml", '"lib"\n', '"lib"\n[[bench]]\nname = "b"\npath = "b.rs"\n')(folder)
    project = Project.open([folder / "stacks.yaml"])
    assert project.models
    found = list(project.wanted.values())
    assert outcome(folder)[0] == found
