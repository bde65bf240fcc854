"""The build context: one tar, written from the workspace and checked against the plan while it is written.

BuildKit's folder sync trusts size and time and can build stale bytes with exit 0; a tar on standard input cannot. What arrives
is what that sync would bring: files, links and folders, empty ones too, each with its mode and its time, and owned by root.
Modes count in BuildKit's cache, and it has those of the disk when compose builds the same files; times do not count, but steps
that compare them (make, cargo, web servers) read them, to the nanosecond. The rules below were each paid for with a wrong or
failed build: the first entry is a plain folder, every parent folder has an entry, and the Dockerfile comes last, so that a
truncated tar has none.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, TYPE_CHECKING

from tasker_build.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.files.entry import Entry
    from tasker_build.workspace import Workspace

DOCKERFILE = "Dockerfile.tasker-build"
_SECOND = 1_000_000_000
_TIME = 946_684_800 * _SECOND  # 2000-01-01, of what is no file of the workspace: after every format's epoch
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPart:
    """The context of one target, below a folder of its own in the common tar."""

    prefix: str
    entries: Sequence[Entry]


def write_tar(out: IO[bytes], workspace: Workspace, parts: Sequence[ContextPart], dockerfile: str) -> None:
    """Write the context and its Dockerfile. No file is held in memory whole.

    Raises:
        RefusedError: a file's bytes are not those the plan was made for.
    """
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_CHUNK) as tar:
        for prefix in sorted({"context"} | {part.prefix for part in parts}):
            tar.addfile(_header(prefix, tarfile.DIRTYPE, 0o755, _TIME))
        for part in sorted(parts, key=lambda part: part.prefix):
            folders = {entry.path: entry.mode for entry in part.entries if entry.is_folder}
            for entry in part.entries:
                folder = posixpath.dirname(entry.path)
                while folder and folder not in folders:
                    folders[folder] = workspace.folders[folder]
                    folder = posixpath.dirname(folder)
            for folder, mode in sorted(folders.items()):
                status = _status(workspace, folder)
                if not stat.S_ISDIR(status.st_mode) or stat.S_IMODE(status.st_mode) != mode:
                    raise drifted(folder)
                tar.addfile(_header(f"{part.prefix}/{folder}", tarfile.DIRTYPE, mode, status.st_mtime_ns))
            for entry in sorted(part.entries):
                if not entry.is_folder:
                    _add(tar, f"{part.prefix}/{entry.path}", entry, workspace)
        data = dockerfile.encode()
        header = _header(DOCKERFILE, tarfile.REGTYPE, 0o644, _TIME)
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))


def _add(tar: tarfile.TarFile, path: str, entry: Entry, workspace: Workspace) -> None:
    if entry.link is not None:
        header = _header(path, tarfile.SYMTYPE, 0o777, _status(workspace, entry.path).st_mtime_ns)
        header.linkname = entry.link
        tar.addfile(header)
        return
    try:
        # What stands there now may be anything: a pipe must not be waited for, a link not be followed.
        descriptor = os.open(workspace.root / entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != entry.mode:
                raise drifted(entry.path)
            header = _header(path, tarfile.REGTYPE, entry.mode, status.st_mtime_ns)
            header.size = status.st_size
            content = _Hashed(file)
            tar.addfile(header, content)
            if file.read(1) or content.hasher.hexdigest() != entry.digest:
                raise drifted(entry.path)
    except OSError as error:
        # What this reads may go away or get shorter; what it writes to may be full, which is another matter.
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        raise drifted(entry.path) from error


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: io.FileIO) -> None:
        self.hasher = sha256()
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self.hasher.update(data)
        return data


def _status(workspace: Workspace, path: str) -> os.stat_result:
    try:
        return os.lstat(workspace.root / path)
    except OSError as error:
        raise drifted(path) from error


def _header(path: str, kind: bytes, mode: int, time: int) -> tarfile.TarInfo:
    """A header of something that belongs to root.

    Args:
        path: the name in the tar.
        kind: tar's word for what it is.
        mode: its mode.
        time: when it was written, in nanoseconds.
    """
    header = tarfile.TarInfo(path)
    header.type, header.mode, header.mtime = kind, mode, time // _SECOND
    if time % _SECOND:
        header.pax_headers = {"mtime": f"{time // _SECOND}.{time % _SECOND:09d}"}
    return header


def drifted(path: str) -> RefusedError:
    """The refusal when a file changed between plan and build."""
    return RefusedError(f"`{path}` changed after the plan was made", hints=("run the command again: it plans anew",))


def entries_of(workspace: Workspace, paths: Sequence[str], folders: Sequence[str] = ()) -> tuple[Entry, ...]:
    """The entries of some paths and some folders of the workspace."""
    return (*workspace.entries(paths), *(workspace.folder(path) for path in folders))
