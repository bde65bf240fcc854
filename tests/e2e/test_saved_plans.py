"""Saved plans on a real engine: applied when nothing moved, refused with nothing done when something did; `why` beside them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tasker_build.chain import Chain
from tasker_build.lint import sources_of
from tasker_build.project import Project
from tasker_build.records.durations import step_durations

from .conftest import REPO, TestSpace, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

SECRET = "    context: [other]\n    secrets: [token]\n"
TOOL = """\
import sys, tasker_build, tasker_build.plan.saved
tasker_build.__version__ = tasker_build.plan.saved.__version__ = "999.0"
from tasker_build.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def saved(space: TestSpace) -> Iterator[TestSpace]:
    """The tiny stack on a base of its own, built; then one change, planned and saved."""
    docker("tag", "debian:trixie-slim", f"{space.project}-from:1")
    spec = (space.folder / "stacks.yaml").read_text().replace("debian:trixie-slim", f"{space.project}-from:1")
    space.write("stacks.yaml", spec.replace("    context: [other]\n", SECRET))
    quick(space)
    space.apply()
    space.write("work/app/main.txt", "app 2\n")
    done = space.run("plan", "--out", "p.json")
    assert done.returncode == 0, done.stderr
    yield space
    for container in docker("ps", "-aq", "--filter", f"ancestor={space.project}-from:1", check=False).stdout.split():
        docker("rm", "-f", container, check=False)


def quick(space: TestSpace) -> None:
    for path in (space.folder / "tpl").iterdir():
        path.write_text(path.read_text().replace("sleep 1", "true"))


def world(space: TestSpace) -> tuple[object, ...]:
    """Everything an apply could leave behind: our images, and every file of the record but the cache of templates."""
    listed = docker("image", "ls", "-a", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout.splitlines()
    records = space.folder / ".tasker-build"
    files = {
        str(path.relative_to(records)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("runs", "targets", "lock")
        for path in [records / name, *(records / name).rglob("*")]
        if path.is_file()
    }
    folders = sorted(path.name for path in (records / "runs").iterdir())
    return (
        sorted(line for line in listed if line.startswith(space.project)),
        files,
        folders,
        (records / "lock").stat().st_mtime_ns,
    )


def refused(space: TestSpace, *command: str, env: dict[str, str] | None = None, apply: list[str] | None = None) -> str:
    """Apply the saved plan: it must be refused and must leave nothing behind; returns what was said."""
    before = world(space)
    done = subprocess.run(
        apply or space.command("apply", *(command or ("p.json",))),
        cwd=space.folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (env or {}),
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert world(space) == before
    return done.stderr


def test_eight_kinds_of_moves_are_refused_and_named(saved: TestSpace, tmp_path_factory: pytest.TempPathFactory) -> None:
    space = saved

    def edited(path: str, text: str) -> str:
        original = (space.folder / path).read_text()
        space.write(path, text + original)
        said = refused(space)
        space.write(path, original)
        return said

    assert "spec      ~ stacks.yaml" in edited("stacks.yaml", "# a note\n")
    assert "template  ~ other.j2" in edited("tpl/other.j2", "# a comment\n")
    assert "context   ~ lib/a.txt  file:" in edited("work/lib/a.txt", "more\n")
    space.write("token", "x")
    assert "env       ~ secret token  not there → there" in refused(
        space, env={"TASKER_BUILD_TOKEN": str(space.folder / "token")}
    )

    name = f"{space.project}-from:1"
    docker("build", "-q", "-t", name, "-", text=f"FROM {name}\nLABEL moved=1\n")
    assert f"base      ~ {name} here  sha256:" in refused(space)
    docker("tag", "debian:trixie-slim", name)

    docker("image", "rm", space.image("other"))
    assert f"state     - {space.image('other')}  was sha256:" in refused(space)
    docker("tag", space.reference("other"), space.image("other"))

    link = tmp_path_factory.mktemp("engine") / "other.sock"
    link.symlink_to(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    said = refused(space, env={"DOCKER_HOST": f"unix://{link}"})
    assert "engine    ~ endpoint" in said
    assert "engine    ~ id" not in said

    assert "tool      ~ version" in refused(space, apply=[sys.executable, "-c", TOOL, "apply", "p.json"])

    # Everything is as it was: now it is applied, once.
    assert "1 built, 2 unchanged" in space.apply("p.json")
    assert space.content("app").startswith("lib 1\napp 2\n")
    assert f"state     + {space.project}-app:tb-" in refused(space)
    # Stale or not, it can be looked at, and that needs no engine.
    shown = space.run("show", "p.json", env={"DOCKER_HOST": "unix:///nonexistent.sock"})
    assert shown.returncode == 0
    assert "~ app" in shown.stdout

    # A plan with nothing to do applies as often as one likes.
    assert space.run("plan", "--out", "nothing.json", "--detailed-exitcode").returncode == 0
    before = world(space)
    for _ in range(2):
        assert "nothing to do: 3 targets up to date" in space.apply("nothing.json")
    assert world(space) == before


def test_files_that_are_no_plan_of_ours_are_refused_in_words(space: TestSpace) -> None:
    (space.folder / ".tasker-build/runs").mkdir(parents=True)
    (space.folder / ".tasker-build/lock").touch()
    assert space.run("plan", "--out", "p.json").returncode == 0
    text = (space.folder / "p.json").read_text()
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, json.loads((REPO / "docs/schemas/plan.json").read_text()))
    shown = space.run("show", "p.json", "--format", "json")
    assert shown.stdout == text

    def given(content: str) -> str:
        space.write("x.json", content)
        return refused(space, "x.json")

    assert "is damaged: it is no JSON document" in given(text[: len(text) // 2])
    assert "was edited or damaged" in given(text.replace('"create"', '"keep"', 1))
    assert "is not a saved plan" in given(space.run("plan", "--format", "json").stdout)
    assert "is not a saved plan" in given("{}")
    assert "version 2" in given(text.replace('"version": 1', '"version": 2', 1))
    spec = (space.folder / "stacks.yaml").read_text()
    space.write("another.yaml", spec.replace(f"project: {space.project}", f"project: {space.project}x"))
    before = world(space)
    done = space.run("-f", "another.yaml", "apply", "p.json")
    assert done.returncode == 5
    assert f"is a plan of project `{space.project}`" in done.stderr
    assert world(space) == before
    assert space.run("apply", "p.json", "app").returncode == 64
    assert space.run("plan", "--offline", "--out", "y.json").returncode == 64
    assert not Path(space.folder, "y.json").exists()


def why(space: TestSpace, *arguments: str) -> dict[str, Any]:
    done = space.run("why", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_why_after_real_builds(space: TestSpace) -> None:
    git = ["git", "-C", str(space.folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    quick(space)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    space.apply()
    space.write("work/lib/a.txt", "lib 2\n")
    found = why(space, "app")
    assert [(link["target"], [cause["kind"] for cause in link["causes"]]) for link in found["chain"]] == [
        ("app", []),
        ("base", ["context"]),
    ]
    assert "context same (1 file)" in found["not_the_cause"]
    origin = why(space, space.image("app"))
    assert (origin["ours"], origin["current"], origin["image"]["target"], origin["image"]["revision"]) == (
        True,
        False,
        "app",
        head,
    )
    assert {row["name"] for row in origin["built_on"]} == {"base", "debian:trixie-slim"}
    assert why(space, "base", "app")["path"] == ["app", "base"]
    assert why(space, origin["image"]["id"][:19])["image"]["target"] == "app"

    space.apply()
    report = why(space, "app", "--steps")
    assert report["predicted"] == {"action": "cascade", "reasons": ["parent"]}
    assert report["revision"] == head
    assert report["wrong_guesses"] == []
    ran = [row["name"] for row in report["steps"] if row["target"] == "app" and not row["cached"]]
    assert any("RUN echo" in name for name in ran)
    assert all(row["cached"] for row in report["steps"] if row["target"] == "base")


def test_a_needless_rebuild_is_found_out(space: TestSpace) -> None:
    space.apply("other")
    # The plan has to take a changed instruction for a change; BuildKit sees that the words mean the same.
    template = (space.folder / "tpl/other.j2").read_text()
    space.write("tpl/other.j2", template.replace("COPY other/ /other/", 'COPY ["other/", "/other/"]'))
    assert space.stale("other") == {"other": "template"}
    space.apply("other")
    done = space.run("why", "other", "--steps", "--format", "json")
    guesses = json.loads(done.stdout)["wrong_guesses"]
    assert [(guess["target"], guess["verdict"]) for guess in guesses] == [("other", "needless")]
    assert done.returncode == 1
    assert "wrong guess: needless" in space.run("why", "other", "--steps").stdout


def test_every_step_that_ran_has_a_price(space: TestSpace) -> None:
    space.apply()
    project = Project.open([space.folder / "stacks.yaml"])
    chain = Chain(sources_of(project), project.references, step_durations(project.records))
    runs = {place for place, instruction in chain.everything() if instruction.keyword == "RUN"}
    assert runs
    assert runs <= chain.seconds.keys()
