"""One target's build: what is sent to BuildKit, and the process that runs it. Knows no schedule."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.build.stream import Progress
from tasker_build.context import write_tar
from tasker_build.engine.api import BuildRequest, ImageLabel
from tasker_build.plan.facts import SCHEMA
from tasker_build.spec.names import slug
from tasker_build.work.jobs import composition_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasker_build.build.stream import Vertex
    from tasker_build.dockerfile import Composition
    from tasker_build.engine.api import Engine
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName

EVICTED_AFTER = 2.0
"""Seconds a finished parent's RUN step may take before its cache counts as evicted; a cached one takes none."""


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
