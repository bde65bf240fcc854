"""Rendered files against the disk: what differs and why, and writing only that."""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tasker_build.errors import RefusedError
from tasker_build.render import stamp_state
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tasker_build.rendered import File, Tree


class State(StrEnum):
    """How a file on disk compares with what was rendered."""

    SAME = "same"
    MISSING = "missing"
    BEHIND = "behind its template or spec"
    MODE = "other permission bits"
    EDITED = "edited by hand"
    FOREIGN = "not made by tasker-build"
    ORPHAN = "no longer rendered"

    @property
    def differs(self) -> bool:
        """Whether the disk is not as it was rendered."""
        return self is not State.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One path and how it compares."""

    path: str
    state: State
    diff: tuple[str, ...] = ()


def compare(tree: Tree, folder: Path, written_before: Iterable[str]) -> tuple[Drift, ...]:
    """Compare the tree with the output folder; one row per rendered path and per orphan, sorted."""
    clear: set[str] = set()
    rows = [_compare_file(path, file, folder, clear) for path, file in tree.files.items()]
    rows += [
        Drift(path=path, state=State.ORPHAN)
        for path in written_before
        if path not in tree.files and (folder / path).is_file() and not _through_link(folder / path, folder)
    ]
    return tuple(sorted(rows, key=lambda row: row.path))


def _compare_file(path: str, file: File, folder: Path, clear: set[str]) -> Drift:
    """Compare one file; `clear` are folders that were found to be reached through no link."""
    place = os.path.join(folder, path)
    above = os.path.dirname(place)
    while above not in clear:
        if os.path.islink(above):
            raise _refused_link(above)
        clear.add(above)
        above = os.path.dirname(above) if above != os.fspath(folder) else above
    try:
        status = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return Drift(path=path, state=State.MISSING)
    if stat.S_ISLNK(status.st_mode):
        raise _refused_link(place)
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{place} is not a plain file", hints=("move it away",))
    with open(place, "rb") as there:
        data = there.read()
    if data == file.text.encode():
        executable = bool(status.st_mode & 0o100)
        return Drift(path=path, state=State.SAME if executable == (file.mode == 0o755) else State.MODE)  # noqa: PLR2004
    text = data.decode("utf-8", "replace")
    state = {"ours": State.BEHIND, "edited": State.EDITED, "foreign": State.FOREIGN}[stamp_state(text)]
    diff = difflib.unified_diff(
        text.split("\n"), file.text.split("\n"), f"{path} (on disk)", f"{path} (rendered)", lineterm="", n=2
    )
    return Drift(path=path, state=state, diff=tuple(diff))


def _refused_link(link: str) -> RefusedError:
    return RefusedError(f"{link} is a link; rendered files are never written through one", hints=("replace it by a folder",))


def _through_link(place: Path, folder: Path) -> Path | None:
    """The link on the way from `folder` to `place`, either end included: it could lead out of the output folder."""
    ways = (place, *place.parents)
    return next((way for way in ways[: ways.index(folder) + 1] if way.is_symlink()), None)


def write(tree: Tree, folder: Path, drift: Sequence[Drift], *, force: bool) -> tuple[str, ...]:
    """Write what differs and remove unmodified orphans; return the paths that were touched.

    Raises:
        RefusedError: hand edits or foreign files are in the way and `force` is not given; then nothing was written.
    """
    guarded = [row for row in drift if row.state in {State.EDITED, State.FOREIGN}]
    if guarded and not force:
        names = "\n".join(f"  {folder / row.path}: {row.state}" for row in guarded)
        hints = (
            "`tasker-build render --check` shows the differences",
            "move an edit into the spec or a template of your own, or give --force to overwrite",
        )
        raise RefusedError(f"nothing was written, these files are not ours to overwrite:\n{names}", hints=hints)
    touched: list[str] = []
    for row in drift:
        if row.state is State.ORPHAN:
            if stamp_state((folder / row.path).read_text(encoding="utf-8", errors="replace")) == "ours":
                (folder / row.path).unlink()
                touched.append(row.path)
        elif row.state is not State.SAME:
            write_file(folder / row.path, tree.files[row.path].text.encode(), tree.files[row.path].mode)
            touched.append(row.path)
    return tuple(touched)
