"""The build context: one deterministic tar, written from the workspace and checked against the plan while it is written.

BuildKit's folder sync trusts size and time and can build stale bytes with exit 0; a tar on standard input cannot. The rules
below were each paid for with a wrong or failed build: the first entry is a plain folder, owner, modes and times are fixed, every
parent folder has an entry, and the Dockerfile comes last, so that a truncated tar has none.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, TYPE_CHECKING

from tasker_build.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.workspace import Entry, Workspace

DOCKERFILE = "Dockerfile.tasker-build"
_TIME = 946_684_800  # 2000-01-01: after every format's epoch, before every real file


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPart:
    """The context of one target, below a folder of its own in the common tar."""

    prefix: str
    entries: Sequence[Entry]


def write_tar(out: IO[bytes], workspace: Workspace, parts: Sequence[ContextPart], dockerfile: str) -> None:
    """Write the context and its Dockerfile.

    Raises:
        RefusedError: a file's bytes are not those the plan was made for.
    """
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folders = {"context"} | {part.prefix for part in parts}
        entries = {f"{part.prefix}/{entry.path}": entry for part in parts for entry in part.entries}
        for path in entries:
            folder = posixpath.dirname(path)
            while folder and folder not in folders:
                folders.add(folder)
                folder = posixpath.dirname(folder)
        for folder in sorted(folders):
            tar.addfile(_header(folder, tarfile.DIRTYPE, 0o755))
        for path, entry in sorted(entries.items()):
            _add(tar, path, entry, workspace)
        data = dockerfile.encode()
        header = _header(DOCKERFILE, tarfile.REGTYPE, 0o644)
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))


def _add(tar: tarfile.TarFile, path: str, entry: Entry, workspace: Workspace) -> None:
    if entry.link is not None:
        header = _header(path, tarfile.SYMTYPE, 0o777)
        header.linkname = entry.link
        tar.addfile(header)
        return
    try:
        data = (workspace.root / entry.path).read_bytes()
    except OSError as error:
        raise drifted(entry.path) from error
    if sha256(data).hexdigest() != entry.digest:
        raise drifted(entry.path)
    header = _header(path, tarfile.REGTYPE, 0o755 if entry.executable else 0o644)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))


def _header(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.type, header.mode, header.mtime = kind, mode, _TIME
    return header


def drifted(path: str) -> RefusedError:
    """The refusal when a file changed between plan and build."""
    return RefusedError(f"`{path}` changed after the plan was made", hints=("run the command again: it plans anew",))


def entries_of(workspace: Workspace, paths: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of some paths of the workspace."""
    return tuple(workspace.entry(path) for path in paths)


def by_path(entries: Sequence[Entry]) -> Mapping[str, Entry]:
    """Entries by their path."""
    return {entry.path: entry for entry in entries}
