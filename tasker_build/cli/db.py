"""`tasker-build db`: the database of a stack, by default the one that has nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.cli import consent
from tasker_build.cli.answer import documented, format_option, say_document
from tasker_build.cli.env import (
    compose_command,
    compose_environment,
    containers_of,
    data_volume,
    pinned_images,
    refuse_data_of_another_version,
    require_rendered,
    run_compose,
    stack_named,
)
from tasker_build.compose import published
from tasker_build.errors import BuildError, Problem, RefusedError, SelectionError
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.cli import Settings
    from tasker_build.engine.docker import DockerEngine
    from tasker_build.project import Project
    from tasker_build.spec.model import Stack

CHECKS = {
    "PGMQ: create a queue, send, read, drop it": (
        "SELECT pgmq.create('test_queue'); SELECT pgmq.send('test_queue', '{}'); "
        "SELECT 1 / (count(*) = 1)::int FROM pgmq.read('test_queue', 0, 1); SELECT pgmq.drop_queue('test_queue')"
    ),
    "UUID version 7": "SELECT 1 / (substr(uuid_generate_v7()::text, 15, 1) = '7')::int",
}
ADOPT = "if command -v database-adopt >/dev/null; then database-adopt restoring; fi"


@dataclass(frozen=True)
class Database:
    """The database service of a stack on an engine."""

    project: Project
    stack: Stack
    engine: DockerEngine
    service: str

    @classmethod
    def open(cls, settings: Settings, stack_name: str) -> Database:
        """Find the one service of a stack whose target is a PostgreSQL.

        Raises:
            SelectionError: there is no such stack, or none or several such services in it.
        """
        project = settings.project()
        stack = stack_named(project, stack_name)
        kinds = {str(name): target.kind for name, target in project.spec.targets.items()}
        found = [name for name, service in stack.services.items() if service.target and kinds[service.target] == "postgres"]
        if len(found) != 1:
            raise SelectionError([Problem(code="S031", message=f"the stack `{stack_name}` has {len(found)} database services")])
        engine = settings.engine()
        engine.version()
        return cls(project, stack, engine, found[0])

    def _setting(self, name: str, default: str) -> str:
        return str(self.stack.services[self.service].environment.get(name, default))

    @property
    def name(self) -> str:
        """Name of the database."""
        return self._setting("POSTGRES_DB", self.user)

    @property
    def user(self) -> str:
        """The account that owns it."""
        return self._setting("POSTGRES_USER", "postgres")

    @property
    def volume(self) -> str:
        """The volume that holds its data.

        Raises:
            RefusedError: it has none of its own.
        """
        name, own = data_volume(self.project, self.stack, self.stack.services[self.service])
        if not own:
            raise RefusedError(f"the database of `{self.stack.name}` has no volume of its own")
        return name

    def compose(self, *words: str) -> list[str]:
        """The compose command line with these words."""
        return compose_command(self.project, self.stack, words)

    def run(self, *words: str, variables: dict[str, str] | None = None) -> None:
        """Run compose in the foreground.

        Raises:
            BuildError: it failed.
        """
        if self.call(words, variables) != 0:
            raise BuildError(f"compose {words[0]} failed")

    def call(self, words: Sequence[str], variables: dict[str, str] | None = None) -> int:
        """Run compose in the foreground; returns its exit code."""
        return run_compose(self.project, self.stack, self.engine, words, variables or {})

    def up(self, wait: int = 120) -> None:
        """Start it from the image that was built, and wait until it is healthy."""
        require_rendered(self.project, self.stack)
        pins = pinned_images(self.project, self.stack, self.engine, only=self.service)
        refuse_data_of_another_version(self.project, self.stack, self.engine, pins)
        self.run("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(wait), self.service, variables=pins)

    def inside(self, *words: str, stdin: int | None = None, stdout: int | None = None) -> int:
        """Run a program in the container; returns its exit code."""
        command = self.compose("exec", "-T", self.service, *words)
        environment = compose_environment(self.project, self.stack, self.engine, starts=False)
        done = subprocess.run(command, env=environment, stdin=stdin or subprocess.DEVNULL, stdout=stdout, check=False)
        return done.returncode

    def stop(self) -> None:
        """Take its container away; the data stays, and so do the stack's other services."""
        if len(self.stack.services) == 1:
            self.run("down")
        else:
            self.run("rm", "--stop", "--force", self.service)

    def port(self) -> int:
        """The host's port: the one that is published, or the one that would be."""
        environment = compose_environment(self.project, self.stack, self.engine, starts=False)
        words = self.compose("port", self.service, "5432")
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        found = done.stdout.strip().rpartition(":")[2]
        if found.isdecimal() and int(found):
            return int(found)
        rows = [row for row, stacks in published(self.project.spec).items() if self.stack.name in stacks]
        row = next((row for row in rows if row.service == self.service and row.inside == "5432"), None)
        wanted = (environment.get(row.variable) or row.default) if row else "5432"
        return int(wanted.partition("-")[0]) if wanted[:1].isdecimal() else 5432

    def extensions(self) -> str:
        """What was added to the server, as one text."""
        statement = "SELECT string_agg(extname, ', ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'"
        command = self.compose("exec", "-T", self.service, "psql", "-U", self.user, "-d", self.name, "-qAtX", "-c", statement)
        environment = compose_environment(self.project, self.stack, self.engine, starts=False)
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
        return done.stdout.strip()

    def is_ready(self, *, quiet: bool) -> bool:
        """Whether it accepts connections."""
        ask = ("pg_isready", "-h", "127.0.0.1", "-U", self.user, "-d", self.name)
        return self.inside(*ask, stdout=subprocess.DEVNULL if quiet else None) == 0

    def sql(self, statement: str, database: str = "") -> bool:
        """Run statements and say whether they worked."""
        psql = ("psql", "-U", self.user, "-d", database or self.name, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement)
        return self.inside(*psql, stdout=subprocess.DEVNULL) == 0

    def must(self, statement: str, database: str) -> None:
        """Run statements that have to work.

        Raises:
            BuildError: they do not.
        """
        if not self.sql(statement, database):
            raise BuildError(f"the database refused: {statement}")

    def refuse_if_shared(self) -> None:
        """Data is touched only where nobody else uses it.

        Raises:
            RefusedError: containers of other projects use the volume.
        """
        form = '{{.Names}}\t{{.Label "com.docker.compose.project"}}'
        words = ["docker", "ps", "--all", "--filter", f"volume={self.volume}", "--format", form]
        done = subprocess.run(words, env=dict(self.engine.environment()), capture_output=True, text=True, check=True)
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        ours = self.project.spec.project_name(self.stack)
        others = [name for name, project in rows if project != ours]
        if others:
            raise RefusedError(f"other containers use the volume {self.volume}: {', '.join(others)}")

    def volume_exists(self) -> bool:
        """Whether there is any data."""
        words = ["docker", "volume", "inspect", self.volume]
        return subprocess.run(words, env=dict(self.engine.environment()), capture_output=True, check=False).returncode == 0

    def dump(self) -> Path:
        """Keep a dump beside the rendered files.

        Raises:
            RefusedError: none could be made.
        """
        folder = self.project.output / "backups"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}.dump"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            code = self.inside("pg_dump", "-U", self.user, "-d", self.name, "--format=custom", stdout=file.fileno())
        if code != 0 or part.stat().st_size == 0:
            part.unlink()
            raise RefusedError("no dump could be made, so the data stays", hints=("--no-dump goes on without one",))
        part.rename(path)
        return path


@click.group("db")
@click.option("--stack", default="db", show_default=True, help="The stack whose database it is.")
@click.pass_context
def command(ctx: click.Context, stack: str) -> None:
    ctx.obj = (ctx.obj, stack)


def _say_status(obj: tuple[Settings, str], done: Path | None = None, **_: object) -> None:
    database = Database.open(*obj)
    containers = containers_of(database.project, database.stack, database.engine, database.service)
    port = database.port()
    say_document(
        document(
            "db-status",
            stack=database.stack.name,
            service=database.service,
            database=database.name,
            ready=database.is_ready(quiet=True),
            port=port,
            answers=_answers(port),
            container=next(iter(containers), None),
            dump=str(done) if done else None,
        )
    )


@command.command("start", help="Start it and wait until it is ready.")
@click.pass_obj
@documented(_say_status)
def start(obj: tuple[Settings, str]) -> None:
    database = Database.open(*obj)
    database.up()
    _say_where(database)


def _say_where(database: Database) -> None:
    password = database.stack.services[database.service].environment.get("POSTGRES_PASSWORD", "")
    shown = "..." if "$" in password else password
    port = database.port()
    chosen = "" if database.stack.name == "db" else f" --stack {database.stack.name}"
    click.echo("\nPostgreSQL is ready.")
    click.echo(f"  DATABASE_URL=postgresql://{database.user}:{shown}@localhost:{port}/{database.name}")
    click.echo(f"  host localhost, port {port}, database {database.name}, user {database.user}, password {shown}")
    click.echo(f"  extensions: {database.extensions()}\n\n  try:   tasker-build db{chosen} test")


@command.command("stop", help="Stop it and take its container away; its data stays.")
@click.pass_obj
@documented(_say_status)
def stop(obj: tuple[Settings, str]) -> None:
    Database.open(*obj).stop()


@command.command("restart", help="Stop it and start it.")
@click.pass_obj
@documented(_say_status)
def restart(obj: tuple[Settings, str]) -> None:
    database = Database.open(*obj)
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
    database = Database.open(*obj)
    database.run("ps", "--all", database.service)
    if not database.is_ready(quiet=False):
        click.echo("the database is not ready")
    port = database.port()
    click.echo(f"port {port} {'answers' if _answers(port) else 'does not answer'}")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


@command.command("logs", help="Follow its log.")
@click.option("--no-follow", is_flag=True, help="Only what is there.")
@click.pass_obj
def logs(obj: tuple[Settings, str], no_follow: bool) -> None:  # noqa: FBT001
    database = Database.open(*obj)
    database.run("logs", *([] if no_follow else ["--follow"]), database.service)


@command.command("psql", context_settings={"ignore_unknown_options": True}, help="SQL prompt; arguments go to psql.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def psql(obj: tuple[Settings, str], arguments: tuple[str, ...]) -> int:
    database = Database.open(*obj)
    return _interactive(database, "psql", "-U", database.user, "-d", database.name, *arguments)


@command.command("shell", help="bash in the container.")
@click.pass_obj
def shell(obj: tuple[Settings, str]) -> int:
    return _interactive(Database.open(*obj), "bash")


def _interactive(database: Database, *words: str) -> int:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return database.call(("exec", database.service, *words))
    return database.inside(*words, stdin=sys.stdin.fileno())


@command.command("test", help="Check the connection, PGMQ and UUID version 7.")
@click.pass_obj
@documented(lambda obj, done: say_document(document("db-test", stack=obj[1], passed=done)))
def test(obj: tuple[Settings, str]) -> list[str]:
    database = Database.open(*obj)
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

    settings, stack = ctx.obj
    database = Database.open(settings, stack)
    ctx.obj = settings
    return int(ctx.invoke(apply.command, selection=(str(database.stack.services[database.service].target),), form=form) or 0)


@command.command("reset", help="Remove all its data and start afresh; a dump is kept.")
@click.option("-y", "--yes", is_flag=True, help="Agree without being asked; needs --confirm, too.")
@click.option("--confirm", default="", metavar="DATABASE", help="The name of the database, typed.")
@click.option("--no-dump", is_flag=True, help="Keep no dump.")
@click.pass_obj
@documented(_say_status)
def reset(obj: tuple[Settings, str], yes: bool, confirm: str, no_dump: bool) -> Path | None:  # noqa: FBT001
    database = Database.open(*obj)
    database.refuse_if_shared()
    click.echo(f"This removes every row of {database.name}: the volume {database.volume} at {database.engine.endpoint}.")
    consent.require("Remove it all?", word=database.name, yes=yes, confirm=confirm)
    path = None
    if not no_dump and database.volume_exists():
        database.up()
        path = database.dump()
        click.echo(f"kept a dump: {path}   (tasker-build db restore {path})")
    database.stop()
    if database.volume_exists():
        words = ["docker", "volume", "rm", database.volume]
        done = subprocess.run(words, env=dict(database.engine.environment()), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"the volume stays: {done.stderr.strip()}")
    database.up()
    _say_where(database)
    return path


@command.command("restore", help="Put a dump back in place of what is there.")
@click.argument("dump", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Agree without being asked; needs --confirm, too.")
@click.option("--confirm", default="", metavar="DATABASE", help="The name of the database, typed.")
@click.pass_obj
@documented(_say_status)
def restore(obj: tuple[Settings, str], dump: Path, yes: bool, confirm: str) -> Path:  # noqa: FBT001
    database = Database.open(*obj)
    database.refuse_if_shared()
    click.echo(f"This replaces {database.name} at {database.engine.endpoint} by {dump}.")
    consent.require("Replace it?", word=database.name, yes=yes, confirm=confirm)
    database.up()
    # Into a new database first: a dump that cannot be read costs nothing.
    database.must("DROP DATABASE IF EXISTS restoring WITH (FORCE)", "postgres")
    database.must(f'CREATE DATABASE restoring OWNER "{database.user}"', "postgres")
    with dump.open("rb") as file:
        code = database.inside("pg_restore", "-U", database.user, "-d", "restoring", "--exit-on-error", stdin=file.fileno())
    # The dump of an older image's database is brought up to date, where the image knows how.
    if code != 0 or database.inside("sh", "-c", ADOPT) != 0:
        raise BuildError(f"{dump} could not be restored; the database is as it was")
    database.must(f'DROP DATABASE "{database.name}" WITH (FORCE)', "postgres")
    database.must(f'ALTER DATABASE restoring RENAME TO "{database.name}"', "postgres")
    click.echo(f"restored {dump}")
    return dump
