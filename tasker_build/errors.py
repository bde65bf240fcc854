"""Everything that can go wrong for a user: one tree of exceptions, the place in a file, and how a problem is drawn.

    TaskerBuildError
    ├── UsageError      64  the command line
    ├── ProblemsError    3  located mistakes in what the user wrote; nothing was started
    │   ├── SpecError
    │   ├── TemplateError
    │   └── SelectionError
    ├── BuildError       1  a build or an engine step failed
    ├── EngineError      4  engine, buildx or compose unreachable or too old
    └── RefusedError     5  stopped for safety

Only `cli` turns these into messages and exit codes. Any other exception is a bug of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Exit(IntEnum):
    """Exit codes, as documented in `--help`."""

    OK = 0
    FAILED = 1
    DIFFERENCES = 2
    BAD_INPUT = 3
    NO_ENGINE = 4
    REFUSED = 5
    USAGE = 64
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span:
    """A place in a file the user wrote; `line` and `col` count from 1, `length` in characters on that line."""

    file: str
    line: int
    col: int
    length: int = 1
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake: its code, what is wrong, where, and what to do."""

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    hints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def draw(self) -> str:
        """Draw the problem as text, with the line and a caret below it where the place is known."""
        lines = [f"error[{self.code}]: {_lines(self.message)}"]
        if self.span is not None:
            lines += _draw_span(self.span, self.label)
        lines += [f"   = {_lines(note)}" for note in self.notes]
        lines += [f"hint: {_lines(hint)}" for hint in self.hints]
        return "\n".join(lines)


def shown(text: str) -> str:
    """A path, or whatever else others wrote, so that it can be printed on one line whatever characters it has."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _lines(text: str) -> str:
    """A text of several lines, none of which can be a command for the runner of a workflow."""
    return "\n".join(re.sub(r"^(\s*)(::|##\[)", r"\1\\\2", shown(line)) for line in text.split("\n"))


_WIDEST_LINE = 160


def _draw_span(span: Span, label: str) -> list[str]:
    lines = [f"  --> {shown(str(span))}"]
    if not span.text:
        return lines
    source = "".join(c if c.isprintable() else " " for c in span.text.expandtabs(1))
    start = span.col - 1
    if len(source) > _WIDEST_LINE:
        cut = max(0, start - _WIDEST_LINE // 2)
        source, start = source[cut : cut + _WIDEST_LINE], start - cut
    number = str(span.line)
    gutter = " " * len(number)
    length = max(1, min(span.length, len(source) - start))
    carets = " " * start + "^" * length + (f" {label}" if label else "")
    return [*lines, f" {gutter} |", f" {number} | {source}", f" {gutter} | {carets}"]


class TaskerBuildError(Exception):
    """Base of everything a user can cause or meet; `exit_code` is what the process ends with."""

    exit_code = Exit.FAILED

    def __init__(self, message: str, *, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hints)

    def draw(self) -> str:
        """Draw the whole message for a person."""
        return "\n".join([f"error: {_lines(self.message)}", *(f"hint: {_lines(hint)}" for hint in self.hints)])


class UsageError(TaskerBuildError):
    """The command line cannot be understood."""

    exit_code = Exit.USAGE


class BuildError(TaskerBuildError):
    """A build or an engine step failed."""


class EngineError(TaskerBuildError):
    """The engine, buildx or compose is unreachable or too old."""

    exit_code = Exit.NO_ENGINE


class RefusedError(TaskerBuildError):
    """Stopped for safety: nothing of the user's was touched."""

    exit_code = Exit.REFUSED


class ProblemsError(TaskerBuildError):
    """One or more located mistakes, all found in one run."""

    exit_code = Exit.BAD_INPUT
    shown = 20

    def __init__(self, problems: Iterable[Problem]) -> None:
        # A mistake that several values inherit (defaults, extends) is one mistake.
        self.problems = tuple(dict.fromkeys(problems))
        first, *more = [problem.message for problem in self.ordered]
        super().__init__(f"{first} … and {len(more)} more" if more else first)

    @property
    def ordered(self) -> Sequence[Problem]:
        """Every problem in the order of the file; those without a place come last."""
        return sorted(self.problems, key=lambda p: (p.span is None, p.span or Span(file="", line=0, col=0)))

    def draw(self) -> str:
        """Draw every problem in the order of the file, then how many there are."""
        ordered = self.ordered
        blocks = [problem.draw() for problem in ordered[: self.shown]]
        count = len(ordered)
        more = f" ({count - self.shown} more not shown)" if count > self.shown else ""
        blocks.append(f"{count} error{'s' if count != 1 else ''}{more}, nothing was rendered or built.")
        return "\n".join(blocks)


class SpecError(ProblemsError):
    """Mistakes in a spec file."""


class TemplateError(ProblemsError):
    """Mistakes in a template or in a rendered Dockerfile."""


class SelectionError(ProblemsError):
    """A selection that is malformed or matches nothing."""


def nearest(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Hints of the form "did you mean `x`?" for a misspelt word, also in the wrong case; empty when nothing is near."""
    import difflib  # noqa: PLC0415 - only on the way to an error

    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if not near:
        lower = {name.lower(): name for name in known}
        near = [lower[name] for name in difflib.get_close_matches(word.lower(), lower, n=3, cutoff=0.6)]
    return (f"did you mean {' or '.join(f'`{n}`' for n in near)}?",) if near else ()
