"""How a run went against its plan: which predictions BuildKit did not bear out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasker_build.plan.words import UNCOMMITTED, ReasonKind
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One instruction of an earlier run."""

    target: str
    name: str
    cached: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A prediction that the run did not bear out."""

    target: str
    verdict: str  # `needless`: it came out as it was; `missed`: it was to be kept, and its steps ran
    reasons: tuple[str, ...] = ()  # of a needless one: the kinds it was predicted to change for
    child: str = ""  # of a missed one: in whose build its steps ran
    ran: tuple[str, ...] = ()  # and which


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """A plan's prediction beside what BuildKit did."""

    target: TargetName
    run: str
    revision: str
    action: str  # name of the action that was planned
    reasons: tuple[str, ...]  # kinds
    rows: tuple[StepRow, ...]
    wrong: tuple[Guess, ...]

    @property
    def first_run(self) -> int | None:
        """Index of the first own instruction that was not cached: where the cache was lost."""
        return next((i for i, row in enumerate(self.rows) if row.target == self.target and not row.cached), None)


_OWN_CHANGES = frozenset(kind.value for kind in (ReasonKind.SPEC, ReasonKind.TEMPLATE, ReasonKind.CONTEXT, ReasonKind.ARG))
"""What a target itself is made from. A parent, base or tool may come out as it was, and BuildKit knows no version of a secret."""


_KEPT = frozenset({"keep", "retag"})


def judge_steps(name: TargetName, runs: Iterator[tuple[str, Any]]) -> StepReport | None:
    """Compare plan and outcome of the last run that built a target; a summary that cannot be read counts as none."""
    for run, summary in runs:
        try:
            result = next(row for row in summary["results"] if row["target"] == name and "steps" in row)
            return _judge(name, run, summary, result)
        except (StopIteration, KeyError, TypeError, ValueError, AttributeError):
            continue
    return None


def judge_run(runs: Iterator[tuple[str, Any]]) -> tuple[StepReport, ...]:
    """Compare plan and outcome of everything that the last run with a build built; empty where there is none."""
    for run, summary in runs:
        try:
            rows = [row for row in summary["results"] if "steps" in row]
            if rows:
                return tuple(_judge(TargetName(row["target"]), run, summary, row) for row in rows)
        except (StopIteration, KeyError, TypeError, ValueError, AttributeError):
            continue
    return ()


def wrong_guesses(reports: Iterable[StepReport]) -> tuple[Guess, ...]:
    """Each wrong guess of several reports, once: a parent's may have shown in the builds of all of its children."""
    found = {(guess.target, guess.verdict): guess for report in reports for guess in reversed(report.wrong)}
    return tuple(found.values())


def _judge(name: TargetName, run: str, summary: Mapping[str, Any], result: Mapping[str, Any]) -> StepReport:
    rows = tuple(
        StepRow(target=str(row["target"]), name=str(row["name"]), cached=bool(row["cached"]), seconds=float(row["seconds"]))
        for row in result["steps"]
    )
    planned = {str(step["target"]): step for step in summary["plan"]["steps"]}
    step = planned[name]
    reasons = tuple(dict.fromkeys(str(reason["kind"]) for reason in step["reasons"]))
    return StepReport(
        target=name,
        run=run,
        revision=str(summary.get("revision") or "") + (UNCOMMITTED if summary.get("uncommitted") else ""),
        action=str(step["action"]),
        reasons=reasons,
        rows=rows,
        wrong=tuple(_wrong_guesses(name, reasons, rows, planned, as_before=result.get("as_before") is True)),
    )


def _wrong_guesses(
    name: TargetName,
    reasons: Sequence[str],
    rows: Sequence[StepRow],
    planned: Mapping[str, Mapping[str, Any]],
    *,
    as_before: bool,
) -> Iterator[Guess]:
    own = [row for row in rows if row.target == name]
    # BuildKit may have the steps from another build, by compose or some time ago; only what came out as before was no change.
    reasons = [kind for kind in reasons if kind != ReasonKind.FAILED_BEFORE.value]
    if as_before and all(row.cached for row in own) and reasons and set(reasons) <= _OWN_CHANGES:
        yield Guess(target=name, verdict="needless", reasons=tuple(reasons))
    for ancestor in dict.fromkeys(row.target for row in rows if row.target != name):
        ran = [row for row in rows if row.target == ancestor and not row.cached]
        # Where none of its steps was there, it may be BuildKit's cache that is gone.
        if (
            ran
            and any(row.cached for row in rows if row.target == ancestor)
            and str(planned.get(ancestor, {}).get("action", "keep")) in _KEPT
        ):
            yield Guess(target=ancestor, verdict="missed", child=name, ran=tuple(row.name for row in ran))
