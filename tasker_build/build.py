"""One target's build: what is sent to BuildKit, the process that runs it, and what its rawjson says. Knows no schedule."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from tasker_build import dockerfile
from tasker_build.context import write_tar
from tasker_build.dockerfile import STAGE_MARK, compose
from tasker_build.engine.api import BuildRequest, ImageLabel
from tasker_build.plan.facts import SCHEMA
from tasker_build.spec.names import slug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tasker_build.dockerfile import Composition, Piece
    from tasker_build.engine.api import Engine
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName

TAIL_LINES = 40
EVICTED_AFTER = 2.0
"""Seconds a finished parent's RUN step may take before its cache counts as evicted; a cached one takes none."""


def composition_of(
    project: Project, name: TargetName, tags: Mapping[TargetName, str]
) -> tuple[Composition, tuple[TargetName, ...]]:
    """Compose a target's file with those of its parents, and say whose contexts it needs.

    A parent named in `tags` is used as the finished image of that reference instead; so is one whose last stage declares ARGs,
    because stages built from it would inherit them while images do not.

    Returns:
        The composition and the targets in it, parents first.
    """
    pieces: dict[TargetName, Piece] = {}

    def add(target: TargetName) -> None:
        inlined: dict[str, TargetName] = {}
        references: dict[str, str] = {}
        for parent in project.parents(target):
            reference = project.spec.image_reference(project.spec.targets[parent])
            if parent in tags:
                references[reference] = tags[parent]
            else:
                inlined[reference] = parent
                if parent not in pieces:
                    add(parent)
        pieces[target] = project.piece(target, inlined, references)

    add(name)
    return compose(list(pieces.values())), tuple(pieces)


def must_link_by_tag(project: Project, name: TargetName) -> frozenset[TargetName]:
    """Ancestors that cannot be stages of a composition without changing what their children see."""
    from tasker_build.graph import ancestors  # noqa: PLC0415

    return frozenset(
        parent
        for parent in ancestors(project.graph, name)
        if dockerfile.inherits_args(project.dockerfiles[parent], project.spec.targets[parent].stage)
    )


@dataclass(slots=True)
class Vertex:
    """One step of a build as BuildKit reports it."""

    name: str
    started: str | None = None
    completed: str | None = None
    cached: bool = False
    error: str | None = None
    seen_at: float = 0.0
    partial: str = ""
    reused: dict[str, int] = field(default_factory=dict)  # what sccache says at its end
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    @property
    def is_step(self) -> bool:
        """Whether it is an instruction of the Dockerfile, not BuildKit's own housekeeping."""
        return bool(_STEP.match(self.name))

    @property
    def stage(self) -> str:
        """The stage it belongs to; "" for the only stage of a file, and for what is no step."""
        match = _STEP.match(self.name)
        return (match[1] or "") if match else ""

    @property
    def running(self) -> bool:
        """Whether it started and did not end."""
        return self.started is not None and self.completed is None and not self.cached


_LONGEST_LINE = 1 << 14
_SCCACHE = re.compile(r"(Compile requests|Cache hits|Cache misses)\s+(\d+)$")
_STEP = re.compile(r"\[(?:(\S+) +)?\d+/\d+\] ")  # a file with one stage leaves its name out
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")


def printable(text: str) -> str:
    """A log line without terminal escapes and control characters: logs are other people's text."""
    text = _ESCAPE.sub("", text)
    return "".join(char if char.isprintable() or char == "\t" else "" for char in text)


class Progress:
    """Follows one build's rawjson stream, bounded in memory however much it prints."""

    def __init__(self, log: IO[str]) -> None:
        self.vertexes: dict[str, Vertex] = {}
        self.log = log
        self.rest: deque[str] = deque(maxlen=200)  # what is not JSON: the error text at the end
        self.began: datetime | None = None  # by BuildKit's clock
        self._partial = b""
        self._last_logged = ""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """Take what is left without a line end."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def _line(self, line: bytes) -> None:
        try:
            message: Any = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            text = printable(line.decode(errors="replace"))
            self.rest.append(text)
            self.log.write(text + "\n")
            return
        for raw in message.get("vertexes") or ():
            self._vertex(raw)
        for raw in message.get("logs") or ():
            self._log(raw)

    def _vertex(self, raw: Mapping[str, Any]) -> None:
        vertex = self.vertexes.setdefault(str(raw.get("digest")), Vertex(str(raw.get("name", ""))))
        if vertex.started is None and raw.get("started"):
            vertex.seen_at = time.monotonic()
        vertex.started = raw.get("started") or vertex.started
        if self.began is None and vertex.name.startswith("[internal]"):
            self.began = _moment(vertex.started)
        # A step may start again; only the newest word counts.
        vertex.completed = raw.get("completed") or (None if raw.get("started") else vertex.completed)
        vertex.cached = bool(raw.get("cached")) or vertex.cached
        vertex.error = raw.get("error") or vertex.error

    def _log(self, raw: Mapping[str, Any]) -> None:
        vertex = self.vertexes.get(str(raw.get("vertex")))
        try:
            text = base64.b64decode(raw.get("data") or "").decode(errors="replace")
        except ValueError:
            return
        if vertex is None:
            return
        if self._last_logged != vertex.name:
            self._last_logged = vertex.name
            self.log.write(f"--- {vertex.name}\n")
        # Output comes in pieces that end anywhere; a line that never ends is cut rather than kept.
        *lines, vertex.partial = (vertex.partial + text).split("\n")
        if len(vertex.partial) > _LONGEST_LINE:
            lines.append(vertex.partial)
            vertex.partial = ""
        for line in lines:
            clean = printable(line.rsplit("\r", 1)[-1])
            if clean.strip():
                vertex.tail.append(clean)
                if match := _SCCACHE.match(clean):
                    vertex.reused[match[1]] = vertex.reused.get(match[1], 0) + int(match[2])
                self.log.write(clean + "\n")

    def steps(self) -> Iterator[Vertex]:
        """Instructions of the Dockerfile."""
        return (vertex for vertex in self.vertexes.values() if vertex.is_step)

    def is_reused(self, vertex: Vertex) -> bool:
        """Whether this build did not run a step: it was cached, or another build that still goes on had begun it before."""
        started = _moment(vertex.started)
        return vertex.cached or (started is not None and self.began is not None and started < self.began)

    def current(self) -> Vertex | None:
        """The step that runs longest now."""
        running = [vertex for vertex in self.steps() if vertex.running]
        return min(running, key=lambda vertex: vertex.seen_at) if running else None

    def failed(self) -> Vertex | None:
        """The step that failed; one that was only cancelled does not count when another has a cause of its own."""
        broken = [vertex for vertex in self.vertexes.values() if vertex.error]
        own = [vertex for vertex in broken if "context canceled" not in (vertex.error or "")]
        return next(iter(own or broken), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPaths:
    """Where one build keeps its files."""

    context: Path
    metadata: Path
    log: Path


class RunningBuild:
    """A started build. `poll` reads what it printed; `stop` ends it with everything it started."""

    def __init__(self, process: subprocess.Popen[bytes], progress: Progress, composition: Composition, paths: BuildPaths) -> None:
        self.process, self.progress, self.composition, self.paths = process, progress, composition, paths
        self.began = time.monotonic()
        self.stderr = process.stderr
        if self.stderr is not None:
            os.set_blocking(self.stderr.fileno(), False)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        if self.stderr is None:
            raise ValueError("the build has no output")
        return self.stderr.fileno()

    def read(self) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            data = os.read(self.fileno(), 1 << 18)
        except BlockingIOError:
            return True
        if data:
            self.progress.feed(data)
        return bool(data)

    def finish(self) -> int:
        """Wait for the process, close everything, return its exit code."""
        self.progress.close()
        code = self.process.wait()
        if self.stderr is not None:
            self.stderr.close()
        self.progress.log.close()
        self.paths.context.unlink(missing_ok=True)
        return code

    def send(self, number: signal.Signals) -> None:
        """Signal the build's whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, grace: float) -> None:
        """Interrupt the build, and kill what is left after `grace` seconds."""
        self.send(signal.SIGINT)
        deadline = time.monotonic() + grace
        while self.process.poll() is None and time.monotonic() < deadline:
            # Its pipe must not fill up while it says goodbye.
            with contextlib.suppress(OSError, ValueError):
                self.read()
            time.sleep(0.02)
        self.send(signal.SIGKILL)
        self.finish()

    def owner(self, vertex: Vertex) -> str | None:
        """The target a step belongs to."""
        stages = self.composition.stages
        return stages.get(vertex.stage or next(iter(stages)))

    def evicted_parent(self, own: TargetName) -> str | None:
        """The parent whose finished work BuildKit is doing again, because its cache is gone."""
        now = time.monotonic()
        for vertex in self.progress.steps():
            owner = self.owner(vertex)
            if owner in {None, own} or not vertex.running or "] RUN" not in vertex.name:
                continue
            if now - vertex.seen_at >= EVICTED_AFTER and not self.progress.is_reused(vertex):
                return owner
        return None


def start_build(
    project: Project,
    engine: Engine,
    name: TargetName,
    *,
    tags: Mapping[TargetName, str],
    built_on: Mapping[str, str],
    folder: Path,
    secrets: Mapping[str, Path],
    redone: bool,
) -> RunningBuild:
    """Write the context of a target, check it against the plan, and start its build.

    Args:
        project: the project.
        engine: where to build.
        name: the target.
        tags: ancestors to take as finished images instead of stages.
        built_on: parents and bases → image id, for the label.
        folder: where the run keeps its files.
        secrets: secret id → file, those the site has.
        redone: run the target's own steps again even where BuildKit has them cached.

    Raises:
        RefusedError: a file changed since the plan was made.
    """
    wanted = project.wanted[name]
    target = project.spec.targets[name]
    composition, included = composition_of(project, name, tags)
    paths = BuildPaths(
        context=folder / f"{slug(name)}.tar",
        metadata=folder / f"{slug(name)}.metadata.json",
        log=folder / f"{slug(name)}.log",
    )
    with paths.context.open("wb") as out:
        write_tar(out, project.workspace, [project.context_part(part) for part in included], composition.text)
    label = ImageLabel(
        schema=SCHEMA,
        project=project.spec.project,
        target=name,
        platform=wanted.platform,
        fingerprint=wanted.facts.fingerprint,
        groups=wanted.facts.groups,
        built_on=built_on,
        built=int(time.time()) if wanted.refresh else 0,
        redone=redone,
    )
    used = {secret.id for part in included for secret in project.spec.targets[part].secrets}
    request = BuildRequest(
        context=paths.context,
        stage=composition.stage,
        tag=f"{wanted.image}:tb-{wanted.facts.short}",
        label=label.dump(),
        secrets={secret: path for secret, path in secrets.items() if secret in used},
        metadata=paths.metadata,
        network=target.network,
        platform=target.platforms[0] if target.platforms else None,
        no_cache_stages=[stage for stage, owner in composition.stages.items() if owner == name] if redone else (),
    )
    paths.metadata.unlink(missing_ok=True)
    log = paths.log.open("a", encoding="utf-8", errors="replace", buffering=1)
    with paths.context.open("rb") as stdin:
        process = subprocess.Popen(
            engine.build_command(request),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(engine.environment()),
            start_new_session=True,  # a Ctrl-C at the terminal reaches us alone; we pass it on
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads
        )
    return RunningBuild(process, Progress(log), composition, paths)


_LIBC = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have the kernel end the build when we are killed; Linux only, and safe because one thread starts all builds."""
    if _LIBC is not None and hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


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
    started, completed = _moment(vertex.started), _moment(vertex.completed)
    return (completed - started).total_seconds() if started and completed else 0.0


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def _readable_step(name: str) -> str:
    """`[deploy-orchestration__runtime 3/5] RUN x` → `[runtime 3/5] RUN x`."""
    return re.sub(rf"^\[\S+?{STAGE_MARK}", "[", name)
