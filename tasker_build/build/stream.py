"""What BuildKit says while it builds, its rawjson, bounded in memory however much it prints."""

from __future__ import annotations

import base64
import json
import re
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TAIL_LINES = 40


@dataclass(slots=True)
class Vertex:
    """One step of a build as BuildKit reports it."""

    name: str
    started: str | None = None
    completed: str | None = None
    cached: bool = False
    error: str | None = None
    seen_at: float = 0.0
    partial: str = ""
    reused: dict[str, int] = field(default_factory=dict)  # what sccache says at its end
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    @property
    def is_step(self) -> bool:
        """Whether it is an instruction of the Dockerfile, not BuildKit's own housekeeping."""
        return bool(_STEP.match(self.name))

    @property
    def stage(self) -> str:
        """The stage it belongs to; "" for the only stage of a file, and for what is no step."""
        match = _STEP.match(self.name)
        return (match[1] or "") if match else ""

    @property
    def running(self) -> bool:
        """Whether it started and did not end."""
        return self.started is not None and self.completed is None and not self.cached


_LONGEST_LINE = 1 << 14
_SCCACHE = re.compile(r"(Compile requests|Cache hits|Cache misses)\s+(\d+)$")
_STEP = re.compile(r"\[(?:(\S+) +)?\d+/\d+\] ")  # a file with one stage leaves its name out
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")


def printable(text: str) -> str:
    """A log line without terminal escapes and control characters: logs are other people's text."""
    text = _ESCAPE.sub("", text)
    return "".join(char if char.isprintable() or char == "\t" else "" for char in text)


class Progress:
    """Follows one build's rawjson stream, bounded in memory however much it prints."""

    def __init__(self, log: IO[str]) -> None:
        self.vertexes: dict[str, Vertex] = {}
        self.log = log
        self.rest: deque[str] = deque(maxlen=200)  # what is not JSON: the error text at the end
        self.began: datetime | None = None  # by BuildKit's clock
        self._partial = b""
        self._last_logged = ""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """Take what is left without a line end."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def _line(self, line: bytes) -> None:
        try:
            message: Any = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            text = printable(line.decode(errors="replace"))
            self.rest.append(text)
            self.log.write(text + "\n")
            return
        for raw in message.get("vertexes") or ():
            self._vertex(raw)
        for raw in message.get("logs") or ():
            self._log(raw)

    def _vertex(self, raw: Mapping[str, Any]) -> None:
        vertex = self.vertexes.setdefault(str(raw.get("digest")), Vertex(str(raw.get("name", ""))))
        if vertex.started is None and raw.get("started"):
            vertex.seen_at = time.monotonic()
        vertex.started = raw.get("started") or vertex.started
        if self.began is None and vertex.name.startswith("[internal]"):
            self.began = moment(vertex.started)
        # A step may start again; only the newest word counts.
        vertex.completed = raw.get("completed") or (None if raw.get("started") else vertex.completed)
        vertex.cached = bool(raw.get("cached")) or vertex.cached
        vertex.error = raw.get("error") or vertex.error

    def _log(self, raw: Mapping[str, Any]) -> None:
        vertex = self.vertexes.get(str(raw.get("vertex")))
        try:
            text = base64.b64decode(raw.get("data") or "").decode(errors="replace")
        except ValueError:
            return
        if vertex is None:
            return
        if self._last_logged != vertex.name:
            self._last_logged = vertex.name
            self.log.write(f"--- {vertex.name}\n")
        # Output comes in pieces that end anywhere; a line that never ends is cut rather than kept.
        *lines, vertex.partial = (vertex.partial + text).split("\n")
        if len(vertex.partial) > _LONGEST_LINE:
            lines.append(vertex.partial)
            vertex.partial = ""
        for line in lines:
            clean = printable(line.rsplit("\r", 1)[-1])
            if clean.strip():
                vertex.tail.append(clean)
                if match := _SCCACHE.match(clean):
                    vertex.reused[match[1]] = vertex.reused.get(match[1], 0) + int(match[2])
                self.log.write(clean + "\n")

    def steps(self) -> Iterator[Vertex]:
        """Instructions of the Dockerfile."""
        return (vertex for vertex in self.vertexes.values() if vertex.is_step)

    def is_reused(self, vertex: Vertex) -> bool:
        """Whether this build did not run a step: it was cached, or another build that still goes on had begun it before."""
        started = moment(vertex.started)
        return vertex.cached or (started is not None and self.began is not None and started < self.began)

    def current(self) -> Vertex | None:
        """The step that runs longest now."""
        running = [vertex for vertex in self.steps() if vertex.running]
        return min(running, key=lambda vertex: vertex.seen_at) if running else None

    def failed(self) -> Vertex | None:
        """The step that failed; one that was only cancelled does not count when another has a cause of its own."""
        broken = [vertex for vertex in self.vertexes.values() if vertex.error]
        own = [vertex for vertex in broken if "context canceled" not in (vertex.error or "")]
        return next(iter(own or broken), None)


def moment(text: str | None) -> datetime | None:
    """Read a time of BuildKit's; None when it is none."""
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None
