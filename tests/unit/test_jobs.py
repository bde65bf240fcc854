"""A plan's jobs, made before anything is built: what is sent, what stands as a finished image, what runs again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tasker_build.project import Project
from tasker_build.spec.names import TargetName
from tasker_build.work.jobs import jobs_for
from tasker_build.work.planning import plan_project
from tests.conftest import write_files
from tests.unit.tiny import FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasker_build.build.job import Job

BASE, APP, OTHER = (TargetName(name) for name in ("base", "app", "other"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path, FILES)


def jobs(root: Path, engine: TinyEngine, *forced: str, secrets: Mapping[str, Path] | None = None) -> Mapping[TargetName, Job]:
    project = Project.open([root / "stacks.yaml"])
    return jobs_for(project, plan_project(project, engine, (), forced), engine.images(), secrets or {})


def prefixes(job: Job) -> list[str]:
    return [part.prefix for part in job.parts]


def test_a_job_for_what_is_built_and_for_nothing_else(root: Path) -> None:
    engine = TinyEngine()
    assert list(jobs(root, engine)) == ["base", "app", "other"]
    build_all(engine, root)
    edit(root, "work/app/main.txt", "1", "2")
    assert list(jobs(root, engine)) == ["app"]


def test_a_child_brings_its_parents_files_and_could_do_without_them(root: Path) -> None:
    token = root / "token"
    job = jobs(root, TinyEngine(), secrets={"token": token, "unasked": token})[APP]
    assert (prefixes(job), set(job.composition.stages.values()), job.redo) == (["base", "app"], {"base", "app"}, False)
    assert job.dockerfiles == {"base": "docker/base/Dockerfile", "app": "docker/app/Dockerfile"}
    assert (job.secrets, job.reasons, job.names) == ({"token": token}, "new", ("demo-app:latest",))
    assert job.built_on == {"base": jobs(root, TinyEngine())[BASE].reference, "debian:13": "debian:13"}
    assert job.relinked is not None
    assert (prefixes(job.relinked), job.relinked.relinked) == (["app"], None)
    assert f"FROM {job.built_on['base']} AS " in job.relinked.composition.text


def test_a_parent_that_the_plan_redoes_stands_as_its_image(root: Path) -> None:
    engine = TinyEngine()
    build_all(engine, root)
    edit(root, "work/app/main.txt", "1", "2")
    found = jobs(root, engine, "base")
    assert (found[BASE].redo, found[BASE].label.redone, found[APP].redo) == (True, True, False)
    assert set(found[BASE].no_cache_stages) == set(found[BASE].composition.stages)
    assert (prefixes(found[APP]), found[APP].relinked, found[APP].no_cache_stages) == (["app"], None, ())
    assert found[BASE].reference in found[APP].composition.text


def test_a_parent_that_was_redone_once_stands_as_its_image(root: Path) -> None:
    engine = TinyEngine()
    build_all(engine, root)
    edit(root, "work/app/main.txt", "1", "2")
    assert prefixes(jobs(root, engine)[APP]) == ["base", "app"]
    (image,) = (image for image in engine.stored.values() if image.label and image.label.target == BASE)
    assert image.label
    engine.stored[image.id] = replace(image, label=replace(image.label, redone=True))
    assert prefixes(jobs(root, engine)[APP]) == ["app"]
