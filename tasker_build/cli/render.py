"""`tasker-build render`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import annotate, format_option, say_document
from tasker_build.errors import Exit
from tasker_build.output import compare, write
from tasker_build.view.document import render_document
from tasker_build.view.github import drift_annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.cli import Settings
    from tasker_build.output import Drift


@click.command("render")
@click.option("--check", is_flag=True, help="Write nothing; show what differs and exit 2 if anything does.")
@click.option("--diff/--no-diff", default=True, help="With --check: show the differences, not only the names.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited by hand or are not ours.")
@click.option("--out", type=click.Path(path_type=Path), help="Write below this folder instead of the spec's output.")
@format_option("text", "json", "github")
@click.pass_obj
def command(settings: Settings, check: bool, diff: bool, force: bool, out: Path | None, form: str) -> int:  # noqa: FBT001
    if form == "github" and not check:
        raise click.UsageError("--format github annotates what --check finds: add --check")
    project = settings.project()
    folder = out or project.output
    before = frozenset[str]() if out else project.records.rendered()
    drift = compare(project.tree, folder, before)
    if check:
        return _check(folder, drift, form, diff=diff)
    touched = write(project.tree, folder, drift, force=force)
    if not out:
        project.records.note_rendered(project.tree.files)
    if form == "json":
        say_document(render_document(str(folder), drift, check=False, touched=touched))
    for path in touched if form == "text" else ():
        click.echo(f"{'wrote' if path in project.tree.files else 'removed'} {folder / path}")
    click.echo(f"{len(project.tree.files)} files, {len(touched)} changed.", err=True)
    return Exit.OK


def _check(folder: Path, drift: Sequence[Drift], form: str, *, diff: bool) -> int:
    different = [row for row in drift if row.state.differs]
    if form == "json":
        say_document(render_document(str(folder), drift, check=True))
        return Exit.DIFFERENCES if different else Exit.OK
    if form == "github":
        annotate(drift_annotations(drift, folder, "error"))
    for row in different:
        click.echo(f"{folder / row.path}  {row.state.value}")
        for line in row.diff if diff else ():
            click.echo(f"  {line}")
    same = len(drift) - len(different)
    click.echo(f"{same} files match, {len(different)} differ." + (" fix: tasker-build render" if different else ""))
    return Exit.DIFFERENCES if different else Exit.OK
