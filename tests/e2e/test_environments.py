"""Production, development and the database alone on a real engine: under names of their own, removed again by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from .conftest import REPO, docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.long]


@dataclass
class Site:
    """A copy of the example whose environments have names of their own and ports that the engine chooses."""

    folder: Path
    name: str

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        spec = ["-f", "stacks.yaml", "-f", str(self.folder / "overlay.yaml"), "--workspace", str(self.folder / "tasker")]
        command = [sys.executable, "-m", "tasker_build", *spec, *arguments]
        return self._run(command, str(REPO), env)

    def script(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self._run([f"scripts/{arguments[0]}", *arguments[1:]], str(self.folder / "tasker/docker"), env)

    def _run(self, command: list[str], cwd: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        ports = {"POSTGRES_PORT": "0", "ORCHESTRATION_PORT": "0", "WORKER_PORT": "0"}
        ports |= {"ORCHESTRATION_CONSOLE_PORT": "0", "WORKER_CONSOLE_PORT": "0"}
        return subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | ports | env,
            timeout=1200,
        )

    def good(self, *arguments: str, **env: str) -> str:
        done = self.run(*arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def containers(self, stack: str, service: str) -> list[str]:
        labels = [f"label=com.docker.compose.project={self.name}-{stack}", f"label=com.docker.compose.service={service}"]
        return docker("ps", "--quiet", "--filter", labels[0], "--filter", labels[1]).stdout.split()

    def ready(self, stack: str) -> int:
        try:
            with urllib.request.urlopen(f"http://{self.orchestration(stack)}/ready", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def password(self) -> str:
        file = self.folder / "password"
        file.write_text("with / and @\n")
        return str(file)

    def orchestration(self, stack: str) -> str:
        return docker("port", self.containers(stack, "orchestration")[0], "8080").stdout.split()[0]

    def post(self, stack: str, namespace: str) -> str:
        body = json.dumps({"namespace": namespace, "context": {"value": 2}}).encode()
        url = f"http://{self.orchestration(stack)}/v1/tasks"
        request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer)["task_id"])

    def wait_for(self, stack: str, tasks: list[str], seconds: float = 120) -> None:
        left, deadline = set(tasks), time.monotonic() + seconds
        while left:
            assert time.monotonic() < deadline, f"not complete: {left}"
            for task in sorted(left):
                with urllib.request.urlopen(f"http://{self.orchestration(stack)}/v1/tasks/{task}", timeout=10) as answer:
                    state = json.load(answer)["status"]
                assert state != "error"
                left -= {task} if state == "complete" else set()
            time.sleep(0.2)


STACKS = {
    "integration": ("tasker-network", "postgres_data"),
    "dev": ("tasker-dev-network", "postgres_dev_data"),
    "deploy": ("tasker-prod-network", "postgres_prod_data"),
    "db": ("tasker-dev-db", "postgres_dev_db_data"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(REPO / "examples/tasker", folder / "tasker", ignore=shutil.ignore_patterns("target", "docker"))
    site = Site(folder, f"tasker-e2e-{uuid.uuid4().hex[:8]}")
    rows = [
        f"  {stack}: {{project: {site.name}-{stack}, networks: {{{network}: {{name: {site.name}-{stack}, ipam: ~}}}}, "
        f"volumes: {{{volume}: {{name: {site.name}-{stack}}}}}}}"
        for stack, (network, volume) in STACKS.items()
    ]
    (folder / "overlay.yaml").write_text("stacks:\n" + "\n".join(rows) + "\n")
    site.good("render")
    site.good("apply", "deploy/orchestration", "deploy/workers/rust", "postgres")
    yield site
    site.run("cleanup", "basic", "--yes", "--confirm", "tasker")


def test_production_wants_a_password_runs_hardened_and_scales(site: Site) -> None:
    refused = site.script("run-prod.sh")
    assert (refused.returncode, "POSTGRES_PASSWORD" in refused.stderr) == (1, True)
    for empty in ({}, {"POSTGRES_PASSWORD": ""}):
        refused = site.run("env", "up", "deploy", **empty)
        assert (refused.returncode, "set POSTGRES_PASSWORD, or POSTGRES_PASSWORD_FILE" in refused.stderr) == (5, True)
    secret = site.password()
    site.good("env", "up", "deploy", POSTGRES_PASSWORD_FILE=secret)
    file = str(site.folder / "tasker/docker/docker-compose.deploy.yml")
    up = ["compose", "-f", file, "up", "--no-build", "--detach", "--wait", "--wait-timeout", "120", "--scale", "worker=3"]
    environment = {"POSTGRES_PASSWORD": "", "POSTGRES_PASSWORD_FILE": secret, "POSTGRES_PORT": "0"}
    # The range of ports that the file has: an empty variable counts as none.
    scaled = site._run(["docker", *up], str(REPO), environment | {"WORKER_PORT": ""})
    assert scaled.returncode == 0, scaled.stderr
    everyone = [*site.containers("deploy", "postgres"), *site.containers("deploy", "orchestration")]
    workers = site.containers("deploy", "worker")
    ports = {int(docker("port", worker, "8081").stdout.split()[0].rpartition(":")[2]) for worker in workers}
    assert (len(workers), len(ports)) == (3, 3)
    assert ports <= set(range(8181, 8200))
    for container in json.loads(docker("inspect", *everyone, *workers).stdout):
        host = container["HostConfig"]
        assert container["State"]["Health"]["Status"] == "healthy"
        assert container["Config"]["User"] in {"999:999", "1001:1001"}
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges:true"])
        assert host["PidsLimit"] == 256
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0
        assert not any("with / and @" in value for value in container["Config"]["Env"])
    assert site.ready("deploy") == 200
    # A worker that dies takes no task with it: what it had begun comes back to the others.
    tasks = [site.post("deploy", "diamond_workflow") for _ in range(12)]
    docker("kill", workers[0])
    site.wait_for("deploy", tasks)
    postgres = site.containers("deploy", "postgres")[0]
    docker("stop", postgres)
    assert site.ready("deploy") == 503
    docker("start", postgres)
    deadline = time.monotonic() + 60
    while site.ready("deploy") != 200:
        assert time.monotonic() < deadline
        time.sleep(1)
    # Other commands need no password.
    site.good("env", "down", "deploy")


def test_a_server_goes_to_another_version_and_back(site: Site) -> None:
    versions = [f"{site.name}-{number}" for number in (1, 2)]
    services = ("orchestration", "worker")

    def running(version: str) -> bool:
        containers = [container for service in services for container in site.containers("deploy", service)]
        images = docker("inspect", "--format", "{{.Config.Image}}", *containers).stdout.split()
        return len(images) == 2 and all(image.endswith(f":{version}") for image in images)

    try:
        for version in versions:
            site.good("apply", "--version", version, "deploy/orchestration", "deploy/workers/rust", "postgres")
        refused = site.run("env", "up", "deploy", "--version", "never-made", POSTGRES_PASSWORD_FILE=site.password())
        assert (refused.returncode, "--pull" in refused.stderr) == (5, True)
        task = ""
        for version in (*versions, versions[0]):
            site.good("env", "up", "deploy", "--version", version, POSTGRES_PASSWORD_FILE=site.password())
            assert running(version)
            task = task or site.post("deploy", "linear_workflow")
            site.wait_for("deploy", [task])  # done by the first one, and still known to the others
    finally:
        site.run("env", "down", "deploy")
        for line in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.splitlines():
            if line.endswith(tuple(versions)):
                docker("image", "rm", line, check=False)


def test_the_database_keeps_a_dump_and_takes_it_back(site: Site) -> None:
    site.good("db", "start")
    assert "all passed" in site.good("db", "test")
    site.good("db", "psql", "-c", "CREATE TABLE kept AS SELECT 42 AS x")
    for arguments in ((), ("--yes",), ("--yes", "--confirm", "other")):
        assert site.run("db", "reset", *arguments).returncode == 5
        assert site.script("run-dev-db.sh", "reset", *arguments).returncode == 5
    assert "42" in site.good("db", "psql", "-Atc", "SELECT x FROM kept")
    said = site.good("db", "reset", "--yes", "--confirm", "tasker_rust_test")
    assert site.run("db", "psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT x FROM kept").returncode != 0
    dump = next(line for line in said.split("\n") if line.startswith("kept a dump: ")).split()[3]
    site.good("db", "restore", dump, "--yes", "--confirm", "tasker_rust_test")
    assert "42" in site.good("db", "psql", "-Atc", "SELECT x FROM kept")
    # Without PGMQ the database is not healthy.
    site.good("db", "psql", "-c", "DROP EXTENSION pgmq CASCADE")
    assert site.run("db", "test").returncode == 1
    container = site.containers("db", "postgres")[0]
    state = "starting"
    deadline = time.monotonic() + 90
    while not state.startswith("unhealthy"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
        state = docker("inspect", "--format", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}", container).stdout
    # One check was enough: it took no longer than an interval.
    assert state.split() == ["unhealthy", "1"]


def test_a_volume_of_an_older_layout_is_adopted(site: Site) -> None:
    volume = f"{site.name}-integration"
    labels = ["--label", "com.docker.compose.project=docker", "--label", "com.docker.compose.config-hash=0123456789abcdef"]
    docker("volume", "create", volume, *labels)
    before = docker("volume", "inspect", volume).stdout
    site.good("env", "up", "integration")
    site.good("db", "--stack", "integration", "psql", "-c", "CREATE TABLE kept AS SELECT 42 AS x")
    site.good("env", "down", "integration")
    site.good("render")
    site.good("env", "up", "integration")
    assert "42" in site.good("db", "--stack", "integration", "psql", "-Atc", "SELECT x FROM kept")
    assert docker("volume", "inspect", volume).stdout == before
    site.good("env", "down", "integration")


def test_development_helpers_fail_when_something_is_wrong(site: Site) -> None:
    site.good("apply", "dev/orchestration", "dev/workers/rust")
    site.good("env", "up", "dev")
    worker, orchestration = site.containers("dev", "worker")[0], site.containers("dev", "orchestration")[0]
    assert docker("exec", worker, "/app/debug/worker-status.sh").returncode == 0
    assert docker("exec", orchestration, "/app/debug/health-check.sh").returncode == 0
    for container in (worker, orchestration):
        console = docker("port", container, "6669").stdout.split()[0]
        url = f"http://{console}/rs.tokio.console.instrument.Instrument/WatchUpdates"
        words = ["curl", "-s", "-m", "3", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-X", "POST"]
        answer = subprocess.run([*words, "--data-binary", "@-", url], input=b"\0\0\0\0\0", capture_output=True, check=False)
        assert b"pgmq-notify/src/listen.rs" in answer.stdout
    docker("stop", orchestration)
    assert docker("exec", worker, "/app/debug/worker-status.sh", check=False).returncode == 1
    site.good("env", "down", "dev")


def test_the_scripts_start_every_environment_beside_the_others(site: Site) -> None:
    """And what is edited below the mounted configuration takes effect in a service that runs."""
    secret = {"POSTGRES_PASSWORD": "", "POSTGRES_PASSWORD_FILE": site.password()}
    # The database may come from a test that took PGMQ out of it.
    afresh = "run-dev-db.sh reset --yes --confirm tasker_rust_test"
    started = [(afresh, {}), ("run-integration.sh", {}), ("run-dev.sh", {}), ("run-dev-db.sh start", {}), ("run-prod.sh", secret)]
    for line, environment in started:
        done = site.script(*line.split(), **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Compiling" not in done.stdout + done.stderr, "what apply built is what compose finds"
    services = {"integration": 3, "dev": 3, "db": 1, "deploy": 3}
    for stack, count in services.items():
        label = f"label=com.docker.compose.project={site.name}-{stack}"
        assert len(docker("ps", "--quiet", "--filter", label, "--filter", "health=healthy").stdout.split()) == count, stack
    for stack in ("integration", "dev", "deploy"):
        site.wait_for(stack, [site.post(stack, "linear_workflow")])

    container = site.containers("dev", "orchestration")[0]
    began = docker("inspect", "--format", "{{.State.StartedAt}}", container).stdout
    assert "configuration reloaded" not in docker("logs", container).stdout
    telemetry = site.folder / "tasker/config/tasker/base/telemetry.toml"
    telemetry.write_text(telemetry.read_text().replace('"info"', '"debug"'))
    deadline = time.monotonic() + 30
    while "configuration reloaded" not in (logs := docker("logs", container)).stdout + logs.stderr:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert docker("inspect", "--format", "{{.State.StartedAt}}", container).stdout == began

    file = str(site.folder / "tasker/docker/docker-compose.integration.yml")
    built = site._run(["docker", "compose", "-f", file, "--profile", "build", "up", "builder-base"], str(REPO), {})
    assert built.returncode == 0, built.stderr
    assert not site.containers("integration", "builder-base")
    for stack in services:
        site.good("env", "down", stack)


def test_a_cleanup_takes_what_is_ours_and_nothing_else(site: Site) -> None:
    foreign = f"{site.name}-foreign"
    image = docker("inspect", "--format", "{{.Image}}", site.containers("db", "postgres")[0]).stdout.strip()
    label = f"com.docker.compose.project={site.name}-db"  # as images that compose built hand on
    docker("run", "--detach", "--name", foreign, "--label", label, "--entrypoint", "sleep", image, "300")
    try:
        assert site.run("cleanup", "basic").returncode == 5
        assert site.script("cleanup.sh", "basic").returncode == 5
        assert site.run("cleanup", "deep", "--yes").returncode == 5
        assert site.script("cleanup.sh", "deep", "--yes").returncode == 5
        assert site.script("cleanup.sh", "nonsense").returncode == 1
        site.good("cleanup", "containers", "--yes")
        assert site.name in docker("volume", "ls", "--quiet").stdout
        shown = site.script("cleanup.sh", "basic", "--yes", "--confirm", "tasker")
        assert shown.returncode == 0, shown.stderr
        assert site.name not in docker("volume", "ls", "--quiet").stdout
        assert foreign in docker("ps", "--format", "{{.Names}}").stdout
        assert "nothing of `tasker` is here" in site.good("cleanup", "basic")
    finally:
        docker("rm", "--force", "--volumes", foreign)
