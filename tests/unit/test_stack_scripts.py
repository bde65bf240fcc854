"""Rendered scripts, run with programs that only pretend: what they call, refuse and say."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tasker_build.cli import run
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


def script_inside(project: Project, name: str) -> str:
    """The text of one of the postgres image's programs."""
    text = project.tree.files["Dockerfile.postgres-extensions"].text
    found = re.search(rf"^COPY --chmod=0755 <<'(\w+)' /usr/local/bin/{name}\n(.*?\n)\1$", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[2]


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
    place.program("database-health", script_inside(project, "database-health"))
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
    programs = [script_inside(project, name) for name in ("database-adopt", "database-entrypoint", "database-health")]
    for text in (*programs, *inside):
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


def test_the_server_starts_at_once_and_old_data_is_put_right_beside_it(place: Place, project: Project, tmp_path: Path) -> None:
    place.program("database-entrypoint", script_inside(project, "database-entrypoint"))
    place.program("docker-entrypoint.sh", 'echo "server $*" >> "$CALLS"; sleep 1')
    place.program("database-adopt", 'echo adopt >> "$CALLS"')
    for words, data, adopts in ((("postgres", "-c", "a=b"), "17", True), (("postgres",), "", False), (("bash",), "17", False)):
        (place.folder / "calls").unlink(missing_ok=True)
        (tmp_path / "PG_VERSION").write_text(data)
        place.run("bin/database-entrypoint", *words, PGDATA=str(tmp_path))
        assert sorted(place.calls()) == [*(["adopt"] if adopts else []), f"server {' '.join(words)}"]


def test_a_dump_is_looked_for_where_the_script_was_called(place: Place) -> None:
    place.program("docker", f'{RECORD}; [ "$1" = ps ] || cat >/dev/null')
    (place.folder / "elsewhere").mkdir()
    (place.folder / "elsewhere/kept.dump").write_text("a dump")
    agree = ("--yes", "--confirm", "tasker_rust_test")
    call = 'cd elsewhere && ../scripts/run-dev-db.sh restore "$@"'
    for file in ("kept.dump", "../elsewhere/kept.dump", str(place.folder / "elsewhere/kept.dump")):
        done = place.run("bash", "-c", call, "bash", file, *agree)
        assert (done.returncode, "restored" in done.stdout) == (0, True), done.stderr
    (place.folder / "elsewhere/empty.dump").touch()
    for file in ("absent.dump", "empty.dump", "."):
        done = place.run("bash", "-c", call, "bash", file, *agree)
        assert (done.returncode, f"{place.folder}/elsewhere/{file}" in done.stderr) == (1, True)
    done = place.run("bash", "-c", call, "bash")
    assert (done.returncode, done.stderr) == (1, "error: restore needs a dump file: restore FILE\n")


# What compose and the server say to both.
DOCKER = r"""
case "$*" in
    *" port "*) echo 127.0.0.1:${PUBLISHED:-5432} ;;
    *pg_extension*) echo btree_gin, pgmq ;;
    *pg_isready*) exit "${NOT_READY:-0}" ;;
    *" ps --all"*) echo "a container" ;;
    *" up "* | *" down"* | *" rm "*) echo "$*" | sed 's/.*docker-compose.db.yml //' >> "$CALLS" ;;
esac
"""


@pytest.mark.parametrize("not_ready", ["0", "2"])
@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("command", ["start", "stop", "restart", "status"])
def test_db_does_and_says_what_the_script_does_and_says(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: str,
    not_ready: str,
    *,
    listens: bool,
) -> None:
    place.program("docker", DOCKER)
    listener = socket.create_server(("127.0.0.1", 0))
    variables = {"PUBLISHED": str(listener.getsockname()[1]), "NOT_READY": not_ready}
    if not listens:
        listener.close()
    script = place.run("scripts/run-dev-db.sh", command, **variables)
    calls = place.calls()
    (place.folder / "calls").unlink(missing_ok=True)
    for name, value in {
        **variables,
        "PATH": f"{place.folder / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(place.folder / "calls"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(DockerEngine, "connect", classmethod(lambda cls: cls("unix:///nowhere")))
    monkeypatch.setattr(DockerEngine, "version", lambda _: "1")
    monkeypatch.setattr("tasker_build.cli.env.compose", lambda: ("docker", "compose"))
    monkeypatch.setattr("tasker_build.cli.db.pinned_images", lambda *_, **__: {})
    monkeypatch.setattr("tasker_build.cli.db.refuse_data_of_another_version", lambda *_: None)
    capfd.readouterr()
    code = run(["db", command])
    said, err = capfd.readouterr()
    listener.close()
    assert (script.returncode, script.stdout) == (code, said.replace("tasker-build db test", "./scripts/run-dev-db.sh test")), err
    ours = [re.sub(" (--no-build|postgres)(?= |$)", "", call) for call in place.calls()]
    assert ours == calls
    if command == "status":
        assert f"port {variables['PUBLISHED']} {'answers' if listens else 'does not answer'}" in said
        assert ("the database is not ready" in said) == (not_ready != "0")
    elif command != "start":
        assert calls[0] == "down"
