"""`tasker-build schema`."""

from __future__ import annotations

import json

import click

from tasker_build.spec.model import SPEC


@click.command("schema")
def command() -> None:
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "tasker-build spec"}
    click.echo(json.dumps(title | SPEC.schema(), indent=2))
