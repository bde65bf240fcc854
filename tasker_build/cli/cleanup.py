"""`tasker-build cleanup`: removes what belongs to the spec, after showing it and asking."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import click

from tasker_build.cleanup import EVERYTHING, LEVELS, MACHINE_WIDE, Kind, Owned, Thing, removals, word_to_type
from tasker_build.cli import consent
from tasker_build.cli.answer import format_option, say_document
from tasker_build.errors import BuildError
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.cli import Settings
    from tasker_build.engine.docker import DockerEngine

_LISTS: dict[Kind, tuple[str, ...]] = {
    Kind.CONTAINER: ("ps", "--all", "--no-trunc"),
    Kind.NETWORK: ("network", "ls"),
    Kind.VOLUME: ("volume", "ls"),
    Kind.IMAGE: ("image", "ls"),
}
_REMOVE: dict[Kind, tuple[str, ...]] = {
    Kind.CONTAINER: ("rm", "--force"),
    Kind.NETWORK: ("network", "rm"),
    Kind.VOLUME: ("volume", "rm"),
    Kind.IMAGE: ("image", "rm"),
}


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
    chosen = removals(level, owned, _found(engine, LEVELS[level]))
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
    for kind in LEVELS[level]:
        names = [thing.name for thing in chosen if thing.kind is kind]
        if kind is Kind.CONTAINER and names:
            _docker(engine, ["stop", *names])
        if names:
            _docker(engine, [*_REMOVE[kind], *names])
    for words in MACHINE_WIDE.get(level, ()):
        _docker(engine, words)


def _found(engine: DockerEngine, kinds: Sequence[Kind]) -> Iterator[Thing]:
    for kind in kinds:
        for line in _docker(engine, [*_LISTS[kind], "--format", "json"]).splitlines():
            row = json.loads(line)
            labels = dict(part.split("=", 1) for part in str(row.get("Labels") or "").split(",") if "=" in part)
            name = f"{row['Repository']}:{row['Tag']}" if kind is Kind.IMAGE else str(row.get("Name") or row.get("Names"))
            # Images that compose built carry its project label, and so does whatever runs from them: the number is compose's own.
            by_compose = kind is not Kind.CONTAINER or "com.docker.compose.container-number" in labels
            yield Thing(kind=kind, name=name, project=labels.get("com.docker.compose.project", "") if by_compose else "")


def _docker(engine: DockerEngine, words: Sequence[str]) -> str:
    done = subprocess.run(["docker", *words], env=dict(engine.environment()), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"docker {words[0]} failed: {done.stderr.strip()}")
    return done.stdout
