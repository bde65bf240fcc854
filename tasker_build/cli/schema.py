"""`tasker-build schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tasker_build.work.language import language_here

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.command("schema")
@click.pass_obj
def command(settings: Settings) -> None:
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "tasker-build spec"}
    click.echo(json.dumps(title | language_here(settings.files).spec.schema(), indent=2))
