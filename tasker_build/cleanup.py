"""What a cleanup would remove: the names that are the spec's own, and which of them are there. Removes nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasker_build.spec.model import Spec


class Kind(StrEnum):
    """Kinds of things, in the order in which they can be removed."""

    CONTAINER = "container"
    NETWORK = "network"
    VOLUME = "volume"
    IMAGE = "image"


LEVELS: dict[str, tuple[Kind, ...]] = {
    "containers": (Kind.CONTAINER, Kind.NETWORK),
    "basic": (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME),
    "images": (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME, Kind.IMAGE),
    "cache": (),
    "deep": (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME, Kind.IMAGE),
}
MACHINE_WIDE: dict[str, tuple[tuple[str, ...], ...]] = {
    "cache": (("builder", "prune", "--force"),),
    "deep": (("system", "prune", "--all", "--volumes", "--force"), ("builder", "prune", "--all", "--force")),
}
"""Levels that go beyond what is ours, and the commands that do it."""
EVERYTHING = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Every name that belongs to a spec."""

    projects: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    repositories: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec) -> Owned:
        """Collect the names; a stack or target that is switched off still owns what it made."""
        stacks = spec.stacks.values()
        projects = tuple(dict.fromkeys(spec.project_name(stack) for stack in stacks))
        networks = [name for stack in stacks for name in _names(stack.networks, spec.project_name(stack))]
        volumes = [name for stack in stacks for name in _names(stack.volumes, spec.project_name(stack))]
        repositories = [spec.image_name(target) for target in spec.targets.values()]
        return cls(
            projects=projects,
            networks=tuple(dict.fromkeys([*networks, *(f"{project}_default" for project in projects)])),
            volumes=tuple(dict.fromkeys(volumes)),
            repositories=tuple(dict.fromkeys(repositories)),
        )


def _names(declared: object, project: str) -> Iterable[str]:
    """Names on the engine of a stack's networks or volumes; what is external belongs to somebody else."""
    for key, value in declared.items() if isinstance(declared, dict) else ():
        options = value if isinstance(value, dict) else {}
        if not options.get("external"):
            yield str(options.get("name") or f"{project}_{key}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Thing:
    """One thing on the engine: what it is, what it is called, and the compose project its label names."""

    kind: Kind
    name: str
    project: str = ""


def removals(level: str, owned: Owned, found: Iterable[Thing]) -> tuple[Thing, ...]:
    """What a level removes out of what was found: containers by their project, the rest by its very name; in order."""
    kinds = LEVELS[level]
    order = list(Kind)
    chosen = {thing for thing in found if thing.kind in kinds and _is_ours(thing, owned)}
    return tuple(sorted(chosen, key=lambda thing: (order.index(thing.kind), thing.name)))


def _is_ours(thing: Thing, owned: Owned) -> bool:
    if thing.kind is Kind.CONTAINER:
        return thing.project in owned.projects
    if thing.kind is Kind.NETWORK:
        return thing.name in owned.networks
    if thing.kind is Kind.VOLUME:
        return thing.name in owned.volumes
    repository, _, tag = thing.name.rpartition(":")
    return repository in owned.repositories and tag != "<none>"


def word_to_type(level: str, chosen: Iterable[Thing], project: str) -> str:
    """The word that has to be typed before a removal; empty where a plain yes is enough."""
    if level == "deep":
        return EVERYTHING
    return project if any(thing.kind is Kind.VOLUME for thing in chosen) else ""
