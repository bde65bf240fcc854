"""How long a set of builds will take, from how long each took before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a set of builds adds up to."""

    seconds: float = 0.0  # of the targets whose duration is known, one after the other
    unknown: tuple[TargetName, ...] = ()  # targets whose duration is not
    critical: tuple[TargetName, ...] = ()  # the chain that takes longest
    critical_seconds: float = 0.0


def estimate(
    names: Iterable[TargetName], parents: Mapping[TargetName, Iterable[TargetName]], durations: Mapping[str, float]
) -> Estimate:
    """Add up builds, and find the chain that takes longest; among equals the one with more targets, then the first.

    Args:
        names: the targets that are built, parents before children.
        parents: target → what it is built from; what is not among the names counts as there already.
        durations: target → seconds that building it took before.
    """
    longest: dict[TargetName, tuple[float, int]] = {}
    before: dict[TargetName, TargetName | None] = {}
    for name in names:
        parent = max((parent for parent in parents[name] if parent in longest), key=longest.__getitem__, default=None)
        seconds, count = longest[parent] if parent is not None else (0.0, 0)
        longest[name], before[name] = (seconds + durations.get(name, 0.0), count + 1), parent
    at = end = max(longest, key=longest.__getitem__, default=None)
    chain: list[TargetName] = []
    while at is not None:
        chain.append(at)
        at = before[at]
    return Estimate(
        seconds=sum(durations.get(name, 0.0) for name in longest),
        unknown=tuple(name for name in longest if name not in durations),
        critical=tuple(reversed(chain)),
        critical_seconds=longest[end][0] if end is not None else 0.0,
    )
