"""`tasker-build render`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.errors import Exit
from tasker_build.output import State, compare, write

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.command("render")
@click.option("--check", is_flag=True, help="Write nothing; show what differs and exit 2 if anything does.")
@click.option("--diff/--no-diff", default=True, help="With --check: show the differences, not only the names.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited by hand or are not ours.")
@click.option("--out", type=click.Path(path_type=Path), help="Write below this folder instead of the spec's output.")
@click.pass_obj
def command(settings: Settings, check: bool, diff: bool, force: bool, out: Path | None) -> int:  # noqa: FBT001
    project = settings.project()
    folder = out or project.output
    before = frozenset[str]() if out else project.records.rendered()
    drift = compare(project.tree, folder, before)
    different = [row for row in drift if row.state is not State.SAME]
    if check:
        for row in different:
            click.echo(f"{folder / row.path}  {row.state.value}")
            for line in row.diff if diff else ():
                click.echo(f"  {line}")
        same = len(drift) - len(different)
        click.echo(f"{same} files match, {len(different)} differ." + (" fix: tasker-build render" if different else ""))
        return Exit.DIFFERENCES if different else Exit.OK
    touched = write(project.tree, folder, drift, force=force)
    if not out:
        project.records.note_rendered(project.tree.files)
    for path in touched:
        click.echo(f"{'wrote' if path in project.tree.files else 'removed'} {folder / path}")
    click.echo(f"{len(project.tree.files)} files, {len(touched)} changed.", err=True)
    return Exit.OK
