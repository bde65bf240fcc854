"""`tasker-build apply`."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tasker_build.cli.answer import format_option, say_document
from tasker_build.cli.completing import complete_selection
from tasker_build.errors import Problem, SelectionError
from tasker_build.plan.words import Plan
from tasker_build.view.plan import plan_text
from tasker_build.work.applying import apply
from tasker_build.work.asking import check_words, chosen, states_of
from tasker_build.work.order import Order, Outcome
from tasker_build.work.planning import plan_again, plan_project, read_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.cli import Settings
    from tasker_build.cli.screen import BuildScreen
    from tasker_build.project import Project
    from tasker_build.work.news import News


@click.command("apply")
@click.argument("selection", metavar="[SELECT]... | PLAN.json", nargs=-1, shell_complete=complete_selection)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Builds at the same time. If you give it, cargo inside each build also runs at most that many compilers.",
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
        states = states_of(project, lambda: settings.engine(builder))
        words = chosen(project, selection, exclude, since, states)
        rebuild = chosen(project, rebuild, (), None, states) or ()
    screen = _Screen(progress, form)
    if words is None:
        click.echo(f"no selected target differs from `{since}`", err=True)
        return _answer(project, screen, Outcome(plan=Plan(steps=())))
    engine = settings.engine(builder)
    engine.version()
    make_plan = functools.partial(plan_project, project, engine, words, rebuild)
    if saved is not None and file is not None:
        # Before the lock: a refused plan leaves nothing behind. Under it once more: another apply may have come first.
        make_plan = functools.partial(plan_again, project, engine, saved, file)
        plan = make_plan()
        if not plan.changed and not push:
            return _answer(project, screen, Outcome(plan=plan))
    limit_compilers = click.get_current_context().get_parameter_source("jobs") is ParameterSource.COMMANDLINE
    order = Order(jobs=jobs, limit_compilers=limit_compilers, fail_fast=fail_fast, push=push)
    summary_of = functools.partial(_document, project)
    outcome = apply(project, engine, make_plan, order, tell=screen.tell, summary_of=summary_of)
    if form == "json":
        say_document(summary_of(outcome))
    return outcome.exit_code


class _Screen:
    """Shows what happens; what only a build shows is imported when there is one."""

    def __init__(self, progress: str, form: str) -> None:
        self.progress, self.form = progress, form

    def tell(self, news: News) -> None:
        """Show one piece of news."""
        if not isinstance(news, Outcome) or news.run:
            self._building.tell(news)
        elif self.form == "text":
            click.echo(plan_text(news.plan, show_kept=False, details=False))

    @functools.cached_property
    def _building(self) -> BuildScreen:
        from tasker_build.cli.screen import BuildScreen  # noqa: PLC0415

        return BuildScreen(self.progress, to_stderr=self.form == "json")


def _answer(project: Project, screen: _Screen, outcome: Outcome) -> int:
    """Answer that there is nothing to do."""
    screen.tell(outcome)
    if screen.form == "json":
        say_document(_document(project, outcome))
    return outcome.exit_code


def _document(project: Project, outcome: Outcome) -> dict[str, Any]:
    from tasker_build.records.revision import git_revision  # noqa: PLC0415 - people do not wait for it
    from tasker_build.view.apply import apply_document  # noqa: PLC0415

    revision = outcome.revision if outcome.run else git_revision(project.root)
    run = outcome.run.name if outcome.run else ""
    return apply_document(
        outcome.plan, project.head.project, outcome.events, run=run, revision=revision, exit_code=outcome.exit_code
    )


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
                raise SelectionError([Problem(code="S036", message=f"there is no file `{word}`", hints=(hint,))])
            files.append(file)
        elif file.is_file() and _holds_plan(file):
            message = f"`{word}` holds a saved plan, but the name of one ends in .json"
            raise SelectionError([Problem(code="S036", message=message, hints=(f"mv {word} {word}.json",))])
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
