"""What is remembered between runs in the user's own cache folder. It saves time and decides nothing: all of it may be deleted.

Never in a checkout, because some of it is code that is run. A folder that others may write is not used, every file carries the
digest of its content, and the oldest files make room for new ones.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
from contextlib import suppress
from hashlib import sha256
from typing import Any

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
        if data is None:
            return None
        value = memoryview(data)[_DIGEST:]
        if sha256(value).digest() != data[:_DIGEST]:
            return None
        try:
            return marshal.loads(value)  # noqa: S302
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
