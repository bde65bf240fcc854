"""`tasker-build check`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import annotate, format_option, say_document
from tasker_build.errors import Exit
from tasker_build.finding import Level, counted, sift
from tasker_build.lint import CHECKERS, HADOLINT_IGNORED
from tasker_build.output import compare
from tasker_build.view.document import check_document
from tasker_build.view.github import drift_annotations, finding_annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.cli import Settings
    from tasker_build.lint import Result
    from tasker_build.spec.model import Suppression


@click.command("check")
@click.option("--strict", is_flag=True, help="Warnings and checkers that are missing fail, too.")
@format_option("text", "json", "github")
@click.pass_obj
def command(settings: Settings, strict: bool, form: str) -> int:  # noqa: FBT001
    project = settings.project()
    project.wanted  # noqa: B018 - loads, renders, parses and fingerprints everything
    rows = project.spec.suppress
    targets, files = len(project.order), len(project.tree.files)
    results: list[Result] = []
    taken = dict.fromkeys(range(len(rows)), 0)
    if form != "json":
        click.echo(f"spec, graph, closures and templates: {targets} targets, {files} files")
    for checker in CHECKERS:
        result = checker(project)
        findings, suppressed = sift(result.findings, rows)
        results.append(result := replace(result, findings=findings))
        for i, count in suppressed.items():
            taken[i] += count
        if form != "json":
            click.echo("\n".join(_lines(result, findings=form == "text")))
    bad = {Level.ERROR, Level.WARNING} if strict else {Level.ERROR}
    failed = any(finding.level in bad for result in results for finding in result.findings)
    failed = failed or (strict and any(result.missing for result in results))
    if form == "json":
        suppressions = [(row, taken[i]) for i, row in enumerate(rows)]
        say_document(check_document(targets, files, results, HADOLINT_IGNORED, suppressions, ok=not failed))
    else:
        click.echo("\n".join(_suppressed(rows, taken, complete=not any(result.missing for result in results))))
    if form == "github":
        drift = drift_annotations(compare(project.tree, project.output, ()), project.output, "warning")
        annotate([*finding_annotations(results, project.output, strict=strict), *drift])
    return Exit.BAD_INPUT if failed else Exit.OK


def _lines(result: Result, *, findings: bool) -> Iterator[str]:
    if result.missing:
        yield f"{result.checker}: not run, {result.missing}"
        return
    levels = [finding.level for finding in result.findings]
    told = [f"{levels.count(level)} {level}" for level in (Level.WARNING, Level.ADVICE) if level in levels]
    yield f"{result.checker}: {result.files} files, {counted(len(levels), 'finding')}" + (f" ({', '.join(told)})" if told else "")
    for finding in result.findings if findings else ():
        level = f" ({finding.level})" if finding.level is not Level.ERROR else ""
        yield f"  {finding.path}:{finding.line}: {finding.checker}{level}: {finding.message}"
        if finding.origin:
            yield f"    from: {finding.origin}"
        if finding.cost:
            yield f"    cost: {finding.cost}"


def _suppressed(rows: Sequence[Suppression], taken: Mapping[int, int], *, complete: bool) -> Iterator[str]:
    count = counted(sum(taken.values()), "finding")
    yield f"suppressed on purpose: {', '.join(HADOLINT_IGNORED)} everywhere; {count} by the spec"
    for i, row in enumerate(rows):
        count = counted(taken[i], "finding")
        count += ", it can go" if complete and not taken[i] else ""
        yield f"  {row.span}: {row.check} in {row.path}: {count} ({row.why})"
