"""One file, link or folder of the workspace as it counts for a context, and which mode bits say something of their own.

A context carries modes as they are, as docker's own does: only then do both ways of building make the same image and find each
other's cache. Most bits only repeat the umask of whoever checked the files out, so another umask must be no change. They count
from the moment when they say more: a mode that this umask does not give was chosen by somebody.
"""

from __future__ import annotations

import os
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAIN, PROGRAM, FOLDER = 0o666, 0o777, 0o777
"""What programs ask for when they make a file, a program, a folder; the umask takes bits away."""
USUAL = 0o022


class Entry(NamedTuple):
    """One file, link or folder."""

    path: str
    kind: str  # `file`, `exec`, `link`, `dir`; with the mode where somebody chose it: `file-0600`
    mode: int
    link: str | None  # target text of a symbolic link
    digest: str  # of the content, or of the link's target text; none for a folder

    @property
    def identity(self) -> str:
        """Everything of the entry that can change an image, in one word."""
        return f"{self.kind}:{self.digest}"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.kind.startswith("dir")

    @classmethod
    def from_word(cls, path: str, word: str, umask: int = USUAL) -> Entry:
        """Make the entry of a file or link from what is kept of it: `link:TARGET`, or its mode and its digest."""
        first, _, rest = word.partition(":")
        if first == "link":
            return cls(path, "link", 0o777, rest, sha256(os.fsencode(rest)).hexdigest())
        mode = int(first, 8)
        return cls(path, _kind_of_file(mode, umask), mode, None, rest)

    @classmethod
    def of_folder(cls, path: str, mode: int, umask: int) -> Entry:
        """Make the entry of a folder."""
        kind = "dir" if mode == FOLDER & ~umask else f"dir-{mode:04o}"
        return cls(path, kind, mode, None, "")


def _kind_of_file(mode: int, umask: int) -> str:
    if mode == PLAIN & ~umask:
        return "file"
    if mode == PROGRAM & ~umask:
        return "exec"
    return f"{'exec' if mode & 0o100 else 'file'}-{mode:04o}"


def umask_of(folders: Iterable[int], files: Iterable[int]) -> int:
    """Tell the umask under which a workspace was checked out from the modes of its folders, and of files beside them.

    The process's own umask says nothing: files may be years old. People seldom change modes of folders, so most of them agree.
    Where two umasks are as likely, it is the usual one, or else the one that takes fewer bits away.
    """
    votes = Counter(~mode & 0o777 for mode in folders)
    # Whether it is a program does not matter here: the bits of reading and writing say enough, and for all three of them.
    for mode in files:
        taken = ~mode & PLAIN
        votes[taken | (taken & 0o444) >> 2] += 1
    if not votes:
        return USUAL
    return min(votes, key=lambda umask: (-votes[umask], umask != USUAL, umask.bit_count(), umask))
