"""What earlier runs found out about a workspace, as far as it can be shown to be still so without reading it again.

Size and time of a file say nothing: both can be set. The time of its last change and its inode cannot, so all of them must
agree; and a file is only remembered when its last change was longer ago than any clock's step, for then a later change shows.
The same goes for folders: one that did not change holds the names that it held. When the clock is found to have gone back,
nothing is believed.
"""

from __future__ import annotations

import os
import time
from functools import partial
from hashlib import sha256
from itertools import compress, starmap
from operator import attrgetter
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING

from tasker_build.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_MARGIN = 2_000_000_000
"""A file that was touched within these nanoseconds may be changed once more without its times showing it: two seconds is the
coarsest clock that a file system has."""
_SOUND = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "overlay"})
"""File systems whose times and inode numbers say when a file changed. On a network, or shared into a virtual machine, they come
late; in memory, a file that is mapped and written keeps its times."""
_STAMP = attrgetter("st_ctime_ns", "st_mtime_ns", "st_size", "st_ino", "st_dev")
_NUMBERS = Struct("=5q")

Listing = tuple[tuple[str, ...], tuple[str, ...]]
"""Paths of what counts in a folder and is none, and of the folders in it that were looked into."""


class FileState:
    """What is known of one folder; everything in it goes by its path below that."""

    def __init__(self, root: str, scope: Iterable[str] = ()) -> None:
        """Read what earlier runs kept.

        Args:
            root: the folder.
            scope: what decides which files are looked at; another one knows nothing of this one's.
        """
        self._root = os.path.realpath(root)
        self._cache = Cache("files-2")
        self._about = (self._root, *scope)
        self._name = sha256(b"\0".join(map(os.fsencode, self._about))).hexdigest()[:32]
        self._sound = _is_sound(self._root)
        # What is mounted below may be of any kind.
        self._device = os.stat(self._root).st_dev if self._sound else 0
        self._folders: dict[str, tuple[bytes, Listing]] = {}
        # Columns, because that is what is read fastest: of each file its path, its stamp, and what it is, with \0 between.
        self._paths: tuple[str, ...] = ()
        self._stamps = b""
        self._words = ""
        self._content = ""
        value = self._cache.load(self._name) if self._sound else None
        if value is not None and value[0] == self._about and value[1] <= time.time_ns():
            self._folders, self._paths, self._stamps, self._words, self._content = value[2]
        self._new: dict[str, tuple[bytes, str]] = {}
        self._met: dict[str, tuple[bytes, Listing]] = {}
        self._has_new_folders = False
        self._is_partial = not self._sound  # whether something was met that cannot be remembered

    def listing(self, folder: str, status: os.stat_result) -> Listing | None:
        """Return what a folder holds, if it did not change."""
        kept = self._folders.get(folder)
        if kept is None or kept[0] != _stamp(status):
            return None
        self._met[folder] = kept
        return kept[1]

    def add_listing(self, folder: str, listing: Listing, stamp: bytes) -> None:
        """Note what a folder holds, where it is known again by its stamp."""
        if stamp:
            self._met[folder] = (stamp, listing)
            self._has_new_folders = True

    def forget_changed(self, paths: Sequence[str]) -> None:
        """Forget every file that changed, or is not there any more.

        Args:
            paths: those that are there now, sorted.
        """
        # Often all that is there is known: then there is nothing to look up.
        if self._paths != paths and not (there := frozenset(paths)).issuperset(self._paths):
            self._keep([path in there for path in self._paths])
        try:
            folder = os.open(self._root, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # The longest loop of a plan: it runs in C from end to end, and the system follows short paths only.
                statuses = map(partial(os.lstat, dir_fd=folder), self._paths)
                now = b"".join(starmap(_NUMBERS.pack, map(_STAMP, statuses)))
            finally:
                os.close(folder)
        except (OSError, StructError):
            now = b""  # something went away just now: nothing is sure
        if now != self._stamps:
            self._keep([old == new for old, new in zip(_rows(self._stamps), _rows(now.ljust(len(self._stamps))), strict=True)])

    def _keep(self, which: Sequence[bool]) -> None:
        self._stamps = b"".join(compress(_rows(self._stamps), which))
        self._words = "\0".join(compress(self._words.split("\0"), which))
        self._paths = tuple(compress(self._paths, which))
        self._content = ""

    def words(self) -> Mapping[str, str]:
        """Return what is known: path → what the file or link there is."""
        return dict(zip(self._paths, self._words.split("\0"), strict=True)) if self._paths else {}

    def add(self, path: str, word: str, stamp: bytes) -> None:
        """Note what a file or link is, where it is known again by its stamp."""
        if stamp:
            self._new[path] = (stamp, word)
        else:
            self._is_partial = True

    def stamp(self, status: os.stat_result, looked: int) -> bytes:
        """Return what any later change would change; empty where there is no such thing.

        Args:
            status: the status of a file, link or folder from before it was read.
            looked: the time, in nanoseconds, from before that was asked for.
        """
        # The time of the last write may be any: whoever sets it changes the file, and no program can set when that was.
        is_old = status.st_ctime_ns < looked - _MARGIN
        return _stamp(status) if self._sound and is_old and status.st_dev == self._device else b""

    @property
    def content(self) -> str:
        """One word for all that is known of files; "" while something is not known, or not kept yet."""
        return "" if self._new or self._is_partial else self._content

    def save(self, paths: Iterable[str]) -> None:
        """Keep what is known of the files that are there, which are `paths`."""
        if not self._new and not self._has_new_folders and (self._content or not self._paths):
            return
        stamps = dict(zip(self._paths, _rows(self._stamps), strict=True))
        known = {path: (stamps[path], word) for path, word in self.words().items()} | self._new
        self._new = {}
        self._paths = tuple(path for path in paths if path in known)
        self._stamps = b"".join([known[path][0] for path in self._paths])
        self._words = "\0".join([known[path][1] for path in self._paths])
        self._content = sha256("\0".join([*self._paths, self._words]).encode("utf-8", "surrogateescape")).hexdigest()
        self._has_new_folders = False
        kept = (self._met, self._paths, self._stamps, self._words, self._content)
        self._cache.save(self._name, (self._about, time.time_ns(), kept))


def _stamp(status: os.stat_result) -> bytes:
    """What tells a file from itself after a change; empty where one of its numbers is beyond all numbers."""
    try:
        return _NUMBERS.pack(*_STAMP(status))
    except StructError:
        return b""


def _rows(stamps: bytes) -> Iterator[bytes]:
    return (stamps[i : i + _NUMBERS.size] for i in range(0, len(stamps), _NUMBERS.size))


def _is_sound(folder: str) -> bool:
    """Whether the file system of a folder is one of those whose word is good; no where the system does not say."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
                mount = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
        finally:
            os.close(descriptor)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            fields = next(row for line in file if (row := line.split(" "))[0] == mount)
    except (OSError, StopIteration):
        return False
    return fields[fields.index("-") + 1] in _SOUND
