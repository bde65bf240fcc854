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
from tasker_build.cli.env import published_ports
from tasker_build.engine.docker import DockerEngine
from tasker_build.environments.stack import Environment
from tasker_build.errors import RefusedError
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


def ups(place: Place) -> list[str]:
    return [call for call in place.calls() if " up " in call]


def test_without_options_compose_builds(place: Place) -> None:
    place.program("docker", RECORD)
    done = place.run("scripts/run-integration.sh")
    assert done.returncode == 0, done.stderr
    assert [call.split()[4:6] for call in ups(place)] == [["up", "--build"]]
    assert not [call for call in place.calls() if call.startswith(("docker pull", "docker image"))]
    assert "export TASKER" not in done.stdout


VERSIONS = 'echo "$*" >> "$CALLS"; case "$*" in *" up "*) env | grep "_IMAGE=" | sort >> "$CALLS" ;; esac'
PINS = [
    "TASKER_ORCHESTRATION_IMAGE=jcoletaylor/tasker-orchestration:v1",
    "TASKER_PGMQ_IMAGE=jcoletaylor/tasker-pgmq:v1",
    "TASKER_WORKER_RUST_IMAGE=jcoletaylor/tasker-worker-rust:v1",
]


@pytest.mark.parametrize("words", [("--version", "v1"), ("--version=v1",), ("--version", "v1", "--pull")])
def test_a_version_runs_and_nothing_is_built(place: Place, words: tuple[str, ...]) -> None:
    place.program("docker", VERSIONS)
    done = place.run("scripts/run-prod.sh", *words, **PASSWORD)
    assert done.returncode == 0, done.stderr
    assert "up --no-build " in ups(place)[0]
    assert "--build" not in " ".join(place.calls()).replace("--no-build", "")
    assert [call for call in place.calls() if "_IMAGE=" in call] == PINS
    asked = "pull --quiet" if "--pull" in words else "image inspect"
    assert sorted(call.split()[-1] for call in place.calls() if call.startswith(asked)) == [pin.split("=")[1] for pin in PINS]
    # Whoever goes on with compose finds what this run was made of.
    assert all(f"export {pin}\n" in done.stdout for pin in PINS)


def test_development_has_versions_of_its_own(place: Place) -> None:
    place.program("docker", VERSIONS)
    assert place.run("scripts/run-dev.sh", "--version", "v1").returncode == 0
    assert "TASKER_WORKER_RUST_DEV_IMAGE=jcoletaylor/tasker-worker-rust:dev-v1" in place.calls()


def test_optional_services_are_of_the_version_too(place: Place) -> None:
    place.program("docker", VERSIONS)
    assert place.run("scripts/run-prod.sh", "--version", "v1", COMPOSE_PROFILES="x,ruby", **PASSWORD).returncode == 0
    assert "TASKER_WORKER_RUBY_IMAGE=jcoletaylor/tasker-worker-ruby:v1" in place.calls()
    assert not [call for call in place.calls() if "tasker-worker-python" in call]


def test_an_image_that_the_caller_names_is_run_and_not_built_over(place: Place) -> None:
    place.program("docker", VERSIONS)
    done = place.run("scripts/run-prod.sh", TASKER_WORKER_RUST_IMAGE="other/worker:v7", **PASSWORD)
    assert done.returncode == 0, done.stderr
    assert "up --no-build " in ups(place)[0]
    assert "TASKER_WORKER_RUST_IMAGE=other/worker:v7" in place.calls()
    assert "image inspect other/worker:v7" in place.calls()


def test_a_version_that_is_not_here_is_refused_before_anything_starts(place: Place) -> None:
    place.program("docker", RECORD + '; [ "$1" != image ]')
    done = place.run("scripts/run-prod.sh", "--version", "v1", **PASSWORD)
    assert (done.returncode, ups(place)) == (1, [])
    assert "error: jcoletaylor/tasker-pgmq:v1 is not here\nhint: --pull fetches" in done.stderr
    for words in (("--version",), ("--version", "a b"), ("--fast",)):
        assert place.run("scripts/run-prod.sh", *words, **PASSWORD).returncode == 1


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """What POSTGRES_PASSWORD_FILE may name, by how it is, and from the folder of the caller."""
    (tmp_path / "full").write_text("with / and @\n")
    (tmp_path / "empty").write_text("\n")
    return {name: str(tmp_path / name) for name in ("full", "empty", "missing")} | {"folder": str(tmp_path), "relative": "full"}


@pytest.mark.parametrize("kind", ["full", "relative", "empty", "missing", "folder"])
def test_a_file_without_a_password_is_refused_at_once(
    place: Place, project: Project, secrets: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.program("docker", 'echo "$* <${POSTGRES_PASSWORD}> ${POSTGRES_PASSWORD_FILE}" >> "$CALLS"')
    good = kind in {"full", "relative"}
    done = place.run("scripts/run-prod.sh", POSTGRES_PASSWORD_FILE=secrets[kind], **PASSWORD)
    assert (done.returncode, bool(ups(place))) == ((0, True) if good else (1, False)), done.stderr
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", secrets[kind])
    monkeypatch.setenv("POSTGRES_PASSWORD", "x")
    deploy = Environment.named(project, "deploy", DockerEngine("unix:///nowhere"))
    if not good:
        assert secrets[kind] in done.stderr
        with pytest.raises(RefusedError, match="POSTGRES_PASSWORD_FILE is "):
            deploy.variables(starts=True)
        return
    assert ups(place)[0].endswith(f"<> {secrets['full']}")
    assert f"POSTGRES_PASSWORD= POSTGRES_PASSWORD_FILE={secrets['full']} docker compose -f" in done.stdout
    found = deploy.variables(starts=True)
    assert (found["POSTGRES_PASSWORD"], found["POSTGRES_PASSWORD_FILE"]) == ("", secrets["full"])


@pytest.mark.parametrize("password", ["a/b", "a b", "a@b", "a%41", "ä", "a\nb"])
def test_a_password_that_breaks_a_url_is_refused(
    place: Place, project: Project, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.program("docker", RECORD)
    done = place.run("scripts/run-prod.sh", POSTGRES_PASSWORD=password)
    assert (done.returncode, ups(place)) == (1, [])
    assert "becomes part of a URL" in done.stderr
    assert password not in done.stderr
    monkeypatch.setenv("POSTGRES_PASSWORD", password)
    monkeypatch.delenv("POSTGRES_PASSWORD_FILE", raising=False)
    deploy = Environment.named(project, "deploy", DockerEngine("unix:///nowhere"))
    with pytest.raises(RefusedError, match="becomes part of a URL") as caught:
        deploy.variables(starts=True)
    assert "POSTGRES_PASSWORD_FILE" in caught.value.hints[0]
    deploy.variables(starts=False)


def test_what_run_prod_prints_can_be_typed_as_it_is(place: Place) -> None:
    place.program("docker", RECORD)
    printed = place.run("scripts/run-prod.sh", **PASSWORD).stdout
    commands = re.findall(r"POSTGRES_PASSWORD=.*?docker compose .*", printed)
    assert len(commands) == 4
    # As compose does: no command without the variable.
    place.program("docker", 'test -n "${POSTGRES_PASSWORD+set}"')
    for command in commands:
        starts = " up " in command
        done = place.run("bash", "-c", command, **PASSWORD)
        assert done.returncode == 0, done.stderr
        # Nothing is started with a password that is none; the others need no true one.
        assert (place.run("bash", "-c", command).returncode == 0) != starts


def test_ports_are_told_after_a_start() -> None:
    containers = [
        {"service": "db", "ports": ["127.0.0.1:5432->5432/tcp"]},
        {"service": "worker", "ports": []},
        {"service": "api", "ports": ["0.0.0.0:80->8080/tcp", "0.0.0.0:53->53/udp"]},
    ]
    assert published_ports("s", containers).split("\n") == [
        "`s` is up and healthy:",
        "  db   127.0.0.1:5432 -> 5432",
        "  api  0.0.0.0:80 -> 8080",
        "  api  0.0.0.0:53 -> 53/udp",
    ]
    assert published_ports("s", containers[1:2]) == "`s` is up and healthy"


def test_env_sets_what_the_script_sets(project: Project) -> None:
    deploy = Environment.named(project, "deploy", DockerEngine("unix:///nowhere"))
    assert deploy.variables(starts=False)["WORKER_PORT"] == "8081"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKER_PORT", "9999")
        assert deploy.variables(starts=False)["WORKER_PORT"] == "9999"


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
    monkeypatch.setattr("tasker_build.environments.stack.compose", lambda: ("docker", "compose"))
    monkeypatch.setattr(Environment, "pinned_images", lambda *_, **__: {})
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
