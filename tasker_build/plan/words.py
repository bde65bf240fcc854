"""The words of a plan: what a step does, why, and the plan itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from tasker_build.engine.api import UNIQUE_TAG

if TYPE_CHECKING:
    from tasker_build.errors import Span
    from tasker_build.plan.changes import Change
    from tasker_build.plan.facts import Hunk
    from tasker_build.spec.names import TargetName


class Action(StrEnum):
    """What a step does, and its sign in every output."""

    KEEP = "="
    CREATE = "+"
    REBUILD = "~"
    CASCADE = "^"
    RETAG = ">"
    FORGET = "-"

    @property
    def word(self) -> str:
        """The action as a word."""
        return _WORDS[self]

    @property
    def builds(self) -> bool:
        """Whether the step makes an image."""
        return self in {Action.CREATE, Action.REBUILD, Action.CASCADE}


_WORDS = {
    Action.KEEP: "keep",
    Action.CREATE: "create",
    Action.REBUILD: "rebuild",
    Action.CASCADE: "because of a parent",
    Action.RETAG: "retag",
    Action.FORGET: "gone from the spec",
}


class ReasonKind(StrEnum):
    """Reasons: a closed set, in the order in which they are shown."""

    FORCED = "forced"
    NEW = "new"
    MISSING = "missing"
    NOT_OURS = "not-ours"
    SCHEMA = "schema"
    SPEC = "spec"
    TEMPLATE = "template"
    CONTEXT = "context"
    ARG = "arg"
    BASE = "base"
    TOOL = "tool"
    SECRET = "secret"  # noqa: S105 - a kind of reason
    PARENT = "parent"
    TAG = "tag"
    AGE = "age"
    FAILED_BEFORE = "failed-before"  # never a reason by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a step is needed: what differs, as data. `view/wording.py` says it in words."""

    kind: ReasonKind
    changes: tuple[Change, ...] = ()  # none: the kind says it all, or no record says more
    hunks: tuple[Hunk, ...] = ()  # instructions that went and came, when it is the Dockerfile that differs
    keys: tuple[str, ...] = ()  # keys of the spec that say what it speaks of
    spans: tuple[Span, ...] = ()  # where they are; the planner does not know it


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a plan."""

    target: TargetName
    action: Action
    reasons: tuple[Reason, ...] = ()
    fingerprint: str = ""
    image: str = ""  # repository name
    tags: tuple[str, ...] = ()  # tags for people
    image_id: str | None = None  # of the image to keep or retag
    needed_by_selection: bool = False
    against: str = field(default="", compare=False)  # id of the image that its reasons speak of, where one is built

    @property
    def unique_reference(self) -> str:
        """The one name that says this image is ours: repository and fingerprint."""
        return unique_reference(self.image, self.fingerprint)


def unique_reference(repository: str, fingerprint: str) -> str:
    """`name:tb-<fingerprint>`."""
    return f"{repository}:{UNIQUE_TAG}{fingerprint[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every selected target in build order, then what is gone from the spec."""

    steps: tuple[Step, ...]

    @property
    def changed(self) -> bool:
        """Whether applying the plan would do anything."""
        return any(step.action not in {Action.KEEP, Action.FORGET} for step in self.steps)


UNCOMMITTED = " + uncommitted changes"
"""What follows the commit where files were not as it has them."""


def short_id(image_id: str) -> str:
    """The part of an image id that people compare."""
    return image_id.removeprefix("sha256:")[:12]
