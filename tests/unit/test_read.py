"""Files that are no files, and files with a byte order mark; names that no terminal should see raw."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tasker_build.errors import Problem, RefusedError, Span, SpecError
from tasker_build.files.read import NotAFileError, read_file
from tasker_build.project import Project
from tests.conftest import problems_of, write_files
from tests.unit.tiny import FILES

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ["stacks.yaml", "stacks.lock", "tpl/base.j2", "tpl/unused.j2", "work/lib/pipe", "work/lib/a.txt"]


def instead(place: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put something that is no file in a place."""
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        monkeypatch.chdir(place.parent)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(place.name)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_told_and_not_waited_for(
    tmp_path: Path, place: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files(tmp_path / "checkout", FILES)
    instead(root / place, kind, monkeypatch)
    (problem,) = problems_of(lambda: Project.open([root / "stacks.yaml"]).wanted)
    assert place.rpartition("/")[2] in problem.message
    assert "neither a file" in problem.message or "is not a file" in problem.message


def test_what_is_no_file_and_in_no_context_is_nobodys_business(tmp_path: Path) -> None:
    root = write_files(tmp_path / "checkout", FILES)
    os.mkfifo(root / "work/pipe")
    assert Project.open([root / "stacks.yaml"]).wanted


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
@pytest.mark.parametrize("name", ["rendered.json", "targets/app.json", "local-bases.json", "runs/1/summary.json"])
def test_a_record_that_is_no_file_counts_as_none(tmp_path: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_files(tmp_path / "checkout", FILES | {f".tasker-build/{name}": ""})
    instead(root / ".tasker-build" / name, kind, monkeypatch)
    project = Project.open([root / "stacks.yaml"])
    assert project.wanted
    assert not project.records.builds(project.order)
    assert (list(project.records.summaries()), project.records.rendered()) == ([], frozenset())


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_only_files_are_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(tmp_path / "x", kind, monkeypatch)
    with pytest.raises(NotAFileError, match="is not a file"):
        read_file(tmp_path / "x")
    (tmp_path / "y").write_bytes(b"y")
    (tmp_path / "z").symlink_to("y")
    assert read_file(tmp_path / "z") == b"y"


@pytest.mark.parametrize("place", ["stacks.yaml", "tpl/base.j2", "tpl/app.j2", "stacks.lock"])
def test_a_byte_order_mark_says_nothing(tmp_path: Path, place: str) -> None:
    lock = {"stacks.lock": "version: 1\nbases: {}\n"}
    plain = write_files(tmp_path / "plain", FILES | lock)
    marked = write_files(tmp_path / "marked", FILES | lock)
    (marked / place).write_bytes(b"\xef\xbb\xbf" + (marked / place).read_bytes())
    both = [Project.open([root / "stacks.yaml"]) for root in (plain, marked)]
    first, second = ({name: item.facts.fingerprint for name, item in project.wanted.items()} for project in both)
    assert first == second
    assert "\ufeff" not in "".join(both[1].tree.dockerfiles.values())


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("a\n::error::x", "a\n\\::error::x"),
        ("a\n  ::set-output name=x::y", "a\n  \\::set-output name=x::y"),
        ("a\n##[error]x", "a\n\\##[error]x"),
        ("a\rb", r"a\rb"),
        ("a\u202eb", r"a\u202eb"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_no_message_prints_a_name_raw(name: str, drawn: str) -> None:
    span = Span(file=name.replace("\n", "\r"), line=1, col=1, text=name)
    problem = Problem(code="W013", message=f"cannot read {name}", span=span, hints=(f"see {name}",), notes=(name,))
    for text in (SpecError([problem]).draw(), RefusedError(name, hints=(name,)).draw()):
        assert drawn in text
        assert all(line.isprintable() for line in text.split("\n"))
        assert not any(line.lstrip().startswith(("::", "##[")) for line in text.split("\n"))


@pytest.mark.parametrize(
    ("link", "target", "context", "codes"),
    [
        ("current", "lib", "[lib, current]", ["W021"]),
        ("a/deep/current", "../../lib/sub", "[lib, a/deep/current]", ["W021"]),
        ("current", "lib/a.txt", "[lib, current]", []),
        ("a/current", "../lib", "[lib, a]", []),
        ("a/current", "../other", "[lib, a]", ["W012"]),
        ("current", "other", "[lib, current]", ["W012"]),
    ],
)
def test_a_link_arrives_as_a_link_or_is_told(tmp_path: Path, link: str, target: str, context: str, codes: list[str]) -> None:
    root = write_files(tmp_path / "checkout", FILES | {"work/lib/sub/x": "", f"work/{link}": ""})
    (root / "work" / link).unlink()
    (root / "work" / link).symlink_to(target)
    spec = (root / "stacks.yaml").read_text()
    (root / "stacks.yaml").write_text(spec.replace("[lib]", context))
    if not codes:
        assert Project.open([root / "stacks.yaml"]).wanted
        return
    problems = problems_of(lambda: Project.open([root / "stacks.yaml"]).wanted)
    assert [problem.code for problem in problems] == codes
    assert link in problems[0].message
