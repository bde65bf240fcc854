"""`tasker-build env`: the environments, through compose and with the images that the last apply built."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasker_build.cli.answer import documented, format_option, say_document
from tasker_build.compose import URL_SAFE, is_enabled, runs, variables_in_urls
from tasker_build.engine.docker import DockerEngine, compose
from tasker_build.errors import BuildError, Problem, RefusedError, SelectionError, nearest
from tasker_build.output import State, compare
from tasker_build.plan.words import unique_reference
from tasker_build.spec.model import TargetName, image_variable
from tasker_build.spec.names import at_version
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.cli import Settings
    from tasker_build.project import Project
    from tasker_build.spec.model import Service, Stack

_REQUIRED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?\?")


@click.group("env")
def command() -> None:
    pass


def stack_named(project: Project, name: str) -> Stack:
    stacks = {label: stack for label, stack in project.spec.stacks.items() if stack.enabled}
    if name not in stacks:
        hints = nearest(name, stacks) or (f"stacks: {', '.join(stacks) or 'none'}",)
        raise SelectionError([Problem(code="S031", message=f"no stack `{name}`", hints=hints)])
    return stacks[name]


def require_rendered(project: Project, stack: Stack) -> None:
    drift = [row for row in compare(project.tree, project.output, ()) if row.state in {State.MISSING, State.BEHIND}]
    if drift:
        names = ", ".join(row.path for row in drift[:5])
        raise RefusedError(f"the rendered files of `{stack.name}` are not up to date: {names}", hints=("tasker-build render",))


def _require_profiles(stack: Stack, profiles: Sequence[str]) -> None:
    known = sorted({profile for service in stack.services.values() for profile in service.profiles})
    for profile in profiles:
        if profile not in known:
            hints = nearest(profile, known) or (f"profiles: {', '.join(known) or 'none'}",)
            raise SelectionError([Problem(code="S032", message=f"no profile `{profile}` in stack `{stack.name}`", hints=hints)])


def pinned_images(
    project: Project, stack: Stack, engine: DockerEngine, *, only: str = "", profiles: Sequence[str] = ()
) -> dict[str, str]:
    """X_IMAGE variables that name exactly the images the spec asks for now, for the services that will run."""
    variables: dict[str, str] = {}
    present = {reference for image in engine.images() for reference in image.references}
    wanted = {str(name): item for name, item in project.wanted.items()}
    for name, service in stack.services.items():
        if service.target and only in {"", name} and _runs(project, service, profiles):
            item = wanted[service.target]
            reference = unique_reference(item.image, item.facts.fingerprint)
            if reference not in present:
                raise RefusedError(f"the image of `{item.name}` is not built as the spec asks now", hints=("tasker-build apply",))
            variables[image_variable(project.spec.targets[item.name])] = reference
    return variables


def _runs(project: Project, service: Service, profiles: Sequence[str]) -> bool:
    return is_enabled(project.spec, service) and (not service.profiles or not set(service.profiles).isdisjoint(profiles))


def versioned_images(
    project: Project, stack: Stack, engine: DockerEngine, version: str, *, pull: bool, profiles: Sequence[str] = ()
) -> dict[str, str]:
    """X_IMAGE variables that name the images of a version, fetched first where that is asked for.

    Raises:
        BuildError: an image cannot be fetched.
        RefusedError: an image of that version is not here.
    """
    variables: dict[str, str] = {}
    for run in runs(project.spec, stack):
        if run.profiles and set(run.profiles).isdisjoint(profiles):
            continue
        (tag,) = at_version((run.tag,), version)
        reference = f"{run.image}:{tag}"
        variables[run.variable] = reference
        if pull and subprocess.run(["docker", "pull", reference], env=dict(engine.environment()), check=False).returncode != 0:
            raise BuildError(f"{reference} cannot be fetched", hints=("docker login, if the registry wants it",))
        if not pull and engine.image(reference) is None:
            raise RefusedError(f"{reference} is not here", hints=(f"--pull, or `tasker-build apply --version {version}`",))
    return variables


def data_volume(project: Project, stack: Stack, service: Service) -> tuple[str, bool]:
    """The volume that a service keeps its data in, the first of the stack's that it mounts, and whether it is the stack's own."""
    for mount in service.volumes:
        key = mount.split(":", 1)[0]
        if key in stack.volumes:
            options = stack.volumes[key] or {}
            return str(options.get("name") or f"{project.spec.project_name(stack)}_{key}"), not options.get("external")
    return "", False


def refuse_data_of_another_version(project: Project, stack: Stack, engine: DockerEngine, images: Mapping[str, str]) -> None:
    """Look into the volumes of databases before a server of another version meets them.

    Raises:
        RefusedError: a volume holds data of another PostgreSQL than the spec asks for.
    """
    environment = dict(engine.environment())
    for service in stack.services.values():
        target = project.spec.targets.get(TargetName(service.target or ""))
        if target is None or target.kind != "postgres" or image_variable(target) not in images:
            continue
        volume, _ = data_volume(project, stack, service)
        look = ["docker", "volume", "inspect", volume]
        if not volume or subprocess.run(look, env=environment, capture_output=True, check=False).returncode != 0:
            continue
        read = ["docker", "run", "--rm", "--network", "none", "--volume", f"{volume}:/data:ro", "--entrypoint", "sh"]
        script = ["-c", "cat /data/PG_VERSION /data/*/docker/PG_VERSION 2>/dev/null"]
        read += [images[image_variable(target)], *script]
        done = subprocess.run(read, env=environment, capture_output=True, text=True, check=False)
        found, wanted = done.stdout.split(), str(target.vars.get("major", ""))
        if found and wanted not in found:
            place = target.at["vars"]
            raise RefusedError(
                f"the volume {volume} holds data of PostgreSQL {', '.join(found)}, and the target `{target.name}` "
                f"({place.file}:{place.line}) is PostgreSQL {wanted}",
                hints=(
                    "dump it with the old version and restore the dump into a volume of the new one's own",
                    f"or go back to PostgreSQL {found[-1]} in the spec",
                ),
            )


def compose_command(project: Project, stack: Stack, words: Sequence[str]) -> list[str]:
    """The compose command line for a stack."""
    return [*compose(), "-f", str(project.output / stack.compose_file), *words]


def compose_environment(project: Project, stack: Stack, engine: DockerEngine, *, starts: bool) -> dict[str, str]:
    """The caller's environment without what would point compose elsewhere."""
    dropped = {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["DOCKER_HOST"] = engine.endpoint
    for name, value in stack.variables.items():
        environment.setdefault(name, value)
    text = (project.output / stack.compose_file).read_text(encoding="utf-8")
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


def run_compose(project: Project, stack: Stack, engine: DockerEngine, words: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run compose for a stack in the foreground; returns its exit code."""
    starts = not {"up", "watch"}.isdisjoint(words)
    environment = compose_environment(project, stack, engine, starts=starts) | dict(variables)
    # compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
    stdin = subprocess.DEVNULL if "up" in words else None
    return subprocess.run(compose_command(project, stack, words), env=environment, stdin=stdin, check=False).returncode


@command.command("up", help="Start a stack from the images that are built, and wait until it is healthy.")
@click.argument("stack")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="Start its optional services, too; may be repeated.")
@click.option(
    "--wait-timeout",
    type=click.IntRange(1, 3600),
    default=300,
    show_default=True,
    help="Seconds until it counts as failed.",
)
@click.option("--version", "version", help="Run the images of this version instead of what the spec asks for now.")
@click.option("--pull", is_flag=True, help="Fetch the images from their registry first; nothing is built. For servers.")
@click.pass_obj
@documented(lambda settings, stack, **_: _say_status(settings, stack))
def up(
    settings: Settings,
    stack: str,
    profiles: tuple[str, ...],
    wait_timeout: int,
    version: str | None,
    pull: bool,  # noqa: FBT001
) -> None:
    project = settings.project()
    chosen = stack_named(project, stack)
    _require_profiles(chosen, profiles)
    require_rendered(project, chosen)
    engine = settings.engine()
    compose_environment(project, chosen, engine, starts=True)  # refuses before anything is fetched
    if version or pull:
        variables = versioned_images(project, chosen, engine, version or "latest", pull=pull, profiles=profiles)
    else:
        variables = pinned_images(project, chosen, engine, profiles=profiles)
    refuse_data_of_another_version(project, chosen, engine, variables)
    switches = [word for profile in profiles for word in ("--profile", profile)]
    arguments = [*switches, "up", "--detach", "--no-build", "--wait", "--wait-timeout", str(wait_timeout)]
    if run_compose(project, chosen, engine, arguments, variables) != 0:
        run_compose(project, chosen, engine, ["logs", "--tail", "20"], variables)
        raise BuildError(f"the stack `{stack}` did not become healthy", hints=(f"tasker-build env logs {stack}",))
    click.echo(published_ports(stack, containers_of(project, chosen, engine)))


def published_ports(stack: str, containers: Sequence[Mapping[str, Any]]) -> str:
    """Where a stack's services are on this machine, a line for each published port."""
    rows = [(row["service"], port.removesuffix("/tcp").replace("->", " -> ")) for row in containers for port in row["ports"]]
    width = max((len(service) for service, _ in rows), default=0)
    lines = [f"  {service:<{width}}  {port}" for service, port in rows]
    return "\n".join([f"`{stack}` is up and healthy{':' if rows else ''}", *lines])


def _pass_on(settings: Settings, stack: str, arguments: Sequence[str]) -> None:
    project = settings.project()
    engine = settings.engine()
    engine.version()
    # Whatever profile started a service: it is one of the stack's.
    if run_compose(project, stack_named(project, stack), engine, ["--profile", "*", *arguments], {}) != 0:
        raise BuildError(f"compose {arguments[0]} failed")


@command.command("down", help="Stop a stack and remove its containers; its data stays.")
@click.argument("stack")
@click.pass_obj
@documented(lambda settings, stack, **_: _say_status(settings, stack))
def down(settings: Settings, stack: str) -> None:
    _pass_on(settings, stack, ["down", "--remove-orphans"])


@command.command("status", help="Show what of a stack runs and how it is.")
@click.argument("stack")
@format_option("text", "json")
@click.pass_obj
def status(settings: Settings, stack: str, form: str) -> None:
    if form == "text":
        _pass_on(settings, stack, ["ps", "--all"])
    else:
        _say_status(settings, stack)


def _say_status(settings: Settings, stack: str) -> None:
    project = settings.project()
    chosen = stack_named(project, stack)
    engine = settings.engine()
    engine.version()
    containers = containers_of(project, chosen, engine)
    there = {row["service"] for row in containers}
    absent = [
        name
        for name, service in chosen.services.items()
        if name not in there and not service.build_only and is_enabled(project.spec, service)
    ]
    say_document(document("env-status", project=project.spec.project, stack=stack, containers=containers, absent=absent))


def containers_of(project: Project, stack: Stack, engine: DockerEngine, *services: str) -> list[dict[str, Any]]:
    """The containers of a stack, stopped ones included, sorted.

    Raises:
        BuildError: compose says no.
    """
    words = compose_command(project, stack, ["--profile", "*", "ps", "--all", "--format", "json", *services])
    environment = compose_environment(project, stack, engine, starts=False)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"compose ps failed: {done.stderr.strip()}")
    return container_rows(done.stdout)


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


@command.command("logs", help="Show a stack's logs.")
@click.argument("stack")
@click.argument("services", nargs=-1)
@click.option("--follow", is_flag=True, help="Go on as they come.")
@click.pass_obj
def logs(settings: Settings, stack: str, services: tuple[str, ...], follow: bool) -> None:  # noqa: FBT001
    _pass_on(settings, stack, ["logs", *(["--follow"] if follow else []), *services])


@command.command("watch", help="Start a stack from its sources and build a service anew whenever they change (stop: Ctrl-C).")
@click.argument("stack")
@click.pass_obj
def watch(settings: Settings, stack: str) -> None:
    project = settings.project()
    chosen = stack_named(project, stack)
    require_rendered(project, chosen)
    if not any(service.watch for service in chosen.services.values()):
        raise RefusedError(f"no service of `{stack}` is watched", hints=("`watch: true` on a service of the spec",))
    engine = settings.engine()
    engine.version()
    # By their names for people: what compose builds here must not take the place of what an apply has recorded.
    if run_compose(project, chosen, engine, ["watch"], {}) != 0:
        raise BuildError("compose watch failed")
