"""Rendered files against the disk: only what differs is written, nothing that is not ours is touched."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tasker_build.errors import RefusedError
from tasker_build.output import State, compare, write
from tasker_build.records.records import Records
from tasker_build.render import stamped
from tasker_build.rendered import File, Tree
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from pathlib import Path


def tree(**texts: str) -> Tree:
    """`tree(a_Dockerfile="x")` renders a/Dockerfile; a name that ends in `_sh` is executable."""
    files = {name.replace("_", "/"): (text, 0o755 if name.endswith("_sh") else 0o644) for name, text in texts.items()}
    return Tree(files={path: stamped(path, text, "t.j2", mode) for path, (text, mode) in files.items()}, dockerfiles={})


def put(new: Tree, folder: Path, before: tuple[str, ...] = (), *, force: bool = False) -> tuple[str, ...]:
    return write(new, folder, compare(new, folder, before), force=force)


def states(new: Tree, folder: Path, before: tuple[str, ...] = ()) -> dict[str, str]:
    return {row.path: row.state.name for row in compare(new, folder, before)}


def everything(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_everything_is_written_once_and_then_nothing(tmp_path: Path) -> None:
    new = tree(a_Dockerfile="FROM x", run_sh="#!/bin/sh\nx")
    assert states(new, tmp_path) == {"a/Dockerfile": "MISSING", "run/sh": "MISSING"}
    assert put(new, tmp_path) == ("a/Dockerfile", "run/sh")
    assert put(new, tmp_path) == ()
    assert states(new, tmp_path) == {"a/Dockerfile": "SAME", "run/sh": "SAME"}
    assert everything(tmp_path) == {path: file.text for path, file in new.files.items()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        put(tree(f="x", run_sh="x"), tmp_path)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("f", "run/sh")] == [0o644, 0o755]


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    put(tree(a="1", b="1"), tmp_path)
    for name in ("a", "b"):
        os.utime(tmp_path / name, (1, 1))
    assert states(tree(a="1", b="2"), tmp_path) == {"a": "SAME", "b": "BEHIND"}
    assert put(tree(a="1", b="2"), tmp_path) == ("b",)
    assert (tmp_path / "a").stat().st_mtime == 1
    assert (tmp_path / "b").stat().st_mtime != 1


def test_a_lost_exec_bit_is_put_back(tmp_path: Path) -> None:
    put(tree(run_sh="x"), tmp_path)
    (tmp_path / "run/sh").chmod(0o644)
    assert states(tree(run_sh="x"), tmp_path) == {"run/sh": "MODE"}
    assert put(tree(run_sh="x"), tmp_path) == ("run/sh",)
    assert states(tree(run_sh="x"), tmp_path) == {"run/sh": "SAME"}


@pytest.mark.parametrize(
    ("text", "state"), [("mine\n", "FOREIGN"), ("", "FOREIGN"), (stamped("f", "old", "t").text + "more\n", "EDITED")]
)
def test_hand_edits_and_foreign_files_are_refused_and_nothing_is_written(tmp_path: Path, text: str, state: str) -> None:
    (tmp_path / "f").write_text(text)
    new = tree(a="1", f="new")
    assert states(new, tmp_path)["f"] == state
    with pytest.raises(RefusedError, match="nothing was written"):
        put(new, tmp_path)
    assert everything(tmp_path) == {"f": text}
    assert put(new, tmp_path, force=True) == ("a", "f")
    assert states(new, tmp_path) == {"a": "SAME", "f": "SAME"}


def test_the_difference_is_shown(tmp_path: Path) -> None:
    put(tree(f="old"), tmp_path)
    (row,) = compare(tree(f="new"), tmp_path, ())
    assert row.diff[:2] == ("--- f (on disk)", "+++ f (rendered)")
    assert {"-old", "+new"} <= set(row.diff)


def test_other_line_ends_are_a_difference(tmp_path: Path) -> None:
    put(tree(f="a\nb"), tmp_path)
    (tmp_path / "f").write_bytes((tmp_path / "f").read_bytes().replace(b"\n", b"\r\n"))
    assert states(tree(f="a\nb"), tmp_path) != {"f": "SAME"}


def test_links_are_never_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "f").symlink_to(outside / "f")
    with pytest.raises(RefusedError, match="is a link"):
        put(tree(f="x"), out, force=True)
    (out / "f").unlink()
    (out / "sub").symlink_to(outside)
    with pytest.raises(RefusedError, match="is a link"):
        put(tree(sub_f="x"), out, force=True)
    (tmp_path / "linked").symlink_to(outside)
    with pytest.raises(RefusedError, match="is a link"):
        put(tree(f="x"), tmp_path / "linked", force=True)
    assert everything(outside) == {"f": "mine"}


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(RefusedError, match="not a plain file"):
        put(tree(f="x"), tmp_path, force=True)


def test_orphans_go_only_when_we_wrote_them_and_nobody_edited_them(tmp_path: Path) -> None:
    put(tree(keep="1", ours="1", edited="1", unknown="1"), tmp_path)
    (tmp_path / "edited").write_text((tmp_path / "edited").read_text() + "more\n")
    (tmp_path / "foreign").write_text("mine\n")
    before = ("keep", "ours", "edited", "foreign", "never-there")
    assert states(tree(keep="1"), tmp_path, before) == {"keep": "SAME", "ours": "ORPHAN", "edited": "ORPHAN", "foreign": "ORPHAN"}
    assert put(tree(keep="1"), tmp_path, before) == ("ours",)
    assert sorted(everything(tmp_path)) == ["edited", "foreign", "keep", "unknown"]


def test_an_orphan_is_not_deleted_through_a_link(tmp_path: Path) -> None:
    put(tree(f="x"), tmp_path / "outside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path / "outside")
    try:
        put(tree(a="1"), tmp_path / "out", ("sub/f",))
    finally:
        assert (tmp_path / "outside/f").exists()


@pytest.mark.parametrize("text", ["[1]", '"abc"', '["../x"]', '["/etc/x"]'])
def test_a_damaged_list_of_rendered_files_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "rendered.json").write_text(text)
    assert Records(tmp_path).rendered() == frozenset()


def test_a_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: whichever call fails, the old file stays and no draft is left."""
    place = tmp_path / "f"
    for call in ("fsync", "fchmod", "replace"):
        place.write_text("old")

        def fail(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(Exception, match="No space left"):
                write_file(place, b"new", 0o644)
        assert everything(tmp_path) == {"f": "old"}
    write_file(place, b"new", 0o644)
    assert everything(tmp_path) == {"f": "new"}


def test_states_have_words_for_people() -> None:
    assert State.BEHIND.value == "behind its template or spec"
    assert File(text="x").mode == 0o644
