"""Who plans: this installation, its machine, and the secrets that its environment names."""

from __future__ import annotations

import functools
import os
import platform as machine
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build import __version__
from tasker_build.errors import RefusedError
from tasker_build.spec.names import secret_variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@functools.cache
def installation() -> bytes:
    """Tell this installation from one that might read a spec otherwise: its files and those of what it reads with."""
    rows: list[tuple[str, int, int, int, int]] = []
    for module in ("tasker_build", "jinja2", "yaml"):
        found = find_spec(module)
        for folder in found.submodule_search_locations or () if found else ():
            for place, _, names in os.walk(folder):
                for name in sorted(names):
                    if name.endswith((".py", ".so")):
                        status = os.stat(path := os.path.join(place, name))
                        rows.append((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return repr((__version__, sys.version, sorted(rows))).encode()


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
