"""`tasker-build cleanup`: removes what belongs to the spec, after showing it and asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasker_build.cli import consent
from tasker_build.cli.answer import format_option, say_document
from tasker_build.environments.cleanup import EVERYTHING, LEVELS, MACHINE_WIDE, found, removals, remove, word_to_type
from tasker_build.environments.owned import Owned
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.cli import Settings
    from tasker_build.engine.docker import DockerEngine
    from tasker_build.environments.cleanup import Thing


@click.command("cleanup")
@click.argument("level", type=click.Choice(list(LEVELS)), default="basic")
@click.option("-y", "--yes", is_flag=True, help="Agree without being asked; data also needs --confirm.")
@click.option("--confirm", default="", metavar="WORD", help="The word that has to be typed where data is removed.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and stop.")
@format_option("text", "json")
@click.pass_obj
def command(settings: Settings, level: str, yes: bool, confirm: str, dry_run: bool, form: str) -> None:  # noqa: FBT001
    r"""Remove what belongs to this spec: by compose project, and by the names the spec gives.

    \b
    containers  containers and networks; data stays
    basic       and volumes, which hold the data
    images      and images
    cache       the build cache of the whole machine
    deep        images, and then everything unused on the whole machine
    """
    project = settings.project()
    engine = settings.engine()
    engine.version()
    owned = Owned.of(project.spec)
    chosen = removals(level, owned, found(engine, LEVELS[level]))
    machine_wide = MACHINE_WIDE.get(level, ())
    # What is asked about is shown first; a program has it from the document.
    _show(project.spec.project, engine.endpoint, chosen, machine_wide, to_stderr=form == "json")
    removes = (chosen or machine_wide) and not dry_run
    if removes:
        _remove(project.spec.project, engine, level, chosen, yes=yes, confirm=confirm)
    if form == "json":
        things = [{"kind": thing.kind.value, "name": thing.name} for thing in chosen]
        commands = [["docker", *words] for words in machine_wide]
        say_document(
            document(
                "cleanup", level=level, endpoint=engine.endpoint, removed=bool(removes), things=things, machine_wide=commands
            )
        )
    elif removes:
        click.echo(f"removed: {len(chosen)}" if chosen else "done")


def _show(
    project: str, endpoint: str, chosen: Sequence[Thing], machine_wide: Sequence[Sequence[str]], *, to_stderr: bool
) -> None:
    lines = [f"would remove, at {endpoint}:"] if chosen else []
    lines += [f"  {thing.kind.value:<10} {thing.name}" for thing in chosen]
    lines += [f"  THE WHOLE MACHINE'S, whoever made it: docker {' '.join(words)}" for words in machine_wide]
    click.echo("\n".join(lines or [f"nothing of `{project}` is here"]), err=to_stderr)


def _remove(project: str, engine: DockerEngine, level: str, chosen: Sequence[Thing], *, yes: bool, confirm: str) -> None:
    word = word_to_type(level, chosen, project)
    about = "everything unused on this machine" if word == EVERYTHING else "the data in these volumes" if word else "this"
    consent.require(f"Remove {about}?", word=word, yes=yes, confirm=confirm)
    remove(engine, level, chosen)
