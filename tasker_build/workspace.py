"""The workspace folder: read its files, hash them, write rendered files whole or not at all."""

from __future__ import annotations

import errno
import functools
import os
import stat
import time
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tasker_build.errors import BuildError, Problem, RefusedError, Span, SpecError
from tasker_build.filestate import FileState
from tasker_build.ignore import ALWAYS, Ignore
from tasker_build.parallel import in_parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from tasker_build.filestate import Listing

_CHUNK = 1 << 20


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

    @classmethod
    def from_word(cls, path: str, word: str) -> Entry:
        """Make the entry of a path from its identity; for a link from the kind and its target."""
        kind, _, rest = word.partition(":")
        if kind == "link":
            return cls(path, executable=False, link=rest, digest=sha256(os.fsencode(rest)).hexdigest())
        return cls(path, kind == "exec", None, rest)


class Workspace:
    """Reads a workspace folder; every file is listed once and hashed at most once per run, and not at all where it is known
    not to have changed since an earlier one.
    """

    def __init__(
        self, root: Path, ignore: Sequence[str] = (), output: str = "", *, remembers: bool = False, tool: str = ""
    ) -> None:
        """Read nothing yet.

        Args:
            root: the folder.
            ignore: patterns for what does not count.
            output: the folder in it that holds rendered files; they do not count either.
            remembers: whether what is found out is kept between runs.
            tool: what tells this program from one that might read the patterns otherwise.
        """
        self.root = root
        self._prefix = os.path.join(root, "")
        self._ignore = Ignore([*ALWAYS, *([output] if output else []), *ignore])
        self._state = FileState(os.fspath(root), (tool, *self._ignore.patterns)) if remembers else None
        self._entries: dict[str, Entry] = {}
        self._bytes: dict[str, bytes] = {}

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """Every file and link that is not ignored: relative, with `/`, sorted.

        Raises:
            SpecError: something that is neither file, folder nor link; an image would get it as a device.
        """
        found: list[str] = []
        folders = [""]
        while folders:
            files, inside = self._listing(folders.pop())
            found += files
            folders += inside
        return tuple(sorted(found))

    def _listing(self, folder: str) -> Listing:
        if self._state is None:
            return self._list(folder)
        looked = time.time_ns()
        try:
            status = os.lstat(self._prefix + folder)
        except OSError as error:
            raise _unreadable(folder, error) from error
        listing = self._state.listing(folder, status)
        if listing is None:
            listing = self._list(folder)
            self._state.add_listing(folder, listing, self._state.stamp(status, looked))
        return listing

    def _list(self, folder: str) -> Listing:
        files: list[str] = []
        folders: list[str] = []
        try:
            entries = os.scandir(self._prefix + folder)
        except OSError as error:
            raise _unreadable(folder, error) from error
        with entries:
            for item in entries:
                path = f"{folder}/{item.name}" if folder else item.name
                if item.is_dir(follow_symlinks=False):
                    if not self._ignore.prunes(path):
                        folders.append(path)
                elif self._ignore.matches(path):
                    continue
                elif item.is_symlink() or item.is_file():
                    files.append(path)
                else:
                    message = f"`{path}` is neither a file, a folder nor a link"
                    hint = "remove it or add it to sources.ignore"
                    raise SpecError([Problem(code="W010", message=message, hints=(hint,))])
        return tuple(files), tuple(folders)

    def read(self, path: str) -> bytes:
        """Return a file's bytes, the same ones for the rest of the run.

        Raises:
            RefusedError: they are not those that were hashed before, or it is gone.
            SpecError: a file that may not be read.
        """
        if path not in self._bytes:
            try:
                data = (self.root / path).read_bytes()
            except OSError as error:
                raise _unreadable(path, error) from error
            entry = self._entries.get(path)
            if entry is not None and entry.link is None and sha256(data).hexdigest() != entry.digest:
                raise RefusedError(f"`{path}` changed while it was read", hints=("run the command again",))
            self._bytes[path] = data
        return self._bytes[path]

    def entry(self, path: str) -> Entry:
        """Return the entry of a path of `paths`.

        Raises:
            SpecError: a link that leaves the workspace: the image would get a dangling one; or a file that may not be read.
            RefusedError: a file that is gone.
        """
        return self.entries((path,))[0]

    def entries(self, paths: Iterable[str]) -> list[Entry]:
        """Return the entries of some of `paths`.

        Raises:
            SpecError: a link that leaves the workspace: the image would get a dangling one; or a file that may not be read.
            RefusedError: a file that is gone.
        """
        known, seen = self._known, self._entries
        found: list[Entry] = []
        for path in paths:
            entry = seen.get(path)
            if entry is None:
                word = known.get(path)
                if word is None:
                    entry = self._note(path, *self._look_at(path))
                else:
                    entry = seen[path] = Entry.from_word(path, word)
            found.append(entry)
        return found

    def hash_all(self, paths: Iterable[str]) -> None:
        """Hash whatever of some of `paths` has to be, on all processors: where that is much, `entries` is faster afterwards.

        Raises:
            SpecError: as for `entries`.
        """
        unknown = [path for path in paths if path not in self._known and path not in self._entries]
        found = chain.from_iterable(in_parts(self._look_at_all, unknown))
        for path, (word, stamp) in zip(unknown, found, strict=True):
            self._note(path, word, stamp)

    def _look_at_all(self, paths: Sequence[str]) -> list[tuple[str, bytes]]:
        return list(map(self._look_at, paths))

    @functools.cached_property
    def _current(self) -> FileState | None:
        """What is known of files, less what is no longer so."""
        if self._state is not None:
            self._state.forget_changed(self.paths)
        return self._state

    @functools.cached_property
    def _known(self) -> Mapping[str, str]:
        return self._current.words() if self._current else {}

    @property
    def content(self) -> str:
        """One word for the content of all files that were ever asked for; "" where it takes reading one to know it."""
        return self._current.content if self._current else ""

    def _note(self, path: str, word: str, stamp: bytes) -> Entry:
        if self._state:
            self._state.add(path, word, stamp)
        entry = self._entries[path] = Entry.from_word(path, word)
        return entry

    def _look_at(self, path: str) -> tuple[str, bytes]:
        """Find out what a file or link is: its word, and the stamp by which it is known again."""
        try:
            return self._look(path)
        except OSError as error:
            raise _unreadable(path, error) from error

    def _look(self, path: str) -> tuple[str, bytes]:
        full = self._prefix + path
        looked = time.time_ns()
        descriptor = _open(full)
        if descriptor is None:
            status = os.lstat(full)
            word = f"link:{_target(path, os.readlink(full))}"
        else:
            try:
                status = os.fstat(descriptor)
                kind = "exec" if status.st_mode & stat.S_IXUSR else "file"
                word = f"{kind}:{_digest_of_file(descriptor, status.st_size)}"
            finally:
                os.close(descriptor)
        return word, self._state.stamp(status, looked) if self._state else b""

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
        except (SpecError, RefusedError):
            return ""

    def remember(self) -> None:
        """Keep for later runs what was hashed in this one."""
        if self._state:
            self._state.save(self.paths)


def _unreadable(path: str, error: OSError) -> SpecError | RefusedError:
    """What to tell of a file or folder that was listed and cannot be read."""
    if isinstance(error, FileNotFoundError):
        return RefusedError(f"`{path}` went away while it was read", hints=("run the command again",))
    message = f"cannot read `{path}`: {str(error.strerror).lower()}"
    return SpecError([Problem(code="W013", message=message, hints=("make it readable, or add it to sources.ignore",))])


def _open(path: str) -> int | None:
    """Open a file; None if it is a link."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def _target(path: str, target: str) -> str:
    """The target of a link, if it stays in the workspace."""
    landing = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if os.path.isabs(target) or landing == ".." or landing.startswith("../"):
        message = f"the link `{path}` leaves the workspace: it points to {target}"
        hint = "replace it by a file, or add it to sources.ignore"
        raise SpecError([Problem(code="W011", message=message, span=Span(file=path, line=1, col=1), hints=(hint,))])
    return target


def _digest_of_file(descriptor: int, size: int) -> str:
    # Most files are small: a file object for each would take longer than reading and hashing it. One byte more than there is:
    # when just that one does not come, this was all.
    hasher = sha256()
    data = os.read(descriptor, min(size, _CHUNK) + 1)
    hasher.update(data)
    if len(data) != size:
        while data := os.read(descriptor, _CHUNK):
            hasher.update(data)
    return hasher.hexdigest()


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
