"""The database of an environment: start, look, dump, reset and restore it.

Reset and restore may be killed at any point and run again: until the last step the data is where it was, or in a dump.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.compose import published
from tasker_build.engine import programs
from tasker_build.environments import postgres
from tasker_build.environments.stack import Environment
from tasker_build.errors import BuildError, Problem, RefusedError, SelectionError
from tasker_build.spec.model import TargetName

if TYPE_CHECKING:
    from pathlib import Path

    from tasker_build.engine.docker import DockerEngine
    from tasker_build.project import Project
    from tasker_build.spec.model import Service


@dataclass(frozen=True, slots=True)
class Database:
    """The database service of an environment."""

    environment: Environment
    service: str

    @classmethod
    def open(cls, project: Project, stack_name: str, engine: DockerEngine) -> Database:
        """Find the one service of a stack whose target is a PostgreSQL.

        Raises:
            SelectionError: there is no such stack, or none or several such services in it.
            EngineError: the engine does not answer.
        """
        environment = Environment.named(project, stack_name, engine)
        kinds = {str(name): target.kind for name, target in project.spec.targets.items()}
        services = environment.stack.services.items()
        found = [name for name, service in services if service.target and kinds[service.target] == "postgres"]
        if len(found) != 1:
            raise SelectionError([Problem(code="S031", message=f"the stack `{stack_name}` has {len(found)} database services")])
        engine.version()
        return cls(environment, found[0])

    @property
    def definition(self) -> Service:
        """The service as the spec has it."""
        return self.environment.stack.services[self.service]

    @property
    def name(self) -> str:
        """Name of the database."""
        return str(self.definition.environment.get("POSTGRES_DB", self.user))

    @property
    def user(self) -> str:
        """The account that owns it."""
        return str(self.definition.environment.get("POSTGRES_USER", "postgres"))

    @property
    def endpoint(self) -> str:
        """Where its engine is."""
        return self.environment.engine.endpoint

    @property
    def volume(self) -> str:
        """The volume that holds its data.

        Raises:
            RefusedError: it has none of its own.
        """
        name, own = postgres.data_volume(self.environment.project, self.environment.stack, self.definition)
        if not own:
            raise RefusedError(f"the database of `{self.environment.stack.name}` has no volume of its own")
        return name

    def run(self, *words: str) -> None:
        """Run compose in the foreground.

        Raises:
            BuildError: it failed.
        """
        self._run(words, {})

    def _run(self, words: tuple[str, ...], variables: dict[str, str]) -> None:
        if self.environment.show(words, variables) != 0:
            raise BuildError(f"compose {words[0]} failed")

    def up(self, wait: int = 120) -> None:
        """Start it from the image that was built, and wait until it is healthy."""
        self.environment.require_rendered()
        pins = self.environment.pinned_images(only=TargetName(str(self.definition.target)))
        postgres.refuse_data_of_another_version(self.environment.project, self.environment.stack, self.environment.engine, pins)
        self._run(("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(wait), self.service), pins)

    def inside(self, *words: str, stdin: int = programs.NOTHING, stdout: int | None = None) -> int:
        """Run a program in the container; returns its exit code."""
        return self.environment.show(("exec", "-T", self.service, *words), {}, stdin=stdin, stdout=stdout)

    def stop(self) -> None:
        """Take its container away; the data stays, and so do the stack's other services."""
        if len(self.environment.stack.services) == 1:
            self.run("down")
        else:
            self.run("rm", "--stop", "--force", self.service)

    def port(self) -> int:
        """The host's port: the one that is published, or the one that would be."""
        found = self.environment.ask("port", self.service, "5432").out.strip().rpartition(":")[2]
        if found.isdecimal() and int(found):
            return int(found)
        name = self.environment.stack.name
        rows = [row for row, stacks in published(self.environment.project.spec).items() if name in stacks]
        row = next((row for row in rows if row.service == self.service and row.inside == "5432"), None)
        wanted = (self.environment.variables(starts=False).get(row.variable) or row.default) if row else "5432"
        return int(wanted.partition("-")[0]) if wanted[:1].isdecimal() else 5432

    def extensions(self) -> str:
        """What was added to the server, as one text."""
        return self.environment.ask("exec", "-T", self.service, *self._psql(postgres.EXTENSIONS, self.name)).out.strip()

    def is_ready(self, *, quiet: bool) -> bool:
        """Whether it accepts connections."""
        ask = ("pg_isready", "-h", "127.0.0.1", "-U", self.user, "-d", self.name)
        return self.inside(*ask, stdout=programs.NOTHING if quiet else None) == 0

    def _psql(self, statement: str, database: str) -> tuple[str, ...]:
        return ("psql", "-U", self.user, "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def sql(self, statement: str, database: str = "") -> bool:
        """Run statements, as one transaction if PostgreSQL can, and say whether they worked."""
        return self.inside(*self._psql(statement, database or self.name), stdout=programs.NOTHING) == 0

    @property
    def _beside(self) -> str:
        """Another database of the server: one that is renamed or dropped must not be the one that we are in."""
        return "template1" if self.name == "postgres" else "postgres"

    def _must(self, statement: str) -> None:
        if not self.sql(statement, self._beside):
            raise BuildError(f"the database refused: {statement}")

    def refuse_if_shared(self) -> None:
        """Data is touched only where nobody else uses it.

        Raises:
            RefusedError: containers of other projects use the volume.
        """
        form = '{{.Names}}\t{{.Label "com.docker.compose.project"}}'
        words = ("ps", "--all", "--filter", f"volume={self.volume}", "--format", form)
        rows = [line.split("\t") for line in programs.docker(self.endpoint, *words).must("docker ps failed").splitlines()]
        others = [name for name, project in rows if project != self.environment.compose_project]
        if others:
            raise RefusedError(f"other containers use the volume {self.volume}: {', '.join(others)}")

    def has_data(self) -> bool:
        """Whether there is any data."""
        return postgres.volume_exists(self.environment.engine, self.volume)

    def start_afresh(self) -> None:
        """Remove all its data and start it again; killed on the way, it can be called again.

        Raises:
            BuildError: the volume cannot be removed, or a new database does not start.
        """
        self.stop()
        if self.has_data():
            programs.docker(self.endpoint, "volume", "rm", self.volume).must("the volume stays")
        self.up()

    def dump(self) -> Path:
        """Start it and keep a dump beside the rendered files: for its owner only, and not for Git.

        Raises:
            RefusedError: none can be made.
        """
        hints = ("--no-dump goes on without one",)
        try:
            self.up()
        except BuildError as error:
            message = "the database does not start, so no dump can be made, and the data stays"
            raise RefusedError(message, hints=hints) from error
        path = _backups(self.environment.project.output) / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}.dump"
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                words = ("pg_dump", "-U", self.user, "-d", self.name, "--format=custom")
                code = self.inside(*words, stdout=file.fileno())
                os.fsync(file.fileno())
            if code != 0 or part.stat().st_size == 0:
                raise RefusedError("no dump could be made, so the data stays", hints=hints)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def restore(self, dump: Path) -> None:
        """Put a dump in the place of what is there: into a new database first, which then takes the name in one transaction.

        Raises:
            BuildError: the dump cannot be restored; the database is as it was.
        """
        self.up()
        # What a run that was killed left behind: the name itself was never without its database.
        for left in (postgres.RESTORING, postgres.REPLACED):
            self._must(f"DROP DATABASE IF EXISTS {left} WITH (FORCE)")
        self._must(f"CREATE DATABASE {postgres.RESTORING} OWNER {postgres.quoted(self.user)}")
        with dump.open("rb") as file:
            words = ("pg_restore", "-U", self.user, "-d", postgres.RESTORING, "--exit-on-error")
            code = self.inside(*words, stdin=file.fileno())
        if code != 0 or self.inside("sh", "-c", postgres.ADOPT) != 0:
            raise BuildError(f"{dump} could not be restored; the database is as it was")
        if not any(self.sql(postgres.swap(self.name), self._beside) for _ in range(postgres.SWAP_TRIES)):
            raise BuildError(f"`{self.name}` is in use and could not be replaced; it is as it was")
        self._must(f"DROP DATABASE {postgres.REPLACED} WITH (FORCE)")


def _backups(output: Path) -> Path:
    """The folder of the dumps; others may not look into it, and Git ignores what is in it."""
    folder = output / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return folder


def answers(port: int) -> bool:
    """Whether anybody listens at a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
