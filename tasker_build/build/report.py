"""What came of a build that ended: why it failed, what became of each instruction, what the compiler cache gave."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.build.stream import TAIL_LINES, moment, printable
from tasker_build.dockerfile import STAGE_MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.build.process import RunningBuild
    from tasker_build.build.stream import Vertex
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a build failed, for people: where, which step, its last lines, and the whole log."""

    message: str
    step: str = ""
    place: str = ""
    tail: tuple[str, ...] = ()
    log: str = ""


_PLACE = re.compile(r"^Dockerfile\.tasker-build:(\d+)$")


def explain_failure(project: Project, build: RunningBuild, code: int) -> Failure:
    """Turn a failed build into what a person needs."""
    vertex = build.progress.failed()
    rest = [line for line in build.progress.rest if line.strip()]
    error = next((line for line in reversed(rest) if line.startswith("ERROR:")), "")
    message = (
        vertex.error if vertex and vertex.error else error.removeprefix("ERROR: ")
    ) or f"buildx ended with exit code {code}"
    place = ""
    for line in rest:
        if (match := _PLACE.match(line)) and int(match[1]) in build.composition.origin:
            owner, number = build.composition.origin[int(match[1])]
            target = next(target for name, target in project.spec.targets.items() if name == owner)
            place = f"{project.spec.output}/{target.dockerfile}:{number}"
    tail: Sequence[str] = tuple(vertex.tail) if vertex else tuple(rest[-TAIL_LINES:])
    step = _readable_step(vertex.name) if vertex else ""
    return Failure(message=printable(message), step=step, place=place, tail=tuple(tail), log=str(build.paths.log))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What BuildKit did with one instruction."""

    target: str  # the target it belongs to: a build holds its parents' instructions, too
    name: str
    cached: bool
    seconds: float


def step_results(build: RunningBuild) -> tuple[StepResult, ...]:
    """Every instruction of a build that ended, in the order of the file; FROM is no work of ours."""
    stages = {stage: i for i, stage in enumerate(build.composition.stages)}

    def place(vertex: Vertex) -> tuple[int, int]:
        # BuildKit reports steps in the order in which it comes across them, often the last one first.
        number = re.search(r"(\d+)/\d+\] ", vertex.name)
        return stages.get(vertex.stage, 0), int(number[1]) if number else 0

    return tuple(
        StepResult(
            target=build.owner(vertex) or "",
            name=_readable_step(vertex.name),
            cached=cached,
            seconds=0.0 if cached else _seconds(vertex),
        )
        for vertex in sorted(build.progress.steps(), key=place)
        for cached in (build.progress.is_reused(vertex),)
        if (vertex.completed or vertex.cached) and "] FROM " not in vertex.name
    )


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


def compiler_cache(build: RunningBuild, own: TargetName) -> CompilerCache | None:
    """What was reused while a target's own steps compiled; None where sccache had no part in it."""
    told = [vertex.reused for vertex in build.progress.steps() if vertex.reused and build.owner(vertex) == own]
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
