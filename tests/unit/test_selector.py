"""The selection language, case by case."""

from __future__ import annotations

import pytest

from tasker_build.ecosystems.closure import make_closures
from tasker_build.graph import build_graph
from tasker_build.selector import select
from tests.conftest import HEAD, load_text, problems_of

SPEC = (
    HEAD
    + """
targets:
  build: {kind: postgres}
  deploy/api: {kind: postgres, from: {b: build}, tags: ["{version}", deploy-x], context: [config]}
  deploy/worker: {kind: postgres, from: {b: build}, context: [src]}
  dev/api: {template: t.j2, from: {b: deploy/api}}
  db: {kind: postgres}
"""
)
PATHS = ("config/a.toml", "src/lib.rs")


def chosen(*words: str) -> list[str]:
    spec = load_text(SPEC)
    return sorted(select(words, spec, build_graph(spec), make_closures(spec, {}, PATHS)))


ALL = ["build", "db", "deploy/api", "deploy/worker", "dev/api"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ALL),
        (["db"], ["db"]),
        (["db", "build"], ["build", "db"]),
        (["*"], ALL),
        (["deploy/*"], ["deploy/api", "deploy/worker"]),
        (["*/api"], ["deploy/api", "dev/api"]),
        (["+dev/api"], ["build", "deploy/api", "dev/api"]),
        (["1+dev/api"], ["deploy/api", "dev/api"]),
        (["0+dev/api"], ["dev/api"]),
        (["build+"], ["build", "deploy/api", "deploy/worker", "dev/api"]),
        (["build+1"], ["build", "deploy/api", "deploy/worker"]),
        (["+deploy/api+"], ["build", "deploy/api", "dev/api"]),
        (["@deploy/api"], ["build", "deploy/api", "dev/api"]),
        (["@build"], ["build", "deploy/api", "deploy/worker", "dev/api"]),
        (["kind:postgres"], ["build", "db", "deploy/api", "deploy/worker"]),
        (["tag:deploy-*"], ["deploy/api"]),
        (["tag:{version}"], ALL),
        (["tag:latest"], ALL),
        (["file:./src//x/../lib.rs"], ["deploy/worker"]),
        (["file:src/c++/@x.rs"], ["deploy/worker"]),
        (["+file:src/lib.rs"], ["build", "deploy/worker"]),
        (["file:config/a.toml+"], ["deploy/api", "dev/api"]),
        (["file:config/a.toml"], ["deploy/api"]),
        (["file:src/lib.rs"], ["deploy/worker"]),
        (["+deploy/api,+deploy/worker"], ["build"]),
        (["deploy/*,*/api", "db"], ["db", "deploy/api"]),
    ],
)
def test_words_name_targets(words: list[str], expected: list[str]) -> None:
    assert chosen(*words) == expected


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("deploi/api", "no target matches `deploi/api`", "did you mean `deploy/api`"),
        ("zzz", "no target matches `zzz`", "`tasker-build ls` lists the targets"),
        ("x*", "no target matches `x*`", ""),
        ("kind:nope", "no target matches `kind:nope`", "kinds here: postgres"),
        ("kind:postgre", "no target matches `kind:postgre`", "did you mean `postgres`?"),
        ("tag:deploi-x", "no target matches `tag:deploi-x`", "did you mean `deploy-x`?"),
        ("tag:zzz", "no target matches `tag:zzz`", "tags here: deploy-x, latest, {version}"),
        ("colour:red", "`colour:red`: targets are not selected by `colour:`", "ways to select: tag:, kind:, file:, state:, or"),
        ("template:x", "`template:x`: targets are not selected by `template:`", "ways to select: tag:"),
        ("Tag:latest", "`Tag:latest`: targets are not selected by `Tag:`", "did you mean `tag:latest`?"),
        ("file:nowhere.rs", "no target matches `file:nowhere.rs`", "paths start at the workspace or at the current folder"),
        ("BUILD", "no target matches `BUILD`", "did you mean `build`?"),
        ("stacks.yaml", "no target matches `stacks.yaml`", "tasker-build -f stacks.yaml"),
        ("", "`` is not a selection", "forms: x"),
        ("+", "`+` is not a selection", "2+x  x+1"),
        ("a++b", "`a++b` is not a selection", "a comma between two intersects them"),
        ("db,build", "nothing matches all of `db,build`", ""),
        ("db,", "`db,` is not a selection", ""),
    ],
)
def test_a_word_that_selects_nothing_is_an_error(word: str, message: str, hint: str) -> None:
    (problem,) = problems_of(lambda: chosen(word))
    code = "S035" if "is not a selection" in message or "not selected by" in message else "S030"
    assert (problem.code, problem.message) == (code, message)
    assert hint in " ".join(problem.hints)


def test_every_bad_word_is_reported() -> None:
    assert len(problems_of(lambda: chosen("nope", "db", "nada"))) == 2


def test_a_tag_is_also_what_it_stands_for() -> None:
    spec = load_text(SPEC)
    arguments = (spec, build_graph(spec), make_closures(spec, {}, PATHS))
    assert select(["tag:1.*"], *arguments, version="1.2") == set(ALL)


def test_a_path_may_be_typed_from_another_folder() -> None:
    spec = load_text(SPEC)
    arguments = (spec, build_graph(spec), make_closures(spec, {}, PATHS))
    located = {"here/src/lib.rs": "src/lib.rs", "src/lib.rs": "elsewhere"}.__getitem__
    assert select(["file:here/src/lib.rs"], *arguments, located=located) == {"deploy/worker"}
    assert select(["file:src/lib.rs"], *arguments, located=located) == {"deploy/worker"}, "the workspace's own names come first"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("state:modified.contxt", "did you mean `modified.context`"),
        ("state:modified.", "reasons: forced, new,"),
        ("state:Stale", "did you mean `stale`?"),
        ("state:zzz", "states: new,"),
    ],
)
def test_a_state_that_there_is_not_is_an_error_whoever_asks(word: str, hint: str) -> None:
    spec = load_text(SPEC)
    arguments = (spec, build_graph(spec), make_closures(spec, {}, PATHS))
    for states in (None, {name: frozenset({"new"}) for name in spec.targets}):
        (problem,) = problems_of(lambda states=states: select([word], *arguments, states, may_be_empty=True))  # type: ignore[misc]
        assert (problem.code, problem.message) == ("S034", f"`{word}` is no state")
        assert hint in " ".join(problem.hints)


@pytest.mark.parametrize("path", ["src/.env", "src/target/x.o", "src/a.swp", "docker/x"])
def test_a_file_that_never_counts_is_read_by_no_target(path: str) -> None:
    assert "no target reads that" in problems_of(lambda: chosen(f"file:{path}"))[0].hints[0]
