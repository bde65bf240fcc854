"""The default stacks.yaml, rendered and planned whole. What it renders is committed beside the example; what it would render with other
settings is a snapshot, one file an artefact. `pytest --snapshot-update` renews those.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tasker_build.errors import ProblemsError
from tasker_build.project import Project
from tasker_build.records.records import Records
from tasker_build.view.graph import FORMATS, graph_text
from tasker_build.view.plan import plan_data, plan_text
from tasker_build.work.planning import plan_project
from tests.conftest import EIGHT_MISTAKES, REPOSITORY, load_text

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

_NAMES = {"": "Dockerfile", ".dockerignore": "dockerignore", ".postgres-extensions": "Dockerfile"}


def as_file(snapshot: SnapshotAssertion, path: str) -> SnapshotAssertion:
    """A snapshot in a file of its own whose ending is that of `path`, so that editors and linters know it."""
    suffix = PurePosixPath(path).suffix

    class Extension(SingleFileSnapshotExtension):
        _write_mode = WriteMode.TEXT
        file_extension = _NAMES.get(suffix, suffix.lstrip("."))

    name = path.removesuffix(suffix) if suffix not in {"", ".postgres-extensions"} else path
    return snapshot(name=name.replace("/", "-"), extension_class=Extension)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.open([REPOSITORY / "stacks.yaml"])
    # What was built from this checkout, or failed, is not part of what the spec says.
    project.__dict__["records"] = Records(tmp_path_factory.mktemp("records"))
    return project


def test_the_committed_files_are_what_the_spec_renders(project: Project) -> None:
    for path, file in project.tree.files.items():
        assert (project.output / path).read_text() == file.text, f"{path}: tasker-build render"


@pytest.mark.parametrize("mode", ["{mode: local}", "{mode: remote, store: redis}"], ids=["local", "redis"])
def test_builds_with_a_compiler_cache(snapshot: SnapshotAssertion, tmp_path: Path, mode: str) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"toolchain: {{sccache: {mode}}}\n")
    tree = Project.open([REPOSITORY / "stacks.yaml", overlay]).images_tree
    for target in ("build", "deploy/workers/rust", "deploy/workers/python", "deploy/workers/wasm", "dev/workers/rust"):
        assert tree.files[f"{target}/Dockerfile"].text == as_file(snapshot, f"{target}/Dockerfile")


def test_modes(project: Project, snapshot: SnapshotAssertion) -> None:
    assert "".join(f"{file.mode:04o} {path}\n" for path, file in project.tree.files.items()) == as_file(snapshot, "files.txt")


def test_offline_plan(project: Project, snapshot: SnapshotAssertion) -> None:
    plan = plan_project(project, None, ())
    assert plan_text(plan, show_kept=True, details=True) == as_file(snapshot, "plan.txt")


def test_offline_plan_of_a_selection(project: Project, snapshot: SnapshotAssertion) -> None:
    plan = plan_project(project, None, ("deploy/orchestration",))
    assert plan_text(plan, show_kept=True, details=True) == as_file(snapshot, "plan.txt")


@pytest.mark.parametrize("form", FORMATS)
def test_graph(project: Project, snapshot: SnapshotAssertion, form: str) -> None:
    suffix = {"tree": "txt", "mermaid": "mmd"}.get(form, form)
    assert graph_text(project.graph, plan_project(project, None, ()), form) == as_file(snapshot, f"graph.{suffix}")


def test_shape_of_the_plan_as_data(project: Project) -> None:
    """Fingerprints move with every edit of the example, so the shape is compared and not the text."""
    data = plan_data(plan_project(project, None, ()), project.spec.project)
    assert set(data) == {"format", "version", "project", "changed", "steps"}
    keys = {"target", "action", "fingerprint", "image", "tags", "image_id", "needed_by_selection", "reasons"}
    assert all(set(row) == keys and len(row["fingerprint"]) == 64 for row in data["steps"])
    assert [row["target"] for row in data["steps"]] == list(project.order)


def test_the_drawing_of_eight_mistakes(snapshot: SnapshotAssertion) -> None:
    with pytest.raises(ProblemsError) as caught:
        load_text(EIGHT_MISTAKES)
    assert caught.value.draw() == as_file(snapshot, "errors.txt")


def test_no_rendered_file_tells_of_this_machine(project: Project) -> None:
    for path, file in project.tree.files.items():
        assert str(REPOSITORY) not in file.text, path
        assert file.text.endswith("\n"), path
        assert not any(line != line.rstrip() for line in file.text.split("\n")), path


def test_no_dockerfile_copies_everything(project: Project) -> None:
    for name, parsed in project.dockerfiles.items():
        copies = [i.value for stage in parsed.stages for i in stage.body if i.keyword == "COPY"]
        assert not [value for value in copies if value.split()[-2] in {".", "./", "/"}], name
