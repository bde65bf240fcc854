"""`--format json`: whatever a command does, standard output is exactly one document, and it fits its published schema."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tasker_build.build.events import Built, Failed, Kept, Retagged, Skipped
from tasker_build.build.report import CompilerCache, Failure, StepResult
from tasker_build.cli import answer, db, env, run
from tasker_build.commands import COMMANDS
from tasker_build.engine.docker import DockerEngine
from tasker_build.environments.stack import Environment, container_rows
from tasker_build.errors import Span
from tasker_build.finding import Finding, Level, Price
from tasker_build.lint import Result
from tasker_build.plan.history import History
from tasker_build.plan.planner import Observed, make_plan
from tasker_build.project import Project
from tasker_build.spec.model import Suppression, TargetName
from tasker_build.view.apply import apply_document
from tasker_build.view.document import check_document
from tests.conftest import DEAD_ENGINE, EIGHT_MISTAKES, HEAD, REPOSITORY, write_files
from tests.unit.tiny import FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tasker_build.build.events import Event

FOLDER = REPOSITORY / "docs/schemas"
STACK = "stacks: {s: {services: {base: {target: base, build_only: true}, one: {target: app}, two: {target: other}}}}\n"


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not describe: a field nobody wrote down is a mistake of ours."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    return found | ({"additionalProperties": False} if "properties" in found and isinstance(found["properties"], dict) else {})


SCHEMAS = {path.stem: json.loads(path.read_text()) for path in FOLDER.iterdir()}


def valid(text: str, name: str) -> dict[str, Any]:
    """Read exactly one document of that name."""
    document: dict[str, Any] = json.loads(text)
    assert (document["format"], document["version"]) == (f"tasker-build {name}", 1)
    jsonschema.validate(document, closed(SCHEMAS[name]), cls=jsonschema.Draft202012Validator)
    return document


class Engine(TinyEngine):
    """An engine in memory that answers what commands ask before they begin."""

    def version(self) -> dict[str, str]:
        return {"Version": "28.0.1"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = write_files(tmp_path / "project", FILES)
    (folder / "stacks.yaml").write_text(FILES["stacks.yaml"] + STACK)
    monkeypatch.chdir(folder)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def engine(here: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Everything is built; whoever connects gets this engine."""
    found = Engine()
    build_all(found, here, revision="ab" * 20)
    monkeypatch.setattr(DockerEngine, "connect", lambda *_: found)
    return found


@pytest.fixture
def tool(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--format", "json"])
        out, err = capfd.readouterr()
        return int(code), out, err

    return call


def test_every_schema_is_one_and_is_what_its_description_says() -> None:
    for name, schema in SCHEMAS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["description"], name
    done = subprocess.run([sys.executable, "docs/gen_schemas.py", "--check"], cwd=REPOSITORY, check=False)
    assert done.returncode == 0


def test_every_command_that_answers_has_the_option(capfd: pytest.CaptureFixture[str]) -> None:
    groups = {"env": env.command, "db": db.command}
    lines = [[name] for name in COMMANDS if name not in groups]
    lines += [[name, word] for name, group in groups.items() for word in group.commands]
    silent = []
    for line in lines:
        run([*line, "--help"])
        said = capfd.readouterr().out
        silent += [] if "--format" in said and "json" in said else [" ".join(line)]
    # A schema is one already; the others hand the terminal over to another program.
    assert silent == ["schema", "env logs", "env watch", "db logs", "db psql", "db shell"]


def test_plan(tool: Callable[..., tuple[int, str, str]], here: Path, engine: Engine) -> None:
    assert valid(tool("plan")[1], "preview")["changed"] is False
    edit(here, "tpl/base.j2", "RUN cat", "RUN echo new\nRUN cat")
    code, out, err = tool("plan", "--detailed-exitcode")
    assert (code, err) == (2, "")
    steps = {row["target"]: row for row in valid(out, "preview")["steps"]}
    assert steps["base"]["reasons"][0]["details"] == ["@@ instruction 4", "+ RUN echo new"]
    valid(tool("plan", "--graph")[1], "graph")
    code, out, err = tool("plan", "--graph=g.json", "--offline")
    valid(out, "preview")
    valid((here / "g.json").read_text(), "graph")
    assert err == "wrote g.json\n"


def test_a_saved_plan_is_shown_as_it_was_saved(tool: Callable[..., tuple[int, str, str]], engine: Engine) -> None:
    code, out, err = tool("plan", "--out", "p.json")
    valid(out, "preview")
    assert (code, err) == (0, "wrote p.json: tasker-build apply p.json\n")
    valid(tool("show", "p.json")[1], "plan")


def test_apply(tool: Callable[..., tuple[int, str, str]], here: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = tool("apply")
    document = valid(out, "apply")
    assert (code, document["run"], document["results"], document["plan"]["changed"]) == (0, None, [], False)
    engine.remove("demo-app:latest")
    code, out, err = tool("apply")
    document = valid(out, "apply")
    assert (code, {row["target"]: row["result"] for row in document["results"]}) == (
        0,
        {"base": "kept", "app": "retagged", "other": "kept"},
    )
    assert "1 tagged" in err
    summary = here / ".tasker-build/runs" / document["run"] / "summary.json"
    assert json.loads(summary.read_text()) == document


def test_what_came_of_each_target(here: Path, engine: Engine) -> None:
    project = Project.open([here / "stacks.yaml"])
    observed = Observed(images=engine.images())
    names = frozenset(project.order)
    plan = make_plan("demo", tuple(project.wanted.values()), observed, history=History(), selected=names, forced=names)
    step = StepResult(target="base", name="RUN x", cached=False, seconds=1.23456)
    base, app, other = (TargetName(name) for name in ("base", "app", "other"))
    failure = Failure(message="no", step="RUN x", place="docker/app/Dockerfile:3", tail=("a", "b"), log="x.log")
    outcomes: Sequence[Sequence[Event]] = (
        [Built(target=base, image_id="sha256:1", seconds=2, steps_run=1, steps_cached=0, steps=(step,))],
        [
            Built(
                target=base,
                image_id="sha256:1",
                seconds=2,
                steps_run=1,
                steps_cached=0,
                compiler_cache=CompilerCache(requests=3, hits=1, misses=2),
            )
        ],
        [Failed(target=app, failure=failure), Skipped(target=other, because=app), Kept(target=base)],
        [Retagged(target=base, references=("demo-base:latest",))],
    )
    for events in outcomes:
        valid(json.dumps(apply_document(plan, "demo", events, run="r", revision="", exit_code=1)), "apply")


def test_why_in_all_its_forms(tool: Callable[..., tuple[int, str, str]], here: Path, engine: Engine) -> None:
    edit(here, "stacks.yaml", '{debian: "debian:13"}', '{debian: "debian:13", never: "never:1"}')
    edit(here, "work/app/main.txt", "1", "2")
    assert valid(tool("why", "app")[1], "why")["chain"][0]["causes"][0]["kind"] == "context"
    assert valid(tool("why", "app", "base")[1], "why")["path"] == ["app", "base"]
    for words, path in {
        ("app", "debian"): ["app", "debian"],
        ("debian:13", "other"): ["other", "debian"],
        ("app", "demo-base:latest"): ["app", "base"],
        ("app", "app"): ["app"],
        ("base", "other"): [],
        ("base", "never"): [],
        ("debian", "debian"): ["debian"],
    }.items():
        document = valid(tool("why", *words)[1], "why")
        assert (document["path"], len(document["edges"])) == (path, max(len(path) - 1, 0)), words
    base = valid(tool("why", "debian")[1], "why")
    assert [row["target"] for row in base["targets"]] == ["base", "app", "other"]
    assert (base["digest"], base["pinned_by"], base["through"]) == (None, None, [])
    (here / "stacks.lock").write_text(f'version: 1\nbases:\n  debian:\n    image: "debian:13@sha256:{"a" * 64}"\n')
    assert valid(tool("why", "debian:13")[1], "why")["pinned_by"] == "lock"
    (here / "stacks.lock").unlink()
    assert [row["target"] for row in valid(tool("why", "state:modified")[1], "why")["targets"]] == ["app"]
    assert valid(tool("why", "demo-app:latest")[1], "why")["ours"] is True
    assert valid(tool("why", "--steps", "app")[1], "why")["run"] is None
    rows = [{"target": "app", "name": "RUN x", "cached": True, "seconds": 0.1}]
    planned = [{"target": "app", "action": "rebuild", "reasons": [{"kind": "context"}]}]
    result = {"target": "app", "steps": rows, "as_before": True}
    summary = {"plan": {"steps": planned}, "results": [result], "revision": ""}
    assert (tool("why", "--steps")[0], valid(tool("why", "--steps")[1], "why")["run"]) == (0, None)
    write_files(here, {".tasker-build/runs/20990101T000000-1/summary.json": json.dumps(summary)})
    for more in (["app"], []):
        code, out, _ = tool("why", "--steps", *more)
        assert (code, valid(out, "why")["wrong_guesses"][0]["verdict"]) == (1, "needless")
    assert tool("why")[0] == 64


def test_ls(tool: Callable[..., tuple[int, str, str]]) -> None:
    assert [row["target"] for row in valid(tool("ls", "+app")[1], "ls")["targets"]] == ["base", "app"]


def test_render(tool: Callable[..., tuple[int, str, str]], here: Path) -> None:
    code, out, err = tool("render", "--check")
    assert (code, err, {row["state"] for row in valid(out, "render")["files"]}) == (2, "", {"missing"})
    code, out, _ = tool("render")
    assert (code, {row["touched"] for row in valid(out, "render")["files"]}) == (0, {True})
    (here / "work/docker/app/Dockerfile").write_text("FROM mine\n")
    document = valid(tool("render", "--check")[1], "render")
    assert (document["different"], document["check"]) == (1, True)
    assert next(row for row in document["files"] if row["state"] == "foreign")["diff"]
    code, out, err = tool("render")
    assert (code, valid(out, "error")["kind"]) == (5, "refused")
    assert "not ours to overwrite" in err


def test_check(tool: Callable[..., tuple[int, str, str]], here: Path) -> None:
    edit(here, "tpl/other.j2", "RUN cat", "RUN cd /tmp && cat")
    code, out, _ = tool("check")
    document = valid(out, "check")
    assert (code, document["ok"], document["targets"]) == (3, False, 3)
    findings = [row for checker in document["checkers"] for row in checker["findings"]]
    assert all((row["line"] >= 1, row["path"], row["message"]) for row in findings)
    assert any(checker["missing"] for checker in document["checkers"]), "no engine is in reach"


def test_a_check_with_what_findings_cost_and_what_the_spec_suppresses() -> None:
    price = Price(steps=1, targets=("app",), seconds=2.5)
    finding = Finding(
        checker="caching", path="a", line=1, message="m", level=Level.ADVICE, origin="a.j2:1", cost="c", price=price
    )
    row = Suppression(check="DL3008", path="a*", why="w", span=Span(file="stacks.yaml", line=1, col=2, length=1))
    document = check_document(1, 1, [Result(checker="caching", findings=(finding,))], ["DL3007"], [(row, 2)], ok=True)
    document = valid(json.dumps(document), "check")
    assert document["checkers"][0]["findings"][0]["price"]["targets"] == ["app"]
    assert document["suppressed_by_spec"][0]["findings"] == 2


def test_lock(tool: Callable[..., tuple[int, str, str]], here: Path) -> None:
    code, out, _ = tool("lock", "--check", "--offline")
    document = valid(out, "lock")
    assert (code, [row["state"] for row in document["bases"]], document["rebuilds"]) == (2, ["missing"], None)
    digest = "sha256:" + "0" * 64
    edit(here, "stacks.yaml", '"debian:13"', f'"debian:13@{digest}"')
    assert valid(tool("lock", "--check", "--offline")[1], "lock")["bases"][0]["state"] == "in_spec"


def test_a_lock_with_what_it_rebuilds_and_what_failed() -> None:
    from tasker_build.duration import Estimate  # noqa: PLC0415
    from tasker_build.plan.radius import Radius  # noqa: PLC0415
    from tasker_build.records.local_bases import LocalBases  # noqa: PLC0415
    from tasker_build.records.records import Records  # noqa: PLC0415
    from tasker_build.registries.trouble import RegistryError, Trouble  # noqa: PLC0415
    from tasker_build.view.lock import lock_data  # noqa: PLC0415
    from tasker_build.work.locking import Locking, Row, State  # noqa: PLC0415

    base, app = TargetName("base"), TargetName("app")
    radius = Radius(
        total=3,
        direct={base: ("debian",)},
        through={app: (base,)},
        time=Estimate(seconds=1.5, unknown=(app,), critical=(base, app), critical_seconds=1.5),
    )
    row = Row(name="debian", reference="debian:13", state=State.MOVED, old="sha256:1", new="sha256:2", note="x")
    failure = RegistryError("no", next(iter(Trouble)))
    local = LocalBases(Records(Path("none")))
    locking = Locking(file=Path("stacks.lock"), rows=(row,), failures=(failure,), lock=None, radius=radius, local=local)
    valid(json.dumps(lock_data(locking, written=True)), "lock")


def test_doctor(tool: Callable[..., tuple[int, str, str]], engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, err = tool("doctor")
    document = valid(out, "doctor")
    assert {row["name"] for row in document["checks"]} >= {"python", "engine", "buildx", "compose", "spec"}
    assert err == ""
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", DEAD_ENGINE)
    code, out, _ = tool("doctor")
    assert (code, valid(out, "doctor")["ok"]) == (4, False)


# Commands that ask docker itself: a stand-in for it says what the real one would.

PS = [
    {
        "Service": "two",
        "Name": "demo-s-two-1",
        "Image": "demo-other:tb-1",
        "State": "running",
        "Health": "healthy",
        "ExitCode": 0,
        "Publishers": [
            {"URL": "127.0.0.1", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp"},
            {"URL": "", "TargetPort": 81, "PublishedPort": 0, "Protocol": "tcp"},
        ],
    },
    {"Service": "old", "Name": "demo-s-old-1", "State": "exited", "ExitCode": 3, "Publishers": None},
]
FAKE = """\
#!/bin/sh
case "$*" in
  *" pg_isready "*) exit "${NOT_READY:-0}" ;;
  *compose*ps*) cat "$SAYS" ;;
  "ps "*volume=*) ;;
  "ps "*) echo '{"Names":"demo-1","Labels":"com.docker.compose.project=demo-s,com.docker.compose.container-number=1"}' ;;
  *compose*port*) echo 127.0.0.1:5432 ;;
  *compose*) echo "$*" >> "$DID"; echo "something for people" ;;
  "network ls"*|"volume ls"*) ;;
  "image ls"*) echo '{"Repository":"demo-app","Tag":"latest"}' ;;
  *) echo "$*" >> "$DID" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that says what is in the file; what else it was asked to do is in `did`."""
    write_files(tmp_path / "bin", {"docker": FAKE})
    (tmp_path / "bin/docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SAYS", str(tmp_path / "says"))
    monkeypatch.setenv("DID", str(tmp_path / "did"))
    monkeypatch.setattr("tasker_build.environments.stack.compose", lambda: ("docker", "compose"))
    monkeypatch.setattr(Engine, "environment", lambda _: dict(os.environ))
    (tmp_path / "says").write_text("\n".join(map(json.dumps, PS)))
    return tmp_path


def test_compose_says_it_in_lines_or_in_one_list() -> None:
    lines = container_rows("\n".join(map(json.dumps, PS)))
    assert lines == container_rows(json.dumps(PS))
    assert [(row["service"], row["exit_code"], row["health"], row["ports"]) for row in lines] == [
        ("old", 3, None, []),
        ("two", None, "healthy", ["127.0.0.1:8080->80/tcp"]),
    ]
    assert container_rows("") == []


def test_env_status(tool: Callable[..., tuple[int, str, str]], docker: Path) -> None:
    run(["render"])
    code, out, _ = tool("env", "status", "s")
    document = valid(out[out.index("{") :], "env-status")
    assert (code, [row["container"] for row in document["containers"]]) == (0, ["demo-s-old-1", "demo-s-two-1"])
    assert document["absent"] == ["one"]


@pytest.mark.parametrize("word", ["up", "down"])
def test_an_environment_that_was_changed_says_how_it_is(
    tool: Callable[..., tuple[int, str, str]], docker: Path, capfd: pytest.CaptureFixture[str], word: str
) -> None:
    run(["render"])
    capfd.readouterr()
    code, out, err = tool("env", word, "s")
    document = valid(out, "env-status")
    assert (code, [row["container"] for row in document["containers"]]) == (0, ["demo-s-old-1", "demo-s-two-1"])
    assert "something for people" in err
    assert f" {word} " in (docker / "did").read_text()
    run(["env", word, "s"])
    assert "something for people" in capfd.readouterr().out
    code, out, _ = tool("env", word, "nope")
    assert (code, valid(out, "error")["kind"]) == (3, "input")


@pytest.fixture
def database(here: Path, docker: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack whose database runs; returns the folder of the stand-in for docker."""
    spec = (
        HEAD
        + 'templates: tpl\nbases: {pg: "postgres:18"}\ntargets: {data: {kind: postgres, template: other.j2, from: {runtime: pg}}}\n'
        + 'stacks: {db: {services: {pg: {target: data, volumes: ["data:/x"]}}, volumes: {data: ~}}}\n'
    )
    (here / "stacks.yaml").write_text(spec.replace("targets:", "output: docker\ntargets:"))
    (docker / "says").write_text(json.dumps(PS[0]))
    assert run(["render"]) == 0
    capfd.readouterr()
    monkeypatch.setattr(Environment, "pinned_images", lambda *_, **__: {})
    return docker


def test_db_status(tool: Callable[..., tuple[int, str, str]], database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = valid(tool("db", "status")[1], "db-status")
    assert (document["ready"], document["container"]["state"], document["dump"]) == (True, "running", None)
    monkeypatch.setenv("NOT_READY", "2")
    (database / "says").write_text("")
    document = valid(tool("db", "status")[1], "db-status")
    assert (document["ready"], document["container"]) == (False, None)


@pytest.mark.parametrize(
    "words",
    [
        ["start"],
        ["stop"],
        ["restart"],
        ["reset", "--yes", "--confirm", "postgres"],
        ["restore", "x.dump", "--yes", "--confirm", "postgres"],
    ],
    ids=" ".join,
)
def test_a_database_that_was_changed_says_how_it_is(
    tool: Callable[..., tuple[int, str, str]], here: Path, database: Path, words: list[str]
) -> None:
    (here / "x.dump").write_text("a dump")
    code, out, err = tool("db", *words)
    document = valid(out, "db-status")
    assert (code, document["ready"]) == (0, True)
    assert "something for people" in err
    dump = {"restore": "x.dump", "reset": "docker/backups/postgres-"}.get(words[0])
    assert str(document["dump"]).startswith(str(dump))


def test_db_test(tool: Callable[..., tuple[int, str, str]], database: Path) -> None:
    code, out, err = tool("db", "test")
    assert (code, valid(out, "db-test")["passed"][0]) == (0, "connection")
    assert "all passed" in err


def test_cleanup(tool: Callable[..., tuple[int, str, str]], docker: Path) -> None:
    code, out, err = tool("cleanup", "images", "--dry-run")
    document = valid(out, "cleanup")
    assert (code, document["removed"], document["machine_wide"]) == (0, False, [])
    assert [row["kind"] for row in document["things"]] == ["container", "image"]
    assert "demo-app:latest" in err
    assert valid(tool("cleanup", "cache", "--dry-run")[1], "cleanup")["machine_wide"] == [
        ["docker", "builder", "prune", "--force"]
    ]
    code, out, _ = tool("cleanup", "images")
    assert (code, valid(out, "error")["kind"]) == (5, "refused")
    assert not (docker / "did").exists()
    assert valid(tool("cleanup", "images", "--yes")[1], "cleanup")["removed"] is True
    assert (docker / "did").read_text().splitlines() == ["stop demo-1", "rm --force demo-1", "image rm demo-app:latest"]


# Errors.


def test_mistakes_come_with_their_places_and_people_are_told_as_always(
    tool: Callable[..., tuple[int, str, str]], here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "stacks.yaml").write_text(EIGHT_MISTAKES)
    code, out, err = tool("plan")
    document = valid(out, "error")
    assert (code, document["kind"], document["exit_code"], len(document["problems"])) == (3, "input", 3, 8)
    first = next(row for row in document["problems"] if row["line"] == 3)
    assert document["message"] == f"{document['problems'][0]['message']} … and 7 more"
    assert (first["file"], first["column"], first["code"], bool(first["hints"])) == ("stacks.yaml", 1, "S008", True)
    run(["plan"])
    assert capfd.readouterr() == ("", err)


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["plan", "--nope"], 64, "usage"),
        (["paln"], 64, "usage"),
        (["plan", "nobody", "--offline"], 3, "input"),
        (["plan"], 4, "engine"),
        (["apply"], 4, "engine"),
        (["why", "app"], 4, "engine"),
        (["env", "status", "s"], 4, "engine"),
        (["cleanup"], 4, "engine"),
        (["show", "nowhere.json"], 5, "refused"),
        (["-C", "nowhere", "ls"], 64, "usage"),
    ],
)
def test_every_kind_of_error_is_one_document(
    tool: Callable[..., tuple[int, str, str]], here: Path, arguments: list[str], code: int, kind: str
) -> None:
    got, out, err = tool(*arguments)
    document = valid(out, "error")
    assert (got, document["exit_code"], document["kind"]) == (code, code, kind)
    assert err != ""


@pytest.mark.parametrize(
    ("raised", "code", "kind"),
    [(KeyboardInterrupt(), 130, "interrupted"), (RuntimeError("a bug"), 70, "bug")],
    ids=["interrupt", "bug"],
)
def test_what_is_nobodys_mistake_is_a_document_too(
    tool: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    raised: BaseException,
    code: int,
    kind: str,
) -> None:
    def fails(*words: Any, **more: Any) -> None:
        raise raised

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(Project, "open", fails)
    got, out, _ = tool("ls")
    assert (got, valid(out, "error")["kind"]) == (code, kind)


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["ls"], ""),
        (["ls", "--format", "json"], "json"),
        (["ls", "--format=json"], "json"),
        (["ls", "--format", "name", "--format=json"], "json"),
        (["ls", "--", "--format", "json"], ""),
        (["ls", "--format"], ""),
    ],
)
def test_the_form_is_known_before_the_line_is_understood(words: list[str], form: str) -> None:
    assert answer.asked_form(words) == form


def test_without_the_option_an_error_leaves_standard_output_empty(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "nobody", "--offline"]) == 3
    assert capfd.readouterr().out == ""


def test_a_document_is_the_same_in_a_pipe(here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DOCKER_HOST": DEAD_ENGINE}
    shutil.rmtree(here / ".tasker-build", ignore_errors=True)
    command = [sys.executable, "-m", "tasker_build", "ls", "--format", "json"]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=True)
    assert valid(done.stdout, "ls")["project"] == "demo"
