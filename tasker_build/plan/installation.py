"""Who plans: this installation, its machine, and the secrets that its environment names."""

from __future__ import annotations

import functools
import os
import platform as machine
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build import __version__
from tasker_build.errors import RefusedError
from tasker_build.spec.names import secret_variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@functools.cache
def installation() -> bytes:
    """Tell this installation from one that might read a spec otherwise: its files and those of what it reads with."""
    files: list[str] = []
    for module in ("tasker_build", "jinja2", "yaml"):
        found = find_spec(module)
        for folder in found.submodule_search_locations or () if found else ():
            for place, _, names in os.walk(folder):
                files += (os.path.join(place, name) for name in names if name.endswith((".py", ".so")))
    return repr((__version__, sys.version, file_rows(files))).encode()


def file_rows(files: Iterable[str]) -> list[tuple[str, int, int, int, int]]:
    """Tell files from what they were, without reading them; one that is gone is not there."""
    rows: list[tuple[str, int, int, int, int]] = []
    for file in sorted(files):
        with suppress(FileNotFoundError):
            status = os.stat(file)
            rows.append((file, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return rows


def host_platform() -> str:
    """The platform of this machine in the words of images."""
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return f"linux/{arch.get(machine.machine().lower(), machine.machine().lower())}"


def site_secrets(ids: Sequence[str]) -> Mapping[str, Path]:
    """Secret id → file, for those of the secrets that this site has.

    Raises:
        RefusedError: a variable names a file that is not there.
    """
    found: dict[str, Path] = {}
    for secret in ids:
        variable = secret_variable(secret)
        if value := os.environ.get(variable):
            path = Path(value)
            if not path.is_file():
                raise RefusedError(f"{variable} names {value}, which is no file", hints=(f"unset {variable} or correct it",))
            found[secret] = path
    return found
