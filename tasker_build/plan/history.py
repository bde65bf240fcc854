"""What records here know of earlier builds, as plain values: a plan is made with them and reads nothing itself.

One of these values is a guard, and all others only explain. The guard is the id of the image that was built here under a
unique tag: when that tag stands on another image of this engine, the image is not believed and the target is built again. Without
records every image with our label under its unique tag is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.plan.facts import Fact

BuildKey: TypeAlias = tuple[TargetName, str]
"""A target and the fingerprint that it was built with."""


class BuiltImage(NamedTuple):
    """The guard: the image that a build here ended with."""

    image_id: str
    engine: str = ""  # id of the engine that has it; "" in records of earlier versions


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """Everything that is recorded of one earlier build; only explanations need more of it than its image."""

    facts: tuple[Fact, ...]
    templates: Mapping[str, str]
    spec: Mapping[str, str]
    image_id: str
    run: str = ""  # the run that built it
    engine: str = ""  # id of the engine that has it; "" in records of earlier versions
    revision: str = ""  # Git commit of the workspace then, and UNCOMMITTED where that is not all; it is in no fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a plan knows of earlier builds here."""

    built: Mapping[BuildKey, BuiltImage] = field(default_factory=dict)
    failed: Mapping[TargetName, str] = field(default_factory=dict)  # the run in which a target's last build failed
    records: Mapping[BuildKey, BuildRecord] = field(default_factory=dict)  # at least those that `records_needed` names

    @classmethod
    def of(cls, records: Mapping[BuildKey, BuildRecord], failed: Mapping[TargetName, str] | None = None) -> History:
        """Everything that whole records say."""
        built = {key: BuiltImage(record.image_id, record.engine) for key, record in records.items()}
        return cls(built=built, failed=failed or {}, records=records)
