"""The compiler cache for real: a cargo workspace that has nothing to do with the example, a cache mount, and a redis store."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import TestSpace, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.long]

WORKSPACE = Path(__file__).parent / "cargo_workspace"
SPEC = """\
version: 1
project: {project}
workspace: work
bases: {{rust: "rust:1.89-trixie", debian: "debian:trixie-slim"}}
toolchain:
  sccache: {sccache}
defaults: {{targets: {{secrets: [ca_bundle]}}}}
targets:
  build: {{kind: cargo-chef, from: {{rust: rust}}, network: host}}
  app:
    kind: rust-service
    from: {{builder: build, runtime: debian}}
    cargo: {{packages: [demo], binaries: {{demo: demo}}}}
    user: {{name: demo, uid: 1001}}
    network: host
    command: [/app/demo]
"""
REDIS = """\
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
USER redis
CMD ["redis-server"]
"""


def cargo_space(folder: Path, sccache: str) -> TestSpace:
    """A workspace with a recipe of its own: BuildKit takes a cooked layer for the same whatever cache it mounted."""
    space = TestSpace(folder)
    shutil.copytree(WORKSPACE, folder / "work")
    space.write(f"work/tests/{space.project}.rs", "#[test]\nfn nothing() {}\n")
    space.write("stacks.yaml", SPEC.format(project=space.project, sccache=sccache))
    return space


def remove(space: TestSpace) -> None:
    for line in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.splitlines():
        if line.startswith(space.project):
            docker("image", "rm", line, check=False)


def counted(space: TestSpace) -> dict[str, Any]:
    """target → what its last build told of sccache."""
    newest = max((space.folder / ".tasker-build/runs").iterdir())
    results = json.loads((newest / "summary.json").read_text())["results"]
    return {row["target"]: row["sccache"] for row in results if row["result"] == "built"}


def test_a_cache_mount_gives_back_what_a_changed_recipe_throws_away(tmp_path: Path) -> None:
    space = cargo_space(tmp_path, "local")
    try:
        said = space.apply()
        first = counted(space)["build"]
        assert first["requests"] > 0
        assert first["hits"] == 0
        assert "sccache 0 of" in said
        # One more target file: the recipe differs, so every dependency is cooked again; none of them has to be compiled.
        space.write("work/tests/more.rs", "#[test]\nfn more() {}\n")
        assert space.plan()["build"][0] == "rebuild"
        said = space.apply()
        again = counted(space)["build"]
        assert again["misses"] == 0
        assert again["hits"] == first["misses"] > 0
        assert f"sccache {again['hits']} of {again['hits']} reused (100 %)" in said
        assert docker("run", "--rm", f"{space.project}-app:latest").stdout.startswith("1.2.3")
    finally:
        remove(space)


@pytest.fixture
def redis() -> Iterator[str]:
    """A redis server of Debian's on loopback, as a URL."""
    image = "tasker-build-test-redis"
    subprocess.run(["docker", "build", "--quiet", "--tag", image, "-"], input=REDIS, text=True, check=True, capture_output=True)
    port = "36379"
    name = f"{image}-{port}"
    server = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--maxmemory", "256mb"]
    docker("run", "--detach", "--rm", "--name", name, "--network", "host", image, *server)
    try:
        for _ in range(100):
            if docker("exec", name, "redis-cli", "-p", port, "ping", check=False).stdout.strip() == "PONG":
                break
            time.sleep(0.1)
        yield f"redis://127.0.0.1:{port}"
    finally:
        docker("rm", "--force", name, check=False)


def test_a_redis_store_serves_another_machine(tmp_path: Path, redis: str) -> None:
    (tmp_path / "endpoint").write_text(redis)
    site = {"TASKER_BUILD_SCCACHE_REDIS_ENDPOINT": str(tmp_path / "endpoint")}
    # Two projects share no layer: all that is common to them is the store.
    spaces = [cargo_space(tmp_path / name, "{mode: remote, store: redis}") for name in ("one", "two")]
    try:
        for space in spaces:
            done = space.run("apply", env=site)
            assert done.returncode == 0, done.stdout + done.stderr
        first, second = (counted(space)["build"] for space in spaces)
        assert first["hits"] == 0
        assert second["misses"] == 0
        assert second["hits"] == first["misses"] > 0
        # The store's address is a credential: it is in no image and in no log.
        for space in spaces:
            history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", f"{space.project}-build:latest").stdout
            logs = "".join(file.read_text(errors="replace") for file in (space.folder / ".tasker-build/runs").rglob("*.log"))
            assert redis not in history + logs
    finally:
        for space in spaces:
            remove(space)
