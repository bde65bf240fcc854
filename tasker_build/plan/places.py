"""Where the spec says what a plan's reasons speak of; looked up after the plan is made, for reading a spec takes time. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasker_build.plan.words import Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasker_build.errors import Span


def names_keys(plan: Plan) -> bool:
    """Whether any reason speaks of a key of the spec."""
    return any(reason.keys for step in plan.steps for reason in step.reasons)


def with_places(plan: Plan, places: Mapping[str, Span]) -> Plan:
    """The same plan with the places of the keys that its reasons speak of.

    Args:
        plan: the plan.
        places: key of the spec → where it is.
    """
    steps = [
        replace(step, reasons=tuple(replace(reason, spans=spans_of(reason.keys, places)) for reason in step.reasons))
        for step in plan.steps
    ]
    return Plan(steps=tuple(steps))


def spans_of(keys: Iterable[str], places: Mapping[str, Span]) -> tuple[Span, ...]:
    """Where keys of the spec are, each place once; of a key that is not there any more, where it was."""
    found: dict[str, Span] = {}
    for key in keys:
        there = key
        while there and there not in places:
            there = there.rpartition(".")[0]
        if there:
            found.setdefault(str(places[there]), places[there])
    return tuple(found.values())
