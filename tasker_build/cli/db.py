"""`tasker-build db`: the database of a stack, by default the one that has nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.cli import consent
from tasker_build.cli.answer import documented, format_option, say_document
from tasker_build.environments.database import Database, answers
from tasker_build.environments.postgres import CHECKS
from tasker_build.errors import BuildError
from tasker_build.view.document import document

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.group("db")
@click.option("--stack", default="db", show_default=True, help="The stack whose database it is.")
@click.pass_context
def command(ctx: click.Context, stack: str) -> None:
    ctx.obj = (ctx.obj, stack)


def _open(obj: tuple[Settings, str]) -> Database:
    settings, stack = obj
    return Database.open(settings.project(), stack, settings.engine())


def _say_status(obj: tuple[Settings, str], done: Path | None = None, **_: object) -> None:
    database = _open(obj)
    containers = database.environment.containers(database.service)
    port = database.port()
    say_document(
        document(
            "db-status",
            stack=database.environment.stack.name,
            service=database.service,
            database=database.name,
            ready=database.is_ready(quiet=True),
            port=port,
            answers=answers(port),
            container=next(iter(containers), None),
            dump=str(done) if done else None,
        )
    )


@command.command("start", help="Start it and wait until it is ready.")
@click.pass_obj
@documented(_say_status)
def start(obj: tuple[Settings, str]) -> None:
    database = _open(obj)
    database.up()
    _say_where(database)


def _say_where(database: Database) -> None:
    password = database.definition.environment.get("POSTGRES_PASSWORD", "")
    shown = "..." if "$" in password else password
    port = database.port()
    chosen = "" if database.environment.stack.name == "db" else f" --stack {database.environment.stack.name}"
    click.echo("\nPostgreSQL is ready.")
    click.echo(f"  DATABASE_URL=postgresql://{database.user}:{shown}@localhost:{port}/{database.name}")
    click.echo(f"  host localhost, port {port}, database {database.name}, user {database.user}, password {shown}")
    click.echo(f"  extensions: {database.extensions()}\n\n  try:   tasker-build db{chosen} test")


@command.command("stop", help="Stop it and take its container away; its data stays.")
@click.pass_obj
@documented(_say_status)
def stop(obj: tuple[Settings, str]) -> None:
    _open(obj).stop()


@command.command("restart", help="Stop it and start it.")
@click.pass_obj
@documented(_say_status)
def restart(obj: tuple[Settings, str]) -> None:
    database = _open(obj)
    database.stop()
    database.up()
    _say_where(database)


@command.command("status", help="Show its container, whether it accepts connections, and whether its port answers.")
@format_option("text", "json")
@click.pass_obj
def status(obj: tuple[Settings, str], form: str) -> None:
    if form == "json":
        _say_status(obj)
        return
    database = _open(obj)
    database.run("ps", "--all", database.service)
    if not database.is_ready(quiet=False):
        click.echo("the database is not ready")
    port = database.port()
    click.echo(f"port {port} {'answers' if answers(port) else 'does not answer'}")


@command.command("logs", help="Follow its log.")
@click.option("--no-follow", is_flag=True, help="Only what is there.")
@click.pass_obj
def logs(obj: tuple[Settings, str], no_follow: bool) -> None:  # noqa: FBT001
    database = _open(obj)
    database.run("logs", *([] if no_follow else ["--follow"]), database.service)


@command.command("psql", context_settings={"ignore_unknown_options": True}, help="SQL prompt; arguments go to psql.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def psql(obj: tuple[Settings, str], arguments: tuple[str, ...]) -> int:
    database = _open(obj)
    return _interactive(database, "psql", "-U", database.user, "-d", database.name, *arguments)


@command.command("shell", help="bash in the container.")
@click.pass_obj
def shell(obj: tuple[Settings, str]) -> int:
    return _interactive(_open(obj), "bash")


def _interactive(database: Database, *words: str) -> int:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return database.environment.show(("exec", database.service, *words), {})
    return database.inside(*words, stdin=sys.stdin.fileno())


@command.command("test", help="Check the connection, PGMQ and UUID version 7.")
@click.pass_obj
@documented(lambda obj, done: say_document(document("db-test", stack=obj[1], passed=done)))
def test(obj: tuple[Settings, str]) -> list[str]:
    database = _open(obj)
    checks = {"connection": "SELECT 1", **CHECKS}
    for label, statement in checks.items():
        if not database.sql(statement):
            raise BuildError(f"failed: {label}", hints=("tasker-build db logs --no-follow",))
        click.echo(f"ok      {label}")
    click.echo("all passed")
    return list(checks)


@command.command("build", help="Build its image.")
@format_option("text", "json")
@click.pass_context
def build(ctx: click.Context, form: str) -> int:
    from tasker_build.cli import apply  # noqa: PLC0415

    settings, _ = ctx.obj
    database = _open(ctx.obj)
    ctx.obj = settings
    return int(ctx.invoke(apply.command, selection=(str(database.definition.target),), form=form) or 0)


@command.command("reset", help="Remove all its data and start afresh; a dump is kept.")
@click.option("-y", "--yes", is_flag=True, help="Agree without being asked; needs --confirm, too.")
@click.option("--confirm", default="", metavar="DATABASE", help="The name of the database, typed.")
@click.option("--no-dump", is_flag=True, help="Keep no dump.")
@click.pass_obj
@documented(_say_status)
def reset(obj: tuple[Settings, str], yes: bool, confirm: str, no_dump: bool) -> Path | None:  # noqa: FBT001
    database = _open(obj)
    database.refuse_if_shared()
    click.echo(f"This removes every row of {database.name}: the volume {database.volume} at {database.endpoint}.")
    consent.require("Remove it all?", word=database.name, yes=yes, confirm=confirm)
    path = database.dump() if not no_dump and database.has_data() else None
    if path:
        click.echo(f"kept a dump: {path}   (tasker-build db restore {path})")
    database.start_afresh()
    _say_where(database)
    return path


@command.command("restore", help="Put a dump back in place of what is there.")
@click.argument("dump", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Agree without being asked; needs --confirm, too.")
@click.option("--confirm", default="", metavar="DATABASE", help="The name of the database, typed.")
@click.pass_obj
@documented(_say_status)
def restore(obj: tuple[Settings, str], dump: Path, yes: bool, confirm: str) -> Path:  # noqa: FBT001
    database = _open(obj)
    database.refuse_if_shared()
    click.echo(f"This replaces {database.name} at {database.endpoint} by {dump}.")
    consent.require("Replace it?", word=database.name, yes=yes, confirm=confirm)
    database.restore(dump)
    click.echo(f"restored {dump}")
    return dump
