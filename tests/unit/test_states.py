"""`state:` selections: what the engine has decides, everything is planned before anything is selected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tasker_build.cli import run
from tasker_build.engine.docker import DockerEngine
from tasker_build.errors import EngineError
from tasker_build.plan.planner import states
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step
from tasker_build.spec.model import TargetName
from tasker_build.work.planning import read_plan
from tests.conftest import write_files
from tests.unit.tiny import FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "checkout", FILES)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> TinyEngine:
    engine = TinyEngine()
    monkeypatch.setattr(DockerEngine, "connect", lambda *_: engine)
    return engine


@pytest.fixture
def tool(root: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = int(run(["-C", str(root), *words]))
        return code, *capfd.readouterr()

    return call


def listed(tool: Callable[..., tuple[int, str, str]], *words: str) -> list[str]:
    code, out, _ = tool("ls", *words)
    assert code == 0
    return out.split()


def step(action: Action, *kinds: ReasonKind) -> frozenset[str]:
    reasons = tuple(Reason(kind=kind) for kind in kinds)
    return states(Plan(steps=(Step(target=TargetName("a"), action=action, reasons=reasons),)))[TargetName("a")]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (step(Action.KEEP), {"unmodified"}),
        (step(Action.RETAG, ReasonKind.TAG), {"retag"}),
        (step(Action.CREATE, ReasonKind.NEW), {"stale", "modified", "new", "modified.new"}),
        (step(Action.CREATE, ReasonKind.MISSING), {"stale", "modified", "missing", "modified.missing"}),
        (step(Action.REBUILD, ReasonKind.CONTEXT), {"stale", "modified", "modified.context"}),
        (
            step(Action.REBUILD, ReasonKind.ARG, ReasonKind.PARENT),
            {"stale", "modified", "parent", "modified.arg", "modified.parent"},
        ),
        (step(Action.CASCADE, ReasonKind.PARENT), {"stale", "parent", "modified.parent"}),
    ],
)
def test_steps_have_states(found: frozenset[str], expected: set[str]) -> None:
    assert found == expected


def test_what_is_gone_from_the_spec_has_none() -> None:
    assert states(Plan(steps=(Step(target=TargetName("a"), action=Action.FORGET),))) == {}


def test_states_select_in_every_form_of_the_language(
    root: Path, engine: TinyEngine, tool: Callable[..., tuple[int, str, str]]
) -> None:
    assert listed(tool, "state:new") == ["base", "app", "other"]
    build_all(engine, root)
    assert listed(tool, "state:unmodified") == ["base", "app", "other"]
    edit(root, "work/lib/a.txt", "1", "2")
    assert listed(tool, "state:modified") == ["base"]
    assert listed(tool, "state:parent") == ["app"]
    assert listed(tool, "state:stale") == ["base", "app"]
    assert listed(tool, "state:modified+") == ["base", "app"]
    assert listed(tool, "+state:parent") == ["base", "app"]
    assert listed(tool, "@state:modified") == ["base", "app"]
    assert listed(tool, "state:modified.context") == ["base"]
    assert listed(tool, "state:stale,a*") == ["app"]
    assert listed(tool, "state:modified", "state:new", "other") == ["base", "other"]
    assert listed(tool, "--exclude", "state:unmodified") == ["base", "app"]
    assert listed(tool, "o*", "--exclude", "state:missing") == ["other"]


def test_a_plan_of_a_state_is_the_plan_of_its_targets(
    root: Path, engine: TinyEngine, tool: Callable[..., tuple[int, str, str]]
) -> None:
    build_all(engine, root)
    edit(root, "work/other/x.txt", "1", "2")
    code, out, _ = tool("plan", "state:modified")
    assert (code, out.split("\n")[0]) == (0, "~ other  context   1 file: ~ other/x.txt")
    code, out, _ = tool("plan", "--rebuild", "state:modified", "--format", "json", "base")
    reasons = {row["target"]: [reason["kind"] for reason in row["reasons"]] for row in json.loads(out)["steps"]}
    assert (code, reasons) == (0, {"base": [], "other": ["forced", "context"]})


def test_a_saved_plan_names_the_targets_that_were_in_a_state(
    root: Path, engine: TinyEngine, tool: Callable[..., tuple[int, str, str]]
) -> None:
    build_all(engine, root)
    edit(root, "work/other/x.txt", "1", "2")
    assert tool("plan", "state:modified", "--out", str(root / "plan.json"))[0] == 0
    assert read_plan(root / "plan.json").asked.selection == ("other",)


def test_why_explains_every_target_in_a_state(root: Path, engine: TinyEngine, tool: Callable[..., tuple[int, str, str]]) -> None:
    build_all(engine, root)
    edit(root, "work/lib/a.txt", "1", "2")
    code, out, _ = tool("why", "state:stale")
    assert (code, out.count("fingerprint")) == (0, tool("why", "base")[1].count("fingerprint") * 2)
    code, out, _ = tool("why", "state:stale", "--format", "json")
    assert (code, [row["target"] for row in json.loads(out)["targets"]]) == (0, ["base", "app"])


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["plan", "state:missing"], "no target is `state:missing`", "plan --all"),
        (["ls", "state:stale,base"], "no target is `state:stale`", "plan --all"),
        (["ls", "state:unmodified,zzz"], "no target matches `zzz`", "tasker-build ls"),
        (["ls", "state:unmodified,base,app"], "nothing matches all of `state:unmodified,base,app`", ""),
        (["why", "state:modified"], "no target is `state:modified`", "plan --all"),
        (["plan", "state:modifed"], "`state:modifed` is no state", "did you mean `modified`"),
        (["plan", "state:zzz"], "`state:zzz` is no state", "states: new, missing"),
        (["ls", "--exclude", "state:zzz"], "`state:zzz` is no state", "states: new, missing"),
        (["ls", "--exclude", "state:unmodified"], "everything selected is excluded", ""),
        (["plan", "--offline", "state:new"], "only an engine can say what is `state:new`", "leave --offline out"),
        (["plan", "--offline", "--rebuild", "state:new"], "only an engine can say", "leave --offline out"),
    ],
)
def test_what_selects_nothing_is_3_with_a_suggestion(
    root: Path, engine: TinyEngine, tool: Callable[..., tuple[int, str, str]], words: list[str], message: str, hint: str
) -> None:
    build_all(engine, root)
    code, out, err = tool(*words)
    assert (code, out) == (3, "")
    assert message in err
    assert hint in err


def test_the_engine_is_only_asked_for_a_state(monkeypatch: pytest.MonkeyPatch, tool: Callable[..., tuple[int, str, str]]) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("asked")

    monkeypatch.setattr(DockerEngine, "connect", refuse)
    assert listed(tool, "base") == ["base"]
    assert tool("ls", "state:new")[0] == 4
