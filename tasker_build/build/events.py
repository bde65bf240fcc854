"""What happens while a plan is applied, as values; how they look is the view's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.build.report import CompilerCache, Failure, StepResult
    from tasker_build.spec.model import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Nothing to do for a target."""

    target: TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Retagged:
    """Names for people moved to an image that was there."""

    target: TargetName
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A build began."""

    target: TargetName
    reasons: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relinked:
    """A parent's build cache is gone although its image is there: the child goes on from the image."""

    target: TargetName
    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs now: target → (step, seconds); many a second, for terminals."""

    builds: Mapping[TargetName, tuple[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A build ended well and its image was verified."""

    target: TargetName
    image_id: str
    seconds: float
    steps_run: int
    steps_cached: int
    steps: tuple[StepResult, ...] = ()  # its own and its parents'
    compiler_cache: CompilerCache | None = None
    as_before: bool | None = None  # only the label tells the image from the one that it was to differ from; None: a step ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A build did not."""

    target: TargetName
    failure: Failure
    refused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A target that could not be built because of another."""

    target: TargetName
    because: TargetName


Event: TypeAlias = Kept | Retagged | Started | Relinked | Running | Built | Failed | Skipped
