"""Checksums of tools, asked of their registries through their own clients: pip for wheels, cargo for crates.

The clients know the site's mirrors, proxies and logins; nothing here does. Nothing is installed and no code of a tool is run.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasker_build.engine.programs import ask
from tasker_build.errors import TaskerBuildError
from tasker_build.registries.trouble import RegistryError, Trouble
from tasker_build.spec.model import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS = 120
_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_NEWEST_GLIBC = 44
"""The minor version of the C library (2.x) up to which wheels are looked for; the builders' own pip takes what fits it."""


def checksums(reference: str) -> Mapping[str, str]:
    """Platform → checksum (`sha256:…`) of a tool; `any` where it is the same for all.

    Raises:
        RegistryError: there is no such version, or nobody here can say.
    """
    tool = Tool.parse(reference)
    if tool.source == "crate":
        return {"any": _crate(tool)}
    found = {platform: _wheel(tool, machine) for platform, machine in _MACHINES.items()}
    return {"any": next(iter(found.values()))} if len(set(found.values())) == 1 else found


def _wheel(tool: Tool, machine: str) -> str:
    """What pip would install for any Python 3: a wheel of pure Python or of a program."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, 4, -1)]
    tags += [f"manylinux2014_{machine}", f"linux_{machine}"]
    words = ["--dry-run", "--quiet", "--report=-", "--ignore-installed", "--no-deps", "--only-binary=:all:"]
    words += ["--disable-pip-version-check", "--implementation=py", "--abi=none", *(f"--platform={tag}" for tag in tags)]
    with tempfile.TemporaryDirectory() as folder:
        said = _ask(tool, [*_pip(tool), "install", *words, f"--target={folder}", f"{tool.name}=={tool.version}"])
    try:
        report: Any = json.loads(said)
        return "sha256:" + str(report["install"][0]["download_info"]["archive_info"]["hashes"]["sha256"])
    except (ValueError, LookupError, TypeError) as error:
        raise RegistryError(f"pip does not say what {_named(tool)} is", Trouble.BROKEN) from error


def _crate(tool: Tool) -> str:
    """The checksum that cargo writes into the lock of a package that depends on it."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise RegistryError(f"cargo is not here to say what {_named(tool)} is", Trouble.NOBODY, hints=("install cargo",))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "src").mkdir()
        (folder / "src" / "lib.rs").touch()
        package = '[package]\nname = "ask"\nversion = "0.0.0"\nedition = "2021"\n'
        (folder / "Cargo.toml").write_text(f'{package}[dependencies]\n{tool.name} = "={tool.version}"\n')
        _ask(tool, [cargo, "generate-lockfile", "--quiet", "--manifest-path", str(folder / "Cargo.toml")])
        packages: Any = tomllib.loads((folder / "Cargo.lock").read_text())["package"]
    for row in packages:
        if row["name"] == tool.name and row["version"] == tool.version and "checksum" in row:
            return f"sha256:{row['checksum']}"
    raise RegistryError(f"cargo does not say what {_named(tool)} is", Trouble.BROKEN)


def _pip(tool: Tool) -> Sequence[str]:
    """A pip that can report what it would install (23 or newer); one that comes without the tool's own Python, too."""
    for words in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], ["pip3"]):
        try:
            done = ask([*words, "--version"], seconds=_SECONDS)
        except TaskerBuildError:
            continue
        if done.code == 0:
            return words
    raise RegistryError(f"pip is not here to say what {_named(tool)} is", Trouble.NOBODY, hints=("install pip",))


def _ask(tool: Tool, words: Sequence[str]) -> str:
    try:
        done = ask(words, seconds=_SECONDS)
    except TaskerBuildError as error:
        raise RegistryError(f"{words[0]} did not say what {_named(tool)} is", Trouble.UNREACHABLE) from error
    if done.code != 0:
        last = next((line.strip() for line in reversed(done.err.splitlines()) if line.strip()), "no reason given")
        if re.search("no matching (distribution|package)|failed to select a version", done.err, re.IGNORECASE):
            raise RegistryError(f"nobody serves {_named(tool)}: {last}", Trouble.MISSING)
        raise RegistryError(f"{words[0]} could not say what {_named(tool)} is: {last}", Trouble.UNREACHABLE)
    return done.out


def _named(tool: Tool) -> str:
    return f"{tool.source}:{tool.name}@{tool.version}"
