"""Everything an explanation draws on, and what images say they were built on. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.engine.api import Image
    from tasker_build.errors import Span
    from tasker_build.plan.history import BuildKey, BuildRecord
    from tasker_build.plan.planner import Observed
    from tasker_build.plan.wanted import Wanted
    from tasker_build.plan.words import Plan
    from tasker_build.spec.model import Spec
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything an explanation draws on; `plan` is that of all targets."""

    spec: Spec
    wanted: Mapping[TargetName, Wanted]
    observed: Observed
    records: Mapping[BuildKey, BuildRecord]
    plan: Plan
    places: Mapping[str, Span] = field(default_factory=dict)  # key of the spec → where it is
    lines: Mapping[TargetName, tuple[str, Sequence[int]]] = field(default_factory=dict)  # Dockerfile, line of each instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltOn:
    """Something an image was built on."""

    name: str  # a target, or the reference of a base
    image_id: str
    references: tuple[str, ...]  # its names now; none: it is gone or has lost its names
    now: str | None = None  # the image that has the name now, where that is another


def built_on(image: Image, situation: Situation) -> tuple[BuiltOn, ...]:
    """What an image says it was built on, beside what has those names now."""
    names = situation.observed.names()
    references = {other.id: other.references for other in situation.observed.images}
    current = {step.target: step.image_id for step in situation.plan.steps}
    rows = []
    for name, image_id in sorted((image.label.built_on if image.label else {}).items()):
        now = next((found for target, found in current.items() if target == name), None) or names.get(name)
        rows.append(
            BuiltOn(
                name=name,
                image_id=image_id,
                references=references.get(image_id, ()),
                now=now if now and now != image_id else None,
            )
        )
    return tuple(rows)


def record_of(situation: Situation, name: TargetName, image: Image | None) -> BuildRecord | None:
    record = situation.records.get((name, image.label.fingerprint)) if image and image.label else None
    return record if record and image and record.image_id == image.id else None
