"""`--since` and `--exclude`: exact, because fingerprints are compared and not file names."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tasker_build.errors import SelectionError
from tasker_build.project import Project
from tasker_build.since import affected_since, chosen
from tests.conftest import HEAD, write_files

if TYPE_CHECKING:
    from pathlib import Path

SPEC = (
    HEAD
    + """\
templates: tpl
bases: {linux: "linux:1"}
targets:
  base: {template: t.j2, from: {x: linux}, context: [lib]}
  app: {template: t.j2, from: {x: base}, context: [app]}
  lone: {template: other.j2, from: {x: linux}, context: [lone]}
"""
)
TEMPLATE = '# one\nARG X_IMAGE={{ images[0][1] }}\nFROM {{ image("x") }}\n'


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    files = {"lib/a": "1", "app/a": "1", "lone/a": "1", "README.md": "1"}
    write_files(folder, {"stacks.yaml": SPEC, "tpl/t.j2": TEMPLATE, "tpl/other.j2": TEMPLATE, **files})
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def affected(folder: Path, revision: str = "HEAD") -> set[str]:
    return set(map(str, affected_since(Project.open([folder / "stacks.yaml"]), revision)))


def test_nothing_changed(here: Path) -> None:
    assert affected(here) == set()


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("lone/a", "2", {"lone"}),
        ("lib/a", "2", {"base", "app"}),
        ("README.md", "2", set()),
        ("tpl/t.j2", TEMPLATE.replace("one", "two"), set()),
        ("tpl/t.j2", TEMPLATE + "RUN x\n", {"base", "app"}),
        ("stacks.yaml", SPEC.replace("linux:1", "linux:2"), {"base", "app", "lone"}),
        ("stacks.yaml", "# a comment\n" + SPEC, set()),
        ("stacks.yaml", SPEC + "  new: {template: t.j2, from: {x: linux}}\n", {"new"}),
    ],
)
def test_a_change_counts_where_it_changes_an_image(here: Path, path: str, text: str, expected: set[str]) -> None:
    write_files(here, {path: text})
    assert affected(here) == expected
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message=second", "--allow-empty")
    assert (affected(here), affected(here, "HEAD~1")) == (set(), expected)


def test_before_the_spec_was_there_everything_is_new(here: Path) -> None:
    git(here, "mv", "stacks.yaml", "later.yaml")
    project = Project.open([here / "later.yaml"])
    assert set(affected_since(project, "HEAD")) == {"base", "app", "lone"}


def test_a_revision_that_git_does_not_have_is_named(here: Path, tmp_path: Path) -> None:
    with pytest.raises(SelectionError) as caught:
        affected(here, "v9")
    assert "`v9` here (no such commit)" in caught.value.draw()
    write_files(here, {"lone/a": "2"})
    git(here, "commit", "--quiet", "--all", "--message=second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{here}", "shallow")
    with pytest.raises(SelectionError) as caught:
        affected(tmp_path / "shallow", "HEAD~1")
    assert "git fetch --unshallow" in caught.value.draw()


def test_outside_git_it_says_so(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "plain",
        {"stacks.yaml": SPEC, "tpl/t.j2": TEMPLATE, "tpl/other.j2": TEMPLATE, "lib/a": "", "app/a": "", "lone/a": ""},
    )
    with pytest.raises(SelectionError) as caught:
        affected(folder)
    assert "no Git checkout" in caught.value.draw()


def test_exclude_and_since_narrow_a_selection(here: Path) -> None:
    project = Project.open([here / "stacks.yaml"])
    assert chosen(project, ("base+",), (), None) == ("base+",)
    assert chosen(project, (), ("app",), None) == ("base", "lone")
    with pytest.raises(SelectionError):
        chosen(project, ("app",), ("app",), None)
    with pytest.raises(SelectionError):
        chosen(project, (), (), "HEAD")
