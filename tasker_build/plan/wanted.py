"""What the spec asks of one target: what a plan compares with the engine. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.plan.facts import Facts
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the spec asks of one target."""

    name: TargetName
    facts: Facts
    image: str
    tags: tuple[str, ...]
    platform: str
    parents: tuple[TargetName, ...]
    refresh: str = ""  # an image older than this is built again: 7d
    bases: tuple[str, ...]  # references
    templates: Mapping[str, str] = field(default_factory=dict)  # template → digest
    included_by: Mapping[str, str] = field(default_factory=dict)  # template → the one that asks for it
    spec: Mapping[str, str] = field(default_factory=dict)  # key of the spec → digest of its value
