"""How long builds and their steps took here, from the summaries of runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tasker_build.files.read import read_text
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.records.records import Records


KEPT_DURATIONS = 5


def durations(records: Records) -> Mapping[str, float]:
    """Target → the median seconds of its last builds here; what cannot be read is as if it were not there."""
    seconds: dict[str, list[float]] = {}
    for path in sorted(records.folder.glob("runs/*/summary.json"), reverse=True):  # newest first: folders are named by time
        try:
            results: Any = json.loads(read_text(path))["results"]
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
