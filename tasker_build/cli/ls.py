"""`tasker-build ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import format_option, say_document
from tasker_build.cli.completing import complete_selection
from tasker_build.view.document import document
from tasker_build.work.asking import chosen, states_of

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.command("ls")
@click.argument("selection", nargs=-1, shell_complete=complete_selection)
@click.option("--exclude", multiple=True, metavar="SELECT", help="Leave these out.")
@click.option("--since", metavar="REV", help="Only targets that differ from what they were at this Git revision.")
@format_option("name", "json")
@click.pass_obj
def command(settings: Settings, selection: tuple[str, ...], exclude: tuple[str, ...], since: str | None, form: str) -> None:
    project = settings.project()
    words = chosen(project, selection, exclude, since, states_of(project, settings.engine))
    if words is None:
        click.echo(f"no selected target differs from `{since}`", err=True)
    selected = frozenset() if words is None else project.select(words)
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
        say_document(document("ls", project=project.spec.project, targets=rows))
    else:
        click.echo("".join(f"{name}\n" for name in names), nl=False)
