"""The workspace folder: read its files, hash them, write rendered files whole or not at all."""

from __future__ import annotations

import errno
import functools
import os
import stat
import time
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

from tasker_build.errors import BuildError, Problem, RefusedError, Span, SpecError
from tasker_build.files.entry import Entry
from tasker_build.files.read import NotAFileError, read_file
from tasker_build.files.walk import Walk, special, unreadable
from tasker_build.filestate import FileState
from tasker_build.ignore import ALWAYS, Ignore
from tasker_build.parallel import in_parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

_CHUNK = 1 << 20


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
        patterns = Ignore([*ALWAYS, *([output] if output else []), *ignore])
        self._state = FileState(os.fspath(root), (tool, *patterns.patterns)) if remembers else None
        self.walk = Walk(self._prefix, patterns, self._state)
        self._entries: dict[str, Entry] = {}
        self._bytes: dict[str, bytes] = {}

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file and link that is not ignored: relative, with `/`, sorted. What is neither is named, too."""
        return self.walk.paths

    @property
    def folders(self) -> Mapping[str, int]:
        """Every folder that is not ignored, or holds a file that is not, with its mode; sorted."""
        return self.walk.folders

    def folder(self, path: str) -> Entry:
        """Return the entry of one of `folders`."""
        return Entry.of_folder(path, self.folders[path], self.walk.umask)

    def read(self, path: str) -> bytes:
        """Return a file's bytes, the same ones for the rest of the run.

        Raises:
            RefusedError: they are not those that were hashed before, or it is gone.
            SpecError: a file that may not be read.
        """
        if path not in self._bytes:
            try:
                data = read_file(self._prefix + path)
            except NotAFileError as error:
                raise special(path) from error
            except OSError as error:
                raise unreadable(path, error) from error
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
        known, seen, umask = self._known, self._entries, self.walk.umask
        found: list[Entry] = []
        for path in paths:
            entry = seen.get(path)
            if entry is None:
                word = known.get(path)
                if word is None:
                    entry = self._note(path, *self._look_at(path))
                else:
                    entry = seen[path] = Entry.from_word(path, word, umask)
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
        entry = self._entries[path] = Entry.from_word(path, word, self.walk.umask)
        return entry

    def _look_at(self, path: str) -> tuple[str, bytes]:
        """Find out what a file or link is: its word, and the stamp by which it is known again."""
        try:
            return self._look(path)
        except OSError as error:
            # A socket cannot be opened.
            raise (special(path) if error.errno == errno.ENXIO else unreadable(path, error)) from error

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
                if not stat.S_ISREG(status.st_mode):
                    raise special(path)
                word = f"{status.st_mode & 0o7777:o}:{_digest_of_file(descriptor, status.st_size)}"
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


def _open(path: str) -> int | None:
    """Open a file; None if it is a link. Nothing that is opened is waited for: a pipe may never have a writer."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
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
