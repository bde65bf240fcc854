"""Events of an apply → lines: one per state change, and on a terminal what runs now at the bottom."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, TextIO

from tasker_build.build.events import Built, Failed, Kept, Relinked, Retagged, Running, Skipped, Started
from tasker_build.plan.words import short_id

if TYPE_CHECKING:
    from tasker_build.build.events import Event
    from tasker_build.build.report import Failure

HEARTBEAT = 60.0
"""Seconds of silence after which a pipe gets a line: CI systems end jobs that say nothing."""


def seconds_text(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


class ProgressView:
    """Writes events to a stream as they come."""

    def __init__(self, stream: TextIO, *, animate: bool) -> None:
        self.stream, self.animate = stream, animate
        self.shown = 0
        self.last_write = time.monotonic()

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Running):
            self._running(event)
        elif line := event_line(event):
            self._clear()
            self._write(line + "\n")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._clear()

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
        self.last_write = time.monotonic()

    def _clear(self) -> None:
        if self.shown:
            self.stream.write(f"\x1b[{self.shown}A\x1b[J")
            self.shown = 0

    def _running(self, event: Running) -> None:
        if self.animate:
            width = shutil.get_terminal_size().columns - 1
            lines = [f"  {name}  {seconds_text(seconds)}  {step}"[:width] for name, (step, seconds) in event.builds.items()]
            self._clear()
            self._write("".join(line + "\n" for line in lines))
            self.shown = len(lines)
        elif event.builds and time.monotonic() - self.last_write > HEARTBEAT:
            words = ", ".join(f"{name} {seconds_text(seconds)}" for name, (_, seconds) in event.builds.items())
            self._write(f"  ... still building: {words}\n")


def event_line(event: Event) -> str:
    """One event as a line; "" for those that are not worth one."""
    match event:
        case Started():
            return f"started  {event.target}  ({event.reasons})"
        case Built():
            work = f"{event.steps_run} steps, {event.steps_cached} cached"
            cache = f"  {event.compiler_cache}" if event.compiler_cache else ""
            return f"built    {event.target}  {seconds_text(event.seconds)}  {work}  {short_id(event.image_id)}{cache}"
        case Retagged():
            return f"tagged   {event.target}  {', '.join(event.references)}"
        case Relinked():
            return f"note     {event.target}: the build cache of {event.parent} is gone; going on from its image"
        case Failed():
            return f"FAILED   {event.target}  {seconds_text(event.seconds)}  {event.failure.step or event.failure.message}"
        case Skipped():
            return f"skipped  {event.target}  (because of {event.because})"
        case Kept() | Running():
            return ""


def failure_text(target: str, failure: Failure) -> str:
    """A failure in full: the last thing on the screen."""
    lines = [f"{target} failed" + (f" at {failure.step}" if failure.step else "")]
    lines += [f"  {failure.place}"] if failure.place else []
    lines += [f"  {failure.message}"]
    lines += [f"   | {line}" for line in failure.tail]
    lines += [f"  log {failure.log}"] if failure.log else []
    return "\n".join(lines)
