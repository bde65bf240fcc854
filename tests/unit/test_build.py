"""What BuildKit tells of a build: which steps it ran, and which it has from elsewhere."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tasker_build.build import process
from tasker_build.build.job import Job
from tasker_build.build.process import BuildPaths, RunningBuild
from tasker_build.build.report import report_of
from tasker_build.build.stream import Progress
from tasker_build.dockerfile import Composition
from tasker_build.engine.api import ImageLabel
from tasker_build.engine.memory import Over
from tasker_build.spec.model import TargetName

APP = TargetName("app")
STAGES = {"base__builder": "base", "app__runtime": "app"}


def running(*rows: dict[str, Any]) -> RunningBuild:
    progress = Progress(io.StringIO())
    began = {"digest": "0", "name": "[internal] load build definition", "started": "2026-01-01T10:00:00.5Z"}
    progress.feed(json.dumps({"vertexes": [began, *rows]}).encode() + b"\n")
    paths = BuildPaths(context=Path("x"), metadata=Path("x"), log=Path("x"))
    return RunningBuild(job(), Over(b"", 0), progress, paths)


def job() -> Job:
    label = ImageLabel(schema=1, project="p", target="app", platform="linux/amd64", fingerprint="f", groups={})
    composition = Composition(text="", stage="app__runtime", origin={}, stages=STAGES)
    return Job(target=APP, reference="p-app:tb-f", composition=composition, parts=(), label=label)


def step(name: str, started: str, **more: Any) -> dict[str, Any]:
    return {"digest": name, "name": name, "started": f"2026-01-01T{started}Z", **more}


@pytest.mark.parametrize(
    ("started", "lost"),
    [
        ("10:00:01", "base"),  # begun by this build: the parent's cache is gone
        ("09:58:00.123456789", None),  # begun earlier, by the parent's own build or a sibling's, and told of once more
    ],
)
def test_a_step_that_another_build_has_begun_is_no_sign_of_a_lost_cache(
    monkeypatch: pytest.MonkeyPatch, started: str, lost: str | None
) -> None:
    monkeypatch.setattr(process, "EVICTED_AFTER", 0.0)
    assert running(step("[base__builder 2/3] RUN cook", started)).lost_parent() == lost


def test_a_step_of_another_build_counts_as_one_that_was_there() -> None:
    done = running(
        step("[app__runtime 1/3] RUN a", "09:59:00", completed="2026-01-01T10:00:09Z"),
        step("[app__runtime 2/3] RUN b", "10:00:09", completed="2026-01-01T10:00:11Z"),
        step("[app__runtime 3/3] RUN c", "10:00:11", completed="2026-01-01T10:00:11Z", cached=True),
    )
    assert [(row.cached, row.seconds) for row in report_of(done.job, done.progress, 0, "").steps] == [
        (True, 0.0),
        (False, 2.0),
        (True, 0.0),
    ]
