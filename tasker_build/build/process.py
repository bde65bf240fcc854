"""One job's build: what is sent to the engine, and the build that goes on there. Knows no schedule."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasker_build.build.report import owner, report_of
from tasker_build.build.stream import Progress
from tasker_build.context import write_tar
from tasker_build.dockerfile import STAGE_MARK
from tasker_build.engine.api import BuildRequest
from tasker_build.spec.names import slug

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasker_build.build.job import Job
    from tasker_build.build.report import Report
    from tasker_build.engine.api import Engine, Process
    from tasker_build.workspace import Workspace

EVICTED_AFTER = 2.0
"""Seconds a finished parent's RUN step may take before its cache counts as evicted; a cached one takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPaths:
    """Where one build keeps its files."""

    context: Path
    metadata: Path
    log: Path


class RunningBuild:
    """A build that goes on, what it said so far, and its files."""

    def __init__(self, job: Job, process: Process, progress: Progress, paths: BuildPaths) -> None:
        self.job, self.process, self.progress, self.paths = job, process, progress, paths

    def fileno(self) -> int:
        """The descriptor that is readable when it says something, and at the end of its output."""
        return self.process.fileno()

    def read(self) -> bool:
        """Take what it said; False at the end of its output."""
        data = self.process.read()
        if data:
            self.progress.feed(data)
        return data is None or bool(data)

    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.poll() is not None

    def finish(self) -> Report:
        """Wait for the process, close everything, and say what came of the build."""
        self.progress.close()
        code = self.process.close()
        self.progress.log.close()
        self.paths.context.unlink(missing_ok=True)
        return report_of(self.job, self.progress, code, str(self.paths.log))

    def interrupt(self) -> None:
        """Ask it to end."""
        self.process.send(signal.SIGINT)

    def stop(self, grace: float) -> None:
        """Interrupt the build, and kill what is left after `grace` seconds."""
        self.interrupt()
        deadline = time.monotonic() + grace
        while self.process.poll() is None and time.monotonic() < deadline:
            # Its pipe must not fill up while it says goodbye.
            with contextlib.suppress(OSError, ValueError):
                self.read()
            time.sleep(0.02)
        self.process.send(signal.SIGKILL)
        self.finish()

    def current(self) -> str:
        """The step that runs longest now, with the last line it printed."""
        vertex = self.progress.current()
        words = f"{vertex.name}  {vertex.tail[-1].strip()}" if vertex and vertex.tail else vertex.name if vertex else "starting"
        return words.split(STAGE_MARK, 1)[-1] if words.startswith("[") else words

    def lost_parent(self) -> str | None:
        """The parent whose finished work BuildKit is doing again, because its cache is gone."""
        now = time.monotonic()
        for vertex in self.progress.steps():
            parent = owner(self.job, vertex)
            if parent in {None, self.job.target} or not vertex.running or "] RUN" not in vertex.name:
                continue
            if now - vertex.seen_at >= EVICTED_AFTER and not self.progress.is_reused(vertex):
                return parent
        return None


def start_build(job: Job, built_on: Mapping[str, str], *, engine: Engine, workspace: Workspace, folder: Path) -> RunningBuild:
    """Write the context of a job, check it against the plan, and start its build.

    Args:
        job: what to build.
        built_on: parents and bases → image id, for the label.
        engine: where to build.
        workspace: where the files of the context are.
        folder: where the run keeps its files.

    Raises:
        RefusedError: a file changed since the plan was made.
        OSError: no room for its files, or the program that builds cannot be started.
    """
    name = slug(job.target)
    paths = BuildPaths(context=folder / f"{name}.tar", metadata=folder / f"{name}.metadata.json", log=folder / f"{name}.log")
    with contextlib.ExitStack() as undo:
        undo.callback(paths.context.unlink, missing_ok=True)
        with paths.context.open("wb") as out:
            write_tar(out, workspace, job.parts, job.composition.text)
        label = replace(job.label, built_on=built_on, built=int(time.time()) if job.dated else 0)
        request = BuildRequest(
            context=paths.context,
            stage=job.composition.stage,
            tag=job.reference,
            label=label.dump(),
            secrets=job.secrets,
            metadata=paths.metadata,
            network=job.network,
            platform=job.platform,
            no_cache_stages=job.no_cache_stages,
        )
        paths.metadata.unlink(missing_ok=True)
        log = undo.enter_context(paths.log.open("a", encoding="utf-8", errors="replace", buffering=1))
        build = RunningBuild(job, engine.start(request), Progress(log), paths)
        undo.pop_all()
    return build
