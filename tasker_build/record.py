"""Records under `.tasker-build/`: facts of earlier builds, run summaries, logs. They make explanations finer and decide nothing:
the folder may be deleted at any time without one different build.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import jinja2

from tasker_build import __version__
from tasker_build.dockerfile import slug
from tasker_build.errors import TaskerBuildError
from tasker_build.fingerprint import Fact, Group
from tasker_build.plan import Known
from tasker_build.spec.model import TargetName
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jinja2.bccache import Bucket

    from tasker_build.plan import Wanted

FOLDER = ".tasker-build"
KEPT_FACTS = 8
KEPT_RUNS = 20
KEPT_DURATIONS = 5


@dataclass(frozen=True, slots=True)
class Records:
    """The record folder beside a spec."""

    folder: Path

    def known(self, names: Iterable[TargetName]) -> Mapping[tuple[TargetName, str], Known]:
        """What earlier builds of these targets were made from; what cannot be read is as if it were not there."""
        return {(name, fingerprint): known for name in names for fingerprint, known in self._read(name).items()}

    def _path(self, name: str) -> Path:
        return self.folder / "targets" / f"{slug(name)}.json"

    def _read(self, name: TargetName) -> dict[str, Known]:
        try:
            value: Any = json.loads(self._path(name).read_text())
            return {row["fingerprint"]: _known(row) for row in value["builds"]} if value["target"] == name else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def remember(self, wanted: Wanted, image_id: str, *, run: str = "", revision: str = "") -> None:
        """Note what a build was made from, the newest last."""
        known = self._read(wanted.name)
        known.pop(wanted.facts.fingerprint, None)
        known[wanted.facts.fingerprint] = Known(
            facts=wanted.facts.facts,
            templates=wanted.templates,
            spec=wanted.spec,
            image_id=image_id,
            run=run,
            revision=revision,
        )
        rows = [_row(fingerprint, item) for fingerprint, item in list(known.items())[-KEPT_FACTS:]]
        self._write(self._path(wanted.name), {"target": wanted.name, "builds": rows})

    def adopt(self, wanted: Wanted, image_id: str) -> None:
        """Note what an image that was there before this folder knew of it is made from: its label says it is this."""
        if wanted.facts.fingerprint not in self._read(wanted.name):
            self.remember(wanted, image_id)

    def _write(self, path: Path, value: Any) -> None:
        self.make()
        write_file(path, json.dumps(value, sort_keys=True, indent=1).encode() + b"\n", 0o600)

    def make(self) -> None:
        """Make the folder, private and ignored by git."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            write_file(ignore, b"*\n", 0o644)

    def new_run(self) -> Path:
        """Make a folder for one run's logs and summary; the oldest runs make room."""
        self.make()
        runs = self.folder / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(path for path in runs.iterdir() if path.is_dir())[: -(KEPT_RUNS - 1)]:
            shutil.rmtree(old, ignore_errors=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        run = runs / f"{stamp}-{os.getpid()}"
        run.mkdir(mode=0o700)
        return run

    def summarise(self, run: Path, summary: Any) -> None:
        """Write a run's summary."""
        self._write(run / "summary.json", summary)

    def summaries(self) -> Iterator[tuple[str, Any]]:
        """Name and summary of earlier runs, the newest first; what cannot be read is as if it were not there."""
        try:
            names = sorted((path.name for path in (self.folder / "runs").iterdir()), reverse=True)
        except OSError:
            return
        for name in names:
            with suppress(OSError, ValueError, RecursionError):
                yield name, json.loads((self.folder / "runs" / name / "summary.json").read_text())

    def rendered(self) -> frozenset[str]:
        """Paths this checkout's last render wrote; only these may ever be deleted."""
        try:
            value: Any = json.loads((self.folder / "rendered.json").read_text())
        except (OSError, ValueError, RecursionError):
            return frozenset()
        names = value if isinstance(value, list) else []
        return frozenset(name for name in names if isinstance(name, str) and _stays_below(name))

    def note_rendered(self, paths: Iterable[str]) -> None:
        """Remember what a render wrote."""
        paths = sorted(paths)
        if frozenset(paths) != self.rendered():
            self._write(self.folder / "rendered.json", paths)


class TemplateCache(jinja2.BytecodeCache):
    """Compiled templates in the user's own cache folder; jinja checks that they belong to the template's text.

    They are code that is run, so they never lie in a checkout, and a folder that others may write is not used.
    """

    def __init__(self) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        self._folder = cache / "tasker-build" / f"templates-{__version__}"

    def _is_private(self) -> bool:
        status = self._folder.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            if self._is_private():
                try:
                    bucket.bytecode_from_string((self._folder / bucket.key).read_bytes())
                except (ValueError, EOFError, TypeError, UnpicklingError):
                    bucket.reset()  # cut or damaged: compiled anew

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError, TaskerBuildError, RuntimeError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._is_private():
                write_file(self._folder / bucket.key, bucket.bytecode_to_string(), 0o600)


def _stays_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def durations(records: Records) -> Mapping[str, float]:
    """Target → the median seconds of its last builds here; what cannot be read is as if it were not there."""
    seconds: dict[str, list[float]] = {}
    for path in sorted(records.folder.glob("runs/*/summary.json"), reverse=True):  # newest first: folders are named by time
        try:
            results: Any = json.loads(path.read_text())["results"]
            # A build that found every step cached says how fast a cache is, not how long the work takes.
            rows = [(str(row["target"]), float(row["seconds"])) for row in results if "seconds" in row and row.get("run", 1)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        for name, took in rows:
            if len(known := seconds.setdefault(name, [])) < KEPT_DURATIONS:
                known.append(took)
    return {name: _median(known) for name, known in seconds.items()}


def step_durations(records: Records) -> Mapping[TargetName, Mapping[str, float]]:
    """Target → its steps as BuildKit names them, the newest first → the median seconds of the last times each really ran here.

    A step may have run in the build of a child; it counts for the target whose Dockerfile has it.
    """
    seconds: dict[TargetName, dict[str, list[float]]] = {}
    for _, summary in records.summaries():
        try:
            steps = [step for row in summary["results"] for step in row.get("steps", ()) if not step["cached"]]
            rows = [(TargetName(str(step["target"])), str(step["name"]), float(step["seconds"])) for step in steps]
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        for target, name, took in rows:
            if len(known := seconds.setdefault(target, {}).setdefault(name, [])) < KEPT_DURATIONS:
                known.append(took)
    return {target: {name: _median(known) for name, known in steps.items()} for target, steps in seconds.items()}


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _row(fingerprint: str, known: Known) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "image": known.image_id,
        "run": known.run,
        "revision": known.revision,
        "spec": dict(known.spec),
        "templates": dict(known.templates),
        "facts": [[fact.group.value, fact.label, fact.value] for fact in known.facts],
    }


def _known(row: Mapping[str, Any]) -> Known:
    facts = tuple(Fact(group=Group(group), label=str(label), value=str(value)) for group, label, value in row["facts"])
    return Known(
        facts=facts,
        templates=dict(row["templates"]),
        spec=dict(row["spec"]) if isinstance(row["spec"], dict) else {},  # one digest of all, in records of earlier versions
        image_id=str(row["image"]),
        run=str(row.get("run", "")),
        revision=str(row.get("revision", "")),
    )


def git_revision(folder: Path) -> str:
    """The commit a folder's Git checkout stands on; "" where there is no Git, no repository or no commit."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
