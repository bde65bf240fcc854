"""`apply`: one at a time it plans, builds what the plan says, and pushes; it tells what happens and shows nothing.

What only a build needs is in `building`: an apply with nothing to do does not import it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from tasker_build.errors import BuildError, Exit, RefusedError
from tasker_build.plan.words import Action
from tasker_build.work.order import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tasker_build.engine.api import Engine
    from tasker_build.plan.words import Plan
    from tasker_build.project import Project
    from tasker_build.records.records import Records
    from tasker_build.work.news import News
    from tasker_build.work.order import Order


def apply(
    project: Project,
    engine: Engine,
    make_plan: Callable[[], Plan],
    order: Order,
    *,
    tell: Callable[[News], None],
    summary_of: Callable[[Outcome], Mapping[str, Any]],
) -> Outcome:
    """Make a plan and carry it out.

    Args:
        project: what is built.
        engine: where it is built.
        make_plan: makes the plan; under the lock, because another apply may have come first.
        order: how to apply it.
        tell: hears what happens, and the outcome before anything is pushed.
        summary_of: what to keep of a run.

    Raises:
        RefusedError: another apply runs, or a secret is missing that a step needs.
        EngineError: the engine does not answer, or cannot build.
    """
    with _one_at_a_time(project.records):
        plan = make_plan()
        _adopt(project, plan, engine)
        if plan.changed:
            from tasker_build.work.building import carry_out  # noqa: PLC0415

            outcome = carry_out(project, engine, plan, order, tell=tell, summary_of=summary_of)
        else:
            outcome = Outcome(plan=plan)
        tell(outcome)
    # No longer under the lock: a slow registry keeps no other apply waiting.
    if order.push and outcome.exit_code == Exit.OK and not _push(engine, plan, tell):
        outcome = replace(outcome, exit_code=Exit.FAILED)
        if outcome.run:
            project.records.summarise(outcome.run, summary_of(outcome))
    return outcome


def _push(engine: Engine, plan: Plan, tell: Callable[[News], None]) -> bool:
    """Push the names for people of all that was selected; what was only needed for it stays here."""
    from tasker_build.work.news import NotPushed, Pushed  # noqa: PLC0415

    selected = [step for step in plan.steps if step.action is not Action.FORGET and not step.needed_by_selection]
    try:
        for reference in (f"{step.image}:{tag}" for step in selected for tag in step.tags):
            engine.push(reference)
            tell(Pushed(reference=reference))
    except BuildError as error:
        tell(NotPushed(error=error))
        return False
    return True


def _adopt(project: Project, plan: Plan, engine: Engine) -> None:
    """Images that were built elsewhere, or whose record is gone, become known here: the next plan can name files then."""
    kept = [step for step in plan.steps if step.image_id and step.action in {Action.KEEP, Action.RETAG}]
    found = [(project.wanted[step.target], step.image_id) for step in kept if step.image_id]
    project.records.adopt(found, functools.cache(engine.identity))


@contextmanager
def _one_at_a_time(records: Records) -> Iterator[None]:
    """Hold the project's lock; the kernel lets it go when we die.

    Raises:
        RefusedError: another run holds it.
    """
    records.make()
    path = records.folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        _take(file)
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


def _take(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(
            f"another apply is running here: {file.read() or 'unknown process'}", hints=("wait for it to end",)
        ) from error
