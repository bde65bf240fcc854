"""`tasker-build check`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tasker_build.errors import Exit
from tasker_build.finding import Level, counted, sift
from tasker_build.lint import CHECKERS, HADOLINT_IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from tasker_build.cli import Settings
    from tasker_build.lint import Result
    from tasker_build.spec.model import Suppression


@click.command("check")
@click.option("--strict", is_flag=True, help="Warnings and checkers that are missing fail, too.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.pass_obj
def command(settings: Settings, strict: bool, form: str) -> int:  # noqa: FBT001
    project = settings.project()
    project.wanted  # noqa: B018 - loads, renders, parses and fingerprints everything
    rows = project.spec.suppress
    counts = {"targets": len(project.order), "files": len(project.tree.files)}
    results: list[Result] = []
    taken = dict.fromkeys(range(len(rows)), 0)
    if form == "text":
        click.echo(f"spec, graph, closures and templates: {counts['targets']} targets, {counts['files']} files")
    for checker in CHECKERS:
        result = checker(project)
        findings, suppressed = sift(result.findings, rows)
        results.append(result := replace(result, findings=findings))
        for i, count in suppressed.items():
            taken[i] += count
        if form == "text":
            click.echo("\n".join(_lines(result)))
    bad = {Level.ERROR, Level.WARNING} if strict else {Level.ERROR}
    failed = any(finding.level in bad for result in results for finding in result.findings)
    failed = failed or (strict and any(result.missing for result in results))
    if form == "text":
        click.echo("\n".join(_suppressed(rows, taken, complete=not any(result.missing for result in results))))
    else:
        document = {
            "format": "tasker-build check",
            "version": 1,
            "ok": not failed,
            **counts,
            "checkers": [_data(result) for result in results],
            "suppressed": list(HADOLINT_IGNORED),
            "suppressed_by_spec": [
                {"check": row.check, "path": row.path, "why": row.why, "place": str(row.span), "findings": taken[i]}
                for i, row in enumerate(rows)
            ],
        }
        click.echo(json.dumps(document, indent=2))
    return Exit.BAD_INPUT if failed else Exit.OK


def _lines(result: Result) -> Iterator[str]:
    if result.missing:
        yield f"{result.checker}: not run, {result.missing}"
        return
    levels = [finding.level for finding in result.findings]
    told = [f"{levels.count(level)} {level}" for level in (Level.WARNING, Level.ADVICE) if level in levels]
    yield f"{result.checker}: {result.files} files, {counted(len(levels), 'finding')}" + (f" ({', '.join(told)})" if told else "")
    for finding in result.findings:
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


def _data(result: Result) -> dict[str, Any]:
    return {
        "checker": result.checker,
        "files": result.files,
        "missing": result.missing or None,
        "findings": [finding.data() for finding in result.findings],
    }
