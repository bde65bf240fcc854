"""What tests share: no engine in reach, small specs and workspaces, one Hypothesis profile."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

# Hypothesis would leave a folder in the checkout.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "tasker-build-hypothesis")))

import pytest
from hypothesis import HealthCheck, settings

from tasker_build.errors import ProblemsError
from tasker_build.spec.load import load as load_spec
from tasker_build.spec.read import kind_files, template_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tasker_build.errors import Problem
    from tasker_build.spec.model import Spec

REPOSITORY = Path(__file__).resolve().parent.parent
DEAD_ENGINE = "unix:///nonexistent/tasker-build.sock"
HEAD = "version: 1\nproject: demo\n"

EIGHT_MISTAKES = """\
version: 1
project: demo
registery: example.org
vars: {rust: "1.89"}
bases:
  rust: "rust:{{ rst }}"
  debian: debian:trixie
targets:
  build:
    kind: cargo-cheff
    from: {rust: rust}
  api:
    kind: rust-service
    from: {builder: bulid, runtime: debian}
    cargo: {packages: [api]}
  worker:
    kind: rust-service
    cargo: {packages: [worker], profile: [release]}
    ports: [70000]
    env: {1ST: x}
  cycle-a: {kind: postgres, from: {x: cycle-b}}
  cycle-b: {kind: postgres, from: {x: cycle-a}}
"""

settings.register_profile(
    "tasker-build",
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("tasker-build")


@pytest.fixture(autouse=True)
def no_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests that are not marked `engine` reach none, and see no settings of the machine they run on."""
    with pytest.MonkeyPatch.context() as patch:
        # What one test remembers is none of another's business, and none of the user's.
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        if "engine" not in request.keywords:
            patch.setenv("DOCKER_HOST", DEAD_ENGINE)
            for name in [name for name in os.environ if name.startswith(("TASKER_BUILD_", "DOCKER_CONTEXT", "DOCKER_CONFIG"))]:
                patch.delenv(name)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much the machine of tests/property tried; a stale image or a needless rebuild is a failed test."""
    machine = sys.modules.get("tests.property.machine")
    if machine and machine.COUNTS["steps"]:
        failed = [report for report in terminalreporter.stats.get("failed", ()) if "never_stale" in report.nodeid]
        found = "FAILED" if failed else "0 stale, 0 needless"
        tried = ", ".join(f"{number} {what}" for what, number in sorted(machine.COUNTS.items()))
        terminalreporter.write_line(f"never stale: {tried}: {found}")


def load(sources: Sequence[tuple[str, bytes]]) -> Spec:
    """Load a spec that knows the built-in kinds."""
    return load_spec(sources, lambda _: kind_files(template_folders(None, REPOSITORY)))


def load_text(*texts: str) -> Spec:
    """Load a spec and its overlays from texts."""
    return load([(f"{'overlay' if i else 'stacks'}.yaml", text.encode()) for i, text in enumerate(texts)])


def problems_of(action: Callable[[], object]) -> tuple[Problem, ...]:
    """The located mistakes that calling `action` ends with, in the order of the file."""
    with pytest.raises(ProblemsError) as caught:
        action()
    return tuple(sorted(caught.value.problems, key=lambda p: (p.span.line, p.span.col) if p.span else (0, 0)))


def mistakes(*texts: str) -> tuple[Problem, ...]:
    """The mistakes of a spec."""
    return problems_of(lambda: load_text(*texts))


def places(problems: tuple[Problem, ...]) -> list[tuple[str, int, int]]:
    """Code, line and column of each problem."""
    return [(p.code, p.span.line, p.span.col) if p.span else (p.code, 0, 0) for p in problems]


def write_files(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a folder; returns the folder."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def cargo_lock(*packages: str, version: str = "0.0.0") -> str:
    """A Cargo.lock that knows these packages of the workspace."""
    return "version = 4\n" + "".join(f'[[package]]\nname = "{name}"\nversion = "{version}"\n' for name in packages)
