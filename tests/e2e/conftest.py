"""A tiny stack on a real engine: its own project and image names, removed again by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# A shell lets what it starts in the background ignore Ctrl-C, and everything that is started there does, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
REPO = Path(__file__).parents[2]

SPEC = """\
version: 1
project: {project}
workspace: work
output: docker
templates: tpl
bases: {{debian: "debian:trixie-slim"}}
targets:
  base:
    template: base.j2
    from: {{system: debian}}
    context: [lib]
    stage: builder
  app:
    template: app.j2
    from: {{builder: base, runtime: debian}}
    context: [app]
    stage: runtime
    args: {{FLAVOUR: plain}}
  other:
    template: other.j2
    from: {{runtime: debian}}
    context: [other]
stacks:
  tiny:
    services:
      base: {{target: base, build_only: true}}
      app: {{target: app, command: [sleep, "600"]}}
      other: {{target: other, command: [sleep, "600"]}}
"""
BASE = """\
# the base
ARG SYSTEM_IMAGE={{ images[0][1] }}
FROM {{ image("system") }} AS builder
COPY lib/ /lib-src/
RUN echo "{{ project }} base" && sleep 1 && cat /lib-src/a.txt > /cooked
"""
APP = """\
ARG BUILDER_IMAGE={{ images[0][1] }}
ARG RUNTIME_IMAGE={{ images[1][1] }}
FROM {{ image("builder") }} AS app-builder
ARG FLAVOUR
COPY app/ /src/
RUN echo "{{ project }} app" && sleep 1 && cat /cooked /src/main.txt > /out && echo "$FLAVOUR" >> /out
FROM {{ image("runtime") }} AS runtime
COPY --from=app-builder /out /out
CMD ["cat", "/out"]
"""
OTHER = """\
ARG RUNTIME_IMAGE={{ images[0][1] }}
FROM {{ image("runtime") }}
COPY other/ /other/
RUN echo "{{ project }} other" && cat /other/x.txt
"""


def docker(*arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check, input=text)


@dataclass
class TestSpace:
    """A stack in a folder, and the command line run on it."""

    __test__ = False
    folder: Path
    project: str = field(default_factory=lambda: f"e2e{uuid.uuid4().hex[:10]}")

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tasker_build", *arguments]

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, capture_output=True, text=True, check=False, env=os.environ | (env or {})
        )

    def apply(self, *arguments: str) -> str:
        done = self.run("apply", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self, *arguments: str) -> dict[str, tuple[str, list[tuple[str, str]]]]:
        """target → (action, [(reason kind, evidence)])."""
        done = self.run("plan", "--format", "json", *arguments)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return {
            step["target"]: (step["action"], [(reason["kind"], reason["evidence"]) for reason in step["reasons"]])
            for step in document["steps"]
        }

    def stale(self, *arguments: str) -> dict[str, str]:
        """target → its reason kinds, for targets that are not kept."""
        return {
            name: ",".join(kind for kind, _ in reasons)
            for name, (action, reasons) in self.plan(*arguments).items()
            if action != "keep"
        }

    def reference(self, target: str) -> str:
        """The unique reference of a target's image as the spec asks for it now."""
        done = self.run("plan", "--format", "json")
        step = next(step for step in json.loads(done.stdout)["steps"] if step["target"] == target)
        return f"{step['image']}:tb-{step['fingerprint'][:12]}"

    def image(self, target: str) -> str:
        return f"{self.project}-{target}:latest"

    def content(self, target: str, path: str = "/out") -> str:
        return docker("run", "--rm", self.image(target), "cat", path).stdout

    def clean(self) -> None:
        listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", check=False).stdout.split()
        for reference in listed:
            if reference.startswith(self.project):
                docker("image", "rm", reference, check=False)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[TestSpace]:
    space = TestSpace(tmp_path)
    space.write("stacks.yaml", SPEC.format(project=space.project))
    for name, text in (("base", BASE), ("app", APP), ("other", OTHER)):
        space.write(f"tpl/{name}.j2", text)
    space.write("work/lib/a.txt", "lib 1\n")
    space.write("work/app/main.txt", "app 1\n")
    space.write("work/other/x.txt", "other 1\n")
    yield space
    space.clean()
