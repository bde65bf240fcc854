"""Reset and restore of a database, killed before every single call of docker and run again; the script and the command alike."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasker_build.engine.docker import DockerEngine
from tasker_build.environments import postgres
from tasker_build.environments.stack import Environment
from tasker_build.project import Project
from tests.conftest import REPOSITORY, write_files

if TYPE_CHECKING:
    from pathlib import Path


NAME = "tasker_rust_test"
# A docker with one volume of databases, each of which is a text. It can die with everything that called it.
DOCKER = """\
#!{python} -SE
import json, os, re, signal, sys

words, place = sys.argv[1:], os.environ["STATE"]
state = json.load(open(place))
state["calls"] += 1

def keep():
    json.dump(state, open(place + ".new", "w"))
    os.replace(place + ".new", place)

keep()
if state["calls"] == int(os.environ.get("DIE", "0")):
    os.killpg(0, signal.SIGKILL)
line, data = " ".join(words), state["databases"]

def after(option):
    return words[words.index(option) + 1]

def statement(text):
    if found := re.match(r'DROP DATABASE (IF EXISTS )?"?(\\\\w+)"?', text):
        if not found[1] and found[2] not in data: sys.exit(1)
        data.pop(found[2], None)
    elif found := re.match(r"CREATE DATABASE (\\\\w+)", text):
        if found[1] in data: sys.exit(1)
        data[found[1]] = ""
    elif found := re.match(r'ALTER DATABASE "?(\\\\w+)"? RENAME TO "?(\\\\w+)"?', text):
        if found[1] not in data or found[2] in data: sys.exit(1)
        data[found[2]] = data.pop(found[1])

if "exec" in words and "psql" in words:
    if after("-d") not in data: sys.exit(2)
    whole = "-c" in words or "--single-transaction" in words
    text = after("-c") if "-c" in words else sys.stdin.read()
    for part in filter(None, map(str.strip, text.replace(':"database"', "{name}").split(";"))):
        statement(part)
        whole or keep()
    keep()
elif "pg_restore" in words:
    if after("-d") not in data: sys.exit(1)
    data[after("-d")] = sys.stdin.read()
    keep()
elif "pg_dump" in words:
    print(data[after("-d")], end="")
elif "up" in words:
    if not state["volume"]:
        state.update(volume=True, databases={{"postgres": "", "{name}": "fresh"}})
        keep()
elif line.startswith("volume inspect"):
    sys.exit(not state["volume"])
elif line.startswith("volume rm"):
    state.update(volume=False, databases={{}})
    keep()
"""
COMMAND = """\
import os, sys
from pathlib import Path
from tasker_build.cli import run
from tasker_build.engine.docker import DockerEngine
from tasker_build.environments import stack
from tasker_build.project import Project
DockerEngine.version = lambda _: {}
stack.Environment.pinned_images = lambda *_, **__: {}
Project.output = property(lambda _: Path(os.environ["OUTPUT"]))
stack.compose = lambda: ("docker", "compose")
sys.exit(run(sys.argv[1:]))
"""


class World:
    """A rendered environment and the pretended docker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state.json"
        self.output = folder / "docker"
        write_files(folder / "bin", {"docker": DOCKER.replace("\\\\", "\\").format(python=sys.executable, name=NAME)})
        (folder / "bin/docker").chmod(0o755)
        (folder / "new.dump").write_text("new")
        project = Project.open([REPOSITORY / "stacks.yaml"])
        write_files(self.output, {path: file.text for path, file in project.tree.files.items()})
        (self.output / "scripts/run-dev-db.sh").chmod(0o755)

    def fill(self) -> None:
        self.state.write_text(
            json.dumps({"calls": 0, "volume": True, "databases": {"postgres": "", "template1": "", NAME: "old"}})
        )

    def databases(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.state.read_text())["databases"]
        return found

    def run(self, how: str, *words: str, die: int = 0) -> subprocess.CompletedProcess[str]:
        agree = (*words, "--yes", "--confirm", NAME)
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "STATE": str(self.state), "DIE": str(die), "PYTHONPATH": str(REPOSITORY)}
        if how == "script":
            command, folder = [str(self.output / "scripts/run-dev-db.sh"), *agree], self.output
        else:
            environment["OUTPUT"] = str(self.output)
            command, folder = [sys.executable, "-c", COMMAND, "-f", str(REPOSITORY / "stacks.yaml"), "db", *agree], self.folder
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("how", ["script", "command"])
def test_a_restore_that_is_killed_loses_nothing_and_can_be_run_again(world: World, how: str) -> None:
    world.fill()
    done = world.run(how, "restore", str(world.folder / "new.dump"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.databases() == {"postgres": "", "template1": "", NAME: "new"}
    calls = json.loads(world.state.read_text())["calls"]
    assert calls >= 6
    for die in range(1, calls + 1):
        world.fill()
        assert world.run(how, "restore", str(world.folder / "new.dump"), die=die).returncode == -9
        assert world.databases()[NAME] in {"old", "new"}
        assert world.run(how, "restore", str(world.folder / "new.dump")).returncode == 0
        assert world.databases() == {"postgres": "", "template1": "", NAME: "new"}


@pytest.mark.parametrize("how", ["script", "command"])
def test_a_reset_that_is_killed_keeps_its_dump_and_can_be_run_again(world: World, how: str) -> None:
    world.fill()
    done = world.run(how, "reset")
    assert done.returncode == 0, done.stdout + done.stderr
    calls = json.loads(world.state.read_text())["calls"]
    for die in range(1, calls + 1):
        for dump in (world.output / "backups").glob("*.dump"):
            dump.unlink()
        world.fill()
        assert world.run(how, "reset", die=die).returncode == -9
        kept = [dump.read_text() for dump in (world.output / "backups").glob("*.dump")]
        assert "old" in {*kept, world.databases().get(NAME)}
        assert world.run(how, "reset").returncode == 0
        assert world.databases()[NAME] == "fresh"
        assert "old" in {dump.read_text() for dump in (world.output / "backups").glob("*.dump")}


@pytest.mark.parametrize("how", ["script", "command"])
def test_a_dump_is_its_owners_and_not_for_git(world: World, how: str) -> None:
    world.fill()
    before = os.umask(0)
    try:
        assert world.run(how, "reset").returncode == 0
    finally:
        os.umask(before)
    folder = world.output / "backups"
    (dump,) = folder.glob("*.dump")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, dump)] == [0o700, 0o600]
    assert (folder / ".gitignore").read_text() == "*\n"


def test_the_script_says_what_the_command_says() -> None:
    script = Project.open([REPOSITORY / "stacks.yaml"]).tree.files["scripts/run-dev-db.sh"].text
    assert f"inside sh -c '{postgres.ADOPT}'" in script
    for statement in postgres.swap("NAME").replace("'NAME'", ":'database'").replace('"NAME"', ':"database"').split("; "):
        assert f"{statement};\n" in script


def test_a_name_with_signs_is_quoted() -> None:
    assert postgres.quoted('a"b') == '"a""b"'
    assert "datname = 'it''s'" in postgres.swap("it's")


@pytest.mark.parametrize("other", [False, True])
def test_containers_of_another_folder_are_left_alone(world: World, monkeypatch: pytest.MonkeyPatch, *, other: bool) -> None:
    folder = "/somewhere/else" if other else str(world.output)
    write_files(
        world.folder / "bin",
        {"docker": f'#!/bin/sh\necho "$*" >> {world.folder}/did\ncase "$1" in ps) printf "it-1\\t{folder}\\n" ;; esac\n'},
    )
    monkeypatch.setenv("PATH", f"{world.folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("tasker_build.environments.stack.compose", lambda: ("docker", "compose"))
    monkeypatch.setattr(Project, "output", world.output)
    project = Project.open([REPOSITORY / "stacks.yaml"])
    left = Environment.named(project, "db", DockerEngine("unix:///nowhere")).down()
    assert list(left) == (["it-1"] if other else [])
    (down,) = [line for line in (world.folder / "did").read_text().splitlines() if " down" in line]
    assert ("--remove-orphans" in down) is not other
