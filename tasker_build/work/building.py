"""A plan that changes something → its run: secrets, jobs, builds, and the records of what came of them."""

from __future__ import annotations

import functools
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasker_build.build.events import Built, Failed, Kept, Retagged, Skipped
from tasker_build.build.executor import Executor
from tasker_build.build.process import start_build
from tasker_build.errors import Exit, RefusedError
from tasker_build.output import State, compare
from tasker_build.plan.installation import site_secrets
from tasker_build.plan.judge import judge_run, wrong_guesses
from tasker_build.plan.words import Action
from tasker_build.records.revision import git_revision
from tasker_build.schedule import Schedule
from tasker_build.spec.names import secret_variable
from tasker_build.work.jobs import jobs_for
from tasker_build.work.news import EditedByHand, GuessedWrong, Planned, Stopped
from tasker_build.work.order import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from tasker_build.build.events import Event
    from tasker_build.engine.api import Engine
    from tasker_build.plan.words import Plan
    from tasker_build.project import Project
    from tasker_build.work.news import News
    from tasker_build.work.order import Order


def carry_out(
    project: Project,
    engine: Engine,
    plan: Plan,
    order: Order,
    *,
    tell: Callable[[News], None],
    summary_of: Callable[[Outcome], Mapping[str, Any]],
) -> Outcome:
    """Do what a plan says, and keep what came of it.

    Raises:
        RefusedError: a secret is missing that a step needs.
        EngineError: the engine does not answer, or cannot build.
    """
    began = time.monotonic()
    engine.check_builder()
    tell(Planned(plan=plan))
    if edited := _edited_by_hand(project):
        tell(EditedByHand(paths=edited))
    secrets = _secrets(project, plan)
    run = project.records.new_run()
    if order.limit_compilers:
        secrets |= _limit_compilers(project, run, order.jobs)
    revision = git_revision(project.root)
    happening = execute(project, engine, plan, order, run=run, secrets=secrets, revision=revision)
    events = _follow(happening, plan, tell)
    outcome = Outcome(plan=plan, events=events, run=run, revision=revision, exit_code=_exit_code(events))
    summary = summary_of(outcome)
    project.records.summarise(run, summary)
    if wrong := wrong_guesses(judge_run(iter([(run.name, summary)]))):
        # That BuildKit does not bear a plan out is our defect.
        tell(GuessedWrong(targets=tuple(dict.fromkeys(guess.target for guess in wrong))))
    return replace(outcome, seconds=time.monotonic() - began)


def execute(
    project: Project,
    engine: Engine,
    plan: Plan,
    order: Order,
    *,
    run: Path,
    secrets: Mapping[str, Path],
    revision: str = "",
) -> Generator[Event, None, None]:
    """Carry out a plan's steps; whatever is built is known to the records before anybody hears of it.

    Args:
        project: the plan's project.
        engine: where to build.
        plan: the plan.
        order: how to carry it out.
        run: folder of the logs.
        secrets: secret id → file, those the site has.
        revision: the Git revision of the workspace.

    Raises:
        RefusedError: a file changed since the plan was made.
        EngineError: the engine does not answer any more.
    """
    engine_id, images = engine.identity(), engine.images()
    jobs = jobs_for(project, plan, images, secrets)
    ids = {reference: image.id for image in images for reference in image.references}
    ids |= {step.unique_reference: step.image_id for step in plan.steps if step.image_id}
    yield from _settle(plan, engine)
    executor = Executor(
        Schedule(project.graph, jobs),
        jobs,
        functools.partial(start_build, engine=engine, workspace=project.workspace, folder=run),
        engine,
        ids=ids,
        at_once=order.jobs,
        fail_fast=order.fail_fast,
    )
    with closing(executor.execute()) as events:
        for event in events:
            if isinstance(event, Built):
                wanted = project.wanted[event.target]
                project.records.remember(wanted, event.image_id, run=run.name, revision=revision, engine=engine_id)
            elif isinstance(event, Failed) and not event.refused:
                project.records.note_failure(event.target, run.name)
            yield event


def _settle(plan: Plan, engine: Engine) -> Iterator[Event]:
    """Steps that need no build."""
    for step in plan.steps:
        if step.action is Action.KEEP:
            yield Kept(target=step.target)
        elif step.action is Action.RETAG and step.image_id:
            references = tuple(f"{step.image}:{tag}" for tag in step.tags)
            for reference in references:
                engine.tag(step.image_id, reference)
            yield Retagged(target=step.target, references=references)


def _follow(happening: Generator[Event, None, None], plan: Plan, tell: Callable[[News], None]) -> tuple[Event, ...]:
    """Tell all events, and return those that are results; an interrupt is told with what is done, and goes on."""
    events: list[Event] = []
    try:
        for event in happening:
            if isinstance(event, Built | Failed | Skipped | Retagged | Kept):
                events.append(event)
            tell(event)
    except BaseException:
        happening.close()
        done = tuple(event.target for event in events if isinstance(event, Built | Retagged))
        left = tuple(step.target for step in plan.steps if step.action.builds and step.target not in done)
        tell(Stopped(done=done, left=left))
        raise
    return tuple(events)


def _secrets(project: Project, plan: Plan) -> dict[str, Path]:
    """The site's secrets for everything that is built; a required one that is missing stops the run before it starts."""
    building = [project.spec.targets[step.target] for step in plan.steps if step.action.builds]
    found = site_secrets(sorted({secret.id for target in project.spec.targets.values() for secret in target.secrets}))
    for target in building:
        for secret in target.secrets:
            if secret.required and secret.id not in found:
                hint = f"set {secret_variable(secret.id)} to the path of a file that holds it"
                raise RefusedError(f"target `{target.name}` needs the build secret `{secret.id}`", hints=(hint,))
    return dict(found)


def _limit_compilers(project: Project, run: Path, jobs: int) -> dict[str, Path]:
    """The build secrets that say how many compilers a build may start: for machines short of memory."""
    files = {one.jobs_secret: run / one.jobs_secret for one in project.spec.ecosystems.values() if one.jobs_secret}
    for file in files.values():
        file.write_text(str(jobs))
    return files


def _edited_by_hand(project: Project) -> tuple[str, ...]:
    """Rendered files that somebody edited, or that are somebody else's."""
    drift = compare(project.tree, project.output, ())
    return tuple(row.path for row in drift if row.state in {State.EDITED, State.FOREIGN})


def _exit_code(events: Sequence[Event]) -> Exit:
    failures = [event for event in events if isinstance(event, Failed)]
    if not failures:
        return Exit.OK
    return Exit.REFUSED if all(event.refused for event in failures) else Exit.FAILED
