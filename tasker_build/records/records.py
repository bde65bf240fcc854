"""Records under `.tasker-build/`: builds, run summaries, logs, and what was rendered. The folder may be deleted at any time.

Of everything here one thing decides, as a guard: a unique tag that stands on another image than the one built here is not
believed, and its target is built again. The rest only explains. Without the folder every image is believed whose label and unique
tag agree.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasker_build.files.read import read_text
from tasker_build.plan.history import BuildRecord, History
from tasker_build.records.builds import (
    UNREADABLE,
    Index,
    TargetRecords,
    index_document,
    index_row,
    read_index,
    read_target,
    state_of,
    target_document,
)
from tasker_build.spec.names import TargetName, slug
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tasker_build.plan.history import BuildKey
    from tasker_build.plan.wanted import Wanted

FOLDER = ".tasker-build"
KEPT_BUILDS = 8
KEPT_RUNS = 20
_INDEX = "builds.json"


@dataclass(frozen=True, slots=True)
class Records:
    """The record folder beside a spec."""

    folder: Path

    def builds(self, names: Iterable[TargetName]) -> dict[BuildKey, BuildRecord]:
        """Everything that is recorded of these targets' builds."""
        return {(name, fingerprint): record for name in names for fingerprint, record in self._read(name).builds.items()}

    def history(self) -> History:
        """What a plan needs to know of every build here; without facts."""
        rows = self._index().values()
        return History(
            built={(TargetName(row.target), fingerprint): image for row in rows for fingerprint, image in row.builds.items()},
            failed={TargetName(row.target): row.failed for row in rows if row.failed},
        )

    def _path(self, name: str) -> Path:
        return self.folder / "targets" / f"{slug(name)}.json"

    def _read(self, name: TargetName) -> TargetRecords:
        try:
            target, found = read_target(self._path(name))
        except UNREADABLE:
            return TargetRecords({}, "")
        return found if target == name else TargetRecords({}, "")

    def _index(self) -> Index:
        """A row for each target's file as it is now: the index's where that is of this very file, else made of the file."""
        kept, found = read_index(self.folder / _INDEX), Index()
        try:
            paths = [item.path for item in os.scandir(self.folder / "targets") if item.name.endswith(".json")]
        except OSError:
            return {}
        for path in paths:
            name = os.path.basename(path)
            with suppress(*UNREADABLE):
                now = state_of(path)
                found[name] = kept[name] if name in kept and kept[name].file == now else index_row(*read_target(Path(path)), now)
        return found

    def remember(self, wanted: Wanted, image_id: str, *, run: str = "", revision: str = "", engine: str = "") -> None:
        """Note what a build was made from, the newest last; an earlier failure is none any more."""
        builds = self._read(wanted.name).builds
        builds.pop(wanted.facts.fingerprint, None)
        builds[wanted.facts.fingerprint] = BuildRecord(
            facts=wanted.facts.facts,
            templates=wanted.templates,
            spec=wanted.spec,
            image_id=image_id,
            run=run,
            revision=revision,
            engine=engine,
        )
        self._write_target(wanted.name, builds)

    def note_failure(self, name: TargetName, run: str) -> None:
        """Note the run in which a target could not be built."""
        self._write_target(name, self._read(name).builds, run)

    def _write_target(self, name: TargetName, builds: Mapping[str, BuildRecord], failed: str = "") -> None:
        records, path = TargetRecords(dict(list(builds.items())[-KEPT_BUILDS:]), failed), self._path(name)
        self._write(path, target_document(name, records))
        index = self._index()
        index[path.name] = index_row(name, records, state_of(path))
        self._write(self.folder / _INDEX, index_document(index))

    def adopt(self, found: Iterable[tuple[Wanted, str]], engine: Callable[[], str] = lambda: "") -> None:
        """Note what images that were there before this folder knew of them are made from: their labels say it is this.

        Args:
            found: what each image's label says it is, and its id.
            engine: asks for the id of the engine that has them; only called when something is noted.
        """
        built = self.history().built
        for wanted, image_id in found:
            if (wanted.name, wanted.facts.fingerprint) not in built:
                self.remember(wanted, image_id, engine=engine())
        self._renew_index()

    def _renew_index(self) -> None:
        """Write the index of records that have none yet, or that another version of this tool has written."""
        index = self._index()
        if index != read_index(self.folder / _INDEX):
            self._write(self.folder / _INDEX, index_document(index))

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
                yield name, json.loads(read_text(self.folder / "runs" / name / "summary.json"))

    def rendered(self) -> frozenset[str]:
        """Paths this checkout's last render wrote; only these may ever be deleted."""
        try:
            value: Any = json.loads(read_text(self.folder / "rendered.json"))
        except (OSError, ValueError, RecursionError):
            return frozenset()
        names = value if isinstance(value, list) else []
        return frozenset(name for name in names if isinstance(name, str) and _stays_below(name))

    def note_rendered(self, paths: Iterable[str]) -> None:
        """Remember what a render wrote."""
        paths = sorted(paths)
        if frozenset(paths) != self.rendered():
            self._write(self.folder / "rendered.json", paths)


def _stays_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")
