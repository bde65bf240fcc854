"""What every engine must do: the one in memory always, the real one if there is a daemon. Builds, too."""

from __future__ import annotations

import io
import select
import signal
import subprocess
import tarfile
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tasker_build.context import DOCKERFILE
from tasker_build.engine.api import LABEL, BuildRequest, Engine, ImageLabel
from tasker_build.engine.docker import DockerEngine
from tasker_build.engine.memory import MemoryEngine
from tasker_build.errors import BuildError, EngineError
from tests.property.interpreter import InterpretingEngine, Layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tasker_build.engine.api import Process

OURS = ImageLabel(schema=1, project="p", target="t", platform="linux/amd64", fingerprint="f", groups={"arg": "1"})


@dataclass
class World:
    """An engine, and how a test puts images into it and takes names away; all names start with `prefix`."""

    engine: Engine
    put: Callable[[Sequence[str], ImageLabel | None], str]
    remove: Callable[[str], None]
    prefix: str

    def names(self) -> dict[str, set[str]]:
        """Image id → those of its names that are this test's."""
        found = {image.id: {name for name in image.references if name.startswith(self.prefix)} for image in self.engine.images()}
        return {image_id: names for image_id, names in found.items() if names}


def _memory() -> World:
    engine = InterpretingEngine()

    def put(names: Sequence[str], label: ImageLabel | None) -> str:
        return engine.store(Layers({"/": uuid.uuid4().bytes}), names, label)

    return World(engine, put, engine.remove, "contract/")


def _docker() -> Iterator[World]:
    prefix = f"contract-{uuid.uuid4().hex[:8]}/"
    made: list[str] = []

    def put(names: Sequence[str], label: ImageLabel | None) -> str:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(uuid.uuid4().hex))
        change = [f"--change=LABEL {LABEL}={_quoted(label.dump())}"] if label else []
        done = subprocess.run(
            ["docker", "import", *change, "-", names[0]], input=archive.getvalue(), capture_output=True, check=True
        )
        for name in names[1:]:
            subprocess.run(["docker", "tag", names[0], name], check=True)
        made.extend(names)
        return done.stdout.decode().strip()

    def remove(name: str) -> None:
        subprocess.run(["docker", "image", "rm", name], check=True, capture_output=True)

    yield World(DockerEngine.connect(), put, remove, prefix)
    for name in made:
        subprocess.run(["docker", "image", "rm", name], check=False, capture_output=True)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


@pytest.fixture(params=["memory", pytest.param("docker", marks=pytest.mark.engine)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield _memory()
    else:
        yield from _docker()


def test_images_are_listed_with_all_their_names_and_their_label(world: World) -> None:
    ours = world.put([f"{world.prefix}a:1", f"{world.prefix}a:latest"], OURS)
    other = world.put([f"{world.prefix}b:1"], None)
    assert world.names() == {ours: {f"{world.prefix}a:1", f"{world.prefix}a:latest"}, other: {f"{world.prefix}b:1"}}
    labels = {image.id: image.label for image in world.engine.images()}
    assert (labels[ours], labels[other]) == (OURS, None)


def test_an_image_that_only_a_registrys_digest_names_is_listed() -> None:
    engine = MemoryEngine()
    engine.put("id-1", [], None, digests=["contract/a@sha256:1"])
    engine.put("id-2", [], None)
    assert [(image.id, image.digests) for image in engine.images()] == [("id-1", ("contract/a@sha256:1",))]


def test_an_image_is_found_by_its_name_only(world: World) -> None:
    image_id = world.put([f"{world.prefix}a:1"], OURS)
    found = world.engine.image(f"{world.prefix}a:1")
    assert found is not None
    assert (found.id, found.label) == (image_id, OURS)
    assert world.engine.image(f"{world.prefix}a:2") is None


@pytest.mark.engine
def test_content_is_all_but_our_label() -> None:
    for world in _docker():
        labels = (OURS, replace(OURS, fingerprint="g"))
        base, *others = (f"{world.prefix}{name}:1" for name in "abcd")
        world.put([base], None)
        for name, label in zip(others, (*labels, None), strict=True):
            text = f"FROM {base}\n" + ("" if label else "LABEL a=b\n")
            command = ["docker", "build", "--tag", name, *([f"--label={LABEL}={label.dump()}"] if label else []), "-"]
            subprocess.run(command, input=text.encode(), check=True, capture_output=True)
        found = [world.engine.image(name) for name in others]
        contents = [image.content for image in found if image]
        assert contents[0] == contents[1] != contents[2]
        for name in others:
            world.remove(name)


def test_a_name_moves_to_the_image_it_is_given(world: World) -> None:
    first = world.put([f"{world.prefix}a:1", f"{world.prefix}a:latest"], OURS)
    second = world.put([f"{world.prefix}b:1"], OURS)
    world.engine.tag(second, f"{world.prefix}a:latest")
    assert world.names() == {first: {f"{world.prefix}a:1"}, second: {f"{world.prefix}a:latest", f"{world.prefix}b:1"}}


def test_an_image_that_lost_a_name_keeps_the_others(world: World) -> None:
    image_id = world.put([f"{world.prefix}a:1", f"{world.prefix}a:latest"], OURS)
    world.remove(f"{world.prefix}a:latest")
    assert world.names() == {image_id: {f"{world.prefix}a:1"}}


def begin(world: World, folder: Path, tag: str, *lines: str) -> Process:
    """Begin to build from a base without anything in it; `context/a.txt` is sent along."""
    world.put([f"{world.prefix}base:1"], None)
    context = folder / "context.tar"
    with tarfile.open(context, mode="w") as tar:
        for name, text in (("context/a.txt", "a"), (DOCKERFILE, "\n".join([f"FROM {world.prefix}base:1 AS made", *lines]))):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    metadata = folder / "metadata.json"
    request = BuildRequest(context=context, stage="made", tag=tag, label=OURS.dump(), secrets={}, metadata=metadata)
    world.engine.check_builder()
    return world.engine.start(request)


def follow(process: Process) -> tuple[int, bytes]:
    """Read a build to its end; returns its exit code and what it said."""
    said = b""
    while (data := process.read()) != b"":
        said += data or b""
        select.select([process], [], [], 60)
    return process.close(), said


def test_a_build_leaves_its_image_under_its_name_with_its_label(world: World, tmp_path: Path) -> None:
    tag = f"{world.prefix}made:tb-1"
    code, said = follow(begin(world, tmp_path, tag, "COPY context/a.txt /a.txt"))
    image = world.engine.image(tag)
    assert (code, image and image.label) == (0, OURS), said
    assert image
    assert image.id in world.names()
    world.remove(tag)


def test_a_build_that_fails_says_why_and_leaves_no_image(world: World, tmp_path: Path) -> None:
    tag = f"{world.prefix}made:tb-1"
    code, said = follow(begin(world, tmp_path, tag, "COPY context/missing.txt /b.txt"))
    assert code != 0
    assert b"missing.txt" in said
    assert world.engine.image(tag) is None


def test_a_build_that_is_interrupted_ends_and_may_be_closed_twice(world: World, tmp_path: Path) -> None:
    process = begin(world, tmp_path, f"{world.prefix}made:tb-1", "COPY context/missing.txt /b.txt")
    process.send(signal.SIGINT)
    code = process.close()
    assert process.poll() == code
    process.send(signal.SIGKILL)
    assert process.close() == code


def test_what_is_not_there_cannot_be_pushed(world: World) -> None:
    with pytest.raises(BuildError, match="cannot be pushed"):
        world.engine.push(f"{world.prefix}none:1")


def test_one_in_memory_that_was_given_no_way_to_build_says_so(tmp_path: Path) -> None:
    request = BuildRequest(context=tmp_path, stage="s", tag="t", label="l", secrets={}, metadata=tmp_path)
    with pytest.raises(OSError, match="cannot build"):
        MemoryEngine().start(request)


def test_an_engine_that_does_not_answer_says_so_with_the_fixes(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        DockerEngine(f"unix://{tmp_path}/none.sock").images()
    assert "no engine answers" in caught.value.draw()
    assert "DOCKER_HOST" in caught.value.draw()
