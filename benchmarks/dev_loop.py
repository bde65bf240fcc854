"""From an edit to a healthy service in the development environment, beside cargo's own incremental build on the same machine.

    python benchmarks/dev_loop.py [--runs N]

A copy of the example runs under names of its own while `tasker-build env watch dev` looks after it. cargo's own time is taken in
a container of the development builder: the same toolchain and machine, but no image and no container to replace. Everything made
is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
TOOL = str(Path(sys.executable).with_name("tasker-build"))
EDITS = {
    "workers/rust/src/lib.rs": ("worker",),
    "tasker-orchestration/src/lib.rs": ("orchestration", "worker"),  # the root package, which the worker uses, depends on it
    "tasker-shared/src/lib.rs": ("orchestration", "worker"),
}
PACKAGES = {"worker": "tasker-worker-rust", "orchestration": "tasker-orchestration"}
LONGEST = 900.0


def limit(host: float) -> float:
    """What an edit may take until its service is healthy: half as long again as cargo alone, and five seconds."""
    return 1.5 * host + 5


@dataclass(frozen=True, slots=True)
class Site:
    """A copy of the example with a development environment of its own."""

    folder: Path
    name: str

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def command(self, *words: str) -> list[str]:
        spec = ["--file", str(self.folder / "stacks.yaml"), "--file", str(self.folder / "site.yaml")]
        return [TOOL, *spec, "--workspace", str(self.workspace), *words]

    def make(self) -> None:
        shutil.copytree(ROOT / "examples/tasker", self.workspace, ignore=shutil.ignore_patterns("target", ".git", "docker"))
        for name in ("stacks.yaml", "stacks.lock"):
            shutil.copy(ROOT / name, self.folder)
        stack = {
            "project": self.name,
            "networks": {"tasker-dev-network": {"name": self.name, "ipam": None}},
            "volumes": {"postgres_dev_data": {"name": self.name}},
        }
        # JSON is YAML. Another image name for each run: what runs here never takes the name of the user's images.
        images = {"build-dev": "builder", "dev/orchestration": "orchestration", "dev/workers/rust": "worker"}
        targets = {target: {"image": f"{self.name}-{image}"} for target, image in images.items()}
        (self.folder / "site.yaml").write_text(json.dumps({"stacks": {"dev": stack}, "targets": targets}))
        run(self.command("render"))

    def container(self, service: str) -> str:
        """Id of the service's container when it is healthy; "" otherwise."""
        flags = [
            f"--filter=label=com.docker.compose.{key}={value}" for key, value in (("project", self.name), ("service", service))
        ]
        return ask("docker", "ps", "--quiet", "--no-trunc", "--filter=health=healthy", *flags)

    def wait_for(self, services: Sequence[str], before: dict[str, str]) -> None:
        deadline = time.monotonic() + LONGEST
        while any(self.container(service) in {"", before[service]} for service in services):
            if time.monotonic() > deadline:
                raise SystemExit(f"{', '.join(services)}: not healthy after {LONGEST:.0f} s")
            time.sleep(0.1)


def run(command: Sequence[str]) -> None:
    ports = dict.fromkeys(
        ("POSTGRES_PORT", "ORCHESTRATION_PORT", "WORKER_PORT", "ORCHESTRATION_CONSOLE_PORT", "WORKER_CONSOLE_PORT"), "0"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ports)
    if done.returncode != 0:
        raise SystemExit(f"exit code {done.returncode} from {' '.join(command)}\n{done.stdout}{done.stderr}")


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def edit(file: Path) -> None:
    """Add one line of real code that no earlier build has seen."""
    with file.open("a", encoding="utf-8") as text:
        text.write(f"#[doc(hidden)] pub const BENCH_{time.time_ns()}: u32 = 1;\n")


@contextmanager
def watching(site: Site) -> Iterator[None]:
    ports = dict.fromkeys(
        ("POSTGRES_PORT", "ORCHESTRATION_PORT", "WORKER_PORT", "ORCHESTRATION_CONSOLE_PORT", "WORKER_CONSOLE_PORT"), "0"
    )
    with (site.folder / "watch.log").open("wb") as log:
        process = subprocess.Popen(
            site.command("env", "watch", "dev"), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | ports
        )
        try:
            site.wait_for(["orchestration", "worker"], {"orchestration": "-", "worker": "-"})
            while b"atch enabled" not in (site.folder / "watch.log").read_bytes():
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)  # SIGINT is ignored by what a shell started in the background
            process.wait(60)


@contextmanager
def host(site: Site, copy: Path) -> Iterator[str]:
    """A container of the development builder with a copy of the sources in place of the skeleton; its name."""
    shutil.copytree(site.workspace, copy, ignore=shutil.ignore_patterns("docker"))
    image = ask("docker", "image", "ls", "--quiet", f"*/{site.name}-builder:dev-latest")
    name = f"{site.name}-host"
    ask("docker", "run", "--detach", "--rm", "--name", name, "--volume", f"{copy}:/host", image, "sleep", "3600")
    try:
        ask(
            "docker",
            "exec",
            name,
            "sh",
            "-c",
            "cp -r /host/. /app/ && find /app -path /app/target -prune -o -type f -exec touch {} +",
        )
        yield name
    finally:
        ask("docker", "rm", "--force", name)


def cargo(name: str, services: Sequence[str]) -> float:
    """Seconds of cargo's own build of what the services need."""
    words = ["SQLX_OFFLINE=true", "CARGO_INCREMENTAL=1", "cargo", "build", "--locked", "--offline"]
    began = time.perf_counter()
    for service in services:
        selection = ["-p", PACKAGES[service], "--features", "tokio-console"]
        ask("docker", "exec", "--workdir", "/app", name, "env", *words, *selection)
    return time.perf_counter() - began


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="edits of each file (default: 3)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tasker-bench-") as folder:
        site = Site(Path(folder), f"tasker-bench-{os.getpid()}")
        site.make()
        try:
            run(site.command("apply", "--progress=quiet", "dev/orchestration", "dev/workers/rust", "postgres"))
            measure(site, options.runs)
        finally:
            run(site.command("env", "down", "dev"))
            ask("docker", "volume", "rm", "--force", site.name)
            tags = ask("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"*/{site.name}-*").split()
            if tags:
                ask("docker", "image", "rm", "--force", *tags)
    return 0


def measure(site: Site, runs: int) -> None:
    print(f"  {'one line changed in':34}  {'cargo alone':>11}  {'to healthy':>10}  {'limit':>7}  load")
    with watching(site), host(site, site.folder / "host") as name:
        for services in EDITS.values():
            cargo(name, services)  # the first build is not an incremental one
        for path, services in EDITS.items():
            alone, whole = [], []
            for _ in range(runs):
                edit(site.folder / "host" / path)
                ask("docker", "exec", name, "cp", f"/host/{path}", f"/app/{path}")
                alone.append(cargo(name, services))
                before = {service: site.container(service) for service in services}
                began = time.perf_counter()
                edit(site.workspace / path)
                site.wait_for(services, before)
                whole.append(time.perf_counter() - began)
            times = f"{median(alone):9.1f} s  {median(whole):8.1f} s  {limit(median(alone)):5.1f} s"
            print(f"  {path:34}  {times}  {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
