"""A plan and an engine → events. One supervisor owns every child process; it never ends before they do and it uses no threads.

It reads only the plan, never the flags that led to it, and yields what happens; how that looks is the view's business.
"""

from __future__ import annotations

import selectors
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasker_build.build.events import Built, Failed, Kept, Relinked, Retagged, Running, Skipped, Started
from tasker_build.build.process import RunningBuild, start_build
from tasker_build.build.report import Failure, compiler_cache, explain_failure, step_results
from tasker_build.dockerfile import STAGE_MARK
from tasker_build.errors import BuildError, RefusedError, TaskerBuildError
from tasker_build.graph import ancestors
from tasker_build.plan.facts import stated_secrets
from tasker_build.plan.words import Action, ReasonKind, Step
from tasker_build.schedule import Schedule
from tasker_build.work.jobs import must_link_by_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tasker_build.build.events import Event
    from tasker_build.engine.api import Engine, Image
    from tasker_build.plan.words import Plan
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName

GRACE = 10.0
"""Seconds a child has to end after an interrupt before it is killed."""
TICK = 0.2


@dataclass(slots=True)
class _Active:
    step: Step
    build: RunningBuild
    began: float
    tags: dict[TargetName, str] = field(default_factory=dict)


class Executor:
    """Applies one plan."""

    def __init__(
        self,
        project: Project,
        engine: Engine,
        plan: Plan,
        *,
        jobs: int,
        run: Path,
        secrets: Mapping[str, Path],
        fail_fast: bool = False,
        revision: str = "",
    ) -> None:
        self.project, self.engine, self.plan = project, engine, plan
        self.jobs, self.run, self.secrets, self.fail_fast = jobs, run, secrets, fail_fast
        self.revision = revision
        self.engine_id = ""
        self.steps = {step.target: step for step in plan.steps}
        self.ids: dict[str, str] = {step.target: step.image_id for step in plan.steps if step.image_id}
        self.redone: set[str] = set()
        self.active: dict[TargetName, _Active] = {}
        self.selector = selectors.DefaultSelector()

    def execute(self) -> Iterator[Event]:
        """Do what the plan says, telling what happens as it happens.

        Raises:
            EngineError: the engine does not answer any more.
        """
        self.engine_id = self.engine.identity()
        for image in self.engine.images():
            self.ids.update((reference, image.id) for reference in image.references)
            if image.label and image.label.redone:
                self.redone.update(image.references)
        try:
            yield from self._settle()
            schedule = Schedule(self.project.graph, [step.target for step in self.plan.steps if step.action.builds])
            stopping = False
            while not schedule.done:
                for name in () if stopping else schedule.ready()[: self.jobs - len(self.active)]:
                    schedule.take(name)
                    for event in self._start(name):
                        yield event
                        if isinstance(event, Failed):
                            yield from self._lose(schedule, event)
                            stopping = stopping or self.fail_fast
                if not self.active:
                    if stopping:
                        return
                    continue
                for event in self._wait():
                    yield event
                    if isinstance(event, Built):
                        schedule.succeed(event.target)
                    elif isinstance(event, Failed):
                        yield from self._lose(schedule, event)
                        stopping = stopping or self.fail_fast
        finally:
            self._stop_all()
            self.selector.close()

    def _lose(self, schedule: Schedule, event: Failed) -> Iterator[Event]:
        if not event.refused:
            self.project.records.note_failure(event.target, self.run.name)
        for lost in schedule.fail(event.target):
            yield Skipped(target=lost, because=event.target)

    def _settle(self) -> Iterator[Event]:
        """Steps that need no build."""
        for step in self.plan.steps:
            if step.action is Action.KEEP:
                yield Kept(target=step.target)
            elif step.action is Action.RETAG and step.image_id:
                references = tuple(f"{step.image}:{tag}" for tag in step.tags)
                for reference in references:
                    self.engine.tag(step.image_id, reference)
                yield Retagged(target=step.target, references=references)

    def _start(self, name: TargetName, relink: TargetName | None = None) -> Iterator[Event]:
        step = self.steps[name]
        tags = {parent: self._unique(parent) for parent in self._linked_by_tag(name)}
        if relink is not None:
            yield Relinked(target=name, parent=relink)
            # One parent without its cache is enough: the composition would build it again.
            tags = {parent: self._unique(parent) for parent in self.project.parents(name)}
        else:
            yield Started(target=name, reasons=", ".join(dict.fromkeys(reason.kind.value for reason in step.reasons)))
        try:
            build = start_build(
                self.project,
                self.engine,
                name,
                tags=tags,
                built_on=self._built_on(name),
                folder=self.run,
                secrets=self.secrets,
                redone=self._redoes(step),
            )
        except RefusedError as error:
            yield Failed(target=name, failure=Failure(message=error.message), refused=True)
            return
        except OSError as error:
            yield Failed(target=name, failure=Failure(message=f"the build could not be started: {error}"))
            return
        self.active[name] = _Active(step, build, time.monotonic(), tags)
        self.selector.register(build, selectors.EVENT_READ, name)

    def _redoes(self, step: Step) -> bool:
        """Whether the target's own steps run even where BuildKit has them: nobody could say how old what it has is, and the
        value of a secret is no part of its key.
        """
        versioned = any(version for _, _, version in stated_secrets(self.project.spec.targets[step.target]))
        must = versioned or any(reason.kind in {ReasonKind.FORCED, ReasonKind.SECRET} for reason in step.reasons)
        return must or bool(self.project.wanted[step.target].refresh)

    def _linked_by_tag(self, name: TargetName) -> frozenset[TargetName]:
        """Ancestors that only their image stands for: BuildKit would take a redone one's older result from its cache."""
        above = ancestors(self.project.graph, name)
        return must_link_by_tag(self.project, name) | {parent for parent in above if self._unique(parent) in self.redone}

    def _unique(self, name: TargetName) -> str:
        wanted = self.project.wanted[name]
        return f"{wanted.image}:tb-{wanted.facts.short}"

    def _built_on(self, name: TargetName) -> dict[str, str]:
        wanted = self.project.wanted[name]
        parents = {str(parent): self.ids.get(parent) or self._image_id(parent) for parent in wanted.parents}
        bases = {base: self.ids[base] for base in wanted.bases if base in self.ids}
        return {source: image_id for source, image_id in (parents | bases).items() if image_id}

    def _image_id(self, name: TargetName) -> str:
        """The image of a parent outside the plan's steps: it was kept without being selected."""
        return self.ids.get(self._unique(name), "")

    def _wait(self) -> Iterator[Event]:
        for key, _ in self.selector.select(TICK):
            name = key.data
            if not self.active[name].build.read():
                self.selector.unregister(self.active[name].build)
                yield self._end(name)
        for name, active in list(self.active.items()):
            parent = active.build.evicted_parent(name)
            if parent is not None and not active.tags:
                self.selector.unregister(active.build)
                active.build.stop(GRACE)
                del self.active[name]
                yield from self._start(name, relink=next(n for n in self.project.order if n == parent))
        yield Running(builds={name: self._current(active) for name, active in self.active.items()})

    @staticmethod
    def _current(active: _Active) -> tuple[str, float]:
        vertex = active.build.progress.current()
        words = f"{vertex.name}  {vertex.tail[-1].strip()}" if vertex and vertex.tail else vertex.name if vertex else "starting"
        return words.split(STAGE_MARK, 1)[-1] if words.startswith("[") else words, time.monotonic() - active.began

    def _end(self, name: TargetName) -> Event:
        active = self.active.pop(name)
        code = active.build.finish()
        seconds = time.monotonic() - active.began
        if code != 0:
            return Failed(target=name, failure=explain_failure(self.project, active.build, code), seconds=seconds)
        try:
            image = self._verify(active.step)
        except TaskerBuildError as error:
            return Failed(target=name, failure=Failure(message=error.message, log=str(active.build.paths.log)), seconds=seconds)
        image_id = self.ids[name] = image.id
        if self._redoes(active.step):
            self.redone.add(active.step.unique_reference)
        self.project.records.remember(
            self.project.wanted[name], image_id, run=self.run.name, revision=self.revision, engine=self.engine_id
        )
        progress = active.build.progress
        own = [vertex for vertex in progress.steps() if active.build.owner(vertex) == name and "] FROM " not in vertex.name]
        fresh = [vertex for vertex in own if not progress.is_reused(vertex)]
        ran = len({(vertex.started, vertex.completed) for vertex in fresh if vertex.completed})
        return Built(
            target=name,
            image_id=image_id,
            seconds=seconds,
            steps_run=ran,
            steps_cached=len(own) - len(fresh),
            steps=step_results(active.build),
            as_before=self._is_as_before(active.step, image) if not ran else None,
            compiler_cache=compiler_cache(active.build, name),
        )

    def _verify(self, step: Step) -> Image:
        """A build that exits 0 is not yet an image: look at it, then give it its names for people.

        Raises:
            BuildError: the image is not there, or does not carry the label it was built with.
        """
        image = self.engine.image(step.unique_reference)
        if image is None:
            raise BuildError(
                f"the build ended well but {step.unique_reference} is not in the engine: was it built without loading?"
            )
        if image.label is None or image.label.fingerprint != step.fingerprint or image.label.target != step.target:
            raise BuildError(f"{step.unique_reference} does not carry the label it was built with")
        for tag in step.tags:
            self.engine.tag(image.id, f"{step.image}:{tag}")
        return image

    def _is_as_before(self, step: Step, image: Image) -> bool | None:
        """Whether an image is but for its label the one that it was to differ from; None: that one is not here any more."""
        before = self.engine.image(step.against) if step.against else None
        return before.content == image.content if before is not None else None

    def _stop_all(self) -> None:
        """End every child; a second interrupt while waiting kills at once."""
        try:
            for active in self.active.values():
                active.build.send(signal.SIGINT)
            for active in self.active.values():
                active.build.stop(GRACE)
        except BaseException:
            for active in self.active.values():
                active.build.stop(0)
            raise
        finally:
            self.active.clear()
