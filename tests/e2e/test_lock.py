"""A lock on a real registry and a real engine: pinned, moved, rebuilt; and built again when the registry is gone."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tasker_build.registries.tools import checksums
from tasker_build.registries.trouble import RegistryError
from tasker_build.spec.lock import read_lock, short
from tests.conftest import REPOSITORY

from .conftest import TestSpace, docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine
_CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error, accesslog: {{disabled: true}}}}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's docker-registry, unpacked beside the system."""
    folder = tmp_path_factory.mktemp("registry-program")
    try:
        subprocess.run(["apt-get", "download", "docker-registry"], cwd=folder, capture_output=True, check=True, timeout=120)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder / "root")], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        pytest.skip(f"Debian's docker-registry cannot be had here: {type(error).__name__}")
    return str(folder / "root/usr/bin/docker-registry")


@contextmanager
def registry(program: str, folder: Path, port: int) -> Iterator[None]:
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder, port=port))
    process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
    return number


def push(reference: str, dockerfile: str) -> str:
    """Build and push an image, drop the engine's copy; returns the digest."""
    docker("build", "--tag", reference, "-", text=dockerfile)
    digest = (
        docker("push", "--quiet", reference).stdout
        and docker("image", "inspect", reference, "--format", "{{index .RepoDigests 0}}").stdout.strip().partition("@")[2]
    )
    docker("image", "rm", reference)
    return digest


def upgrade(space: TestSpace, old: str, new: str) -> None:
    """Move the pin, having looked at what that rebuilds."""
    lock = space.folder / "stacks.lock"
    checked = space.run("lock", "--check")
    assert checked.returncode == 2
    assert f"{short(old)} → {short(new)}" in checked.stdout
    before = lock.read_text()
    told = space.run("lock", "--upgrade", "--dry-run").stdout
    assert lock.read_text() == before
    assert "rebuilds 3 of 3 targets (3 directly), about " in told
    assert re.search(r"critical path: base → app, about \d", told)
    assert space.run("lock", "--upgrade").returncode == 0


def test_a_base_is_pinned_moves_and_is_built_again(space: TestSpace, program: str, port: int) -> None:
    reference = f"127.0.0.1:{port}/debian:x"
    spec = space.folder / "stacks.yaml"
    spec.write_text(spec.read_text().replace("debian:trixie-slim", reference))
    lock = space.folder / "stacks.lock"
    folder = space.folder / "registry"
    folder.mkdir()
    try:
        with registry(program, folder, port):
            docker("tag", "debian:trixie-slim", reference)
            docker("push", "--quiet", reference)
            docker("image", "rm", reference)

            assert space.run("lock", "--check").returncode == 2
            assert space.run("lock").returncode == 0
            old = read_lock(lock.read_bytes(), "x").bases["debian"]
            assert old.complete
            assert space.run("lock", "--check").returncode == 0
            assert space.stale() == {"base": "new", "app": "new", "other": "new"}
            assert "3 built" in space.apply()
            assert space.stale() == {}
            assert space.run("render").returncode == 0
            assert f"={reference}@{old.digest}" in (space.folder / "work/docker/other/Dockerfile").read_text()

            new = push(reference, "FROM debian:trixie-slim\nRUN echo moved > /moved\n")
            assert new != old.digest
            assert space.stale() == {}, "the pin holds although the tag moved"
            upgrade(space, old.digest, new)

            move = f"{reference} {short(old.digest)} → {short(new)}"
            plan = space.plan()
            assert plan["base"] == ("rebuild", [("base", move)])
            assert plan["app"] == ("rebuild", [("base", move), ("parent", "base")])
            assert "3 built" in space.apply()
            assert "moved" in docker("run", "--rm", space.image("other"), "cat", "/moved").stdout
            assert space.stale() == {}
            assert space.run("lock", "--check").returncode == 0
            docker("pull", "--quiet", reference)
            image = docker("image", "inspect", reference, "--format", "{{.Id}}").stdout.strip()
            for name in (f"{reference}@{new}", new, short(new)):
                assert space.run("why", name).stdout.startswith(f"image {image}\n"), name

        # Nobody answers any more: the engine has the very digest, under the tag, and that is enough.
        space.write("work/other/x.txt", "other 2\n")
        assert "1 built" in space.apply()
        assert space.run("lock", "--check", "--offline").returncode == 0
        gone = space.run("lock", "--upgrade")
        assert gone.returncode == 1
        assert f"base `debian`: the registry 127.0.0.1:{port} cannot be reached" in gone.stderr
        assert read_lock(lock.read_bytes(), "x").bases["debian"].digest == new
    finally:
        docker("image", "rm", reference, check=False)


def tags_at(folder: Path, repository: str) -> list[str]:
    """The tags of a repository in the storage of a registry."""
    tags = folder / "data/docker/registry/v2/repositories" / repository / "_manifests/tags"
    return sorted(path.name for path in tags.iterdir()) if tags.is_dir() else []


def test_what_was_built_is_pushed_when_all_of_it_is_there(space: TestSpace, program: str, port: int) -> None:
    spec = space.folder / "stacks.yaml"
    spec.write_text(spec.read_text().replace("workspace: work\n", f"workspace: work\nregistry: 127.0.0.1:{port}\n"))
    app, base, other = (f"{space.project}-{name}" for name in ("app", "base", "other"))
    folder = space.folder / "registry"
    folder.mkdir()
    try:
        with registry(program, folder, port):
            template = space.folder / "tpl/other.j2"
            good = template.read_text()
            template.write_text(good + "RUN false\n")
            failed = space.run("apply", "--push", "--version", "v1")
            assert (failed.returncode, "pushed" in failed.stderr) == (1, False)
            assert tags_at(folder, app) == []
            template.write_text(good)
            said = space.apply("--push", "--version", "v1", "app")
            assert f"pushed 127.0.0.1:{port}/{app}:v1\n" in said
            # What it was built from was not selected.
            assert [tags_at(folder, name) for name in (app, base, other)] == [["v1"], [], []]
            # Nothing to build is no reason not to push.
            space.apply("--version", "v2")
            pushed = space.run("apply", "--push", "--version", "v2", "--format", "json")
            assert pushed.returncode == 0, pushed.stderr
            assert json.loads(pushed.stdout)["exit_code"] == 0
            assert [tags_at(folder, name) for name in (app, base, other)] == [["v1", "v2"], ["v2"], ["v2"]]
        gone = space.run("apply", "--push", "--version", "v2")
        assert gone.returncode == 1
        assert "cannot be pushed: " in gone.stderr
        assert "connection refused" in gone.stderr
    finally:
        for line in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
            if line.startswith(f"127.0.0.1:{port}/{space.project}"):
                docker("image", "rm", line, check=False)


def test_a_stand_in_is_no_pin_and_builds_without_a_registry(space: TestSpace, port: int) -> None:
    reference = f"127.0.0.1:{port}/stand-in:x"
    spec = space.folder / "stacks.yaml"
    spec.write_text(spec.read_text().replace("debian:trixie-slim", reference))
    docker("tag", "debian:trixie-slim", reference)
    try:
        done = space.run("lock")
        assert done.returncode == 0, done.stderr
        assert "local image of this engine" in done.stdout
        assert not (space.folder / "stacks.lock").exists()
        assert (space.folder / ".tasker-build/local-bases.json").exists()
        assert "3 built" in space.apply()
        assert space.run("lock", "--check").returncode == 0
    finally:
        docker("image", "rm", reference, check=False)


def test_the_checksums_of_tools_are_those_that_their_registries_serve() -> None:
    """What the repository's lock says of a wheel for all machines, of one for each, and of a crate."""
    lock = read_lock((REPOSITORY / "stacks.lock").read_bytes(), "stacks.lock")
    assert {pin.tool.partition(":")[0] for pin in lock.tools.values()} == {"wheel", "crate"}
    for pin in lock.tools.values():
        if pin.tool.startswith("wheel:") or shutil.which("cargo"):
            assert checksums(pin.tool) == pin.digests
    with pytest.raises(RegistryError, match=r"nobody serves wheel:pgmq@0\.0\.0"):
        checksums("wheel:pgmq@0.0.0")
