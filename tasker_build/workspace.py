"""The workspace folder: read its files, hash them, write rendered files whole or not at all."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from hashlib import file_digest, sha256
from typing import TYPE_CHECKING

from tasker_build.errors import BuildError, Problem, RefusedError, Span, SpecError
from tasker_build.ignore import ALWAYS, Ignore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file or link of the workspace as it counts for a context."""

    path: str
    executable: bool
    link: str | None  # target text of a symbolic link
    digest: str  # of the content, or of the link's target text

    @property
    def identity(self) -> str:
        """Everything of the entry that can change an image, in one word."""
        kind = "link" if self.link is not None else "exec" if self.executable else "file"
        return f"{kind}:{self.digest}"


class Workspace:
    """Reads a workspace folder; every file is listed once and hashed at most once per run."""

    def __init__(self, root: Path, ignore: Sequence[str] = (), output: str = "") -> None:
        self.root = root
        self._ignore = Ignore([*ALWAYS, *([output] if output else []), *ignore])
        self._paths: tuple[str, ...] | None = None
        self._entries: dict[str, Entry] = {}
        self._bytes: dict[str, bytes] = {}

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file and link that is not ignored: relative, with `/`, sorted.

        Raises:
            SpecError: something that is neither file, folder nor link; an image would get it as a device.
        """
        if self._paths is None:
            self._paths = tuple(sorted(self._walk()))
        return self._paths

    def _walk(self) -> list[str]:
        found: list[str] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(self.root / folder) as entries:
                for item in entries:
                    path = f"{folder}/{item.name}" if folder else item.name
                    if item.is_dir(follow_symlinks=False):
                        if not self._ignore.prunes(path):
                            folders.append(path)
                    elif self._ignore.matches(path):
                        continue
                    elif item.is_symlink() or item.is_file():
                        found.append(path)
                    else:
                        message = f"`{path}` is neither a file, a folder nor a link"
                        hint = "remove it or add it to sources.ignore"
                        raise SpecError([Problem(code="W010", message=message, hints=(hint,))])
        return found

    def read(self, path: str) -> bytes:
        """Return a file's bytes, the same ones for the rest of the run."""
        if path not in self._bytes:
            self._bytes[path] = (self.root / path).read_bytes()
        return self._bytes[path]

    def entry(self, path: str) -> Entry:
        """Return the entry of a path of `paths`.

        Raises:
            SpecError: a link that leaves the workspace: the image would get a dangling one.
        """
        if path not in self._entries:
            self._entries[path] = self._entry(path)
        return self._entries[path]

    def _entry(self, path: str) -> Entry:
        full = self.root / path
        status = full.lstat()
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(full)
            landing = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if os.path.isabs(target) or landing == ".." or landing.startswith("../"):
                message = f"the link `{path}` leaves the workspace: it points to {target}"
                hint = "replace it by a file, or add it to sources.ignore"
                raise SpecError([Problem(code="W011", message=message, span=Span(file=path, line=1, col=1), hints=(hint,))])
            return Entry(path=path, executable=False, link=target, digest=sha256(os.fsencode(target)).hexdigest())
        with full.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        return Entry(path=path, executable=bool(status.st_mode & stat.S_IXUSR), link=None, digest=digest)


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole or not at all: a draft in the same folder, then one rename.

    Raises:
        RefusedError: the path is a link, or something that is no file.
        BuildError: the disk said no.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise RefusedError(f"{path} is not a plain file", hints=("move it away; a link is never written through",))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BuildError(f"cannot write {path}: {error.strerror}") from error
