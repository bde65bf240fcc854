"""A plan as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasker_build.plan.words import Action, Plan, Step, shown
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Iterator


_KINDS = 9
"""Columns of the kind of a reason, at least."""


def plan_text(plan: Plan, *, show_kept: bool, details: bool) -> str:
    """The plan for people: a line a step with its reasons, then what it adds up to."""
    steps = [step for step in plan.steps if show_kept or step.action is not Action.KEEP]
    width = max((len(step.target) for step in steps), default=0)
    kinds = max((len(reason.kind.value) for step in steps for reason in step.reasons), default=0)
    lines = [line for step in steps for line in _step_lines(step, width, max(kinds, _KINDS), details)]
    end = totals(plan, hint="" if show_kept else " (--all shows them)")
    return "\n".join([*lines, *([""] if plan.changed else []), end])


def totals(plan: Plan, hint: str = "") -> str:
    """What a plan adds up to, in a sentence; `hint` follows the unchanged ones."""
    counts = {action: sum(step.action is action for step in plan.steps) for action in Action}
    kept = counts[Action.KEEP]
    if not plan.changed:
        return f"nothing to do: {kept} target{'s' if kept != 1 else ''} up to date"
    words = [f"{counts[action]} to {action.word}" for action in (Action.CREATE, Action.REBUILD, Action.RETAG) if counts[action]]
    words += [f"{counts[Action.CASCADE]} because of a parent"] if counts[Action.CASCADE] else []
    words += [f"{kept} unchanged{hint}"] if kept else []
    return ", ".join(words) + "."


def _step_lines(step: Step, width: int, kinds: int, details: bool) -> Iterator[str]:  # noqa: FBT001
    head = f"{step.action.value} {shown(step.target):<{width}}"
    needed = "  (needed by the selection)" if step.needed_by_selection else ""
    if not step.reasons:
        yield f"{head}  {step.action.word}{needed}" if step.action is not Action.KEEP else f"{head}{needed}"
    for i, reason in enumerate(step.reasons):
        start = head if i == 0 else " " * len(head)
        place = f"  ({shown(reason.place)})" if reason.place else ""
        yield f"{start}  {reason.kind.value:<{kinds}} {shown(reason.evidence)}{place}{needed if i == 0 else ''}"
        if details:
            yield from (f"{' ' * (len(head) + kinds)}   {shown(line)}" for line in reason.details)


def plan_data(plan: Plan, project: str) -> dict[str, Any]:
    """The plan as data: one document, fields are only ever added."""
    from tasker_build.plan.saved import step_data  # noqa: PLC0415 - a plan for people does not wait for it

    return document("preview", project=project, changed=plan.changed, steps=[step_data(step) for step in plan.steps])
