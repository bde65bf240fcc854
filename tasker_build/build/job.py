"""A job: all that the build of one target needs, made before the first build starts. Values only, and no project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasker_build.context import ContextPart
    from tasker_build.dockerfile import Composition
    from tasker_build.engine.api import ImageLabel
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image to build."""

    target: TargetName
    reasons: str = ""  # for people
    reference: str  # the unique name of the image
    names: tuple[str, ...] = ()  # those for people: the finished image gets them
    composition: Composition
    parts: tuple[ContextPart, ...]  # the files that the composition copies from
    dockerfiles: Mapping[str, str] = field(default_factory=dict)  # target in the composition → path of its rendered Dockerfile
    label: ImageLabel  # without `built_on` and `built`: they are known when the build starts
    built_on: Mapping[str, str] = field(default_factory=dict)  # parent or base → reference of the image that it stands for
    secrets: Mapping[str, Path] = field(default_factory=dict)
    network: str = "default"
    platform: str | None = None
    redo: bool = False  # the target's own steps run even if BuildKit has them
    dated: bool = False  # the label says when it was built
    against: str = ""  # id of the image that it is to differ from
    relinked: Job | None = None  # the same from the finished images of all parents; None: it is that already

    @property
    def no_cache_stages(self) -> tuple[str, ...]:
        """The stages that BuildKit must not take from its cache."""
        return tuple(stage for stage, owner in self.composition.stages.items() if owner == self.target) if self.redo else ()
