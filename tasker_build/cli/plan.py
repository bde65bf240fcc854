"""`tasker-build plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.cli.planning import chosen, plan_project, plan_to_save, states_of, write_plan
from tasker_build.engine.docker import DockerEngine
from tasker_build.errors import Exit
from tasker_build.view.graph import FORMATS, graph_text
from tasker_build.view.plan import plan_data, plan_text
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from tasker_build.cli import Settings
    from tasker_build.plan import Plan
    from tasker_build.project import Project
    from tasker_build.saved import Asked
    from tasker_build.view.picture import PictureOptions

_BY_SUFFIX = {".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".json": "json", ".txt": "tree"}
_PICTURES = (".svg", ".html", ".png")


@click.command("plan")
@click.argument("selection", nargs=-1)
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
@click.option("--format", "form", type=click.Choice(["text", *FORMATS]), default="text", help="Form of the output.")
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
    if graph and graph != "-" and Path(graph).suffix not in {*_PICTURES, *_BY_SUFFIX}:
        raise click.UsageError(f"unknown graph file ending in {graph}; known: {', '.join((*_PICTURES, *_BY_SUFFIX))}")
    if (focus or changed) and not drawn:
        raise click.UsageError("--focus and --changed say what is drawn: add --graph or --format tree, dot, mermaid")
    if depth is not None and not focus:
        raise click.UsageError("--depth counts from a target: add --focus TARGET")
    if out and (offline or out.suffix != ".json"):
        raise click.UsageError("--out wants a file that ends in .json, and an engine: leave --offline out")
    project = settings.project(version)
    states = None if offline else states_of(project)
    selection = chosen(project, selection, exclude, since, states)
    rebuild = chosen(project, rebuild, (), None, states)
    if out:
        from tasker_build.saved import Asked  # noqa: PLC0415

        plan = _save(project, Asked(selection=selection, rebuild=rebuild, version=version), out)
    else:
        plan = plan_project(project, None if offline else DockerEngine.connect(), selection, rebuild)
    if drawn:
        from tasker_build.view.picture import PictureOptions  # noqa: PLC0415 - only drawing pays for it

        options = PictureOptions(title=project.head.project, focus=focus, depth=depth, changed_only=changed)
        _draw(project, plan, graph or "-", form, options, offline=offline)
    elif form == "json":
        click.echo(json.dumps(plan_data(plan, project.head.project), indent=2))
    else:
        click.echo(plan_text(plan, show_kept=show_all, details=verbose))
    return Exit.DIFFERENCES if detailed_exitcode and plan.changed else Exit.OK


def _draw(project: Project, plan: Plan, target: str, form: str, options: PictureOptions, *, offline: bool) -> None:
    from tasker_build.view.picture import narrow  # noqa: PLC0415 - only drawing pays for it

    if Path(target).suffix in _PICTURES:
        from tasker_build.cli.picture import write_picture  # noqa: PLC0415

        write_picture(Path(target), project, plan, options, None if offline else DockerEngine.connect())
    else:
        graph, plan = narrow(project.graph, plan, options)
        form = _BY_SUFFIX.get(Path(target).suffix, "tree" if form == "text" else form)
        text = graph_text(graph, plan, form)
        if target == "-":
            click.echo(text)
            return
        write_file(Path(target), (text + "\n").encode(), 0o644)
    click.echo(f"wrote {target}", err=True)


def _save(project: Project, asked: Asked, out: Path) -> Plan:
    saved = plan_to_save(project, DockerEngine.connect(), asked)
    write_plan(out, saved)
    click.echo(f"wrote {out}: tasker-build apply {out}", err=True)
    return saved.plan
