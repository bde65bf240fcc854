"""Answers for programs: each is one JSON document that says what it is (`format`) and in which form it is (`version`).

Within one version fields are only ever added. Their schemas are in docs/schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasker_build.errors import Exit, ProblemsError, TaskerBuildError
from tasker_build.plan.words import UNCOMMITTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.errors import Problem
    from tasker_build.lint import Result
    from tasker_build.output import Drift
    from tasker_build.spec.model import Suppression

VERSION = 1


def document(name: str, **content: Any) -> dict[str, Any]:
    """A document of that name."""
    return {"format": f"tasker-build {name}", "version": VERSION, **content}


def revision_data(revision: str) -> dict[str, Any]:
    """A Git commit, and whether files were not as it has them; null where nobody knows."""
    commit = revision.removesuffix(UNCOMMITTED)
    return {"revision": commit or None, "uncommitted": revision != commit if commit else None}


_KINDS = {
    Exit.FAILED: "failed",
    Exit.BAD_INPUT: "input",
    Exit.NO_ENGINE: "engine",
    Exit.REFUSED: "refused",
    Exit.USAGE: "usage",
    Exit.BUG: "bug",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "terminated",
}


def error_document(code: int, message: str, error: TaskerBuildError | None = None) -> dict[str, Any]:
    """What a command answers when it has no answer; standard error has the same for people."""
    problems = error.ordered if isinstance(error, ProblemsError) else ()
    return document(
        "error",
        kind=_KINDS[Exit(code)],
        exit_code=int(code),
        message=message,
        hints=list(error.hints) if error else [],
        problems=[_problem_data(problem) for problem in problems],
    )


def _problem_data(problem: Problem) -> dict[str, Any]:
    span = problem.span
    return {
        "code": problem.code,
        "message": problem.message,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.col if span else None,
        "length": span.length if span else None,
        "label": problem.label or None,
        "notes": list(problem.notes),
        "hints": list(problem.hints),
    }


def render_document(folder: str, drift: Sequence[Drift], *, check: bool, touched: Sequence[str] = ()) -> dict[str, Any]:
    """What a render wrote, or would write."""
    return document(
        "render",
        folder=folder,
        check=check,
        different=sum(row.state.differs for row in drift),
        files=[
            {
                "path": row.path,
                "state": row.state.name.lower(),
                "touched": row.path in touched,
                "diff": list(row.diff),
            }
            for row in drift
        ],
    )


def check_document(
    targets: int,
    files: int,
    results: Sequence[Result],
    suppressed: Sequence[str],
    suppressions: Sequence[tuple[Suppression, int]],
    *,
    ok: bool,
) -> dict[str, Any]:
    """What each checker said.

    Args:
        targets: how many the spec has.
        files: how many were rendered.
        results: of each checker, without what the spec suppresses.
        suppressed: rules that are left out everywhere.
        suppressions: what the spec suppresses, with how many findings each took.
        ok: nothing fails the check.
    """
    return document(
        "check",
        ok=ok,
        targets=targets,
        files=files,
        checkers=[
            {
                "checker": result.checker,
                "files": result.files,
                "missing": result.missing or None,
                "findings": [row.data() for row in result.findings],
            }
            for result in results
        ],
        suppressed=list(suppressed),
        suppressed_by_spec=[
            {"check": row.check, "path": row.path, "why": row.why, "place": str(row.span), "findings": count}
            for row, count in suppressions
        ],
    )
