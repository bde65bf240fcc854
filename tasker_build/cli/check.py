"""`tasker-build check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import annotate, format_option, say_document
from tasker_build.errors import Exit
from tasker_build.lint import CHECKERS, HADOLINT_IGNORED
from tasker_build.output import compare
from tasker_build.view.document import check_document
from tasker_build.view.github import drift_annotations, finding_annotations

if TYPE_CHECKING:
    from tasker_build.cli import Settings
    from tasker_build.lint import Result


@click.command("check")
@click.option("--strict", is_flag=True, help="A checker that is missing is a finding.")
@format_option("text", "json", "github")
@click.pass_obj
def command(settings: Settings, strict: bool, form: str) -> int:  # noqa: FBT001
    project = settings.project()
    project.wanted  # noqa: B018 - loads, renders, parses and fingerprints everything
    targets, files = len(project.order), len(project.tree.files)
    results = []
    if form != "json":
        click.echo(f"spec, graph, closures and templates: {targets} targets, {files} files")
    for checker in CHECKERS:
        result = checker(project)
        results.append(result)
        if form != "json":
            _say(result, findings=form == "text")
    bad = any(result.findings or (strict and result.missing) for result in results)
    if form == "json":
        say_document(check_document(targets, files, results, HADOLINT_IGNORED, ok=not bad))
    else:
        click.echo(f"suppressed on purpose: {', '.join(HADOLINT_IGNORED)}")
    if form == "github":
        drift = drift_annotations(compare(project.tree, project.output, ()), project.output, "warning")
        annotate([*finding_annotations(results, project.output, strict=strict), *drift])
    return Exit.BAD_INPUT if bad else Exit.OK


def _say(result: Result, *, findings: bool) -> None:
    if result.missing:
        click.echo(f"{result.checker}: not run, {result.missing}")
        return
    click.echo(f"{result.checker}: {result.files} files, {len(result.findings)} findings")
    for finding in result.findings if findings else ():
        click.echo(f"  {finding}")
