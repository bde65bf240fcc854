"""`tasker-build show`."""

from __future__ import annotations

from pathlib import Path

import click

from tasker_build.cli.answer import format_option
from tasker_build.errors import Exit, shown
from tasker_build.plan.saved import dump
from tasker_build.view.plan import plan_text, step_data
from tasker_build.work.planning import read_plan


@click.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@format_option("text", "json")
@click.option("--all", "show_all", is_flag=True, help="Show unchanged targets, too.")
@click.option("-v", "--verbose", is_flag=True, help="Show every piece of evidence.")
def command(file: Path, form: str, show_all: bool, verbose: bool) -> int:  # noqa: FBT001
    saved = read_plan(file)
    if not saved.intact:
        click.echo(f"note: {file} was edited since it was saved; apply will refuse it", err=True)
    if form == "json":
        click.echo(dump(saved, step_data), nl=False)
        return Exit.OK
    asked = " ".join(saved.asked.selection) or "everything"
    rebuild = f", rebuild {' '.join(saved.asked.rebuild)}" if saved.asked.rebuild else ""
    engine = saved.rests_on["engine"].get("endpoint", "")
    # Anyone may have written the file.
    click.echo(shown(f"saved plan of {saved.project}: {asked}{rebuild}, version {saved.asked.version}, for {engine}"))
    click.echo(plan_text(saved.plan, show_kept=show_all, details=verbose))
    return Exit.OK
