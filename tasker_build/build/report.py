"""What came of a build that ended: why it failed, what became of each instruction, what the compiler cache gave."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.build.stream import TAIL_LINES, moment, printable
from tasker_build.dockerfile import STAGE_MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.build.job import Job
    from tasker_build.build.stream import Progress, Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a build failed, for people: where, which step, its last lines, and the whole log."""

    message: str
    step: str = ""
    place: str = ""
    tail: tuple[str, ...] = ()
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What BuildKit did with one instruction."""

    target: str  # the target it belongs to: a build holds its parents' instructions, too
    name: str
    cached: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilerCache:
    """What sccache told of one target's own steps."""

    requests: int
    hits: int
    misses: int

    def __str__(self) -> str:
        if not self.requests:
            return "sccache was never asked: is it switched off in a step?"
        asked = self.hits + self.misses
        return f"sccache {self.hits} of {asked} reused" + (f" ({100 * self.hits // asked} %)" if asked else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one build."""

    failure: Failure | None = None
    steps: tuple[StepResult, ...] = ()  # of the target and of its parents
    steps_run: int = 0  # of the target alone, as is the next
    steps_cached: int = 0
    compiler_cache: CompilerCache | None = None
    log: str = ""


def report_of(job: Job, progress: Progress, code: int, log: str) -> Report:
    """Say what came of a build from what it told and its exit code."""
    own = [vertex for vertex in progress.steps() if owner(job, vertex) == job.target and "] FROM " not in vertex.name]
    fresh = [vertex for vertex in own if not progress.is_reused(vertex)]
    return Report(
        failure=_failure(job, progress, code, log) if code else None,
        steps=_step_results(job, progress),
        # One instruction that reaches several steps of BuildKit ran once.
        steps_run=len({(vertex.started, vertex.completed) for vertex in fresh if vertex.completed}),
        steps_cached=len(own) - len(fresh),
        compiler_cache=_compiler_cache(own),
        log=log,
    )


def owner(job: Job, vertex: Vertex) -> str | None:
    """The target a step belongs to."""
    stages = job.composition.stages
    return stages.get(vertex.stage or next(iter(stages)))


_PLACE = re.compile(r"^Dockerfile\.tasker-build:(\d+)$")


def _failure(job: Job, progress: Progress, code: int, log: str) -> Failure:
    """Turn a failed build into what a person needs."""
    vertex = progress.failed()
    rest = [line for line in progress.rest if line.strip()]
    error = next((line for line in reversed(rest) if line.startswith("ERROR:")), "")
    message = (
        vertex.error if vertex and vertex.error else error.removeprefix("ERROR: ")
    ) or f"buildx ended with exit code {code}"
    place = ""
    for line in rest:
        if (match := _PLACE.match(line)) and int(match[1]) in job.composition.origin:
            target, number = job.composition.origin[int(match[1])]
            place = f"{job.dockerfiles[target]}:{number}"
    tail: Sequence[str] = tuple(vertex.tail) if vertex else tuple(rest[-TAIL_LINES:])
    step = _readable_step(vertex.name) if vertex else ""
    return Failure(message=printable(message), step=step, place=place, tail=tuple(tail), log=log)


def _step_results(job: Job, progress: Progress) -> tuple[StepResult, ...]:
    """Every instruction of a build that ended, in the order of the file; FROM is no work of ours."""
    stages = {stage: i for i, stage in enumerate(job.composition.stages)}

    def place(vertex: Vertex) -> tuple[int, int]:
        # BuildKit reports steps in the order in which it comes across them, often the last one first.
        number = re.search(r"(\d+)/\d+\] ", vertex.name)
        return stages.get(vertex.stage, 0), int(number[1]) if number else 0

    return tuple(
        StepResult(
            target=owner(job, vertex) or "",
            name=_readable_step(vertex.name),
            cached=cached,
            seconds=0.0 if cached else _seconds(vertex),
        )
        for vertex in sorted(progress.steps(), key=place)
        for cached in (progress.is_reused(vertex),)
        if (vertex.completed or vertex.cached) and "] FROM " not in vertex.name
    )


def _compiler_cache(own: Sequence[Vertex]) -> CompilerCache | None:
    """What was reused while a target's own steps compiled; None if sccache had no part in it."""
    told = [vertex.reused for vertex in own if vertex.reused]
    if not told:
        return None
    requests, hits, misses = (
        sum(row.get(name, 0) for row in told) for name in ("Compile requests", "Cache hits", "Cache misses")
    )
    return CompilerCache(requests=requests, hits=hits, misses=misses)


def _seconds(vertex: Vertex) -> float:
    started, completed = moment(vertex.started), moment(vertex.completed)
    return (completed - started).total_seconds() if started and completed else 0.0


def _readable_step(name: str) -> str:
    """`[deploy-orchestration__runtime 3/5] RUN x` → `[runtime 3/5] RUN x`."""
    return re.sub(rf"^\[\S+?{STAGE_MARK}", "[", name)
