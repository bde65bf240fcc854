"""Rendered compose files and scripts of a tiny stack on a real engine: what is built, what runs as it is, and under which names."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import TestSpace, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine
FILES = """\
files:
  scripts/cleanup.sh:
    template: scripts/cleanup.sh.j2
    mode: "0755"
  scripts/run-tiny.sh:
    template: scripts/run-stack.sh.j2
    mode: "0755"
    stack: tiny
    vars: {endpoints: [], next: []}
  scripts/build-images.sh:
    template: scripts/build-images.sh.j2
    mode: "0755"
    vars: {types: {app: [app], all: [base, app, other]}}
"""


@pytest.fixture
def rendered(space: TestSpace) -> Iterator[TestSpace]:
    spec = space.folder / "stacks.yaml"
    spec.write_text(spec.read_text().replace('[sleep, "600"]', '[sleep, "600"], init: true') + FILES)
    done = space.run("render")
    assert done.returncode == 0, done.stderr
    yield space
    call(space, "docker", "compose", "-f", "docker-compose.tiny.yml", "down", "--timeout", "0")


def call(space: TestSpace, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    folder = space.folder / "work/docker"
    return subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False, timeout=300)


def up(space: TestSpace, *words: str, **env: str) -> str:
    done = call(space, "docker", "compose", "-f", "docker-compose.tiny.yml", "up", "--detach", *words, **env)
    assert done.returncode == 0, done.stderr
    return done.stderr


def images(space: TestSpace) -> set[str]:
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return {name for name in listed if name.startswith(space.project)}


def running(space: TestSpace) -> str:
    """What the container of `app` holds."""
    done = call(space, "docker", "compose", "-f", "docker-compose.tiny.yml", "exec", "-T", "app", "cat", "/out")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_here_runs_and_what_is_not_is_built(rendered: TestSpace) -> None:
    space = rendered
    up(space)
    assert "app 1" in running(space)
    docker("tag", space.image("app"), f"{space.project}-app:v1")
    first = docker("image", "inspect", "--format", "{{.Id}}", space.image("app")).stdout
    space.write("work/app/main.txt", "app 2\n")
    up(space, "--scale", "other=2")
    assert "app 1" in running(space)
    up(space, "--build")
    assert "app 2" in running(space)
    pinned = {"APP_IMAGE": f"{space.project}-app:v1"}
    up(space, **pinned)
    assert "app 1" in running(space)
    done = call(space, "scripts/run-tiny.sh", **pinned)
    assert done.returncode == 0, done.stderr
    assert "app 1" in running(space)
    assert docker("image", "inspect", "--format", "{{.Id}}", f"{space.project}-app:v1").stdout == first


def test_a_version_is_built_whole_and_runs_without_a_build(rendered: TestSpace) -> None:
    space = rendered
    for version in ("v1", "v2"):
        space.write("work/app/main.txt", f"app {version}\n")
        done = call(space, "scripts/build-images.sh", "app", version)
        assert done.returncode == 0, done.stdout + done.stderr
        listed = {line.strip() for line in done.stdout.split("built:\n")[1].splitlines()}
        assert listed == {f"{space.project}-{name}:{version}" for name in ("base", "app")}
    # Everything that is there has been listed: nothing moved `latest`.
    assert images(space) == {f"{space.project}-{name}:{version}" for name in ("base", "app") for version in ("v1", "v2")}
    missing = call(space, "scripts/run-tiny.sh", "--version", "v1")
    assert (missing.returncode, f"{space.project}-other:v1 is not here" in missing.stderr) == (1, True)
    for version in ("v1", "v2"):
        space.write("work/app/main.txt", f"app {version}\n")
        assert call(space, "scripts/build-images.sh", "all", version).returncode == 0
    before = {name: docker("image", "inspect", "--format", "{{.Id}}", name).stdout for name in images(space)}
    space.write("work/app/main.txt", "app 3\n")
    for version in ("v1", "v2", "v1"):
        done = call(space, "scripts/run-tiny.sh", f"--version={version}")
        assert done.returncode == 0, done.stderr
        assert f"app {version}" in running(space)
        container = call(
            space, "docker", "compose", "-f", "docker-compose.tiny.yml", "ps", "--format", "{{.Image}}", "app"
        ).stdout
        assert container.strip() == f"{space.project}-app:{version}"
    assert {name: docker("image", "inspect", "--format", "{{.Id}}", name).stdout for name in images(space)} == before


@pytest.mark.parametrize("way", ["script", "tool"])
def test_images_of_the_spec_are_removed_and_no_others(rendered: TestSpace, way: str) -> None:
    assert call(rendered, "./scripts/build-images.sh", "all", "v1").returncode == 0
    up(rendered)
    foreign = f"{rendered.project}-foreign:1"
    made = images(rendered)
    docker("tag", min(made), foreign)
    try:

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            if way == "tool":
                return rendered.run("cleanup", "images", *words)
            return call(rendered, "./scripts/cleanup.sh", "images", *words)

        assert run().returncode == 5, "nobody is there to be asked"
        assert images(rendered) == made | {foreign}
        assert run("--yes").returncode == 0
        assert images(rendered) == {foreign}
    finally:
        docker("image", "rm", "--force", foreign)
