"""The example stack on a real engine: real cargo builds, real PostgreSQL, a task that comes back processed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import REPO

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

EXAMPLE = REPO / "examples/tasker"
OWN_CRATES = {
    "pgmq-notify",
    "tasker-shared",
    "tasker-client",
    "tasker-orchestration",
    "tasker-worker",
    "tasker-core",
    "tasker-worker-rust",
    "tasker-worker-python",
    "tasker-worker-wasm",
    "tasker_core_rb",
    "tasker-unify",
}
# maturin tells PyO3 about its interpreter in the environment, so these are compiled once more beside the module.
PYO3_CRATES = {"pyo3-build-config", "pyo3-ffi", "pyo3-macros-backend", "pyo3-macros", "pyo3"}
NAMESPACES = {
    "ruby": ["ruby_workflows", "custom_handlers", "legacy_integration"],
    "python": ["python_workflows", "data_processing", "ml_pipelines", "analytics"],
    "wasm": ["wasm_workflows", "sandboxed_execution", "secure_computation"],
}


@dataclass
class Example:
    """A copy of the workspace, built with the repository's spec under its own environment names."""

    workspace: Path
    overlay: Path
    project: str

    def command(self, *arguments: str) -> list[str]:
        spec = ["-f", "stacks.yaml", "-f", str(self.overlay), "--workspace", str(self.workspace)]
        return [sys.executable, "-m", "tasker_build", *spec, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), cwd=REPO, capture_output=True, text=True, check=False)

    def good(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def stale(self) -> dict[str, list[str]]:
        document: dict[str, Any] = json.loads(self.run("plan", "--format", "json").stdout)
        return {
            step["target"]: [r["evidence"] for r in step["reasons"]]
            for step in document["steps"]
            if step["action"] not in {"keep", "forget"}
        }

    def edit(self, path: str, text: str) -> None:
        file = self.workspace / path
        file.write_text(file.read_text() + text)

    def compose(self, *arguments: str) -> str:
        file = self.workspace / "docker/docker-compose.integration.yml"
        command = ["docker", "compose", "--progress", "plain", "-f", str(file), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("example")
    workspace = folder / "tasker"
    shutil.copytree(EXAMPLE, workspace, ignore=shutil.ignore_patterns("target", "docker"))
    name = f"tasker-e2e-{uuid.uuid4().hex[:8]}"
    overlay = folder / "overlay.yaml"
    # The other languages' workers take their time: they are built where the long tests are asked for.
    everything = "true" if request.config.getoption("markexpr") == "long" else "false"
    overlay.write_text(
        f"""\
# Debug builds have tests of their own; here they would only take time.
targets:
  build-dev: {{enabled: false}}
  dev/orchestration: {{enabled: false}}
  dev/workers/rust: {{enabled: false}}
  build-workers: {{enabled: {everything}}}
  deploy/workers/ruby: {{enabled: {everything}}}
  deploy/workers/python: {{enabled: {everything}}}
  deploy/workers/wasm: {{enabled: {everything}}}
stacks:
  integration:
    project: {name}
    services:
      postgres: {{ports: ["127.0.0.1:{_free_port()}:5432"]}}
      orchestration: {{ports: ["127.0.0.1:{_free_port()}:8080"]}}
      worker: {{ports: ["127.0.0.1:{_free_port()}:8081"]}}
      ruby-worker: {{ports: ["127.0.0.1:{_free_port()}:8082"]}}
      python-worker: {{ports: ["127.0.0.1:{_free_port()}:8083"]}}
    networks: {{tasker-network: {{name: {name}, ipam: ~}}}}
    volumes: {{postgres_data: {{name: {name}}}}}
"""
    )
    example = Example(workspace, overlay, name)
    example.good("render")
    example.good("apply")
    yield example
    example.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")


def _port(example: Example, service: str, inside: int) -> str:
    return example.compose("port", service, str(inside)).strip().split("\n")[-1]


def _get(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _line() -> str:
    """A comment that no earlier run of these tests has built: an image with its fingerprint would just be kept."""
    return f"\n// {uuid.uuid4()}\n"


def _crates(log: str) -> list[str]:
    return re.findall(r"Compiling\s+([A-Za-z0-9_-]+) v", log)


def _last_log(target: str) -> str:
    runs = sorted((REPO / ".tasker-build/runs").iterdir())
    return (runs[-1] / f"{target}.log").read_text()


def test_nothing_is_built_twice(example: Example) -> None:
    assert "nothing to do: 4 targets up to date" in example.good("apply")


def test_a_task_comes_back_processed_by_the_rust_worker(example: Example) -> None:
    example.good("env", "up", "integration")
    api = f"http://{_port(example, 'orchestration', 8080)}"
    assert _get(f"{api}/ready")["status"] == "ready"
    assert _get(f"http://{_port(example, 'worker', 8081)}/health/ready")["status"] == "ready"
    task = _get(f"{api}/v1/tasks", {"namespace": "linear_workflow", "context": {"value": 3}})["task_id"]
    deadline = time.monotonic() + 30
    while (answer := _get(f"{api}/v1/tasks/{task}"))["status"] != "complete" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert answer["status"] == "complete"
    last = next(step for step in answer["steps"] if step["name"] == "report")
    assert last["result"]["result"] == ((3 * 2) + 10) ** 2
    assert last["worker"]["language"] == "rust"
    running = example.compose("ps", "--format", "{{.Service}} {{.Image}}")
    assert re.search(r"worker jcoletaylor/tasker-worker-rust:tb-[0-9a-f]{12}", running)
    # Non-root, and the root file system cannot be written.
    assert "uid=1001" in example.compose("exec", "-T", "worker", "id")
    example.good("env", "down", "integration")


def _finished(api: str, task: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while (answer := _get(f"{api}/v1/tasks/{task}"))["status"] not in {"complete", "error"} and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def _languages(answer: Any) -> dict[str, str]:
    """step → the language of who did it."""
    return {step["name"]: step["worker"]["language"] for step in answer["steps"]}


@pytest.fixture(scope="module")
def polyglot(example: Example) -> Iterator[str]:
    """The environment with every worker; its value is where the orchestration answers."""
    example.good("env", "up", "integration", "--profile", "workers")
    yield f"http://{_port(example, 'orchestration', 8080)}"
    example.good("env", "down", "integration")
    assert example.compose("--profile", "*", "ps", "--all", "--quiet").strip() == ""


@pytest.mark.long
def test_one_task_ends_with_results_from_four_languages(polyglot: str) -> None:
    task = _get(f"{polyglot}/v1/tasks", {"namespace": "polyglot_workflow", "context": {"value": 21}})["task_id"]
    answer = _finished(polyglot, task)
    assert answer["status"] == "complete", answer
    assert _languages(answer) == {"start": "rust", "ruby": "ruby", "python": "python", "wasm": "wasm", "gather": "python"}
    last = next(step for step in answer["steps"] if step["name"] == "gather")
    assert last["result"]["found"] == {
        "start": {"value": 42},
        "ruby": {"text": "four two"},
        "python": {"factors": [2, 3, 7]},
        "wasm": {"steps": 8},
    }


@pytest.mark.long
@pytest.mark.parametrize(("language", "namespace"), [(key, name) for key, names in NAMESPACES.items() for name in names])
def test_every_namespace_has_a_worker(polyglot: str, language: str, namespace: str) -> None:
    task = _get(f"{polyglot}/v1/tasks", {"namespace": namespace, "context": {}})["task_id"]
    answer = _finished(polyglot, task)
    assert answer["status"] == "complete", answer
    assert set(_languages(answer).values()) == {language}


@pytest.mark.long
@pytest.mark.parametrize(
    ("namespace", "step"), [("custom_handlers", "validate"), ("data_processing", "extract"), ("sandboxed_execution", "evaluate")]
)
def test_a_step_that_fails_is_tried_again(polyglot: str, namespace: str, step: str) -> None:
    task = _get(f"{polyglot}/v1/tasks", {"namespace": namespace, "context": {"busy_attempts": 1}})["task_id"]
    answer = _finished(polyglot, task)
    assert answer["status"] == "complete", answer
    assert next(each for each in answer["steps"] if each["name"] == step)["attempts"] == 2


@pytest.mark.long
@pytest.mark.parametrize(("context", "reason"), [({"spin": True}, "of fuel"), ({"eat_mib": 64}, "MiB of memory")])
def test_the_sandbox_stops_what_takes_too_much(polyglot: str, context: dict[str, Any], reason: str) -> None:
    task = _get(f"{polyglot}/v1/tasks", {"namespace": "sandboxed_execution", "context": context})["task_id"]
    answer = _finished(polyglot, task)
    assert answer["status"] == "error"
    assert "stopped by the sandbox" in answer["error"]
    assert reason in answer["error"]


@pytest.mark.long
@pytest.mark.parametrize(("service", "namespace"), [("ruby-worker", "ruby_workflows"), ("python-worker", "python_workflows")])
def test_a_worker_that_is_told_to_stop_finishes_what_it_has_begun(
    example: Example, polyglot: str, service: str, namespace: str
) -> None:
    task = _get(f"{polyglot}/v1/tasks", {"namespace": namespace, "context": {"work_ms": 4000}})["task_id"]
    deadline = time.monotonic() + 20
    while _get(f"{polyglot}/v1/tasks/{task}")["steps"][0]["status"] != "in_progress" and time.monotonic() < deadline:
        time.sleep(0.1)
    example.compose("--profile", "workers", "stop", service)
    deadline = time.monotonic() + 10
    while _get(f"{polyglot}/v1/tasks/{task}")["steps"][0]["status"] != "complete" and time.monotonic() < deadline:
        time.sleep(0.2)
    first = _get(f"{polyglot}/v1/tasks/{task}")["steps"][0]
    assert (first["status"], first["attempts"]) == ("complete", 1)
    ended = example.compose("--profile", "workers", "ps", "--all", "--format", "{{.ExitCode}}", service)
    assert ended.strip() == "0"
    # Its successor does the rest.
    example.compose("--profile", "workers", "start", service)
    assert _finished(polyglot, task)["status"] == "complete"


@pytest.mark.long
def test_the_workers_are_not_root_and_healthy(example: Example, polyglot: str) -> None:
    assert polyglot
    for service in ("ruby-worker", "python-worker", "wasm-worker"):
        assert "uid=1001" in example.compose("--profile", "workers", "exec", "-T", service, "id")
    for service, port in (("ruby-worker", 8082), ("python-worker", 8083)):
        address = example.compose("--profile", "workers", "port", service, str(port)).strip().split("\n")[-1]
        assert _get(f"http://{address}/health/ready")["status"] == "ready"


def test_one_line_in_the_worker_rebuilds_the_worker_and_no_third_party_crate(example: Example) -> None:
    example.edit("workers/rust/src/lib.rs", _line())
    assert example.stale() == {"deploy/workers/rust": ["1 file: ~ workers/rust/src/lib.rs"]}
    assert "1 built, 3 unchanged" in example.good("apply")
    assert _crates(_last_log("deploy-workers-rust")) != []
    assert set(_crates(_last_log("deploy-workers-rust"))) <= OWN_CRATES
    # compose builds the same files from the same cache: no crate is compiled again.
    assert _crates(example.compose("build")) == []


def _children(process: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, parent = stat.read_text().rpartition(")")[2].split()[:2]
            found += [int(stat.parent.name)] if int(parent) == process else []
    return found


def test_an_interrupt_while_cargo_compiles_leaves_no_process_and_the_next_apply_goes_on(example: Example) -> None:
    example.edit("tasker-orchestration/src/lib.rs", _line())
    with subprocess.Popen(example.command("apply"), cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 300
        while not _compiling(process.pid) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        children = _children(process.pid)
        assert children
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130
    assert "left: deploy/orchestration" in said
    assert "The next apply goes on from here." in said
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert "deploy/orchestration" in example.stale()
    example.good("apply")
    assert not {"deploy/orchestration", "deploy/workers/rust"} & set(example.stale())


def _compiling(process: int) -> bool:
    """Whether the run of a process has come to compiling."""
    logs = (REPO / ".tasker-build/runs").glob(f"*-{process}/deploy-orchestration.log")
    return any("Compiling" in log.read_text() for log in logs)


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "target", "compiled"),
    [
        ("workers/ruby/ext/tasker_core/src/lib.rs", "deploy/workers/ruby", OWN_CRATES),
        ("workers/ruby/lib/handlers.rb", "deploy/workers/ruby", set()),
        ("workers/python/python/tasker_python_worker/handlers.py", "deploy/workers/python", OWN_CRATES | PYO3_CRATES),
        ("workers/wasm/guest/src/handlers.rs", "deploy/workers/wasm", {"tasker-wasm-handlers"}),
    ],
)
def test_a_worker_in_another_language_compiles_no_third_party_crate_again(
    example: Example, path: str, target: str, compiled: set[str]
) -> None:
    example.edit(path, "\n")
    assert set(example.stale()) == {target}
    example.good("apply")
    assert set(_crates(_last_log(target.replace("/", "-")))) <= compiled


def test_after_compose_has_built_an_edit_apply_compiles_nothing(example: Example) -> None:
    example.edit("tasker-orchestration/src/lib.rs", _line())
    said = example.compose("build")
    assert set(_crates(said)) <= OWN_CRATES
    assert _crates(said) != []
    assert "deploy/orchestration" in example.stale()
    example.good("apply")
    assert _crates(_last_log("deploy-orchestration")) == []
    assert example.stale() == {}


def test_changes_reach_the_targets_that_follow_and_no_others(example: Example) -> None:
    def undone(path: str, text: str) -> dict[str, list[str]]:
        file = example.workspace / path
        before = file.read_bytes()
        try:
            file.write_text(file.read_text() + text)
            return example.stale()
        finally:
            file.write_bytes(before)

    services = {"deploy/orchestration", "deploy/workers/rust"}
    assert set(undone("Cargo.lock", "\n# changed\n")) == {"build", *services}
    assert set(undone("config/tasker/base/worker.toml", "\n# changed\n")) == services
    assert set(undone("tasker-worker/src/lib.rs", "\n")) == {"deploy/workers/rust"}
    assert set(undone("tasker-shared/src/lib.rs", "\n")) == services
    # What cargo does not read in a manifest does not count where the package's code does not either.
    assert undone("tasker-client/Cargo.toml", "\n# a comment\n").keys() == {"deploy/workers/rust"}
    assert undone("README.md", "more\n") == {}
    assert undone("workers/rust/tests/templates.rs", "\n// more\n") == {}


def test_a_member_outside_the_closure_is_never_compiled_as_an_empty_stub(example: Example) -> None:
    spec = example.overlay.read_text()
    hook = "RUN cargo build --release -p tasker-worker --locked --offline"
    try:
        # Somebody builds a package that the spec did not name for this image.
        hooked = f'targets:\n  deploy/orchestration: {{hooks: {{before_build: "{hook}"}}}}\n'
        example.overlay.write_text(spec.replace("targets:\n", hooked))
        done = example.run("apply", "deploy/orchestration")
        assert done.returncode == 1
        assert "this package is outside the closure of the image being built" in done.stderr
        assert re.search(r"docker/deploy/orchestration/Dockerfile:\d+", done.stderr)
    finally:
        example.overlay.write_text(spec)
