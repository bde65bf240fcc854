"""`tasker-build schema`."""

from __future__ import annotations

import json

import click

from tasker_build.ecosystems import built_in
from tasker_build.spec.kinds import KINDS
from tasker_build.spec.model import spec_record


@click.command("schema")
def command() -> None:
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "tasker-build spec"}
    click.echo(json.dumps(title | spec_record(KINDS, built_in()).schema(), indent=2))
