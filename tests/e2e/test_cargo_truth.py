"""Random Cargo workspaces: what we say a selection compiles is what cargo says, and what we send is enough to compile it.

`TASKER_WORKSPACES=500` asks about more of them, `TASKER_SEED=N` about others.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tasker_build.project import Project
from tasker_build.spec.names import TargetName
from tests.conftest import write_files
from tests.generators.cargo_workspaces import make

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.generators.cargo_workspaces import Sample

pytestmark = pytest.mark.engine

BASE = "rust:1.89-trixie"
APP = TargetName("app")
COUNT = int(os.environ.get("TASKER_WORKSPACES", "40"))
SEEDS = [*range(COUNT - COUNT // 5), *random.Random(os.environ.get("TASKER_SEED")).sample(range(10**6, 10**9), COUNT // 5)]  # noqa: S311
BUILT = SEEDS[:: max(1, COUNT // (10 if COUNT < 100 else 100))]
STUB = 'compile_error!("this package is outside the closure");\n'
_TREE = "cargo tree --offline -q -e normal,build --prefix none --format '{p}' --target x86_64-unknown-linux-gnu"
_CHECK = "CARGO_TARGET_DIR=/tmp/target/$name cargo check --offline --locked -q"


def in_container(folders: Mapping[str, Mapping[str, str]], commands: Mapping[str, str]) -> dict[str, str]:
    """Run one command in each folder; returns what each said, "" first where it failed."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for folder, files in folders.items():
            for path, text in {**files, ".run": commands[folder]}.items():
                entry = tarfile.TarInfo(f"{folder}/{path}")
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
    script = (
        "set -u; mkdir /w; tar -x -C /w; for folder in /w/*; do name=${folder##*/}; export name; cd $folder; "
        'if out=$(sh .run 2>&1); then state=ok; else state=failed; fi; printf "\\001%s\\002%s\\002%s" "$name" "$state" "$out"; done'
    )
    command = ["docker", "run", "--rm", "-i", "--network=none", BASE, "sh", "-c", script]
    done = subprocess.run(command, input=data.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    rows = [row.split("\2", 2) for row in done.stdout.decode().split("\1")[1:]]
    return {name: text if state == "ok" else f"FAILED {text}" for name, state, text in rows}


def flags(sample: Sample) -> str:
    return " ".join(f"'{flag}'" for flag in sample.flags)


@pytest.fixture(scope="module")
def samples() -> dict[str, Sample]:
    sys.stdout.write(f"seeds: {SEEDS}\n")  # pytest shows it with a failure
    return {str(seed): make(seed) for seed in SEEDS}


@pytest.fixture(scope="module")
def locks(samples: dict[str, Sample]) -> dict[str, str]:
    command = "cargo generate-lockfile --offline -q && cat Cargo.lock"
    found = in_container({name: sample.files for name, sample in samples.items()}, dict.fromkeys(samples, command))
    assert not [text for text in found.values() if text.startswith("FAILED")]
    return found


def project(folder: Path, sample: Sample, lock: str) -> Project:
    selection = {
        "packages": list(sample.packages),
        "features": list(sample.features),
        "default_features": sample.default_features,
    }
    spec = {
        "version": 1,
        "project": "truth",
        "workspace": "ws",
        "bases": {"rust": BASE, "debian": "debian:trixie-slim"},
        "defaults": {"targets": {"user": {"name": "app", "uid": 1001}}},
        "targets": {
            "build": {"kind": "cargo-chef", "from": {"rust": "rust"}, "stage": "builder"},
            "app": {
                "kind": "rust-service",
                "from": {"builder": "build", "runtime": "debian"},
                "cargo": selection,
                "platforms": ["linux/amd64"],
            },
        },
    }
    files = {f"ws/{path}": text for path, text in {**sample.files, "Cargo.lock": lock}.items()}
    write_files(folder, {"stacks.yaml": json.dumps(spec), **files})
    return Project.open([folder / "stacks.yaml"])


def test_what_is_compiled_is_what_cargo_says(samples: dict[str, Sample], locks: dict[str, str], tmp_path: Path) -> None:
    folders = {name: {**sample.files, "Cargo.lock": locks[name]} for name, sample in samples.items()}
    said = in_container(folders, {name: f"{_TREE} {flags(sample)}" for name, sample in samples.items()})
    wrong = {}
    for name, sample in samples.items():
        assert not said[name].startswith("FAILED"), said[name]
        truth = {line.split()[0] for line in said[name].splitlines() if "(/" in line}
        closure = project(tmp_path / name, sample, locks[name]).closures[APP]
        ours = {package.name for package in closure.packages}
        if ours != truth:
            wrong[name] = f"missing {sorted(truth - ours)}, needless {sorted(ours - truth)}: {flags(sample)}"
    assert wrong == {}


def test_what_is_sent_is_enough(samples: dict[str, Sample], locks: dict[str, str], tmp_path: Path) -> None:
    folders: dict[str, dict[str, str]] = {}
    for seed in BUILT:
        sample = samples[str(seed)]
        folders[f"{seed}-all"] = {**sample.files, "Cargo.lock": locks[str(seed)]}
        folders[f"{seed}-sent"] = dict(sent(tmp_path / str(seed), sample, locks[str(seed)]))
    commands = {name: f"{_CHECK} {flags(samples[name.partition('-')[0]])}" for name in folders}
    said = in_container(folders, commands)
    assert {name: text for name, text in said.items() if text.startswith("FAILED")} == {}


def sent(folder: Path, sample: Sample, lock: str) -> Iterator[tuple[str, str]]:
    """The files of the closure, and the skeleton that its builder has of all others."""
    opened = project(folder, sample, lock)
    files = opened.closures[APP].files(opened.workspace.paths)
    everything = {**sample.files, "Cargo.lock": lock}
    yield from ((path, everything[path]) for path in files)
    model = opened.models["cargo"]
    yield from ((path, STUB) for path in model.target_files() if path not in files)
