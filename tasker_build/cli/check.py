"""`tasker-build check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasker_build.errors import Exit
from tasker_build.lint import CHECKERS, HADOLINT_IGNORED

if TYPE_CHECKING:
    from tasker_build.cli import Settings


@click.command("check")
@click.option("--strict", is_flag=True, help="A checker that is missing is a finding.")
@click.pass_obj
def command(settings: Settings, strict: bool) -> int:  # noqa: FBT001
    project = settings.project()
    project.wanted  # noqa: B018 - loads, renders, parses and fingerprints everything
    click.echo(f"spec, graph, closures and templates: {len(project.order)} targets, {len(project.tree.files)} files")
    found = missing = 0
    for checker in CHECKERS:
        result = checker(project)
        if result.missing:
            missing += 1
            click.echo(f"{result.checker}: not run, {result.missing}")
            continue
        found += len(result.findings)
        click.echo(f"{result.checker}: {result.files} files, {len(result.findings)} findings")
        for finding in result.findings:
            click.echo(f"  {finding}")
    click.echo(f"suppressed on purpose: {', '.join(HADOLINT_IGNORED)}")
    return Exit.BAD_INPUT if found or (strict and missing) else Exit.OK
