"""Work on all processors: forked copies of this process do a part each and send back what they found."""

from __future__ import annotations

import marshal
import os
import signal
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST = 1000
"""Items that are worth a process of their own."""
MOST = 8


def in_parts(work: Callable[[Sequence[str]], Any], items: Sequence[str]) -> list[Any]:
    """Return what `work` returns for parts of the items, in their order.

    Where there is little to do, one processor, or no way to fork, there is one part. A part whose process fails, dies or is
    not to be had is done by this one, so that errors are those of `work`.

    Args:
        work: reads only; what it changes in this process is lost, but for the first part. Returns values that `marshal` knows.
        items: what it is given parts of.
    """
    count = max(1, min(_processors(), len(items) // LEAST, MOST))
    size = max(1, -(-len(items) // count))
    first, *others = [items[i : i + size] for i in range(0, len(items), size)] or [items]
    children: list[tuple[int, int]] = []
    try:
        # No more processes may be allowed: then those that are there are enough.
        with suppress(OSError):
            for part in others:
                children.append(_fork(work, part))  # noqa: PERF401 - those that were made have to be known
        results = [work(first)]
        for child, part in zip_longest(children, others):
            data = b""
            if child is not None:
                with os.fdopen(child[1], "rb", closefd=False) as file:
                    data = file.read()
            # A part comes whole or not at all: its last byte says so.
            results.append(marshal.loads(data[:-1]) if data.endswith(_WHOLE) else work(part))  # noqa: S302 - our own
        return results
    finally:
        for child, pipe in children:
            os.close(pipe)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


_WHOLE = b"."


def _fork(work: Callable[[Sequence[str]], Any], part: Sequence[str]) -> tuple[int, int]:
    """The process that does a part, and the pipe that it writes what it found to."""
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if child:
        os.close(writing)
        return child, reading
    # Nothing of the parent's may happen twice: no handler, no buffer, no end of a `with`.
    status = 1
    try:
        os.close(reading)
        with os.fdopen(writing, "wb") as file:
            file.write(marshal.dumps(work(part)) + _WHOLE)
        status = 0
    finally:
        os._exit(status)


def _processors() -> int:
    if not hasattr(os, "fork"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
