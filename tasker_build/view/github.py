"""For pull requests on GitHub: annotations as workflow commands, and a plan as a step summary in Markdown. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasker_build.errors import ProblemsError, shown
from tasker_build.finding import Level
from tasker_build.plan.changes import TemplateChange
from tasker_build.plan.facts import Difference
from tasker_build.plan.words import Action, ReasonKind
from tasker_build.render import is_stamp
from tasker_build.view.plan import totals
from tasker_build.view.progress import seconds_text
from tasker_build.view.wording import evidence, signed_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tasker_build.duration import Estimate
    from tasker_build.errors import TaskerBuildError
    from tasker_build.lint import Result
    from tasker_build.output import Drift
    from tasker_build.plan.words import Plan, Reason, Step
    from tasker_build.spec.model import TargetName

SHOWN = 10
"""Annotations of one level that GitHub shows for a step; it drops the rest without a word."""
SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's summary; GitHub shows nothing of a longer one."""
_MOST_LINES = 80  # of one difference
_ROOM = 400  # bytes kept for the sentence that says what is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One remark, at a place where it has one; lines and columns count from 1."""

    level: str  # error, warning or notice
    message: str
    title: str = ""
    file: str = ""
    line: int = 0
    column: int = 0


def commands(annotations: Iterable[Annotation], place: Callable[[str], str] = str) -> Iterator[str]:
    """Write annotations as workflow commands; where there are more than GitHub shows, the last one shown names the rest.

    Args:
        annotations: what to say, the most important first.
        place: file → the file as GitHub knows it, from the top of the checkout.
    """
    levels: Mapping[str, list[Annotation]] = {"error": [], "warning": [], "notice": []}
    for annotation in annotations:
        levels[annotation.level].append(replace(annotation, file=place(annotation.file) if annotation.file else ""))
    for level, rows in levels.items():
        shown, rest = (rows, []) if len(rows) <= SHOWN else (rows[: SHOWN - 1], rows[SHOWN - 1 :])
        yield from map(_command, shown)
        if rest:
            lines = [f"{row.file}:{row.line}: {row.message}" if row.file else row.message for row in rest]
            yield _command(Annotation(level=level, title=f"tasker-build: {len(rest)} more", message="\n".join(lines)))


def _command(row: Annotation) -> str:
    properties = {
        "file": row.file,
        "line": row.line,
        "col": row.column,
        "title": row.title,
    }
    words = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value)
    return f"::{row.level}{' ' if words else ''}{words}::{_data(row.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def error_annotations(error: TaskerBuildError) -> Iterator[Annotation]:
    """Mistakes at their places; any other error has none."""
    if not isinstance(error, ProblemsError):
        yield Annotation(level="error", title="tasker-build", message="\n".join([error.message, *error.hints]))
        return
    for problem in error.ordered:
        span = problem.span
        yield Annotation(
            level="error",
            title=f"tasker-build {problem.code}",
            message="\n".join([problem.message, *problem.notes, *problem.hints]),
            file=span.file if span else "",
            line=span.line if span else 0,
            column=span.col if span else 0,
        )


def drift_annotations(drift: Iterable[Drift], folder: Path, level: str) -> Iterator[Annotation]:
    """Rendered files that are not what the spec renders, at their first difference."""
    for row in drift:
        if row.state.differs:
            message = f"{row.state.value}\ntasker-build render writes it, `tasker-build render --check` shows the difference"
            line = _first_difference(row.diff)
            yield Annotation(level=level, title="tasker-build render", message=message, file=str(folder / row.path), line=line)


_RANGE = re.compile(r"@@ -(\d+)")


def _first_difference(diff: Sequence[str]) -> int:
    """The line on disk where a unified difference begins, 1 where there is none to show; that stamps differ says nothing."""
    number = first = 0
    for line in diff:
        if match := _RANGE.match(line):
            number = int(match[1])
        elif number and line.startswith(("+", "-")):
            if not is_stamp(line[1:]):
                return number
            first = first or number
        if number and line.startswith((" ", "-")):
            number += 1
    return first or 1


_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.ADVICE: "notice"}


def finding_annotations(results: Iterable[Result], folder: Path, *, strict: bool) -> Iterator[Annotation]:
    """What the checkers found, and which did not run."""
    for result in results:
        for row in result.findings:
            words = [row.message, *([f"from: {row.origin}"] if row.origin else []), *([f"cost: {row.cost}"] if row.cost else [])]
            level, file = _LEVELS[row.level], str(folder / row.path)
            yield Annotation(level=level, title=row.checker, message="\n".join(words), file=file, line=row.line)
        if result.missing:
            level = "error" if strict else "notice"
            yield Annotation(level=level, title="tasker-build check", message=f"{result.checker}: not run, {result.missing}")


def plan_annotations(plan: Plan, root: Path, templates: Mapping[str, str], time: Estimate | None = None) -> Iterator[Annotation]:
    """What a plan adds up to, then what changed at its place with the targets it hits, what hits most first.

    A reason without a place (an image that is not here, a parent) is in the sum only.

    Args:
        plan: the plan.
        root: the workspace, whose files contexts are.
        templates: template → its file, of those that the checkout has.
        time: how long the builds will take, where that is known.
    """
    words = [totals(plan), *([_time_text(time, _one_line)] if time else [])]
    yield Annotation(level="notice", title="tasker-build plan", message="\n".join(words))
    found: defaultdict[tuple[str, int, int], defaultdict[str, list[TargetName]]] = defaultdict(lambda: defaultdict(list))
    for step in plan.steps:
        for reason in step.reasons:
            if place := _place(reason, root, templates):
                found[place][f"{reason.kind.value} {evidence(reason)}"].append(step.target)
    for (file, line, column), rows in sorted(found.items(), key=lambda item: -len(set().union(*item[1].values()))):
        message = "\n".join(f"{said}: changes {_named(names)}" for said, names in rows.items())
        yield Annotation(level="notice", title="tasker-build plan", message=message, file=file, line=line, column=column)


def _place(reason: Reason, root: Path, templates: Mapping[str, str]) -> tuple[str, int, int] | None:
    """File, line and column of the first thing that a reason speaks of; what is gone has no place any more."""
    if reason.spans:
        first = reason.spans[0]
        return first.file, first.line, first.col
    if reason.kind is ReasonKind.CONTEXT:
        paths = [change.label for change in reason.changes if isinstance(change, Difference) and change.new is not None]
        return (str(root / shown(paths[0])), 1, 0) if paths else None
    names = [change.chain[-1] for change in reason.changes if isinstance(change, TemplateChange)]
    return next(((templates[name], 1, 0) for name in names if name in templates), None)


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(names[:SHOWN])
    return f"{listed} and {len(names) - SHOWN} more" if len(names) > SHOWN else listed


def plan_summary(plan: Plan, project: str, limit: int = SUMMARY_LIMIT, time: Estimate | None = None) -> str:
    """A plan in Markdown: what it adds up to, a table of what would change, and each difference once with the targets it hits.

    Args:
        plan: the plan.
        project: its name.
        limit: bytes it may have at most; what does not fit is counted in a last sentence.
        time: how long the builds will take, where that is known.
    """
    text = _Bounded(limit)
    text.add(f"## Plan of {_code(project)}\n\n{_plain(totals(plan))}\n\n")
    if time:
        text.add(f"{_time_text(time, _code)}\n\n", "sums")
    changes = [step for step in plan.steps if step.action is not Action.KEEP]
    if changes:
        text.add("| | target | action | reasons |\n|---|---|---|---|\n")
    for step in changes:
        text.add(_row(step), "targets")
    groups = sorted(_hunks(plan).items(), key=lambda item: (-len(item[1]), item[1], item[0]))
    for i, (lines, names) in enumerate(groups):
        title = "\n### What changes in Dockerfiles\n" if i == 0 else ""
        text.add(title + _difference(lines, names), "differences")
    return text.finish()


def _time_text(time: Estimate, name: Callable[[str], str]) -> str:
    """How long the builds will take, and the chain that nothing shortens."""
    path = " → ".join(map(name, time.critical))
    words = [
        f"About {seconds_text(time.seconds)} of building. Critical path, about {seconds_text(time.critical_seconds)}: {path}."
    ]
    unknown = len(time.unknown)
    words += [f"{unknown} target{'s' if unknown != 1 else ''} more whose duration is not recorded."] if unknown else []
    return " ".join(words)


class _Bounded:
    """Text up to a number of bytes; what does not fit is counted by its kind."""

    def __init__(self, limit: int) -> None:
        self.left, self.parts = limit - _ROOM, list[str]()
        self.dropped: dict[str, int] = {}

    def add(self, part: str, kind: str = "") -> None:
        size = len(part.encode("utf-8", "backslashreplace"))
        if size > self.left or kind in self.dropped:
            self.dropped[kind] = self.dropped.get(kind, 0) + 1
        else:
            self.left -= size
            self.parts.append(part)

    def finish(self) -> str:
        left_out = " and ".join(f"{count} more {kind}".strip() for kind, count in self.dropped.items())
        text = "".join([*self.parts, f"\n{left_out}, too long to show here: the log has the whole plan.\n" if left_out else ""])
        return text.encode("utf-8", "backslashreplace").decode()


def _row(step: Step) -> str:
    reasons = "<br>".join(f"{reason.kind.value} {_code(evidence(reason))}" for reason in step.reasons)
    needed = " (needed by the selection)" if step.needed_by_selection else ""
    return f"| {_code(step.action.value)} | {_code(step.target)} | {step.action.word}{needed} | {reasons} |\n"


def _hunks(plan: Plan) -> Mapping[tuple[str, ...], tuple[TargetName, ...]]:
    """The lines of each difference in a Dockerfile → the targets that have it."""
    found: defaultdict[tuple[str, ...], list[TargetName]] = defaultdict(list)
    for step in plan.steps:
        for reason in step.reasons:
            for hunk in reason.hunks:
                lines = tuple(map(shown, signed_lines(hunk)))
                if step.target not in found[lines]:
                    found[lines].append(step.target)
    return {lines: tuple(sorted(names)) for lines, names in found.items()}


def _difference(lines: Sequence[str], names: Sequence[str]) -> str:
    shown = [line for text in lines[:_MOST_LINES] for line in text.splitlines()]
    if len(lines) > _MOST_LINES:
        shown.append(f"… {len(lines) - _MOST_LINES} more lines")
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    listed = ", ".join(map(_code, names))
    where = f"{len(names)} targets: {listed}" if len(names) > 1 else listed
    return "\n".join(["", where, "", f"{fence}diff", *shown, fence, ""])


def _plain(text: str) -> str:
    """Text as it is, in Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#|!~&])", r"\\\1", _one_line(text))


def _code(text: str) -> str:
    """Text as it is, in the letters of a program and on one line; in a table, too.

    A code span wherever it can hold the text. Where a table would take a bar or a span's own mark for markup, every sign that
    Markdown knows is written by its number.
    """
    line = _one_line(text)
    if line and not set(line) & set("|`\\") and line == line.strip():
        return f"`{line}`"
    numbered = "".join(c if c.isalnum() or c in " ./:=,-" else f"&#{ord(c)};" for c in line)
    return f"<code>{numbered}</code>"


def _one_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split("\n"))
