"""Rendered scripts, run with programs that only pretend: what they call, refuse and say."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tasker_build.cli.env import compose_environment
from tasker_build.engine.docker import DockerEngine
from tasker_build.lint import find_program
from tasker_build.project import Project
from tests.conftest import REPOSITORY, write_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def project() -> Project:
    return Project.open([REPOSITORY / "stacks.yaml"])


@dataclass
class Place:
    """The rendered files in a folder, and a PATH on which pretended programs come first."""

    folder: Path

    def program(self, name: str, text: str) -> None:
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": path, "CALLS": str(self.folder / "calls"), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def place(tmp_path: Path, project: Project) -> Place:
    write_files(tmp_path, {path: file.text for path, file in project.tree.files.items()})
    for path, file in project.tree.files.items():
        (tmp_path / path).chmod(file.mode)
    return Place(tmp_path)


HEREDOC = "COPY --chmod=0755 <<'HEALTH' /usr/local/bin/database-health\n"


def health_script(project: Project) -> str:
    return project.tree.files["Dockerfile.postgres-extensions"].text.split(HEREDOC)[1].split("\nHEALTH\n")[0] + "\n"


@pytest.mark.parametrize(
    ("ready", "psql", "code", "calls"),
    [
        (0, 0, 0, ["ready", "psql"]),
        (0, 1, 1, ["ready", "psql"]),  # the server answers and PGMQ is missing: no second try
        (0, 3, 1, ["ready", "psql"]),
        (0, 2, 1, ["ready", "psql"] * 3),  # no connection
        (2, 0, 1, ["ready"] * 3),
    ],
)
def test_one_health_check_tells_a_lost_connection_from_missing_pgmq(
    place: Place, project: Project, ready: int, psql: int, code: int, calls: list[str]
) -> None:
    place.program("database-health", health_script(project))
    place.program("pg_isready", f'echo ready >> "$CALLS"; exit {ready}')
    place.program("psql", f'echo psql >> "$CALLS"; exit {psql}')
    place.program("sleep", "true")
    assert place.run("bin/database-health").returncode == code
    assert place.calls() == calls


def test_scripts_inside_images_are_clean(project: Project) -> None:
    shellcheck = find_program("shellcheck")
    assert shellcheck
    helpers = [project.tree.files[path].text for path in ("dev/orchestration/Dockerfile", "dev/workers/rust/Dockerfile")]
    inside = [text.split("<<'HELPER'")[1].split("\n", 1)[1].split("\nHELPER\n")[0] + "\n" for text in helpers]
    for text in (health_script(project), *inside):
        done = subprocess.run([shellcheck, "-"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


PASSWORD = {"POSTGRES_PASSWORD": "x"}
RECORD = 'echo "$0 $*" | sed "s:^.*/::" >> "$CALLS"'


def test_the_one_worker_of_production_has_its_address_unless_the_caller_says_otherwise(place: Place) -> None:
    place.program("docker", 'echo "${WORKER_PORT:-}" >> "$CALLS"')
    for port, expected in ((None, "8081"), ("8181-8199", "8181-8199")):
        (place.folder / "calls").unlink(missing_ok=True)
        done = place.run("scripts/run-prod.sh", **PASSWORD, **({"WORKER_PORT": port} if port else {}))
        assert done.returncode == 0, done.stderr
        assert place.calls()[-1] == expected
        assert f"http://localhost:{expected}" in done.stdout


def test_env_sets_what_the_script_sets(project: Project) -> None:
    engine = DockerEngine("unix:///nowhere")
    stack = project.spec.stacks["deploy"]
    assert compose_environment(project, stack, engine, starts=False)["WORKER_PORT"] == "8081"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKER_PORT", "9999")
        assert compose_environment(project, stack, engine, starts=False)["WORKER_PORT"] == "9999"
