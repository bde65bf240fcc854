"""What an apply tells beside the events of its builds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tasker_build.build.events import Event
    from tasker_build.errors import BuildError
    from tasker_build.plan.words import Plan
    from tasker_build.work.order import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan is about to be carried out."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedByHand:
    """Rendered files on the disk are not what the spec renders, and what it renders is built."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """An interrupt, or a mistake of ours, ended the run."""

    done: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessedWrong:
    """BuildKit did not do for these targets what the plan said."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A registry has an image."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPushed:
    """A registry did not take an image; nothing more is pushed."""

    error: BuildError


Note: TypeAlias = Planned | EditedByHand | Stopped | GuessedWrong | Pushed | NotPushed

if TYPE_CHECKING:
    # An outcome comes when all is built that can be; only pushing follows.
    News: TypeAlias = Event | Note | Outcome
