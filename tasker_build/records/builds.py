"""What builds here were made from: a file of records for each target, and one index of all of them.

The index holds what a plan needs of every build: the image it ended with, and whether the target's last build failed. The facts
stay in the targets' files, which only an explanation reads. Every row of the index names the file it was made from by size, time
and inode: a file that another version of this tool has written meanwhile is read instead.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tasker_build.files.read import read_text
from tasker_build.plan.facts import Fact, Group
from tasker_build.plan.history import BuildRecord, BuiltImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasker_build.spec.names import TargetName

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a record can end with that anybody may have written: it counts as none."""
_VERSION = 1
_State: TypeAlias = tuple[int, int, int]


class TargetRecords(NamedTuple):
    """The records of one target."""

    builds: dict[str, BuildRecord]  # by fingerprint, the newest last
    failed: str  # the run in which its last build failed


class IndexRow(NamedTuple):
    """What a plan needs of one target's records."""

    target: str
    failed: str
    builds: Mapping[str, BuiltImage]  # by fingerprint
    file: _State  # of the target's file when the row was made


Index: TypeAlias = dict[str, IndexRow]
"""Name of a target's file → its row."""


def state_of(path: str | Path) -> _State:
    """What tells one version of a file from another."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ino


def read_target(path: Path) -> tuple[str, TargetRecords]:
    """The records of a target's file, and whose they are.

    Raises:
        UNREADABLE: it is not there, or is damaged.
    """
    value: Any = json.loads(read_text(path))
    builds = {row["fingerprint"]: _record(row) for row in value["builds"]}
    return str(value["target"]), TargetRecords(builds, str(value.get("failed", "")))


def target_document(name: TargetName, records: TargetRecords) -> dict[str, Any]:
    """The content of a target's file."""
    rows = [_row(fingerprint, record) for fingerprint, record in records.builds.items()]
    return {"target": name, "builds": rows} | ({"failed": records.failed} if records.failed else {})


def index_row(name: str, records: TargetRecords, file: _State) -> IndexRow:
    """The row of a target's file."""
    builds = {fingerprint: BuiltImage(record.image_id, record.engine) for fingerprint, record in records.builds.items()}
    return IndexRow(name, records.failed, builds, file)


def read_index(path: Path) -> Index:
    """The index as it was written; empty when there is none, or none that can be read."""
    try:
        value: Any = json.loads(read_text(path))
        return {str(file): _index_row(row) for file, row in value["files"].items()} if value["version"] == _VERSION else {}
    except UNREADABLE:
        return {}


def index_document(index: Index) -> dict[str, Any]:
    """The content of the index file."""
    return {"version": _VERSION, "files": {file: [row.target, row.failed, row.builds, row.file] for file, row in index.items()}}


def _index_row(row: Any) -> IndexRow:
    target, failed, builds, (size, changed, inode) = row
    found = {str(fingerprint): BuiltImage(str(image), str(engine)) for fingerprint, (image, engine) in builds.items()}
    return IndexRow(str(target), str(failed), found, (size, changed, inode))


def _row(fingerprint: str, record: BuildRecord) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "image": record.image_id,
        "run": record.run,
        "engine": record.engine,
        "revision": record.revision,
        "spec": dict(record.spec),
        "templates": dict(record.templates),
        "facts": [[fact.group.value, fact.label, fact.value] for fact in record.facts],
    }


def _record(row: Mapping[str, Any]) -> BuildRecord:
    facts = tuple(Fact(group=Group(group), label=str(label), value=str(value)) for group, label, value in row["facts"])
    return BuildRecord(
        facts=facts,
        templates=dict(row["templates"]),
        spec=dict(row["spec"]) if isinstance(row["spec"], dict) else {},  # one digest of all, in records of earlier versions
        image_id=str(row["image"]),
        run=str(row.get("run", "")),
        engine=str(row.get("engine", "")),
        revision=str(row.get("revision", "")),
    )
