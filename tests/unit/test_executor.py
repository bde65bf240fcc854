"""The executor without an engine: builds that a test drives say, end, fail, hang or refuse to die as they are told."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import networkx as nx
import pytest

from tasker_build.build import executor
from tasker_build.build.events import Built, Failed, Relinked, Running, Skipped, Started
from tasker_build.build.executor import GRACE, MUTE, Executor
from tasker_build.build.job import Job
from tasker_build.build.report import Failure, Report
from tasker_build.dockerfile import Composition
from tasker_build.engine.api import ImageLabel
from tasker_build.engine.memory import MemoryEngine
from tasker_build.errors import RefusedError
from tasker_build.schedule import Schedule
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.build.events import Event


def job_of(name: str) -> Job:
    label = ImageLabel(schema=1, project="p", target=name, platform="linux/amd64", fingerprint=f"f-{name}", groups={})
    composition = Composition(text="", stage=name, origin={}, stages={name: name})
    reference = f"p-{name}:tb-{name}"
    return Job(
        target=TargetName(name), reference=reference, names=(f"p-{name}:1",), composition=composition, parts=(), label=label
    )


class FakeBuild:
    """A build that goes on until `say_no_more`; what it does in the end is its fate."""

    def __init__(self, world: World, job: Job) -> None:
        self.world, self.job, self.fate = world, job, world.fates.get(job.target, "ok")
        self.readable, self.writable = os.pipe()
        self.graces: list[float] = []
        self.interrupts = 0
        self.silent = self.finished = False

    def say_no_more(self) -> None:
        if not self.silent:
            self.silent = True
            os.close(self.writable)

    def fileno(self) -> int:
        return self.readable

    def read(self) -> bool:
        return bool(os.read(self.readable, 10))

    def ended(self) -> bool:
        return self.fate != "never ends" or bool(self.graces)

    def interrupt(self) -> None:
        self.interrupts += 1

    def stop(self, grace: float) -> None:
        self.graces.append(grace)
        self.world.now += self.world.dying
        if grace and self.world.impatient:
            raise KeyboardInterrupt
        self.finish()

    def finish(self) -> Report:
        if not self.finished:
            self.finished = True
            self.say_no_more()
            os.close(self.readable)
            self.world.live.remove(self)
        if self.graces or self.fate == "fails":
            return Report(failure=Failure(message="killed" if self.graces else "no"), log="x.log")
        label = replace(self.job.label, fingerprint="other") if self.fate == "labelled otherwise" else self.job.label
        if self.fate != "not loaded":
            self.world.engine.put(f"id-{self.job.target}", [self.job.reference], label)
        return Report(steps_run=2, steps_cached=1, log="x.log")

    def current(self) -> str:
        return "RUN x"

    def lost_parent(self) -> str | None:
        return "a" if self.fate == "lost cache" and self.job.relinked else None


class World:
    """A clock, an engine in memory, and the builds that go on."""

    def __init__(self, *edges: str, nodes: str = "", **fates: str) -> None:
        graph: nx.DiGraph[TargetName] = nx.DiGraph()
        graph.add_nodes_from(map(TargetName, nodes))
        graph.add_edges_from((TargetName(edge[0]), TargetName(edge[1])) for edge in edges)
        self.graph = graph
        self.fates = fates
        self.jobs = {name: job_of(name) for name in graph}
        self.engine = MemoryEngine()
        self.live: list[FakeBuild] = []
        self.now = self.dying = 0.0
        self.impatient = False
        self.most = 0
        self.started: list[tuple[str, Mapping[str, str]]] = []

    def start(self, job: Job, built_on: Mapping[str, str]) -> FakeBuild:
        match self.fates.get(job.target):
            case "refused":
                raise RefusedError("a file changed")
            case "no program":
                raise FileNotFoundError(2, "No such file", "buildx")
        build = FakeBuild(self, job)
        self.live.append(build)
        self.most = max(self.most, len(self.live))
        self.started.append((job.target, built_on))
        return build

    def executor(self, at_once: int = 2, *, fail_fast: bool = False, ids: Mapping[str, str] | None = None) -> Executor:
        schedule = Schedule(self.graph, self.graph)
        return Executor(
            schedule,
            self.jobs,
            self.start,
            self.engine,
            ids=ids or {},
            at_once=at_once,
            fail_fast=fail_fast,
            clock=lambda: self.now,
        )

    def run(self, at_once: int = 2, *, fail_fast: bool = False, ids: Mapping[str, str] | None = None) -> list[Event]:
        """Run everything: each look at the builds ends the oldest; `Running` is left out."""
        events: list[Event] = []
        for event in self.executor(at_once, fail_fast=fail_fast, ids=ids).execute():
            if not isinstance(event, Running):
                events.append(event)
                continue
            self.now += 1
            for build in [build for build in self.live if not build.silent and build.fate != "hangs"][:1]:
                build.say_no_more()
        return events


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "TICK", 0.0)
    monkeypatch.setattr(executor, "SOON", 0.0)


def told(events: list[Event]) -> list[str]:
    return [f"{type(event).__name__.lower()} {event.target}" for event in events if not isinstance(event, Running)]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_as_many_as_asked_for_run_at_once_and_parents_come_first(at_once: int) -> None:
    world = World("ad", "bd", "cd")
    events = world.run(at_once)
    assert world.most == min(at_once, 3)
    assert [name for name, _ in world.started][-1] == "d"
    assert sorted(event.target for event in events if isinstance(event, Built)) == ["a", "b", "c", "d"]
    assert not world.live


def test_a_build_knows_the_images_it_stands_on_and_gets_its_names() -> None:
    world = World("ab")
    built_on = {"a": world.jobs[TargetName("a")].reference, "debian:13": "debian:13", "gone:1": "gone:1"}
    world.jobs[TargetName("b")] = replace(world.jobs[TargetName("b")], built_on=built_on)
    events = world.run(ids={"debian:13": "id-debian"})
    assert world.started == [("a", {}), ("b", {"a": "id-a", "debian:13": "id-debian"})]
    assert world.engine.names["p-b:1"] == "id-b"
    assert told(events) == ["started a", "built a", "started b", "built b"]
    assert [event.seconds > 0 for event in events if isinstance(event, Built)] == [True, True]


def test_a_failure_skips_what_stands_on_it_and_nothing_else() -> None:
    events = World("ab", "bc", nodes="d", a="fails").run(1)
    assert told(events) == ["started a", "failed a", "skipped b", "skipped c", "started d", "built d"]
    assert [event.because for event in events if isinstance(event, Skipped)] == ["a", "a"]
    assert [event.failure.message for event in events if isinstance(event, Failed)] == ["no"]


def test_fail_fast_starts_nothing_more_and_ends_what_runs() -> None:
    events = World(nodes="abcd", a="fails").run(2, fail_fast=True)
    assert told(events) == ["started a", "started b", "failed a", "built b"]


def test_fail_fast_counts_for_what_could_not_even_start() -> None:
    assert told(World(nodes="abc", a="refused").run(3, fail_fast=True)) == ["started a", "failed a"]


@pytest.mark.parametrize(
    ("fate", "refused", "words"),
    [
        ("refused", True, "a file changed"),
        ("no program", False, "the build could not be started: [Errno 2] No such file: 'buildx'"),
        ("not loaded", False, "is not in the engine: was it built without loading?"),
        ("labelled otherwise", False, "does not carry the label it was built with"),
    ],
)
def test_what_is_no_image_in_the_end_is_a_failure(fate: str, refused: bool, words: str) -> None:  # noqa: FBT001
    world = World("ab", a=fate)
    events = world.run()
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert (failed.refused, words in failed.failure.message) == (refused, True)
    assert told(events) == ["started a", "failed a", "skipped b"]
    assert "p-a:1" not in world.engine.names
    assert not world.live


def test_a_lost_cache_begins_the_child_again_from_its_parents_images() -> None:
    world = World("ab", b="lost cache")
    job = world.jobs[TargetName("b")]
    world.jobs[TargetName("b")] = replace(job, relinked=job)
    events = world.run()
    assert told(events) == ["started a", "built a", "started b", "relinked b", "built b"]
    assert [event.parent for event in events if isinstance(event, Relinked)] == ["a"]
    assert [name for name, _ in world.started] == ["a", "b", "b"]


def test_a_child_that_never_ends_is_killed_and_keeps_nobody_waiting() -> None:
    world = World(nodes="abc", a="never ends")
    events = world.run(2)
    assert told(events) == ["started a", "started b", "built b", "started c", "built c", "failed a"]
    assert [event.seconds > MUTE for event in events if isinstance(event, Failed)] == [True]


def interrupted(world: World, at_once: int = 3) -> list[FakeBuild]:
    """Interrupt a run in which everything goes on; returns its builds."""
    events = world.executor(at_once).execute()
    for event in events:
        if isinstance(event, Running):
            break
    builds = list(world.live)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    return builds


def test_an_interrupt_asks_all_at_once_and_gives_them_one_time_together() -> None:
    world = World(nodes="abc")
    world.dying = 4.0
    builds = interrupted(world)
    assert [build.interrupts for build in builds] == [1, 1, 1]
    assert [build.graces for build in builds] == [[GRACE], [GRACE - 4], [GRACE - 8]]
    assert not world.live


def test_a_second_interrupt_kills_at_once() -> None:
    world = World(nodes="abc")
    world.impatient = True
    builds = interrupted(world)
    assert [build.graces for build in builds] == [[GRACE, 0], [0], [0]]
    assert not world.live


def test_an_interrupt_finds_a_child_that_never_ends() -> None:
    world = World(nodes="a", a="never ends")
    events = world.executor().execute()
    for event in events:
        if isinstance(event, Running):
            if world.live[0].silent:
                break
            world.live[0].say_no_more()
    (build,) = world.live
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    assert build.graces == [GRACE]


def test_who_stops_asking_stops_the_builds() -> None:
    world = World(nodes="ab")
    events = world.executor().execute()
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Started)
    events.close()
    assert not world.live


@pytest.mark.parametrize(("content", "same"), [("x", True), ("y", False), (None, None)])
def test_an_image_without_a_new_step_is_compared_with_the_one_it_was_to_differ_from(
    content: str | None,
    same: bool | None,  # noqa: FBT001
) -> None:
    world = World(nodes="a")
    world.jobs[TargetName("a")] = replace(world.jobs[TargetName("a")], against="before:1")
    if content:
        world.engine.put("id-before", ["before:1"], None)
        world.engine.stored["id-before"] = replace(world.engine.stored["id-before"], content=content)

    class Cached(FakeBuild):
        def finish(self) -> Report:
            report = super().finish()
            world.engine.stored["id-a"] = replace(world.engine.stored["id-a"], content="x")
            return replace(report, steps_run=0)

    def start(job: Job, built_on: Mapping[str, str]) -> FakeBuild:
        build = Cached(world, job)
        world.live.append(build)
        build.say_no_more()
        return build

    schedule = Schedule(world.graph, world.graph)
    events = list(Executor(schedule, world.jobs, start, world.engine, ids={}, at_once=1, clock=lambda: 0.0).execute())
    assert [event.as_before for event in events if isinstance(event, Built)] == [same]
