"""What differs, as data: the reasons of a plan are made of these values, and the view says them in words. Pure.

Named tuples, for every command imports them: a dataclass takes six times as long to be made.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from tasker_build.plan.facts import Difference


class TemplateChange(NamedTuple):
    """A template says something else."""

    chain: tuple[str, ...]  # the target's own template, then each one that the one before asks for; the last one changed


class KeyChange(NamedTuple):
    """A key of the spec that the Dockerfile is made from has another value."""

    key: str


class ParentChange(NamedTuple):
    """A parent is built by this plan, or has another fingerprint than it had."""

    parent: str


class ImageChange(NamedTuple):
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


class TagChange(NamedTuple):
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


class NoImage(NamedTuple):
    """No image of the target is here, and why that is all that is known."""

    why: Absence


class Age(NamedTuple):
    """An image is older than the target's `refresh` allows."""

    seconds: float | None  # None: nobody knows when it was built
    refresh: str


class FailedRun(NamedTuple):
    """The target's last build failed."""

    run: str


class Unrecorded(NamedTuple):
    """A target has another fingerprint than it had, and no record says why."""

    old: str
    new: str


class Quoted(NamedTuple):
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
