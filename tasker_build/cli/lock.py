"""`tasker-build lock`: pin the bases by digest, move the pins, or say whether they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import format_option, say_document
from tasker_build.engine.docker import DockerEngine
from tasker_build.errors import Exit
from tasker_build.view.lock import lock_data, lock_lines
from tasker_build.work.locking import Wish, look

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.command("lock")
@click.argument("bases", nargs=-1, metavar="[NAME]...")
@click.option(
    "--upgrade", is_flag=True, help="Move pins to what the registry has now: all, or those of the named bases and tools."
)
@click.option("--check", is_flag=True, help="Write nothing; exit 2 when pins are missing or have moved.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would change and what that rebuilds.")
@click.option("--offline", is_flag=True, help="With --check: ask no registry, only look for missing pins.")
@format_option("text", "json")
@click.pass_obj
def command(
    settings: Settings,
    bases: tuple[str, ...],
    upgrade: bool,  # noqa: FBT001
    check: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    offline: bool,  # noqa: FBT001
    form: str,
) -> int:
    if upgrade and check:
        raise click.UsageError("--upgrade moves pins and --check only looks: give one of them (or --upgrade --dry-run)")
    if offline and not check:
        raise click.UsageError("--offline goes with --check: pins come from a registry")
    wish = Wish.CHECK if check else Wish.UPGRADE if upgrade else Wish.ADD
    locking = look(settings.project(), bases, wish, DockerEngine.connect, offline=offline)
    if form == "text":
        for line in lock_lines(locking):
            click.echo(line)  # before anything is written: whoever sees more than was meant can still stop
    written = not check and not dry_run and locking.write()
    if form == "json":
        say_document(lock_data(locking, written=written))
    for failure in locking.failures:
        click.echo(failure.draw(), err=True)
    if written:
        click.echo(f"wrote {locking.file}; next: tasker-build render && tasker-build apply", err=True)
    if check and any(row.state.differs for row in locking.rows):
        return Exit.DIFFERENCES
    return Exit.FAILED if locking.failures else Exit.OK
