"""What is remembered between runs in the user's own cache folder. It saves time and decides nothing: all of it may be deleted.

Never in a checkout, because some of it is code that is run. A folder that others may write is not used, every file carries the
digest of its content, and the oldest files make room for new ones.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_FILES = 4096
MOST_BYTES = 256 << 20


class Cache:
    """One folder below the user's cache folder."""

    def __init__(self, kind: str) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.folder = os.path.join(base, "tasker-build", kind)
        self._has_room = False

    def read(self, name: str) -> bytes | None:
        """Return what was kept under a name; None when there is nothing, or others may write here."""
        with suppress(OSError):
            if self._is_private():
                with open(os.path.join(self.folder, name), "rb") as file:
                    return file.read()
        return None

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes under a name, whole or not at all; where that is not possible nothing is kept, and nobody minds."""
        draft = os.path.join(self.folder, f".{name}.{os.getpid()}")
        with suppress(OSError, RuntimeError):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            if not self._is_private():
                return
            try:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                os.replace(draft, os.path.join(self.folder, name))
            finally:
                with suppress(OSError):
                    os.unlink(draft)
            if not self._has_room:
                self._make_room()
                self._has_room = True

    def load(self, name: str) -> Any:
        """Return the value kept under a name; None when there is none, or what is there is not what was written."""
        data = self.read(f"{name}-{sys.implementation.cache_tag}")
        # Only bytes that we wrote are unmarshalled: others could do anything to the interpreter.
        if data is None or sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        try:
            return marshal.loads(memoryview(data)[_DIGEST:])  # noqa: S302
        except (ValueError, EOFError, TypeError):
            return None

    def save(self, name: str, value: Any) -> None:
        """Keep a value made of dicts, tuples, lists, texts, bytes and numbers."""
        data = marshal.dumps(value)
        self.write(f"{name}-{sys.implementation.cache_tag}", sha256(data).digest() + data)

    def _is_private(self) -> bool:
        status = os.lstat(self.folder)
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022

    def _make_room(self) -> None:
        with os.scandir(self.folder) as items:
            files = [(status.st_mtime_ns, status.st_size, item.path) for item in items if (status := item.stat())]
        total = 0
        for i, (_, size, path) in enumerate(sorted(files, reverse=True)):
            total += size
            if i and (i >= MOST_FILES or total > MOST_BYTES):
                with suppress(OSError):
                    os.unlink(path)


_DIGEST = 32
_MARGIN = 2_000_000_000
"""A file that was touched within these nanoseconds may be changed once more without its times showing it: two seconds is the
coarsest clock that a file system has."""
_SOUND = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "overlay"})
"""File systems whose times and inode numbers say when a file changed. On a network, or shared into a virtual machine, they come
late; in memory, a file that is mapped and written keeps its times."""

Known = tuple[int, int, int, int, int, str]
"""Size, time of the last write and of the last change in nanoseconds, inode and device; and the digest."""


class FileDigests:
    """Digests of files that are known not to have changed since they were hashed.

    Size and time of a file say nothing: both can be set. The time of its last change and its inode cannot, so all of them must
    agree; and a file is only remembered when its last change was longer ago than any clock's step, for then a later change
    shows. When the clock is found to have gone back, nothing is believed.
    """

    def __init__(self, root: str, scope: Iterable[str] = (), *, sound: bool | None = None) -> None:
        """Read what is known of the files below a folder.

        Args:
            root: the folder.
            scope: what decides which files are looked at; another one knows nothing of this one's files.
            sound: whether its file system tells of changes; asked of the system when not given.
        """
        self._root = os.path.realpath(root)
        self._cache = Cache("digests-2")
        self._about = (self._root, *scope)
        self._name = sha256(b"\0".join(map(os.fsencode, self._about))).hexdigest()[:32]
        self._sound = _is_sound(self._root) if sound is None else sound
        self.known: dict[str, Known] = {}
        """Path → what is known of every file that was hashed, in this scope, whatever became of it since. The digest is the
        file's when everything before it is as it was."""
        self._new: dict[str, Known] = {}
        if self._sound:
            value = self._cache.load(self._name)
            if value is not None and value[0] == self._about and value[1] <= time.time_ns():
                self.known = value[2]

    def add(self, path: str, status: os.stat_result, digest: str, looked: int) -> None:
        """Note the digest of a file.

        Args:
            path: its path.
            status: its status from before it was read.
            digest: its digest.
            looked: the time, in nanoseconds, from before its status was asked for.
        """
        if self._sound and max(status.st_ctime_ns, status.st_mtime_ns) < looked - _MARGIN:
            times = (status.st_mtime_ns, status.st_ctime_ns)
            self._new[path] = (status.st_size, *times, status.st_ino, status.st_dev, digest)

    def save(self, paths: Iterable[str]) -> None:
        """Keep what is new; `paths` are those that are still there."""
        if not self._new:
            return
        known = self.known | self._new
        self._cache.save(self._name, (self._about, time.time_ns(), {path: known[path] for path in paths if path in known}))
        self._new = {}


def _is_sound(folder: str) -> bool:
    """Whether the file system of a folder is one of those whose word is good; no where the system does not say."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except OSError:
        return False
    best, kind = "", ""
    for row in rows:
        place = row[4].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        inside = folder == place or folder.startswith(place.rstrip("/") + "/")
        # A later mount on the same place hides the earlier one.
        if inside and len(place) >= len(best):
            best, kind = place, row[row.index("-") + 1]
    return kind in _SOUND
