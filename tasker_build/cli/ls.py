"""`tasker-build ls`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tasker_build.cli.planning import states_of
from tasker_build.selector import select
from tasker_build.since import chosen

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.command("ls")
@click.argument("selection", nargs=-1)
@click.option("--exclude", multiple=True, metavar="SELECT", help="Leave these out.")
@click.option("--since", metavar="REV", help="Only targets that differ from what they were at this Git revision.")
@click.option("--format", "form", type=click.Choice(["name", "json"]), default="name", help="Form of the output.")
@click.pass_obj
def command(settings: Settings, selection: tuple[str, ...], exclude: tuple[str, ...], since: str | None, form: str) -> None:
    project = settings.project()
    words = chosen(project, selection, exclude, since, states_of(project))
    selected = select(words, project.spec, project.graph, project.closures)
    names = [name for name in project.order if name in selected]
    if form == "json":
        rows = [
            {
                "target": name,
                "kind": project.spec.targets[name].kind,
                "image": project.spec.image_name(project.spec.targets[name]),
            }
            for name in names
        ]
        click.echo(json.dumps({"version": 1, "targets": rows}, indent=2))
    else:
        click.echo("\n".join(names))
