"""`tasker-build env`: the environments, through compose and with the images that the last apply built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasker_build.cli.answer import documented, format_option, say_document
from tasker_build.environments.stack import Environment
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.cli import Settings


@click.group("env")
def command() -> None:
    pass


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
    environment = _environment(settings, stack)
    environment.require_profiles(profiles)
    environment.require_rendered()
    environment.variables(starts=True)  # refuses before anything is fetched
    if version or pull:
        images = environment.versioned_images(version or "latest", pull=pull, profiles=profiles)
    else:
        images = environment.pinned_images(profiles=profiles)
    environment.up(images, profiles, wait_timeout)
    click.echo(published_ports(stack, environment.containers()))


def published_ports(stack: str, containers: Sequence[Mapping[str, Any]]) -> str:
    """Where a stack's services are on this machine, a line for each published port."""
    rows = [(row["service"], port.removesuffix("/tcp").replace("->", " -> ")) for row in containers for port in row["ports"]]
    width = max((len(service) for service, _ in rows), default=0)
    lines = [f"  {service:<{width}}  {port}" for service, port in rows]
    return "\n".join([f"`{stack}` is up and healthy{':' if rows else ''}", *lines])


def _environment(settings: Settings, stack: str) -> Environment:
    return Environment.named(settings.project(), stack, settings.engine())


def _pass_on(settings: Settings, stack: str, *words: str) -> None:
    environment = _environment(settings, stack)
    environment.engine.version()
    environment.pass_on(words)


@command.command("down", help="Stop a stack and remove its containers; its data stays.")
@click.argument("stack")
@click.pass_obj
@documented(lambda settings, stack, **_: _say_status(settings, stack))
def down(settings: Settings, stack: str) -> None:
    environment = _environment(settings, stack)
    environment.engine.version()
    if others := environment.down():
        click.echo(f"note: made from another folder, so they stay: {', '.join(others)}", err=True)


@command.command("status", help="Show what of a stack runs and how it is.")
@click.argument("stack")
@format_option("text", "json")
@click.pass_obj
def status(settings: Settings, stack: str, form: str) -> None:
    if form == "text":
        _pass_on(settings, stack, "ps", "--all")
    else:
        _say_status(settings, stack)


def _say_status(settings: Settings, stack: str) -> None:
    environment = _environment(settings, stack)
    environment.engine.version()
    containers = environment.containers()
    absent = environment.absent(containers)
    project = environment.project.spec.project
    say_document(document("env-status", project=project, stack=stack, containers=containers, absent=absent))


@command.command("logs", help="Show a stack's logs.")
@click.argument("stack")
@click.argument("services", nargs=-1)
@click.option("--follow", is_flag=True, help="Go on as they come.")
@click.pass_obj
def logs(settings: Settings, stack: str, services: tuple[str, ...], follow: bool) -> None:  # noqa: FBT001
    _pass_on(settings, stack, "logs", *(["--follow"] if follow else []), *services)


@command.command("watch", help="Start a stack from its sources and build a service anew whenever they change (stop: Ctrl-C).")
@click.argument("stack")
@click.pass_obj
def watch(settings: Settings, stack: str) -> None:
    environment = _environment(settings, stack)
    environment.require_rendered()
    environment.watch()
