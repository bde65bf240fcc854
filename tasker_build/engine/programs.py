"""Programs that we run: which one, in which environment, for how long, and what is said when one cannot be run.

Docker and compose always get the one endpoint that was resolved for the whole command.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.errors import BuildError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT = 30
PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
NOTHING = subprocess.DEVNULL
"""As standard input: there is none. As standard output: nobody reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a program whose output was kept."""

    code: int
    out: str
    err: str

    def must(self, what: str) -> str:
        """Its output.

        Raises:
            BuildError: it failed; `what` says what did not work.
        """
        if self.code:
            raise BuildError(f"{what}: {self.err.strip()}")
        return self.out


def ask(
    words: Sequence[str], *, environment: Mapping[str, str] | None = None, data: str | bytes = b"", seconds: float | None = None
) -> Done:
    """Run a program and keep what it says.

    Args:
        words: the command.
        environment: its environment; None: ours.
        data: its standard input.
        seconds: how long it may take; None: for ever.

    Raises:
        EngineError: there is no such program.
        BuildError: it takes too long, or cannot be run.
    """
    text = data.encode() if isinstance(data, str) else data
    try:
        done = subprocess.run(words, input=text, capture_output=True, env=environment, timeout=seconds, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_run(words[0], error) from error
    return Done(code=done.returncode, out=done.stdout.decode(errors="replace"), err=done.stderr.decode(errors="replace"))


def show(
    words: Sequence[str], *, environment: Mapping[str, str] | None = None, stdin: int | None = None, stdout: int | None = None
) -> int:
    """Run a program in the foreground, with our input and output or other files; returns its exit code.

    Raises:
        EngineError: there is no such program.
        BuildError: it cannot be run.
    """
    try:
        return subprocess.run(words, env=environment, stdin=stdin, stdout=stdout, check=False).returncode
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_run(words[0], error) from error


def _not_run(program: str, error: OSError | subprocess.SubprocessError) -> BuildError | EngineError:
    if isinstance(error, subprocess.TimeoutExpired):
        return BuildError(f"{program} did not end within {error.timeout:g} seconds")
    if isinstance(error, FileNotFoundError):
        return EngineError(f"{program} is not installed", hints=("`tasker-build doctor` says what is there",))
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return BuildError(f"{program} cannot be run: {reason}")


def tied(endpoint: str) -> dict[str, str]:
    """The caller's environment, tied to one endpoint."""
    return {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"} | {"DOCKER_HOST": endpoint}


def docker(endpoint: str, *words: str) -> Done:
    """Run the docker command and keep what it says.

    Raises:
        EngineError: there is none.
    """
    return ask(["docker", *words], environment=tied(endpoint))


def show_docker(endpoint: str, *words: str) -> int:
    """Run the docker command in the foreground; returns its exit code.

    Raises:
        EngineError: there is none.
    """
    return show(["docker", *words], environment=tied(endpoint))


def plugin(name: str) -> str | None:
    """Path of a docker CLI plugin, found as the docker command finds it."""
    home = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
    for folder in (home, *map(Path, PLUGIN_FOLDERS)):
        program = folder / f"docker-{name}"
        if os.access(program, os.X_OK):
            return str(program)
    return None


@functools.cache
def buildx() -> tuple[str, ...]:
    """The command that runs buildx: the plugin itself saves a tenth of a second a build over `docker buildx`.

    Raises:
        EngineError: there is none.
    """
    if program := plugin("buildx"):
        return (program,)
    if shutil.which("docker") and ask(["docker", "buildx", "version"], seconds=_TIMEOUT).code == 0:
        return ("docker", "buildx")
    raise EngineError(
        "docker buildx is not installed",
        hints=("install the buildx plugin, or `tools/engine up` on a bare Debian machine",),
    )


@functools.cache
def compose() -> tuple[str, ...]:
    """The command that runs compose.

    Raises:
        EngineError: there is none.
    """
    if plugin("compose") and shutil.which("docker"):
        return ("docker", "compose")
    if program := shutil.which("docker-compose"):
        return (program,)
    raise EngineError(
        "docker compose is not installed",
        hints=("install the compose plugin, or `tools/engine up` on a bare Debian machine",),
    )
