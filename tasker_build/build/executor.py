"""Jobs → events. One supervisor owns every build; it never ends before they do and it uses no threads.

It knows jobs and what may start now, and no project, spec or plan. It yields what happens; how that looks is the view's
business, and what is to be remembered of it is for those who ask.
"""

from __future__ import annotations

import selectors
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasker_build.build.events import Built, Failed, Relinked, Running, Skipped, Started
from tasker_build.build.report import Failure
from tasker_build.errors import BuildError, RefusedError, TaskerBuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from tasker_build.build.events import Event
    from tasker_build.build.job import Job
    from tasker_build.build.report import Report
    from tasker_build.engine.api import Image
    from tasker_build.schedule import Schedule
    from tasker_build.spec.names import TargetName

GRACE = 10.0
"""Seconds the children have to end after an interrupt before they are killed."""
MUTE = 60.0
"""Seconds a child has to end after its output did before it is killed: it would block everything else for ever."""
TICK = 0.2
SOON = 0.01
"""Seconds between two looks at a child whose output has ended: most are gone at once."""


class Build(Protocol):
    """A build that goes on."""

    def fileno(self) -> int:
        """The descriptor that is readable when it says something, and at the end of its output."""

    def read(self) -> bool:
        """Take what it said; False at the end of its output."""

    def ended(self) -> bool:
        """Whether it is over."""

    def finish(self) -> Report:
        """Wait for its end, let go of everything, and say what came of it."""

    def interrupt(self) -> None:
        """Ask it to end."""

    def stop(self, grace: float) -> None:
        """Interrupt it, and kill what is left of it after `grace` seconds."""

    def current(self) -> str:
        """The step that it is at."""

    def lost_parent(self) -> str | None:
        """The parent whose finished work is done again, because its cache is gone."""


class Images(Protocol):
    """What the finished images are asked."""

    def image(self, reference: str) -> Image | None:
        """The image of that name or id with its label, or None."""

    def tag(self, image_id: str, reference: str) -> None:
        """Give an image a further name."""


@dataclass(slots=True)
class _Active:
    job: Job
    build: Build
    began: float
    mute_since: float | None = None


class Executor:
    """Runs the jobs of one schedule, so many at once.

    Args:
        schedule: says which jobs may start.
        jobs: those of the schedule's targets.
        start: begins a build; it gets the image ids of the job's `built_on`. It may raise RefusedError and OSError.
        images: where the finished images are.
        ids: reference → image id, of everything that is there before the first build.
        at_once: how many builds run at the same time.
        fail_fast: start nothing more after a failure.
        clock: seconds, from any beginning.
    """

    def __init__(
        self,
        schedule: Schedule,
        jobs: Mapping[TargetName, Job],
        start: Callable[[Job, Mapping[str, str]], Build],
        images: Images,
        *,
        ids: Mapping[str, str],
        at_once: int,
        fail_fast: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.schedule, self.jobs, self.start, self.images = schedule, jobs, start, images
        self.ids, self.at_once, self.fail_fast, self.clock = dict(ids), at_once, fail_fast, clock
        self.stopping = False
        self.active: dict[TargetName, _Active] = {}
        self.selector = selectors.DefaultSelector()

    def execute(self) -> Generator[Event, None, None]:
        """Run the jobs, telling what happens as it happens; whoever stops asking stops the builds.

        Raises:
            EngineError: the engine does not answer any more.
        """
        try:
            while not self.schedule.done:
                yield from self._start_what_is_ready()
                if self.active:
                    yield from self._booked(self._wait())
                elif self.stopping:
                    return
        finally:
            self._stop_all()
            self.selector.close()

    def _start_what_is_ready(self) -> Iterator[Event]:
        for name in self.schedule.ready()[: self.at_once - len(self.active)]:
            if self.stopping:
                return
            self.schedule.take(name)
            yield Started(target=name, reasons=self.jobs[name].reasons)
            yield from self._booked(self._start(self.jobs[name]))

    def _booked(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass events on, and let the schedule know how builds ended."""
        for event in events:
            yield event
            if isinstance(event, Built):
                self.schedule.succeed(event.target)
            elif isinstance(event, Failed):
                self.stopping = self.stopping or self.fail_fast
                for lost in self.schedule.fail(event.target):
                    yield Skipped(target=lost, because=event.target)

    def _start(self, job: Job) -> Iterator[Event]:
        built_on = {source: self.ids[reference] for source, reference in job.built_on.items() if self.ids.get(reference)}
        try:
            build = self.start(job, built_on)
        except RefusedError as error:
            yield Failed(target=job.target, failure=Failure(message=error.message), refused=True)
            return
        except OSError as error:
            yield Failed(target=job.target, failure=Failure(message=f"the build could not be started: {error}"))
            return
        self.active[job.target] = _Active(job, build, self.clock())
        self.selector.register(build, selectors.EVENT_READ, job.target)

    def _wait(self) -> Iterator[Event]:
        mute = any(active.mute_since is not None for active in self.active.values())
        for key, _ in self.selector.select(SOON if mute else TICK):
            active = self.active[key.data]
            if not active.build.read():
                self.selector.unregister(active.build)
                active.mute_since = self.clock()
        for active in list(self.active.values()):
            if active.mute_since is None:
                yield from self._relink(active)
            elif active.build.ended():
                yield self._end(active)
            elif self.clock() - active.mute_since > MUTE:
                active.build.stop(0)
                yield self._end(active)
        now = self.clock()
        yield Running(builds={name: (active.build.current(), now - active.began) for name, active in self.active.items()})

    def _relink(self, active: _Active) -> Iterator[Event]:
        """Begin again from the parents' images if one of them has lost its cache: the composition would build it again."""
        if active.job.relinked is None or (parent := active.build.lost_parent()) is None:
            return
        self.selector.unregister(active.build)
        active.build.stop(GRACE)
        del self.active[active.job.target]
        yield Relinked(target=active.job.target, parent=parent)
        yield from self._start(active.job.relinked)

    def _end(self, active: _Active) -> Event:
        job = active.job
        report = active.build.finish()
        # Not before: while we wait for its end, an interrupt must still find it.
        del self.active[job.target]
        seconds = self.clock() - active.began
        if report.failure is not None:
            return Failed(target=job.target, failure=report.failure, seconds=seconds)
        try:
            image = self._verify(job)
        except TaskerBuildError as error:
            return Failed(target=job.target, failure=Failure(message=error.message, log=report.log), seconds=seconds)
        self.ids[job.reference] = image.id
        return Built(
            target=job.target,
            image_id=image.id,
            seconds=seconds,
            steps_run=report.steps_run,
            steps_cached=report.steps_cached,
            steps=report.steps,
            as_before=None if report.steps_run else self._is_as_before(job, image),
            compiler_cache=report.compiler_cache,
        )

    def _verify(self, job: Job) -> Image:
        """A build that exits 0 is not yet an image: look at it, then give it its names for people.

        Raises:
            BuildError: the image is not there, or does not carry the label it was built with.
        """
        image = self.images.image(job.reference)
        if image is None:
            raise BuildError(f"the build ended well but {job.reference} is not in the engine: was it built without loading?")
        label = image.label
        if label is None or (label.fingerprint, label.target) != (job.label.fingerprint, job.target):
            raise BuildError(f"{job.reference} does not carry the label it was built with")
        for name in job.names:
            self.images.tag(image.id, name)
        return image

    def _is_as_before(self, job: Job, image: Image) -> bool | None:
        """Whether only the label tells the image from the one that it was to differ from; None: that one is gone."""
        before = self.images.image(job.against) if job.against else None
        return before.content == image.content if before is not None else None

    def _stop_all(self) -> None:
        """End every child; a second interrupt while waiting kills at once."""
        deadline = self.clock() + GRACE
        try:
            for active in self.active.values():
                active.build.interrupt()
            for active in self.active.values():
                active.build.stop(max(0.0, deadline - self.clock()))
        except BaseException:
            for active in self.active.values():
                active.build.stop(0)
            raise
        finally:
            self.active.clear()
