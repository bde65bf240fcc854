"""What is asked of an apply, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.errors import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from tasker_build.build.events import Event
    from tasker_build.plan.words import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a plan is to be applied."""

    jobs: int  # builds at the same time
    limit_compilers: bool = False  # each of them runs no more compilers than that
    fail_fast: bool = False
    push: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an apply."""

    plan: Plan
    events: tuple[Event, ...] = ()  # the results; nothing else
    run: Path | None = None  # the folder of its logs; None: there was nothing to do
    revision: str = ""  # the Git revision of the workspace as records have it
    seconds: float = 0.0
    exit_code: Exit = Exit.OK
