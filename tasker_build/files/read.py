"""Reads a file that may be anything: a pipe in its place is told, never waited for."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class NotAFileError(OSError):
    """What stands there is a folder, a pipe, a socket or a device."""


def read_file(path: str | Path) -> bytes:
    """Read a plain file, or the one that a link leads to.

    Raises:
        NotAFileError: it is something else.
        OSError: it is not there or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NotAFileError(errno.EINVAL, "is not a file", os.fspath(path)) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFileError(errno.EINVAL, "is not a file", os.fspath(path))
    except OSError:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        return file.read()


def read_text(path: str | Path) -> str:
    """Read a plain file as UTF-8.

    Raises:
        OSError: as for `read_file`.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_file(path).decode()
