"""A plan as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasker_build.errors import shown
from tasker_build.plan.words import Action, Plan, Step
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
        return
    from tasker_build.view import wording  # noqa: PLC0415 - a plan with nothing to do has no reasons

    for i, reason in enumerate(step.reasons):
        start = head if i == 0 else " " * len(head)
        where = f"  ({shown(place)})" if (place := wording.place(reason)) else ""
        yield f"{start}  {reason.kind.value:<{kinds}} {shown(wording.evidence(reason))}{where}{needed if i == 0 else ''}"
        if details:
            yield from (f"{' ' * (len(head) + kinds)}   {shown(line)}" for line in wording.details(reason))


def plan_data(plan: Plan, project: str) -> dict[str, Any]:
    """The plan as data: one document, fields are only ever added."""
    return document("preview", project=project, changed=plan.changed, steps=[step_data(step) for step in plan.steps])


def step_data(step: Step) -> dict[str, Any]:
    """A step as data, in plans that are shown and plans that are saved."""
    from tasker_build.view.wording import reason_data  # noqa: PLC0415 - likewise

    return {
        "target": step.target,
        "action": step.action.name.lower(),
        "fingerprint": step.fingerprint or None,
        "image": step.image or None,
        "tags": list(step.tags),
        "image_id": step.image_id,
        "needed_by_selection": step.needed_by_selection,
        "reasons": list(map(reason_data, step.reasons)),
    }
