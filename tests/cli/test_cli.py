"""argv and files → exit code, standard output and standard error. No engine is in reach."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasker_build import __version__
from tasker_build.cli import run
from tests.conftest import DEAD_ENGINE, EIGHT_MISTAKES, HEAD, REPOSITORY, write_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

SMALL = (
    HEAD
    + "templates: tpl\nbases: {debian: debian}\ntargets:\n  base: {template: t.j2, context: [a.txt]}\n  app: {template: u.j2, from: {p: base}, context: [a.txt]}\n"
)
FILES = {
    "tpl/t.j2": "FROM debian\n",
    "tpl/u.j2": "{% for a, r, n in images %}ARG {{ a }}={{ r }}\n{% endfor %}FROM {{ image('p') }}\n",
    "a.txt": "a",
}


class Result:
    """What one run left."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        assert "Traceback" not in out + err
        assert "this is a bug" not in err or code == 70


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small project, and standing in it; signal handlers and folders are put back."""
    folder = write_files(tmp_path / "project", {"stacks.yaml": SMALL, **FILES})
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def tool(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command line in this process."""

    def call(*arguments: str) -> Result:
        code = run(arguments)
        out, err = capfd.readouterr()
        return Result(int(code), out, err)

    return call


def spawn(*arguments: str, cwd: Path, **environment: str | None) -> Result:
    """Run it as people do, in a process of its own."""
    values: dict[str, str | None] = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DOCKER_HOST": DEAD_ENGINE, **environment}
    done = subprocess.run(
        [sys.executable, "-m", "tasker_build", *arguments],
        env={name: value for name, value in values.items() if value is not None},
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


# 64: the command line.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--offlin"], "--offline"),
        (["paln"], "did you mean `plan`?"),
        (["zzz"], "No such command 'zzz'"),
        (["--nope"], "--nope"),
        (["plan", "--format", "xml"], "'xml' is not one of"),
        (["plan", "--format"], "requires an argument"),
        (["apply", "-j", "0"], "0 is not in the range"),
        (["apply", "-j", "x"], "not a valid integer"),
        (["-C", "nowhere", "plan"], "cannot go to nowhere"),
        (["plan", "--graph=x.doc", "--offline"], "unknown graph file ending"),
        (["env", "uo"], "uo"),
    ],
)
def test_a_bad_command_line_is_64_and_says_what_would_be_good(
    tool: Callable[..., Result], arguments: list[str], words: str
) -> None:
    result = tool(*arguments)
    assert (result.code, result.out) == (64, "")
    assert words in result.err
    assert "Traceback" not in result.err


# 3: what the user wrote.


@pytest.mark.parametrize("command", [["plan"], ["render"], ["render", "--check"], ["apply"], ["check"], ["ls"]])
def test_no_spec_is_3_and_names_it(tool: Callable[..., Result], here: Path, command: list[str]) -> None:
    (here / "stacks.yaml").unlink()
    result = tool(*command)
    assert (result.code, result.out) == (3, "")
    assert "stacks.yaml: no such file or directory" in result.err
    assert "hint: name the spec with -f" in result.err


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_a_spec_that_is_no_file_is_3_and_hangs_nobody(tool: Callable[..., Result], here: Path, kind: str) -> None:
    (here / "d").mkdir()
    os.mkfifo(here / "p")
    result = tool("-f", {"folder": "d", "fifo": "p", "device": "/dev/null"}[kind], "plan")
    assert (result.code, "is not a file" in result.err) == (3, True)


def test_eight_mistakes_come_whole_with_their_carets(
    tool: Callable[..., Result], here: Path, snapshot: SnapshotAssertion
) -> None:
    (here / "stacks.yaml").write_text(EIGHT_MISTAKES)
    result = tool("plan")
    assert (result.code, result.out) == (3, "")
    assert result.err == snapshot
    assert not (here / ".tasker-build").exists()


def test_a_mistake_in_a_template_is_3_with_its_line(tool: Callable[..., Result], here: Path) -> None:
    (here / "tpl/t.j2").write_text("FROM debian\nRUN {{ nope }}\n")
    result = tool("render")
    assert result.code == 3
    assert "--> tpl/t.j2:2:1" in result.err
    assert not (here / "docker").exists()


@pytest.mark.parametrize("words", [["bse"], ["bse", "app"], ["kind:postgres"], ["*x*"], [""]])
@pytest.mark.parametrize("command", [["plan", "--offline"], ["ls"]])
def test_an_empty_selection_is_3(tool: Callable[..., Result], command: list[str], words: list[str]) -> None:
    result = tool(*command, *words)
    assert (result.code, result.out) == (3, "")
    assert ("error[S030]" if any(words) else "error[S035]") in result.err
    assert "did you mean `base`?" in result.err or words[0] != "bse"


def test_an_unknown_stack_is_3(tool: Callable[..., Result]) -> None:
    assert tool("env", "up", "integration").code == 3


@pytest.mark.parametrize("pattern", ["foo[", "[z-a]"])
def test_a_bad_ignore_pattern_is_3(tool: Callable[..., Result], here: Path, pattern: str) -> None:
    (here / "stacks.yaml").write_text(SMALL + f"sources: {{ignore: ['{pattern}']}}\n")
    assert tool("ls").code == 3


def test_a_graph_file_that_cannot_be_written_is_no_bug(tool: Callable[..., Result]) -> None:
    assert tool("plan", "--offline", "--graph=/dev/full/x.dot").code == 1


def test_a_damaged_record_of_rendered_files_is_ignored(tool: Callable[..., Result], here: Path) -> None:
    write_files(here, {".tasker-build/rendered.json": "[1]"})
    assert tool("render").code == 0


# 4: no engine.


@pytest.mark.parametrize("command", [["plan"], ["apply"], ["env", "status", "s"]])
def test_without_an_engine_it_is_4_and_the_fixes_are_named(tool: Callable[..., Result], here: Path, command: list[str]) -> None:
    (here / "stacks.yaml").write_text(SMALL + "stacks: {s: {services: {a: {target: app}}}}\n")
    result = tool(*command)
    assert result.code == 4
    assert f"no engine answers at {DEAD_ENGINE}" in result.err
    assert "DOCKER_HOST" in result.err
    assert "tasker-build doctor" in result.err


def test_mistakes_come_before_the_engine(tool: Callable[..., Result], here: Path) -> None:
    (here / "tpl/t.j2").write_text("{{ nope }}")
    assert tool("apply").code == 3
    assert tool("plan").code == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["ls", "state:bogus"], "error[S034]: `state:bogus` is no state"),
        (["ls", "state:new", "nope"], "error[S030]: no target matches `nope`"),
        (["ls", "--exclude", "state:modified.contxt"], "error[S034]: `state:modified.contxt` is no state"),
        (["why", "state:nope"], "error[S034]: `state:nope` is no state"),
        (["plan", "nope"], "error[S030]: no target matches `nope`"),
        (["plan", "state:new", "--rebuild", "nope"], "error[S030]: no target matches `nope`"),
        (["plan", "nope", "--out", "p.json"], "error[S030]: no target matches `nope`"),
        (["apply", "nope"], "error[S030]: no target matches `nope`"),
        (["apply", "--rebuild", "nope"], "error[S030]: no target matches `nope`"),
        (["apply", "nope.json"], "error[S036]: there is no file `nope.json`"),
        (["apply", "file:nope.json"], "error[S030]: no target matches `file:nope.json`"),
        (["apply", "stacks.yaml"], "error[S030]: no target matches `stacks.yaml`"),
        (["apply", "planfile"], "error[S036]: `planfile` holds a saved plan, but the name of one ends in .json"),
    ],
)
def test_words_that_could_never_match_come_before_the_engine(
    tool: Callable[..., Result], here: Path, command: list[str], message: str
) -> None:
    (here / "planfile").write_text('{"format": "tasker-build plan"}')
    result = tool(*command)
    assert (result.code, result.out) == (3, "")
    assert message in result.err
    assert not (here / ".tasker-build").exists()


def test_a_state_asks_the_engine_and_says_when_there_is_none(tool: Callable[..., Result]) -> None:
    assert tool("ls", "state:new").code == 4
    assert tool("why", "state:stale").code == 4


@pytest.mark.parametrize("command", [["render"], ["plan", "--offline"], ["ls"], ["schema"]])
def test_what_needs_no_engine_works_without(tool: Callable[..., Result], command: list[str]) -> None:
    assert tool(*command).code == 0


def test_doctor_says_what_is_missing(tool: Callable[..., Result]) -> None:
    result = tool("doctor")
    assert result.code == 4
    assert any(line.startswith("MISS") and "engine" in line for line in result.out.split("\n"))


# 0 and 2: render.


def test_render_check_render_check(tool: Callable[..., Result], here: Path) -> None:
    assert tool("render", "--check").code == 2
    assert not (here / "docker").exists()
    written = tool("render")
    assert (written.code, written.out.count("wrote ")) == (0, 4)
    assert tool("render", "--check").code == 0
    again = tool("render")
    assert (again.code, again.out, again.err) == (0, "", "4 files, 0 changed.\n")


def test_a_changed_template_is_a_difference_and_shown(tool: Callable[..., Result], here: Path) -> None:
    tool("render")
    (here / "tpl/t.j2").write_text("FROM debian\nUSER x\n")
    result = tool("render", "--check")
    assert result.code == 2
    assert "docker/base/Dockerfile  behind its template or spec" in result.out
    assert "  +USER x" in result.out
    assert "USER x" not in tool("render", "--check", "--no-diff").out


def test_a_target_that_is_gone_takes_its_files_along(tool: Callable[..., Result], here: Path) -> None:
    tool("render")
    (here / "docker/mine").write_text("mine")
    (here / "stacks.yaml").write_text(SMALL.replace("  app:", "  x-app:"))
    (here / "tpl/u.j2").write_text(FILES["tpl/u.j2"])
    assert tool("render").code == 0
    assert not (here / "docker/app/Dockerfile").exists()
    assert (here / "docker/x-app/Dockerfile").exists()
    assert (here / "docker/mine").read_text() == "mine"


def test_render_elsewhere_leaves_the_output_alone(tool: Callable[..., Result], here: Path, tmp_path: Path) -> None:
    assert tool("render", "--out", str(tmp_path / "elsewhere")).code == 0
    assert (tmp_path / "elsewhere/base/Dockerfile").exists()
    assert not (here / "docker").exists()


# 5: refused.


def test_a_hand_edit_is_5_and_stays_until_forced(tool: Callable[..., Result], here: Path) -> None:
    tool("render")
    file = here / "docker/base/Dockerfile"
    file.write_text(file.read_text() + "USER me\n")
    (here / "tpl/u.j2").write_text(FILES["tpl/u.j2"] + "USER x\n")
    result = tool("render")
    assert result.code == 5
    assert "docker/base/Dockerfile: edited by hand" in result.err
    assert "--force" in result.err
    assert file.read_text().endswith("USER me\n")
    assert "USER x" not in (here / "docker/app/Dockerfile").read_text()
    assert tool("render", "--check").code == 2
    assert tool("render", "--force").code == 0
    assert tool("render", "--check").code == 0


def test_a_file_of_somebody_else_is_5(tool: Callable[..., Result], here: Path) -> None:
    write_files(here, {"docker/base/Dockerfile": "FROM mine\n"})
    result = tool("render")
    assert (result.code, "not made by tasker-build" in result.err) == (5, True)


def test_a_link_in_the_output_is_5(tool: Callable[..., Result], here: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (here / "docker").symlink_to(tmp_path / "outside")
    assert tool("render", "--force").code == 5
    assert list((tmp_path / "outside").iterdir()) == []


def test_no_file_is_written_outside_the_output(tool: Callable[..., Result], here: Path, tmp_path: Path) -> None:
    (here / "stacks.yaml").write_text(SMALL + "files: {a/../../../evil: t.j2}\n")
    tool("render")
    assert not (tmp_path / "evil").exists()


# What comes out.


def test_ls_and_selections(tool: Callable[..., Result]) -> None:
    assert tool("ls").out == "base\napp\n"
    assert tool("ls", "+app").out == "base\napp\n"
    assert tool("ls", "a*").out == "app\n"
    assert json.loads(tool("ls", "--format", "json", "app").out)["targets"] == [
        {"target": "app", "kind": None, "image": "demo-app"}
    ]


def test_a_plan_as_json_is_one_document(tool: Callable[..., Result]) -> None:
    result = tool("plan", "--offline", "--format", "json")
    assert result.code == 0
    assert [(row["target"], row["action"]) for row in json.loads(result.out)["steps"]] == [("base", "create"), ("app", "create")]


def test_detailed_exit_codes(tool: Callable[..., Result]) -> None:
    assert tool("plan", "--offline", "--detailed-exitcode").code == 2
    assert tool("plan", "--offline").code == 0


@pytest.mark.parametrize(
    ("name", "start"),
    [("g.dot", "digraph"), ("g.mmd", "graph LR"), ("g.json", "{"), ("g.txt", "+ base"), ("G.SVG", "<svg"), ("G.Dot", "digraph")],
)
def test_graphs_are_written_by_their_ending(tool: Callable[..., Result], here: Path, name: str, start: str) -> None:
    result = tool("plan", "--offline", f"--graph={name}")
    assert (result.code, result.out) == (0, "")
    assert (here / name).read_text().startswith(start)


def test_plans_write_nothing(tool: Callable[..., Result], here: Path) -> None:
    before = sorted(here.rglob("*"))
    for command in (["plan", "--offline"], ["render", "--check"], ["ls"], ["plan"], ["check"]):
        tool(*command)
    assert sorted(here.rglob("*")) == before


def test_overlays_and_other_folders(tool: Callable[..., Result], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "more.yaml").write_text("targets: {more: {template: t.j2}}\n")
    assert tool("-f", "stacks.yaml", "-f", "more.yaml", "ls").out == "base\napp\nmore\n"
    monkeypatch.chdir("/")
    assert tool("-C", str(here), "ls").out == "base\napp\n"
    assert tool("-f", str(here / "stacks.yaml"), "ls").out == "base\napp\n"
    assert tool("-f", str(here / "stacks.yaml"), "--workspace", "/nonexistent", "ls").code == 3


def test_the_schema_is_json(tool: Callable[..., Result]) -> None:
    schema = json.loads(tool("schema").out)
    assert {"version", "project", "targets"} == set(schema["required"])


# check.

COSTLY = {
    "tpl/t.j2": "FROM debian:13\nCOPY a.txt /\nRUN apt-get update && apt-get install --yes jq\n",
    "tpl/u.j2": FILES["tpl/u.j2"] + "RUN x\n",
}


def no_other_checkers(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasker_build.lint import cached_well  # noqa: PLC0415

    monkeypatch.setattr("tasker_build.cli.check.CHECKERS", (cached_well,))


def test_check_prices_what_it_finds(tool: Callable[..., Result], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_other_checkers(monkeypatch)
    write_files(here, COSTLY)
    result = tool("check")
    assert result.code == 0
    assert result.out.split("\n")[1:] == [
        "caching: 2 files, 1 finding (1 warning)",
        (
            "  base/Dockerfile:3: sources-before-dependencies (warning): `a.txt` is copied before dependencies are installed (line 4): "
            "move it below them (their manifests may stay above)"
        ),
        "    from: tpl/t.j2:2",
        "    cost: an edit of `a.txt` repeats 2 steps here and rebuilds 1 target below (app); no durations are recorded here",
        "suppressed on purpose: DL3008 everywhere; 0 findings by the spec",
        "",
    ]
    assert tool("check", "--strict").code == 3
    steps = [
        {"target": "base", "name": "[3/3] RUN apt-get update && apt-get install --yes jq", "cached": False, "seconds": 300.0},
        {"target": "app", "name": "[1/1] RUN x", "cached": False, "seconds": 360.0},
    ]
    summary = {"version": 1, "results": [{"target": "app", "seconds": 700, "run": 1, "cached": 0, "steps": steps}]}
    write_files(here, {".tasker-build/runs/20260101T000000-1/summary.json": json.dumps(summary)})
    told = tool("check").out
    assert "rebuilds 1 target below (app): about 11 min, 5 min of it for nothing" in told


def test_advice_fails_no_check(tool: Callable[..., Result], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_other_checkers(monkeypatch)
    write_files(here, {"tpl/t.j2": "FROM debian:13\nARG V\nRUN one\nRUN two $V\n"})
    assert "early-value (advice)" in tool("check", "--strict").out
    assert tool("check", "--strict").code == 0


def test_what_is_right_as_it_is_is_suppressed_with_its_reason(
    tool: Callable[..., Result], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_other_checkers(monkeypatch)
    write_files(here, COSTLY)
    suppress = "suppress:\n  - {check: sources-before-dependencies, path: base/*, why: small}\n  - {check: copy-all, why: old}\n"
    (here / "stacks.yaml").write_text(SMALL + suppress)
    result = tool("check", "--strict")
    assert result.code == 0
    assert "caching: 2 files, 0 findings" in result.out
    assert "1 finding by the spec" in result.out
    assert "sources-before-dependencies in base/*: 1 finding (small)" in result.out
    assert "copy-all in *: 0 findings, it can go (old)" in result.out
    (here / "stacks.yaml").write_text(SMALL + "suppress: [{check: copy-all}]\n")
    assert "suppress[0] lacks `why`" in tool("check").err


def test_check_as_json_is_one_document(tool: Callable[..., Result], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_other_checkers(monkeypatch)
    write_files(here, COSTLY)
    result = tool("check", "--strict", "--format", "json")
    document = json.loads(result.out)
    assert (result.code, document["ok"], document["targets"]) == (3, False, 2)
    (finding,) = document["checkers"][0]["findings"]
    assert (finding["checker"], finding["level"], finding["path"], finding["line"], finding["origin"]) == (
        *("sources-before-dependencies", "warning", "base/Dockerfile", 3, "tpl/t.j2:2"),
    )
    assert finding["price"] == {"steps": 2, "targets": ["app"], "seconds": None, "avoidable_seconds": None, "unmeasured_steps": 0}


# As a process of its own.


def test_version_and_help(here: Path) -> None:
    assert spawn("--version", cwd=here).out == f"tasker-build {__version__}\n"
    result = spawn("--help", cwd=here)
    assert result.code == 0
    assert all(f"  {command} " in result.out for command in ("render", "plan", "apply", "check", "ls"))
    assert "64  bad command line" in result.out


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"HOME": None, "USER": None, "PATH": None, "TERM": None}, {"NO_COLOR": "1", "COLUMNS": "1"}],
    ids=str,
)
def test_odd_environments(here: Path, environment: dict[str, str | None]) -> None:
    for i, command in enumerate((["plan", "--offline", "--format", "tree"], ["plan"], ["plan", "nope", "--offline"])):
        assert spawn(*command, cwd=here, **environment).code == (0, 4, 3)[i]


def test_an_ascii_terminal(here: Path) -> None:
    assert spawn("plan", "--offline", "--format", "tree", cwd=here, PYTHONIOENCODING="ascii").code == 0


@pytest.mark.parametrize("command", [["plan", "--offline", "--format", "json"], ["render", "--check"], ["--help"], ["schema"]])
def test_a_reader_that_goes_away_is_no_error(here: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DOCKER_HOST": DEAD_ENGINE}
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "tasker_build", *command],
            cwd=here,
            env=environment,
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""
    assert done.returncode in {0, 1}


def test_a_reader_that_goes_away_is_success(here: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run([sys.executable, "-m", "tasker_build", "ls"], cwd=here, env=environment, stdout=gone, check=False)
    assert done.returncode == 0


def test_the_default_spec_in_a_folder_of_its_own(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "stacks.yaml", tmp_path)
    shutil.copytree(
        REPOSITORY / "examples/tasker",
        tmp_path / "examples/tasker",
        ignore=shutil.ignore_patterns("target", "docker", ".tasker-build"),
        symlinks=True,
    )
    assert spawn("render", "--check", cwd=tmp_path).code == 2
    assert spawn("render", cwd=tmp_path).code == 0
    assert spawn("render", "--check", cwd=tmp_path).code == 0
    assert spawn("plan", cwd=tmp_path).code == 4


def test_a_bug_keeps_its_traceback_in_a_file(
    tool: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tasker_build.project.Project.open", broken)
    result = tool("ls")
    assert result.code == 70
    (file,) = tmp_path.glob("tasker-build-*.traceback")
    assert "ZeroDivisionError: ours" in file.read_text()
    assert str(file) in result.err
