"""One environment: its images, its variables, its containers, and compose for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasker_build.compose import URL_SAFE, is_enabled, runs, variables_in_urls
from tasker_build.engine import programs
from tasker_build.engine.programs import Done, compose
from tasker_build.environments.postgres import refuse_data_of_another_version
from tasker_build.errors import BuildError, Problem, RefusedError, SelectionError, nearest
from tasker_build.output import State, compare
from tasker_build.plan.words import unique_reference
from tasker_build.spec.names import at_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.compose import Run
    from tasker_build.engine.docker import DockerEngine
    from tasker_build.project import Project
    from tasker_build.spec.model import Service, Stack, TargetName

_REQUIRED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?\?")
_ANY_PROFILE = ("--profile", "*")
"""Whatever profile started a service: it is one of the stack's."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A stack of a project on an engine."""

    project: Project
    stack: Stack
    engine: DockerEngine

    @classmethod
    def named(cls, project: Project, name: str, engine: DockerEngine) -> Environment:
        """The environment of that name.

        Raises:
            SelectionError: no stack that is switched on has it.
        """
        return cls(project, stack_named(project, name), engine)

    @property
    def compose_project(self) -> str:
        """What compose calls it."""
        return self.project.spec.project_name(self.stack)

    def require_rendered(self) -> None:
        """Raises RefusedError if the files on disk are not what the spec renders."""
        tree = self.project.tree
        drift = [row for row in compare(tree, self.project.output, ()) if row.state in {State.MISSING, State.BEHIND}]
        if drift:
            names = ", ".join(row.path for row in drift[:5])
            raise RefusedError(
                f"the rendered files of `{self.stack.name}` are not up to date: {names}", hints=("tasker-build render",)
            )

    def require_profiles(self, profiles: Sequence[str]) -> None:
        """Raises SelectionError if the stack does not have one of these profiles."""
        known = sorted({profile for service in self.stack.services.values() for profile in service.profiles})
        for profile in profiles:
            if profile not in known:
                hints = nearest(profile, known) or (f"profiles: {', '.join(known) or 'none'}",)
                message = f"no profile `{profile}` in stack `{self.stack.name}`"
                raise SelectionError([Problem(code="S032", message=message, hints=hints)])

    def _running(self, profiles: Sequence[str]) -> Iterator[Run]:
        for run in runs(self.project.spec, self.stack):
            if not run.profiles or not set(run.profiles).isdisjoint(profiles):
                yield run

    def pinned_images(self, *, only: TargetName | None = None, profiles: Sequence[str] = ()) -> dict[str, str]:
        """X_IMAGE variables that name exactly the images the spec asks for now, for what will run.

        Raises:
            RefusedError: one of them is not built.
        """
        variables: dict[str, str] = {}
        present = {reference for image in self.engine.images() for reference in image.references}
        for run in self._running(profiles):
            if only in {None, run.target}:
                item = self.project.wanted[run.target]
                reference = unique_reference(item.image, item.facts.fingerprint)
                if reference not in present:
                    raise RefusedError(
                        f"the image of `{item.name}` is not built as the spec asks now", hints=("tasker-build apply",)
                    )
                variables[run.variable] = reference
        return variables

    def versioned_images(self, version: str, *, pull: bool, profiles: Sequence[str] = ()) -> dict[str, str]:
        """X_IMAGE variables that name the images of a version; `pull` fetches them first.

        Raises:
            BuildError: an image cannot be fetched.
            RefusedError: an image of that version is not here.
        """
        variables: dict[str, str] = {}
        for run in self._running(profiles):
            (tag,) = at_version((run.tag,), version)
            variables[run.variable] = reference = f"{run.image}:{tag}"
            if pull and programs.show_docker(self.engine.endpoint, "pull", reference) != 0:
                raise BuildError(f"{reference} cannot be fetched", hints=("docker login, if the registry wants it",))
            if not pull and self.engine.image(reference) is None:
                raise RefusedError(f"{reference} is not here", hints=(f"--pull, or `tasker-build apply --version {version}`",))
        return variables

    def up(self, variables: Mapping[str, str], profiles: Sequence[str], wait_timeout: int) -> None:
        """Start it from these images and wait until it is healthy.

        Raises:
            RefusedError: its data is another server's.
            BuildError: it does not become healthy; its last words were shown.
        """
        refuse_data_of_another_version(self.project, self.stack, self.engine, variables)
        switches = [word for profile in profiles for word in ("--profile", profile)]
        words = [*switches, "up", "--detach", "--no-build", "--wait", "--wait-timeout", str(wait_timeout)]
        if self.show(words, variables) != 0:
            self.show(["logs", "--tail", "20"], variables)
            name = self.stack.name
            raise BuildError(f"the stack `{name}` did not become healthy", hints=(f"tasker-build env logs {name}",))

    def down(self) -> Sequence[str]:
        """Stop it and remove its containers; returns those that stay because another folder made them.

        Compose knows a stack by the name of its project only: its `--remove-orphans` would take what another checkout runs.
        """
        others = self._containers_of_other_folders()
        self.pass_on(["down", *(() if others else ("--remove-orphans",))])
        return [name for name in self._containers_of_other_folders() if name in others]

    def _containers_of_other_folders(self) -> Sequence[str]:
        label = "com.docker.compose.project"
        form = f'{{{{.Names}}}}\t{{{{.Label "{label}.working_dir"}}}}'
        words = ("ps", "--all", "--filter", f"label={label}={self.compose_project}", "--format", form)
        listed = programs.docker(self.engine.endpoint, *words).must("docker ps failed")
        here = self.project.output.resolve()
        rows = [line.partition("\t") for line in listed.splitlines()]
        return [name for name, _, folder in rows if folder and Path(folder).resolve() != here]

    def pass_on(self, words: Sequence[str]) -> None:
        """Run a compose command in the foreground, whatever profiles are on.

        Raises:
            BuildError: it failed.
        """
        if self.show([*_ANY_PROFILE, *words], {}) != 0:
            raise BuildError(f"compose {words[0]} failed")

    def watch(self) -> None:
        """Build its services anew whenever their sources change, until somebody stops it.

        Raises:
            RefusedError: nothing of it is watched.
            BuildError: compose failed.
        """
        if not any(service.watch for service in self.stack.services.values()):
            raise RefusedError(f"no service of `{self.stack.name}` is watched", hints=("`watch: true` on a service of the spec",))
        self.engine.version()
        # By their names for people: what compose builds here must not take the place of what an apply has recorded.
        if self.show(["watch"], {}) != 0:
            raise BuildError("compose watch failed")

    def variables(self, *, starts: bool) -> dict[str, str]:
        """The environment that compose runs in.

        Raises:
            RefusedError: it is to start something and a required variable has no value.
        """
        return compose_environment(self.stack, self._file, self.engine.endpoint, starts=starts)

    @property
    def _file(self) -> Path:
        return self.project.output / self.stack.compose_file

    def command(self, words: Sequence[str]) -> list[str]:
        """The compose command line."""
        return [*compose(), "-f", str(self._file), *words]

    def show(
        self, words: Sequence[str], variables: Mapping[str, str], *, stdin: int | None = None, stdout: int | None = None
    ) -> int:
        """Run compose in the foreground; returns its exit code."""
        environment = self.variables(starts=not {"up", "watch"}.isdisjoint(words)) | dict(variables)
        # compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
        stdin = programs.NOTHING if "up" in words else stdin
        return programs.show(self.command(words), environment=environment, stdin=stdin, stdout=stdout)

    def ask(self, *words: str) -> Done:
        """Run compose and keep what it says."""
        return programs.ask(self.command(words), environment=self.variables(starts=False))

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """Its containers, stopped ones included, sorted.

        Raises:
            BuildError: compose says no.
        """
        return container_rows(self.ask(*_ANY_PROFILE, "ps", "--all", "--format", "json", *services).must("compose ps failed"))

    def absent(self, containers: Sequence[Mapping[str, Any]]) -> list[str]:
        """Services that would run and have no container."""
        there = {row["service"] for row in containers}
        return [name for name, service in self.stack.services.items() if name not in there and _would_run(self, service)]


def _would_run(environment: Environment, service: Service) -> bool:
    return not service.build_only and is_enabled(environment.project.spec, service)


def stack_named(project: Project, name: str) -> Stack:
    """The stack of that name that is switched on.

    Raises:
        SelectionError: there is none.
    """
    stacks = {label: stack for label, stack in project.spec.stacks.items() if stack.enabled}
    if name not in stacks:
        hints = nearest(name, stacks) or (f"stacks: {', '.join(stacks) or 'none'}",)
        raise SelectionError([Problem(code="S031", message=f"no stack `{name}`", hints=hints)])
    return stacks[name]


def compose_environment(stack: Stack, file: Path, endpoint: str, *, starts: bool) -> dict[str, str]:
    """The caller's environment, tied to the endpoint, without what would point compose elsewhere.

    Args:
        stack: the stack.
        file: its compose file.
        endpoint: the engine's.
        starts: whether the command starts anything: then every required variable needs a true value.

    Raises:
        RefusedError: a required variable has none.
    """
    dropped = {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}
    environment = {name: value for name, value in programs.tied(endpoint).items() if name not in dropped}
    for name, value in stack.variables.items():
        environment.setdefault(name, value)
    text = file.read_text(encoding="utf-8")
    for name in _REQUIRED.findall(text):
        if not starts:
            # compose wants every required variable for every command; only starting needs a true value.
            environment.setdefault(name, "not-needed-here")
        else:
            _require_value(stack, environment, name, text)
    return environment


def _require_value(stack: Stack, environment: dict[str, str], name: str, text: str) -> None:
    """See to it that a required variable holds something that the stack can start with, or that its file does.

    Raises:
        RefusedError: neither does.
    """
    takes_file = f"${{{name}_FILE" in text
    by_file = f"{name}_FILE to the path of a file that holds it"
    if takes_file and (named := environment.get(f"{name}_FILE")):
        # From where the caller is: compose would look in the folder of its file.
        file = Path(named).absolute()
        try:
            held = file.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise RefusedError(f"{name}_FILE is {file}, which cannot be read: {error.strerror}") from error
        if not held:
            raise RefusedError(f"{name}_FILE is {file}, which is empty")
        # The file is the only source then.
        environment[f"{name}_FILE"], environment[name] = str(file), ""
    elif not environment.get(name) and (name not in environment or takes_file):
        raise RefusedError(
            f"the stack `{stack.name}` does not start without {name}",
            hints=(f"set {name}{f', or {by_file}' if takes_file else ''}",),
        )
    elif name in variables_in_urls(text) and re.search(f"[^{URL_SAFE}]", environment[name]):
        raise RefusedError(
            f"{name} becomes part of a URL, and has other characters than letters, digits and . _ ~ -",
            hints=(f"set {by_file}: it may hold anything",) if takes_file else (),
        )


def container_rows(text: str) -> list[dict[str, Any]]:
    """What `compose ps --format json` says, in our words: one list in older versions, a line for each container in newer ones."""
    raw: list[Any] = []
    for line in text.splitlines():
        value = json.loads(line)
        raw += value if isinstance(value, list) else [value]
    rows = [
        {
            "service": str(row["Service"]),
            "container": str(row["Name"]),
            "image": str(row.get("Image") or ""),
            "state": str(row["State"]),
            "health": row.get("Health") or None,
            "exit_code": int(row.get("ExitCode") or 0) if row["State"] == "exited" else None,
            "ports": sorted(
                {
                    f"{port.get('URL') or ''}:{port['PublishedPort']}->{port['TargetPort']}/{port['Protocol']}"
                    for port in row.get("Publishers") or ()
                    if port.get("PublishedPort")
                }
            ),
        }
        for row in raw
    ]
    return sorted(rows, key=lambda row: (row["service"], row["container"]))
