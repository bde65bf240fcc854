"""Work on all processors: forked copies of this process do a part each and send back what they found."""

from __future__ import annotations

import marshal
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST = 1000
"""Items that are worth a process of their own."""
MOST = 8


def in_parts(work: Callable[[Sequence[str]], Any], items: Sequence[str]) -> list[Any]:
    """Return what `work` returns for parts of the items, in their order.

    Where there is little to do, one processor, or no way to fork, there is one part. A part whose process fails or dies is done
    by this one, so that errors are those of `work`.

    Args:
        work: reads only; what it changes in this process is lost, but for the first part. Returns values that `marshal` knows.
        items: what it is given parts of.
    """
    count = max(1, min(_processors(), len(items) // LEAST, MOST))
    size = max(1, -(-len(items) // count))
    first, *others = [items[i : i + size] for i in range(0, len(items), size)] or [items]
    children = [_fork(work, part) for part in others]
    try:
        results = [work(first)]
        for (_, pipe), part in zip(children, others, strict=True):
            with os.fdopen(pipe, "rb", closefd=False) as file:
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
    child = os.fork()
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
