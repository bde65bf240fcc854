"""What differs, as data: the reasons of a plan are made of these values, and the view says them in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from tasker_build.plan.facts import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChange:
    """A template says something else."""

    chain: tuple[str, ...]  # the target's own template, then each one that the one before asks for; the last one changed


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """A key of the spec that the Dockerfile is made from has another value."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentChange:
    """A parent is built by this plan, or has another fingerprint than it had."""

    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChange:
    """A name stands on another image than it did."""

    name: str  # a reference, or the target that is built on
    old: str  # id of the image
    new: str | None  # None: the name is gone


class Found(Enum):
    """What a tag for people stands on instead of the image that it should."""

    NOTHING = auto()
    FOREIGN = auto()  # an image that we did not build
    OTHER_TARGET = auto()
    BY_HAND = auto()  # our label without the unique tag
    OTHER_BUILD = auto()  # an image of the target with another fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChange:
    """A tag for people does not stand on the image that it should."""

    reference: str
    found: Found
    image_id: str = ""
    target: str = ""  # whose image it is
    fingerprint: str = ""


class Absence(Enum):
    """Why it is not known that an image of a target was ever here."""

    NOT_ASKED = auto()  # offline
    OTHER_ENGINE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoImage:
    """No image of the target is here, and why that is all that is known."""

    why: Absence


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """An image is older than the target's `refresh` allows."""

    seconds: float | None  # None: nobody knows when it was built
    refresh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """The target's last build failed."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """A target has another fingerprint than it had, and no record says why."""

    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A reason of a saved plan, in the words that it was saved with."""

    evidence: str
    details: tuple[str, ...] = ()
    place: str = ""


Change: TypeAlias = (
    Difference
    | TemplateChange
    | KeyChange
    | ParentChange
    | ImageChange
    | TagChange
    | NoImage
    | Age
    | FailedRun
    | Unrecorded
    | Quoted
)
