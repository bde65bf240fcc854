"""The workspace folder: read its files, hash them, write rendered files whole or not at all."""

from __future__ import annotations

import os
import stat
import time
from hashlib import file_digest, sha256
from typing import TYPE_CHECKING, NamedTuple

from tasker_build.cache import FileDigests
from tasker_build.errors import BuildError, Problem, RefusedError, Span, SpecError
from tasker_build.ignore import ALWAYS, Ignore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

_SMALL = 1 << 20


class Entry(NamedTuple):
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
    """Reads a workspace folder; every file is listed once and hashed at most once per run, and not at all where it is known
    not to have changed since an earlier one.
    """

    def __init__(self, root: Path, ignore: Sequence[str] = (), output: str = "", *, remembers: bool = False) -> None:
        self.root = root
        self._prefix = os.path.join(root, "")
        self._ignore = Ignore([*ALWAYS, *([output] if output else []), *ignore])
        self._digests = FileDigests(os.fspath(root), self._ignore.patterns) if remembers else None
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
        kept = self._digests.known if self._digests else {}
        while folders:
            folder = folders.pop()
            with os.scandir(self._prefix + folder) as entries:
                for item in entries:
                    path = f"{folder}/{item.name}" if folder else item.name
                    if item.is_dir(follow_symlinks=False):
                        if not self._ignore.prunes(path):
                            folders.append(path)
                    elif path in kept and item.is_file(follow_symlinks=False):
                        found.append(path)  # the same patterns did not match it then
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
        return self.entries((path,))[0]

    def entries(self, paths: Iterable[str]) -> list[Entry]:
        """Return the entries of some of `paths`.

        Raises:
            SpecError: a link that leaves the workspace: the image would get a dangling one.
        """
        # The longest loop of a plan: everything that is the same for each file stands outside.
        known, kept, prefix, lstat = self._entries, self._digests.known if self._digests else {}, self._prefix, os.lstat
        executable = stat.S_IXUSR
        found: list[Entry] = []
        for path in paths:
            entry = known.get(path)
            if entry is None:
                if path in kept:
                    size, written, changed, inode, device, digest = kept[path]
                    now = lstat(prefix + path)
                    if (
                        now.st_ctime_ns == changed
                        and now.st_mtime_ns == written
                        and now.st_size == size
                        and now.st_ino == inode
                        and now.st_dev == device
                    ):
                        entry = Entry(path, now.st_mode & executable != 0, None, digest)
                if entry is None:
                    entry = self._entry(path)
                known[path] = entry
            found.append(entry)
        return found

    def _entry(self, path: str) -> Entry:
        full = self._prefix + path
        looked = time.time_ns()
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(full)
            landing = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if os.path.isabs(target) or landing == ".." or landing.startswith("../"):
                message = f"the link `{path}` leaves the workspace: it points to {target}"
                hint = "replace it by a file, or add it to sources.ignore"
                raise SpecError([Problem(code="W011", message=message, span=Span(file=path, line=1, col=1), hints=(hint,))])
            return Entry(path, False, target, sha256(os.fsencode(target)).hexdigest())  # noqa: FBT003
        digest = _digest_of_file(full, status.st_size)
        if self._digests:
            self._digests.add(path, status, digest, looked)
        return Entry(path, status.st_mode & stat.S_IXUSR != 0, None, digest)

    @property
    def was_read(self) -> Collection[str]:
        """The files whose content was asked for in this run, not only its digest."""
        return self._bytes.keys()

    def digest(self, path: str) -> str:
        """Return the digest of what `read` returns; "" where that cannot be read."""
        try:
            if path not in self._bytes and not os.path.islink(self.root / path):
                return self.entry(path).digest
            return sha256(self.read(path)).hexdigest()
        except OSError:
            return ""

    def remember(self) -> None:
        """Keep for later runs what was hashed in this one."""
        if self._digests:
            self._digests.save(self.paths)


def _digest_of_file(path: str, size: int) -> str:
    if size >= _SMALL:
        with open(path, "rb") as file:
            return file_digest(file, "sha256").hexdigest()
    # Small files, that is nearly all: a file object for each would take longer than reading and hashing it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        hasher = sha256()
        # One byte more than there is: when just that one does not come, this was all.
        data = os.read(descriptor, size + 1)
        hasher.update(data)
        if len(data) != size:
            while data := os.read(descriptor, _SMALL):
                hasher.update(data)
        return hasher.hexdigest()
    finally:
        os.close(descriptor)


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
