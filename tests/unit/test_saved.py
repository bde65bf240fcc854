"""Saved plans: what is written is read back, and everything that moved since is found and named, once and under its kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.cli import show
from tasker_build.errors import RefusedError
from tasker_build.plan.changes import Quoted
from tasker_build.plan.saved import Moved, PlanRequest, Premise, SavedPlan, dump, moved, parse
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tasker_build.view.plan import step_data
from tasker_build.work.planning import plan_again, plan_to_save, read_plan, write_plan
from tests.conftest import REPOSITORY, write_files
from tests.unit.tiny import BASE, FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLE = SavedPlan(
    project="demo",
    asked=PlanRequest(selection=("app",), rebuild=("base",)),
    plan=Plan(
        steps=(
            Step(
                target=TargetName("app"),
                action=Action.REBUILD,
                reasons=(Reason(kind=ReasonKind.CONTEXT, changes=(Quoted(evidence="1 file: ~ a", details=("~ a",)),)),),
                fingerprint="0" * 64,
                image="demo-app",
                tags=("latest",),
            ),
        )
    ),
    rests_on={kind.value: {"a": "b"} for kind in Premise},
)
SCHEMA: dict[str, Any] = json.loads((REPOSITORY / "docs/schemas/plan.json").read_text())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "checkout", FILES)


@pytest.fixture
def engine(root: Path) -> TinyEngine:
    found = TinyEngine()
    build_all(found, root)
    return found


def save(root: Path, engine: TinyEngine, *selection: str, **asked: Any) -> SavedPlan:
    return plan_to_save(Project.open([root / "stacks.yaml"]), engine, PlanRequest(selection=selection, **asked))


def again(root: Path, engine: TinyEngine, saved: SavedPlan) -> set[tuple[str, str]]:
    """(kind, thing) of everything that moved."""
    return {(row.kind.value, row.thing) for row in moved(saved, save(root, engine, *saved.asked.selection))}


def test_what_is_written_is_read_back_and_fits_the_published_schema(root: Path, engine: TinyEngine) -> None:
    edit(root, "work/app/main.txt", "1", "2")
    for saved in (save(root, engine), save(root, engine, "app", version="1.2", rebuild=("base",)), save(root, TinyEngine())):
        text = dump(saved, step_data)
        jsonschema.validate(json.loads(text), SCHEMA, cls=jsonschema.Draft202012Validator)
        back = parse(text.encode(), "p.json")
        assert (back.project, back.asked, back.rests_on) == (saved.project, saved.asked, saved.rests_on)
        assert moved(saved, back) == ()
        assert back.intact
        assert dump(back, step_data) == text


def test_the_schema_is_one_and_forbids_what_is_none(root: Path, engine: TinyEngine) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(dump(save(root, engine), step_data))
    for name in document:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in document.items() if key != name}, SCHEMA)
    assert list(SCHEMA["properties"]["rests_on"]["properties"]) == [kind.value for kind in Premise]


def test_nothing_moved(root: Path, engine: TinyEngine) -> None:
    saved = save(root, engine)
    assert not saved.plan.changed
    assert again(root, engine, saved) == set()
    assert dump(saved, step_data) == dump(save(root, engine), step_data)


def secret(root: Path, engine: TinyEngine) -> None:
    pytest.MonkeyPatch().setenv("TASKER_BUILD_TOKEN", str(root / "stacks.yaml"))


def rebase(root: Path, engine: TinyEngine) -> None:
    engine.put("debian-2", [BASE], None)


def untag(root: Path, engine: TinyEngine) -> None:
    engine.remove("demo-app:latest")


def other_engine(root: Path, engine: TinyEngine) -> None:
    engine.id = "ANOTHER"


def other_endpoint(root: Path, engine: TinyEngine) -> None:
    engine.endpoint = "tcp://elsewhere:2375"


MOVES: dict[str, tuple[Callable[[Path, TinyEngine], None], set[tuple[str, str]]]] = {
    "spec": (lambda root, _: edit(root, "stacks.yaml", "version: 1", "# a note\nversion: 1"), {("spec", "stacks.yaml")}),
    "template": (lambda root, _: edit(root, "tpl/app.j2", "RUN cat", "RUN echo && cat"), {("template", "app.j2")}),
    "context": (lambda root, _: edit(root, "work/app/main.txt", "1", "2"), {("context", "app/main.txt")}),
    "context, a new file": (lambda root, _: edit(root, "work/app/more.txt", "", "2"), {("context", "app/more.txt")}),
    "env, a secret": (secret, {("env", "secret token")}),
    "env, an argument": (
        lambda root, _: edit(root, "stacks.yaml", "plain", "spicy"),
        {("env", "arg app FLAVOUR"), ("spec", "stacks.yaml")},
    ),
    "base": (rebase, {("base", f"{BASE} here")}),
    "state": (untag, {("state", "demo-app:latest")}),
    "engine": (other_engine, {("engine", "id")}),
    "engine, its endpoint": (other_endpoint, {("engine", "endpoint")}),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moved_is_named(root: Path, engine: TinyEngine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKER_BUILD_TOKEN", raising=False)
    saved = save(root, engine)
    change, expected = MOVES[name]
    try:
        change(root, engine)
        assert again(root, engine, saved) == expected
        with pytest.raises(RefusedError) as caught:
            plan_again(Project.open([root / "stacks.yaml"]), engine, saved, Path("p.json"))
        for kind, thing in expected:
            assert kind in caught.value.message
            assert thing in caught.value.message
    finally:
        monkeypatch.delenv("TASKER_BUILD_TOKEN", raising=False)


@pytest.mark.parametrize("what", ["version", "fingerprint schema"])
def test_another_tool_is_named(root: Path, engine: TinyEngine, what: str) -> None:
    saved = save(root, engine)
    older = replace(saved, rests_on={**saved.rests_on, "tool": {**saved.rests_on["tool"], what: "0"}})
    assert {(row.kind.value, row.thing, row.old) for row in moved(older, saved)} == {("tool", what, "0")}


def test_a_plan_rests_only_on_what_its_steps_need(root: Path, engine: TinyEngine) -> None:
    saved = save(root, engine, "app")
    edit(root, "work/other/x.txt", "1", "2")
    edit(root, "tpl/other.j2", "RUN cat", "RUN echo && cat")
    engine.remove("demo-other:latest")
    assert again(root, engine, saved) == set()
    edit(root, "work/lib/a.txt", "1", "2")  # of its parent
    assert again(root, engine, saved) == {("context", "lib/a.txt")}


def test_where_the_checkout_is_does_not_count(root: Path, engine: TinyEngine, tmp_path: Path) -> None:
    assert again(write_files(tmp_path / "elsewhere", FILES), engine, save(root, engine)) == set()


def test_steps_that_differ_by_themselves_are_found_too(root: Path, engine: TinyEngine) -> None:
    saved = save(root, engine)
    first, *rest = saved.plan.steps
    other = replace(saved, plan=replace(saved.plan, steps=(replace(first, fingerprint="0" * 64), *rest)))
    assert [(row.kind.value, row.thing) for row in moved(saved, other)] == [("state", f"step of {first.target}")]


def test_a_selection_that_is_gone_from_the_spec_is_a_moved_spec(root: Path, engine: TinyEngine) -> None:
    saved = save(root, engine, "other")
    text = (root / "stacks.yaml").read_text()
    (root / "stacks.yaml").write_text(text.replace("  other:", "  renamed:"))
    with pytest.raises(RefusedError, match=r"spec +~ stacks\.yaml"):
        plan_again(Project.open([root / "stacks.yaml"]), engine, saved, Path("p.json"))


def test_a_plan_of_another_project_is_refused(root: Path, engine: TinyEngine) -> None:
    saved = replace(save(root, engine), project="another")
    with pytest.raises(RefusedError, match="is a plan of project `another`"):
        plan_again(Project.open([root / "stacks.yaml"]), engine, saved, Path("p.json"))


def test_an_edited_plan_is_read_but_not_applied(root: Path, engine: TinyEngine) -> None:
    text = dump(save(root, engine), step_data).replace('"keep"', '"rebuild"', 1)
    saved = parse(text.encode(), "p.json")
    assert not saved.intact
    with pytest.raises(RefusedError, match="edited or damaged"):
        plan_again(Project.open([root / "stacks.yaml"]), engine, saved, Path("p.json"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        *((data, "no JSON") for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000)),
        *(
            (data, "not a saved plan")
            for data in (b"{}", b"[]", b"null", b"5", b"\xef\xbb\xbf{}", b'{"version": 1, "steps": []}')
        ),
        (b'{"format": "tasker-build plan", "version": 2}', "version 2"),
        (b'{"format": "tasker-build plan", "version": 1}', "is missing"),
    ],
)
def test_what_is_no_plan_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        parse(data, "p.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"action": "rebuild"', '"action": "bogus"', "p.json is damaged: unknown action `bogus`"),
        ('"kind": "context"', '"kind": "bogus"', "p.json is damaged: unknown reason `bogus`"),
    ],
)
def test_a_word_that_was_edited_is_named(old: str, new: str, said: str) -> None:
    text = dump(_SAMPLE, step_data)
    assert old in text
    with pytest.raises(RefusedError, match=said):
        parse(text.replace(old, new, 1).encode(), "p.json")


def test_control_characters_of_what_moved_do_not_reach_a_terminal() -> None:
    for old, new in ((None, "\x1b[2J"), ("\x1b[2J", None), ("\x1b[2J", "1")):
        text = str(Moved(kind=Premise.CONTEXT, thing="a\x1b[2J\n", old=old, new=new))
        assert r"a\x1b[2J\n" in text
        assert text.isprintable()


def test_control_characters_of_a_saved_plan_do_not_reach_a_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J"
    reason = Reason(kind=ReasonKind.CONTEXT, changes=(Quoted(evidence=evil, details=(evil,), place=evil),))
    step = Step(target=TargetName(evil), action=Action.REBUILD, reasons=(reason,))
    asked = PlanRequest(selection=(evil,), rebuild=(evil,), version=evil)
    (tmp_path / "p.json").write_text(dump(replace(_SAMPLE, project=evil, asked=asked, plan=Plan(steps=(step,))), step_data))
    out = CliRunner().invoke(show.command, ["--verbose", str(tmp_path / "p.json")]).stdout
    assert out.count(r"\x1b[2J") == 8
    assert "\x1b" not in out


def test_a_plan_is_written_over_a_plan_and_over_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    write_plan(file, dump(_SAMPLE, step_data))
    for content in (b"", file.read_bytes(), file.read_bytes()[:100]):
        file.write_bytes(content)
        write_plan(file, dump(_SAMPLE, step_data))
        assert read_plan(file) == _SAMPLE
    for content in (b"{}", b'{"name": "my-package"}', b"x"):
        file.write_bytes(content)
        with pytest.raises(RefusedError, match="is no saved plan"):
            write_plan(file, dump(_SAMPLE, step_data))
        assert file.read_bytes() == content


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        read_plan(tmp_path / "missing.json")


@given(data=st.data())
def test_cut_or_changed_anywhere_it_is_refused_or_known_as_edited(data: st.DataObject) -> None:
    text = dump(_SAMPLE, step_data)
    at = data.draw(st.integers(0, len(text) - 3))
    char = data.draw(st.sampled_from("#x0,"))
    damaged = data.draw(st.sampled_from([text[:at], text[:at] + char + text[at + 1 :], text[:at] + text[at + 1 :]]))
    try:
        saved = parse(damaged.encode(), "p.json")
    except RefusedError:
        return
    assert not saved.intact or saved == _SAMPLE


@given(data=st.data())
def test_a_field_of_another_type_is_refused_or_known_as_edited(data: st.DataObject) -> None:
    document = json.loads(dump(_SAMPLE, step_data))
    name = data.draw(st.sampled_from(sorted(set(document) - {"format", "version"})))
    document[name] = data.draw(st.sampled_from([None, 5, "x", [], {}, [5], {"a": 1}, [None], [{}]]))
    try:
        saved = parse(json.dumps(document).encode(), "p.json")
    except RefusedError:
        return
    assert not saved.intact or saved == _SAMPLE
