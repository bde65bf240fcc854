"""What a cleanup removes: of what an engine has, the things whose names are the spec's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tasker_build.engine import programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tasker_build.engine.api import Engine
    from tasker_build.environments.owned import Owned


class Kind(StrEnum):
    """Kinds of things, in the order in which they can be removed."""

    CONTAINER = "container"
    NETWORK = "network"
    VOLUME = "volume"
    IMAGE = "image"


_LISTS: dict[Kind, tuple[str, ...]] = {
    Kind.CONTAINER: ("ps", "--all", "--no-trunc"),
    Kind.NETWORK: ("network", "ls"),
    Kind.VOLUME: ("volume", "ls"),
    Kind.IMAGE: ("image", "ls"),
}
_REMOVE: dict[Kind, tuple[str, ...]] = {
    Kind.CONTAINER: ("rm", "--force"),
    Kind.NETWORK: ("network", "rm"),
    Kind.VOLUME: ("volume", "rm"),
    Kind.IMAGE: ("image", "rm"),
}
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


def found(engine: Engine, kinds: Sequence[Kind]) -> Iterator[Thing]:
    """Everything of these kinds that an engine has."""
    for kind in kinds:
        for line in _docker(engine, [*_LISTS[kind], "--format", "json"]).splitlines():
            row = json.loads(line)
            labels = dict(part.split("=", 1) for part in str(row.get("Labels") or "").split(",") if "=" in part)
            name = f"{row['Repository']}:{row['Tag']}" if kind is Kind.IMAGE else str(row.get("Name") or row.get("Names"))
            # Images that compose built carry its project label, and so does whatever runs from them: the number is compose's own.
            by_compose = kind is not Kind.CONTAINER or "com.docker.compose.container-number" in labels
            yield Thing(kind=kind, name=name, project=labels.get("com.docker.compose.project", "") if by_compose else "")


def remove(engine: Engine, level: str, chosen: Sequence[Thing]) -> None:
    """Remove what was chosen, and what goes beyond it at this level.

    Raises:
        BuildError: the engine refuses.
    """
    for kind in LEVELS[level]:
        names = [thing.name for thing in chosen if thing.kind is kind]
        if kind is Kind.CONTAINER and names:
            _docker(engine, ["stop", *names])
        if names:
            _docker(engine, [*_REMOVE[kind], *names])
    for words in MACHINE_WIDE.get(level, ()):
        _docker(engine, words)


def _docker(engine: Engine, words: Sequence[str]) -> str:
    return programs.docker(engine.endpoint, *words).must(f"docker {words[0]} failed")
