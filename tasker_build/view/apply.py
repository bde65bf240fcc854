"""What came of an apply: as data, which is the answer of the command and the summary of the run, and in words for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tasker_build.build.events import Built, Failed, Kept, Retagged, Skipped
from tasker_build.view.document import document, revision_data
from tasker_build.view.plan import plan_data, plan_text
from tasker_build.view.progress import failure_text, seconds_text
from tasker_build.work.news import EditedByHand, GuessedWrong, NotPushed, Planned, Pushed, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.build.events import Event
    from tasker_build.plan.words import Plan
    from tasker_build.work.news import Note
    from tasker_build.work.order import Outcome


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


def note_text(note: Note) -> str:
    """A note for people."""
    match note:
        case Planned():
            return plan_text(note.plan, show_kept=False, details=False) + "\n"
        case EditedByHand():
            return f"note: built from the spec, not from files edited by hand: {', '.join(note.paths)}"
        case GuessedWrong():
            return f"note: the plan guessed wrong of {', '.join(note.targets)}: `tasker-build why --steps` says what"
        case Stopped():
            done, left = ", ".join(note.done) or "nothing", ", ".join(note.left)
            return f"stopped. done: {done}; left: {left}. The next apply goes on from here."
        case Pushed():
            return f"pushed {note.reference}"
        case NotPushed():
            return note.error.draw()


def verdict(outcome: Outcome) -> str:
    """What came of a run, in one line."""
    kinds = {Built: "built", Retagged: "tagged", Kept: "unchanged", Failed: "failed", Skipped: "skipped"}
    counts = {kind: sum(isinstance(event, kind) for event in outcome.events) for kind in kinds}
    told = ", ".join(f"{count} {kinds[kind]}" for kind, count in counts.items() if count)
    unstarted = sum(step.action.builds for step in outcome.plan.steps) - counts[Built] - counts[Failed] - counts[Skipped]
    told += f", {unstarted} not started" if unstarted else ""
    return f"{told or 'nothing to do'} in {seconds_text(outcome.seconds)}"


def failures_text(outcome: Outcome) -> Iterator[str]:
    """Every failure in full: the last thing on the screen."""
    for event in outcome.events:
        if isinstance(event, Failed):
            yield "\n" + failure_text(event.target, event.failure)
