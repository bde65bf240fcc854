"""The selection language, case by case."""

from __future__ import annotations

import pytest

from tasker_build.closure import make_closures
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
    return sorted(select(words, spec, build_graph(spec), make_closures(spec, None, PATHS)))


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
        ("kind:nope", "no target matches `kind:nope`", ""),
        ("colour:red", "no target matches `colour:red`", ""),
        ("file:nowhere.rs", "no target matches `file:nowhere.rs`", ""),
        ("", "`` is not a selection", "forms: x"),
        ("+", "`+` is not a selection", "forms: x"),
        ("a++b", "`a++b` is not a selection", "forms: x"),
        ("db,build", "nothing matches all of `db,build`", ""),
        ("db,", "`` is not a selection", ""),
    ],
)
def test_a_word_that_selects_nothing_is_an_error(word: str, message: str, hint: str) -> None:
    (problem,) = problems_of(lambda: chosen(word))
    assert (problem.code, problem.message) == ("S030", message)
    assert hint in " ".join(problem.hints)


def test_every_bad_word_is_reported() -> None:
    assert len(problems_of(lambda: chosen("nope", "db", "nada"))) == 2
