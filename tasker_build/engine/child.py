"""A program in a process group of its own, whose standard error is read without waiting for it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LIBC = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
_PR_SET_PDEATHSIG = 1
_AT_ONCE = 1 << 18


class Child:
    """Starts with its creation."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], stdin: IO[bytes]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,  # a Ctrl-C at the terminal reaches us alone; we pass it on
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads
        )
        if self.process.stderr is None:
            raise OSError("it has no standard error")
        self.stream = self.process.stderr
        os.set_blocking(self.stream.fileno(), False)

    def fileno(self) -> int:
        """The descriptor of its standard error."""
        return self.stream.fileno()

    def read(self) -> bytes | None:
        """What it wrote since the last time; None: nothing yet, empty: it closed its end."""
        try:
            return os.read(self.fileno(), _AT_ONCE)
        except BlockingIOError:
            return None

    def poll(self) -> int | None:
        """Its exit code; None while it goes on."""
        return self.process.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal its whole process group: what it started may outlive it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def close(self) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait()
        self.stream.close()
        return code


def _die_with_parent() -> None:
    """Have the kernel end the program when we are killed; Linux only, and safe because one thread starts all of them."""
    if _LIBC is not None and hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
