"""What a checker found: its name, how bad it is, where it stands, what it costs, and which findings the spec suppresses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tasker_build.spec.model import Suppression

_SHOWN_TARGETS = 6
_MINUTE, _HOUR = 60, 3600


class Level(StrEnum):
    """How bad a finding is: an error fails `check`, a warning fails `check --strict`, advice fails nothing."""

    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a finding costs each time it strikes."""

    steps: int  # steps of the file itself that run again
    targets: tuple[str, ...]  # targets that are built again because of it, in build order
    seconds: float | None = None  # of all those steps; None: no duration is recorded
    avoidable: float | None = None  # the part of them that need not be
    unmeasured: int = 0  # steps without a recorded duration

    def text(self, what: str) -> str:
        """The price in words; `what` is the event that has to be paid for, such as "an edit below `src/`"."""
        words = [f"repeats {counted(self.steps, 'step')} here"] if self.steps else []
        if self.targets:
            shown = ", ".join(self.targets[:_SHOWN_TARGETS])
            more = f" and {len(self.targets) - _SHOWN_TARGETS} more" if len(self.targets) > _SHOWN_TARGETS else ""
            words.append(f"rebuilds {counted(len(self.targets), 'target')} below ({shown}{more})")
        told = f"{what} {' and '.join(words) or 'repeats nothing'}"
        if self.seconds is None:
            return f"{told}; no durations are recorded here"
        told += f": {about(self.seconds)}"
        told += f", {about(self.avoidable).removeprefix('about ')} of it for nothing" if self.avoidable is not None else ""
        return told + (f" ({counted(self.unmeasured, 'step')} not measured yet)" if self.unmeasured else "")

    def data(self) -> dict[str, Any]:
        """The price as data."""
        return {
            "steps": self.steps,
            "targets": list(self.targets),
            "seconds": self.seconds,
            "avoidable_seconds": self.avoidable,
            "unmeasured_steps": self.unmeasured,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a checker does not like."""

    checker: str
    path: str  # of the rendered file, below the output folder
    line: int
    message: str
    level: Level = Level.ERROR
    origin: str = ""  # the template or the place in the spec that the line comes from
    cost: str = ""  # the price in words
    price: Price | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.checker}: {self.message}"

    @property
    def name(self) -> str:
        """What `suppress` calls it: the rule without the checker's name, `DL3008` of `hadolint DL3008`."""
        return self.checker.rpartition(" ")[2]

    def data(self) -> dict[str, Any]:
        """The finding as data."""
        return {
            "checker": self.checker,
            "path": self.path,
            "line": self.line,
            "message": self.message,
            "level": self.level.value,
            "origin": self.origin or None,
            "cost": self.cost or None,
            "price": self.price.data() if self.price else None,
        }


def sift(findings: Iterable[Finding], suppressions: Sequence[Suppression]) -> tuple[tuple[Finding, ...], Mapping[int, int]]:
    """Take out what the spec suppresses.

    Returns:
        What is left, and place in `suppressions` → how many findings it took; the first that fits takes one.
    """
    left: list[Finding] = []
    taken: dict[int, int] = {}
    for finding in findings:
        fits = (
            i
            for i, row in enumerate(suppressions)
            if row.check == finding.name and fnmatchcase(finding.path, row.path)
        )  # fmt: skip
        if (i := next(fits, None)) is None:
            left.append(finding)
        else:
            taken[i] = taken.get(i, 0) + 1
    return tuple(left), taken


def about(seconds: float) -> str:
    """Seconds as an estimate: "about 40 s", "about 11 min"."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 1.5 * _MINUTE:
        return f"about {round(seconds)} s"
    if seconds < 1.5 * _HOUR:
        return f"about {round(seconds / _MINUTE)} min"
    return f"about {seconds / _HOUR:.1f} h"


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}{'s' if number != 1 else ''}"
