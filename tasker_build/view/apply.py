"""What came of an apply, as data: the answer of the command and the summary that a run leaves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tasker_build.build.events import Built, Failed, Retagged, Skipped
from tasker_build.view.document import document, revision_data
from tasker_build.view.plan import plan_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.build.events import Event
    from tasker_build.plan.words import Plan


def apply_document(
    plan: Plan, project: str, events: Sequence[Event], *, run: str, revision: str, exit_code: int
) -> dict[str, Any]:
    """What was planned and what came of each target.

    Args:
        plan: the plan.
        project: its name.
        events: the results; nothing else.
        run: name of the run's folder of logs, "" where nothing was run.
        revision: the Git revision of the workspace as records have it, "" where there is none.
        exit_code: what the process ends with.
    """
    return document(
        "apply",
        project=project,
        run=run or None,
        **revision_data(revision),
        exit_code=int(exit_code),
        plan=plan_data(plan, project),
        results=[_result(event) for event in events],
    )


def _result(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {"target": str(event.target), "result": type(event).__name__.lower()}  # type: ignore[union-attr]
    match event:
        case Built():
            row |= {
                "image": event.image_id,
                "seconds": round(event.seconds, 3),
                "run": event.steps_run,
                "cached": event.steps_cached,
                "as_before": event.as_before,
                "sccache": asdict(event.compiler_cache) if event.compiler_cache else None,
                "steps": [asdict(step) | {"seconds": round(step.seconds, 3)} for step in event.steps],
            }
        case Retagged():
            row |= {"tags": list(event.references)}
        case Failed():
            # Without `seconds`: how long a build takes is learnt from those that ended well.
            row |= {"refused": event.refused, "failure": asdict(event.failure)}
        case Skipped():
            row |= {"because": str(event.because)}
        case _:
            pass
    return row
