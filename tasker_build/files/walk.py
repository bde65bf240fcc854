"""The names in a workspace: which files and folders count, without looking into any file."""

from __future__ import annotations

import functools
import os
import stat
import time
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, RefusedError, SpecError
from tasker_build.files.entry import Entry, umask_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasker_build.filestate import FileState, Listing
    from tasker_build.ignore import Ignore


class Walk:
    """Lists every folder of a workspace at most once, and not at all if it did not change since an earlier run."""

    def __init__(self, root: str, ignore: Ignore, state: FileState | None) -> None:
        """Read nothing yet.

        Args:
            root: the folder, with a separator at its end.
            ignore: what does not count.
            state: what earlier runs found out.
        """
        self._root, self._ignore, self._state = root, ignore, state

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """Every file and link that is not ignored: relative, with `/`, sorted. What is neither is named, too."""
        return tuple(sorted(self._walked[0]))

    @functools.cached_property
    def folders(self) -> Mapping[str, int]:
        """Every folder that is not ignored, or holds a file that is not, with its mode; sorted."""
        _, modes, holding = self._walked
        return {path: modes[path] for path in sorted(modes) if path and (path in holding or not self._ignore.matches(path))}

    @functools.cached_property
    def marked(self) -> tuple[Entry, ...]:
        """The folders that change an image by themselves: those without a file below, and those with a mode of their own."""
        _, modes, holding = self._walked
        entries = (Entry.of_folder(path, modes[path], self.umask) for path in self.folders)
        return tuple(entry for entry in entries if entry.kind != "dir" or entry.path not in holding)

    @functools.cached_property
    def umask(self) -> int:
        """The umask under which the workspace was checked out."""
        _, modes, _ = self._walked
        return umask_of(modes.values(), () if len(modes) > 1 else self._modes_of_files())

    def _modes_of_files(self) -> Iterator[int]:
        for path in self.paths:
            try:
                status = os.lstat(self._root + path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield status.st_mode

    @functools.cached_property
    def _walked(self) -> tuple[list[str], dict[str, int], set[str]]:
        """Paths of files; folder → mode, that of the workspace itself too; the folders that hold a file at any depth."""
        found: list[str] = []
        modes: dict[str, int] = {}
        holding: set[str] = set()
        todo = [""]
        while todo:
            folder = todo.pop()
            files, inside = self._listing(folder, modes)
            found += files
            todo += inside
            while files and folder and folder not in holding:
                holding.add(folder)
                folder = folder.rpartition("/")[0]
        return found, modes, holding

    def _listing(self, folder: str, modes: dict[str, int]) -> Listing:
        looked = time.time_ns()
        try:
            status = os.lstat(self._root + folder)
        except OSError as error:
            raise unreadable(folder, error) from error
        modes[folder] = status.st_mode & 0o7777
        if self._state is None:
            return self._list(folder)
        listing = self._state.listing(folder, status)
        if listing is None:
            listing = self._list(folder)
            self._state.add_listing(folder, listing, self._state.stamp(status, looked))
        return listing

    def _list(self, folder: str) -> Listing:
        files: list[str] = []
        folders: list[str] = []
        try:
            entries = os.scandir(self._root + folder)
        except OSError as error:
            raise unreadable(folder, error) from error
        with entries:
            for item in entries:
                path = f"{folder}/{item.name}" if folder else item.name
                if not item.is_dir(follow_symlinks=False):
                    if not self._ignore.matches(path):
                        files.append(path)
                elif not self._ignore.prunes(path):
                    folders.append(path)
        return tuple(files), tuple(folders)


def unreadable(path: str, error: OSError) -> SpecError | RefusedError:
    """What to tell of a file or folder that was listed and cannot be read."""
    if isinstance(error, FileNotFoundError):
        return RefusedError(f"`{path}` went away while it was read", hints=("run the command again",))
    message = f"cannot read `{path or '.'}`: {str(error.strerror).lower()}"
    return SpecError([Problem(code="W013", message=message, hints=("make it readable, or add it to sources.ignore",))])


def special(path: str) -> SpecError:
    """What to tell of a pipe, a socket or a device: an image would get it as such, and reading one may take forever."""
    message = f"`{path}` is neither a file, a folder nor a link"
    return SpecError([Problem(code="W010", message=message, hints=("remove it or add it to sources.ignore",))])
