"""What another lock rebuilds: what is wanted with the one, beside what is wanted with the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.duration import Estimate, estimate
from tasker_build.plan.facts import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.plan.wanted import Wanted
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Radius:
    """What a change of bases rebuilds."""

    total: int  # targets there are
    direct: Mapping[TargetName, tuple[str, ...]]  # target → references of the bases that it stands on itself, names of tools
    through: Mapping[TargetName, tuple[TargetName, ...]]  # target → the rebuilt parents it stands on
    time: Estimate  # of building all of them
    tools: frozenset[str] = frozenset()  # those of them that are names of tools

    @property
    def count(self) -> int:
        """Targets that are rebuilt."""
        return len(self.direct) + len(self.through)


def blast_radius(
    before: Mapping[TargetName, Wanted], after: Mapping[TargetName, Wanted], durations: Mapping[str, float]
) -> Radius:
    """Say which fingerprints differ, why, and what building those targets took before.

    Args:
        before: what is asked for with the lock as it is, parents before children.
        after: likewise with the new lock; the same targets in the same order.
        durations: target → seconds that building it took before.
    """
    hit = [name for name in after if before[name].facts.fingerprint != after[name].facts.fingerprint]
    tools = {name: _moved_tools(before[name], after[name]) for name in hit}
    direct = {name: moved for name in hit if (moved := (*_moved_bases(before[name], after[name]), *tools[name]))}
    through = {name: tuple(parent for parent in after[name].parents if parent in hit) for name in hit if name not in direct}
    return Radius(
        total=len(after),
        direct=direct,
        through=through,
        time=estimate(hit, {name: after[name].parents for name in hit}, durations),
        tools=frozenset(tool for moved in tools.values() for tool in moved),
    )


def _moved_bases(before: Wanted, after: Wanted) -> tuple[str, ...]:
    return tuple(sorted({label for label, _ in _facts(before, Group.BASE) ^ _facts(after, Group.BASE)}))


def _moved_tools(before: Wanted, after: Wanted) -> tuple[str, ...]:
    if _facts(before, Group.DOCKERFILE) == _facts(after, Group.DOCKERFILE):
        return ()
    keys = sorted(key for key in after.spec if key.startswith("tools.") and after.spec[key] != before.spec.get(key))
    return tuple(key.removeprefix("tools.") for key in keys)


def _facts(item: Wanted, group: Group) -> set[tuple[str, str]]:
    return {(fact.label, fact.value) for fact in item.facts.facts if fact.group is group}
