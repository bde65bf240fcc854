"""`tasker-build plan`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import annotate, format_option, say_document
from tasker_build.cli.completing import complete_selection
from tasker_build.errors import BuildError, Exit, Problem, SelectionError
from tasker_build.plan.words import Plan
from tasker_build.view.graph import FORMATS, graph_text
from tasker_build.view.plan import plan_data, plan_text, step_data
from tasker_build.work.asking import check_words, chosen, states_of
from tasker_build.work.planning import plan_project, plan_to_save, write_plan
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from tasker_build.cli import Settings
    from tasker_build.duration import Estimate
    from tasker_build.engine.docker import DockerEngine
    from tasker_build.plan.saved import PlanRequest
    from tasker_build.project import Project
    from tasker_build.view.picture import PictureOptions

_BY_SUFFIX = {".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".json": "json", ".txt": "tree"}
_PICTURES = (".svg", ".html", ".png")


@click.command("plan")
@click.argument("selection", nargs=-1, shell_complete=complete_selection)
@click.option(
    "--graph",
    "graph",
    is_flag=False,
    flag_value="-",
    help="Draw the graph; with a FILE its ending chooses the form: svg, html, png, dot, mmd, json, txt.",
)
@click.option("--focus", metavar="TARGET", help="Draw only this target, what it stands on and what stands on it.")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="With --focus: so many steps away.")
@click.option("--changed", is_flag=True, help="Draw only what the plan would change.")
@format_option("text", *FORMATS, "github")
@click.option(
    "--summary",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the plan as Markdown to FILE; without one, add it to the summary of this step on GitHub.",
)
@click.option("--all", "show_all", is_flag=True, help="Show unchanged targets, too.")
@click.option("-v", "--verbose", is_flag=True, help="Show every piece of evidence.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there is something to do.")
@click.option("--offline", is_flag=True, help="Do not ask the engine: fingerprints and graph only.")
@click.option("--exclude", multiple=True, metavar="SELECT", help="Leave these out.")
@click.option("--since", metavar="REV", help="Only targets that differ from what they were at this Git revision.")
@click.option("--rebuild", multiple=True, metavar="SELECT", help="Plan to build these again whatever their state.")
@click.option("--version", "version", default="latest", help="Version for image tags.")
@click.option("--out", type=click.Path(path_type=Path), help="Save the plan to a .json FILE, for `show` and `apply`.")
@click.pass_obj
def command(
    settings: Settings,
    selection: tuple[str, ...],
    graph: str | None,
    focus: str | None,
    depth: int | None,
    changed: bool,  # noqa: FBT001
    form: str,
    summary: str | None,
    show_all: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
    detailed_exitcode: bool,  # noqa: FBT001
    offline: bool,  # noqa: FBT001
    exclude: tuple[str, ...],
    since: str | None,
    rebuild: tuple[str, ...],
    version: str,
    out: Path | None,
) -> int:
    drawn = bool(graph) or form in {"tree", "dot", "mermaid"}
    if graph and graph != "-" and Path(graph).suffix.lower() not in {*_PICTURES, *_BY_SUFFIX}:
        raise click.UsageError(f"unknown graph file ending in {graph}; known: {', '.join((*_PICTURES, *_BY_SUFFIX))}")
    if (focus or changed) and not drawn:
        raise click.UsageError("--focus and --changed say what is drawn: add --graph or --format tree, dot, mermaid")
    if depth is not None and not focus:
        raise click.UsageError("--depth counts from a target: add --focus TARGET")
    if out and (offline or out.suffix != ".json"):
        raise click.UsageError("--out wants a file that ends in .json, and an engine: leave --offline out")
    if drawn and form == "github":
        raise click.UsageError("--format github annotates a plan: leave --graph out")
    _step_summary(summary)
    project = settings.project(version)
    check_words(project, selection, exclude, rebuild)
    states = None if offline else states_of(project, settings.engine)
    words = chosen(project, selection, exclude, since, states)
    rebuild = chosen(project, rebuild, (), None, states) or ()
    if words is None:
        plan = _nothing_since(since, out)
    elif out:
        from tasker_build.plan.saved import PlanRequest  # noqa: PLC0415

        plan = _save(project, settings.engine(), PlanRequest(selection=words, rebuild=rebuild, version=version), out)
    else:
        plan = plan_project(project, None if offline else settings.engine(), words, rebuild)
    if drawn:
        from tasker_build.view.picture import PictureOptions  # noqa: PLC0415 - only drawing pays for it

        options = PictureOptions(title=project.head.project, focus=focus, depth=depth, changed_only=changed)
        _draw(project, plan, graph or "-", form, options, None if offline else settings.engine())
    if form == "json" and graph != "-":
        say_document(plan_data(plan, project.head.project))
    elif not drawn:
        click.echo(plan_text(plan, show_kept=show_all, details=verbose))
    if form == "github":
        from tasker_build.output import compare  # noqa: PLC0415
        from tasker_build.view.github import drift_annotations, plan_annotations  # noqa: PLC0415

        drift = compare(project.tree, project.output, ())
        templates = {name: text.file for name, text in project.templates.items() if Path(text.file).is_file()}
        rows = plan_annotations(plan, project.root, templates, _time(project, plan))
        annotate([*drift_annotations(drift, project.output, "warning"), *rows])
    if summary:
        _summarise(project, plan, summary)
    return Exit.DIFFERENCES if detailed_exitcode and plan.changed else Exit.OK


def _draw(project: Project, plan: Plan, target: str, form: str, options: PictureOptions, engine: DockerEngine | None) -> None:
    from tasker_build.view.picture import narrow  # noqa: PLC0415 - only drawing pays for it

    if Path(target).suffix.lower() in _PICTURES:
        from tasker_build.cli.picture import write_picture  # noqa: PLC0415

        write_picture(Path(target), project, plan, options, engine)
    else:
        graph, plan = narrow(project.graph, plan, options)
        form = _BY_SUFFIX.get(Path(target).suffix.lower(), "tree" if form == "text" else form)
        text = graph_text(graph, plan, form)
        if target == "-":
            click.echo(text)
            return
        write_file(Path(target), (text + "\n").encode(), 0o644)
    click.echo(f"wrote {target}", err=True)


def _nothing_since(since: str | None, out: Path | None) -> Plan:
    """The plan for no target at all.

    Raises:
        SelectionError: it was to be saved.
    """
    message = f"no selected target differs from `{since}`"
    if out:
        raise SelectionError([Problem(code="S030", message=f"{message}: there is no plan to save")])
    click.echo(message, err=True)
    return Plan(steps=())


def _step_summary(summary: str | None) -> Path | None:
    """The file that GitHub shows as this step's summary, if that is asked for.

    Raises:
        UsageError: this is no step of GitHub's.
    """
    if summary != "-":
        return None
    if not (file := os.environ.get("GITHUB_STEP_SUMMARY")):
        raise click.UsageError("--summary without a file adds to $GITHUB_STEP_SUMMARY, which is not set: --summary=FILE")
    return Path(file)


def _summarise(project: Project, plan: Plan, summary: str) -> None:
    """Write the plan as Markdown; a step's summary is added to, for other commands of the step write to it, too."""
    from tasker_build.view.github import SUMMARY_LIMIT, plan_summary  # noqa: PLC0415

    if (file := _step_summary(summary)) is None:
        write_file(Path(summary), plan_summary(plan, project.head.project, time=_time(project, plan)).encode(), 0o644)
        click.echo(f"wrote {summary}", err=True)
        return
    try:
        with file.open("ab") as stream:
            text = plan_summary(plan, project.head.project, SUMMARY_LIMIT - stream.tell(), _time(project, plan))
            stream.write(text.encode())
    except OSError as error:
        raise BuildError(f"cannot write {file}: {error.strerror}") from error


def _time(project: Project, plan: Plan) -> Estimate | None:
    """How long the plan will take; None where no duration is recorded."""
    from tasker_build.duration import estimate  # noqa: PLC0415 - only GitHub is told, here and below
    from tasker_build.records.durations import durations  # noqa: PLC0415

    names = [step.target for step in plan.steps if step.action.builds]
    time = estimate(names, {name: project.wanted[name].parents for name in names}, durations(project.records))
    return time if time.seconds else None


def _save(project: Project, engine: DockerEngine, asked: PlanRequest, out: Path) -> Plan:
    from tasker_build.plan.saved import dump  # noqa: PLC0415

    saved = plan_to_save(project, engine, asked)
    write_plan(out, dump(saved, step_data))
    click.echo(f"wrote {out}: tasker-build apply {out}", err=True)
    return saved.plan
