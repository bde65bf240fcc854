"""`tasker-build apply`."""

from __future__ import annotations

import fcntl
import functools
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tasker_build.cli.answer import format_option, say_document
from tasker_build.cli.planning import check_words, chosen, plan_again, plan_project, read_plan, states_of
from tasker_build.engine.docker import DockerEngine, buildx
from tasker_build.errors import BuildError, Exit, Problem, RefusedError, SelectionError
from tasker_build.plan.installation import site_secrets
from tasker_build.plan.words import Action, Plan
from tasker_build.view.plan import plan_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.build.events import Event
    from tasker_build.build.executor import Executor
    from tasker_build.cli import Settings
    from tasker_build.engine.api import Engine
    from tasker_build.project import Project


@click.command("apply")
@click.argument("selection", metavar="[SELECT]... | PLAN.json", nargs=-1)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Builds at the same time; where it is given, cargo inside each of them runs no more compilers than that, either.",
)
@click.option("-x", "--fail-fast", is_flag=True, help="Start nothing more after a failure.")
@click.option("--exclude", multiple=True, metavar="SELECT", help="Leave these out.")
@click.option("--since", metavar="REV", help="Only targets that differ from what they were at this Git revision.")
@click.option("--rebuild", multiple=True, metavar="SELECT", help="Build these again whatever their state.")
@click.option("--builder", help="The buildx builder to use.")
@click.option("--progress", type=click.Choice(["auto", "tty", "plain", "quiet"]), default="auto", help="How to show progress.")
@click.option("--version", "version", default="latest", help="Version for image tags.")
@click.option("--push", is_flag=True, help="Once all is built, push the tags of what was selected to their registry.")
@format_option("text", "json")
@click.pass_obj
def command(
    settings: Settings,
    selection: tuple[str, ...],
    jobs: int,
    fail_fast: bool,  # noqa: FBT001
    exclude: tuple[str, ...],
    since: str | None,
    rebuild: tuple[str, ...],
    builder: str | None,
    progress: str,
    version: str,
    push: bool,  # noqa: FBT001
    form: str,
) -> int:
    file = _plan_file(selection)
    saved = read_plan(file) if file else None
    if saved is not None:
        if rebuild or exclude or since or version != "latest":
            raise click.UsageError("a saved plan says itself what is built and tagged: leave the other options out")
        version = saved.asked.version
    project = settings.project(version)
    project.wanted  # noqa: B018 - every mistake of the user's comes before the engine's
    words: tuple[str, ...] | None = selection
    if saved is None:
        check_words(project, selection, exclude, rebuild)
        states = states_of(project, builder)
        words = chosen(project, selection, exclude, since, states)
        rebuild = chosen(project, rebuild, (), None, states) or ()
    if words is None:
        click.echo(f"no selected target differs from `{since}`", err=True)
        return _nothing_to_do(project, Plan(steps=()), form)
    engine = DockerEngine.connect(builder)
    engine.version()
    if saved is not None and file is not None:
        # Before the lock: a refused plan leaves nothing behind. Under it once more: another apply may have come first.
        plan = plan_again(project, engine, saved, file)
        if not plan.changed and not push:
            return _nothing_to_do(project, plan, form)
    with _lock(project):
        if saved is not None and file is not None:
            plan = plan_again(project, engine, saved, file)
        else:
            plan = plan_project(project, engine, words, rebuild)
        _adopt(project, plan, engine)
        if not plan.changed:
            code = _nothing_to_do(project, plan, form)
            return _push(engine, plan) if push else code
        run, summary = _build(project, engine, plan, jobs=jobs, fail_fast=fail_fast, progress=progress, to_stderr=form == "json")
    code = Exit(summary["exit_code"])
    # No longer under the lock: a slow registry keeps no other apply waiting.
    if push and code == Exit.OK and (code := _push(engine, plan)) != Exit.OK:
        summary |= {"exit_code": code}
        project.records.summarise(run, summary)
    if form == "json":
        say_document(summary)
    return code


def _build(
    project: Project, engine: DockerEngine, plan: Plan, *, jobs: int, fail_fast: bool, progress: str, to_stderr: bool
) -> tuple[Path, dict[str, Any]]:
    """Build what a plan says; returns the folder of the run and its summary."""
    from tasker_build.build.executor import Executor  # noqa: PLC0415 - only what builds pays for it, here and below
    from tasker_build.records.revision import git_revision  # noqa: PLC0415
    from tasker_build.view.apply import apply_document  # noqa: PLC0415

    began = time.monotonic()
    buildx()
    click.echo(plan_text(plan, show_kept=False, details=False) + "\n", err=True)
    _note_drift(project)
    secrets = _secrets(project, plan)
    run = project.records.new_run()
    if click.get_current_context().get_parameter_source("jobs") is ParameterSource.COMMANDLINE:
        secrets |= _limit_compilers(project, run, jobs)
    revision = git_revision(project.root)
    executor = Executor(project, engine, plan, jobs=jobs, run=run, secrets=secrets, fail_fast=fail_fast, revision=revision)
    events = _follow(executor, progress)
    summary = apply_document(plan, project.head.project, events, run=run.name, revision=revision, exit_code=_exit_code(events))
    _summarise(project, run, summary)
    _verdict(plan, events, time.monotonic() - began, to_stderr=to_stderr)
    return run, summary


def _nothing_to_do(project: Project, plan: Plan, form: str) -> int:
    if form == "json":
        from tasker_build.records.revision import git_revision  # noqa: PLC0415
        from tasker_build.view.apply import apply_document  # noqa: PLC0415

        revision = git_revision(project.root)
        say_document(apply_document(plan, project.head.project, (), run="", revision=revision, exit_code=Exit.OK))
    else:
        click.echo(plan_text(plan, show_kept=False, details=False))
    return Exit.OK


def _push(engine: DockerEngine, plan: Plan) -> Exit:
    """Push the tags for people of everything that was selected; what was only needed for it stays here."""
    try:
        for step in plan.steps:
            if step.action is not Action.FORGET and not step.needed_by_selection:
                for tag in step.tags:
                    engine.push(f"{step.image}:{tag}")
                    click.echo(f"pushed {step.image}:{tag}", err=True)
    except BuildError as error:
        click.echo(error.draw(), err=True)
        return Exit.FAILED
    return Exit.OK


def _plan_file(selection: Sequence[str]) -> Path | None:
    """The saved plan that was named instead of a selection.

    Raises:
        SelectionError: a plan that is not there, or whose name does not say that it is one.
    """
    files: list[Path] = []
    for word in selection:
        file = Path(word)
        if word.endswith(".json") and "file:" not in word:
            if not file.is_file():
                hint = f"a plan is saved by: tasker-build plan --out {word}"
                raise SelectionError([Problem(code="S030", message=f"there is no file `{word}`", hints=(hint,))])
            files.append(file)
        elif file.is_file() and _holds_plan(file):
            message = f"`{word}` holds a saved plan, but the name of one ends in .json"
            raise SelectionError([Problem(code="S030", message=message, hints=(f"mv {word} {word}.json",))])
    if files and len(selection) > 1:
        raise click.UsageError("a saved plan is applied alone: name nothing beside it")
    return files[0] if files else None


def _holds_plan(file: Path) -> bool:
    from tasker_build.plan.saved import looks_saved  # noqa: PLC0415 - only a word that is a file asks

    try:
        with file.open("rb") as stream:
            return looks_saved(stream.read(512))
    except OSError:
        return False


def _secrets(project: Project, plan: Plan) -> dict[str, Path]:
    """The site's secrets for everything that is built; a required one that is missing stops the run before it starts."""
    building = [project.spec.targets[step.target] for step in plan.steps if step.action.builds]
    found = site_secrets(sorted({secret.id for target in project.spec.targets.values() for secret in target.secrets}))
    for target in building:
        for secret in target.secrets:
            if secret.required and secret.id not in found:
                from tasker_build.spec.names import secret_variable  # noqa: PLC0415

                hint = f"set {secret_variable(secret.id)} to the path of a file that holds it"
                raise RefusedError(f"target `{target.name}` needs the build secret `{secret.id}`", hints=(hint,))
    return dict(found)


def _adopt(project: Project, plan: Plan, engine: Engine) -> None:
    """Images that were built elsewhere, or whose record is gone, become known here: the next plan can name files then."""
    kept = [step for step in plan.steps if step.image_id and step.action in {Action.KEEP, Action.RETAG}]
    found = [(project.wanted[step.target], step.image_id) for step in kept if step.image_id]
    project.records.adopt(found, functools.cache(engine.identity))


def _limit_compilers(project: Project, run: Path, jobs: int) -> dict[str, Path]:
    """The build secrets that say how many compilers a build may start: for machines short of memory."""
    files = {one.jobs_secret: run / one.jobs_secret for one in project.spec.ecosystems.values() if one.jobs_secret}
    for file in files.values():
        file.write_text(str(jobs))
    return files


def _note_drift(project: Project) -> None:
    """What is built is what the spec renders; say so when the files on disk are something else."""
    from tasker_build.output import State, compare  # noqa: PLC0415

    drift = compare(project.tree, project.output, ())
    edited = [row.path for row in drift if row.state in {State.EDITED, State.FOREIGN}]
    if edited:
        click.echo(f"note: built from the spec, not from files edited by hand: {', '.join(edited)}", err=True)


def _follow(executor: Executor, progress: str) -> list[Event]:
    """Run the executor, show its events, keep the ones that are results; an interrupt is told what is done, then goes on."""
    from tasker_build.build.events import Built, Failed, Kept, Retagged, Skipped  # noqa: PLC0415
    from tasker_build.view.progress import ProgressView  # noqa: PLC0415

    terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    animate = terminal and (progress == "tty" or (progress == "auto" and not os.environ.get("CI")))
    view = ProgressView(sys.stderr, animate=animate)
    events: list[Event] = []
    try:
        for event in executor.execute():
            if isinstance(event, Built | Failed | Skipped | Retagged | Kept):
                events.append(event)
            if progress != "quiet":
                view.show(event)
    except BaseException:
        view.close()
        done = [event.target for event in events if isinstance(event, Built | Retagged)]
        left = [step.target for step in executor.plan.steps if step.action.builds and step.target not in done]
        click.echo(
            f"stopped. done: {', '.join(done) or 'nothing'}; left: {', '.join(left)}. The next apply goes on from here.",
            err=True,
        )
        raise
    view.close()
    return events


def _exit_code(events: Sequence[Event]) -> Exit:
    from tasker_build.build.events import Failed  # noqa: PLC0415

    failures = [event for event in events if isinstance(event, Failed)]
    if not failures:
        return Exit.OK
    return Exit.REFUSED if all(event.refused for event in failures) else Exit.FAILED


def _verdict(plan: Plan, events: Sequence[Event], seconds: float, *, to_stderr: bool) -> None:
    """Say what came of it, failures in full and last."""
    from tasker_build.build.events import Built, Failed, Kept, Retagged, Skipped  # noqa: PLC0415
    from tasker_build.view.progress import failure_text, seconds_text  # noqa: PLC0415

    counts = {kind: sum(isinstance(event, kind) for event in events) for kind in (Built, Retagged, Kept, Failed, Skipped)}
    words = ("built", "tagged", "unchanged", "failed", "skipped")
    told = ", ".join(f"{count} {word}" for count, word in zip(counts.values(), words, strict=True) if count)
    unstarted = sum(step.action.builds for step in plan.steps) - counts[Built] - counts[Failed] - counts[Skipped]
    told += f", {unstarted} not started" if unstarted else ""
    click.echo(f"{told or 'nothing to do'} in {seconds_text(seconds)}", err=to_stderr)
    for event in events:
        if isinstance(event, Failed):
            click.echo("\n" + failure_text(event.target, event.failure), err=True)


def _summarise(project: Project, run: Path, summary: object) -> None:
    """Keep what came of a run, and say where BuildKit did not bear the plan out: that is our defect."""
    from tasker_build.plan.judge import judge_run, wrong_guesses  # noqa: PLC0415

    project.records.summarise(run, summary)
    if wrong := wrong_guesses(judge_run(iter([(run.name, summary)]))):
        names = ", ".join(dict.fromkeys(guess.target for guess in wrong))
        click.echo(f"note: the plan guessed wrong of {names}: `tasker-build why --steps` says what", err=True)


@contextmanager
def _lock(project: Project) -> Iterator[None]:
    """Hold the project's lock; the kernel lets it go when we die.

    Raises:
        RefusedError: another run holds it.
    """
    project.records.make()
    path = project.records.folder / "lock"
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
