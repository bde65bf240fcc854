"""Records under `.tasker-build/`: facts of earlier builds, run summaries, logs. They make explanations finer and decide nothing:
the folder may be deleted at any time without one different build.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tasker_build.plan.facts import Fact, Group
from tasker_build.plan.planner import Known
from tasker_build.spec.names import TargetName, slug
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tasker_build.plan.wanted import Wanted


FOLDER = ".tasker-build"


KEPT_FACTS = 8


KEPT_RUNS = 20


@dataclass(frozen=True, slots=True)
class Records:
    """The record folder beside a spec."""

    folder: Path

    def known(self, names: Sequence[TargetName]) -> KnownBuilds:
        """What earlier builds of these targets were made from; what cannot be read is as if it were not there."""
        return KnownBuilds(names, self._read)

    def _path(self, name: str) -> Path:
        return self.folder / "targets" / f"{slug(name)}.json"

    def _read(self, name: TargetName) -> _Target:
        try:
            value: Any = json.loads(self._path(name).read_text())
            if value["target"] != name:
                return _Target({}, "")
            return _Target({row["fingerprint"]: _known(row) for row in value["builds"]}, str(value.get("failed", "")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _Target({}, "")

    def remember(self, wanted: Wanted, image_id: str, *, run: str = "", revision: str = "", engine: str = "") -> None:
        """Note what a build was made from, the newest last; an earlier failure is none any more."""
        known = self._read(wanted.name).builds
        known.pop(wanted.facts.fingerprint, None)
        known[wanted.facts.fingerprint] = Known(
            facts=wanted.facts.facts,
            templates=wanted.templates,
            spec=wanted.spec,
            image_id=image_id,
            run=run,
            revision=revision,
            engine=engine,
        )
        self._write_target(wanted.name, known)

    def note_failure(self, name: TargetName, run: str) -> None:
        """Note the run in which a target could not be built."""
        self._write_target(name, self._read(name).builds, run)

    def _write_target(self, name: TargetName, known: Mapping[str, Known], failed: str = "") -> None:
        rows = [_row(fingerprint, item) for fingerprint, item in list(known.items())[-KEPT_FACTS:]]
        self._write(self._path(name), {"target": name, "builds": rows} | ({"failed": failed} if failed else {}))

    def adopt(self, wanted: Wanted, image_id: str, engine: Callable[[], str] = lambda: "") -> None:
        """Note what an image that was there before this folder knew of it is made from: its label says it is this.

        Args:
            wanted: what its label says it is.
            image_id: its id.
            engine: asks for the id of the engine that has it; only called for what is noted.
        """
        try:
            text = self._path(wanted.name).read_text()
        except OSError:
            text = ""
        # A record of its own is read as it is written here; nothing else in it could be this fingerprint.
        if f'"{wanted.facts.fingerprint}"' not in text:
            self.remember(wanted, image_id, engine=engine())

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
        import shutil  # noqa: PLC0415 - only a build makes room, or asks the time
        from datetime import UTC, datetime  # noqa: PLC0415

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


class _Target(NamedTuple):
    builds: dict[str, Known]  # by fingerprint
    failed: str  # the run in which its last build failed


class KnownBuilds(Mapping[tuple["TargetName", str], Known]):
    """Builds by target and fingerprint; a target's file is read when it is asked for: a plan needs few of them."""

    def __init__(self, names: Sequence[TargetName], read: Callable[[TargetName], _Target]) -> None:
        self._names, self._reader = names, read
        self._targets: dict[TargetName, _Target] = {}

    def failed(self, name: TargetName) -> str:
        """The run in which a target's last build failed; "" where it did not."""
        return self._of(name).failed

    def _of(self, name: TargetName) -> _Target:
        if name not in self._targets:
            self._targets[name] = self._reader(name)
        return self._targets[name]

    def _read(self, name: TargetName) -> Mapping[str, Known]:
        return self._of(name).builds

    def __getitem__(self, key: tuple[TargetName, str]) -> Known:
        return self._read(key[0])[key[1]]

    def __iter__(self) -> Iterator[tuple[TargetName, str]]:
        return ((name, fingerprint) for name in self._names for fingerprint in self._read(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _stays_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _row(fingerprint: str, known: Known) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "image": known.image_id,
        "run": known.run,
        "engine": known.engine,
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
        engine=str(row.get("engine", "")),
        revision=str(row.get("revision", "")),
    )
