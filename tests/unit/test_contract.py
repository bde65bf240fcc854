"""What programs read from their environment is declared; nothing else can be set, and what they need is there."""

from __future__ import annotations

from tests.conftest import HEAD, load_text, places, problems_of

SPEC = (
    HEAD
    + """\
contract:
  URL: {required: true, means: where the database is}
  LEVEL: how much is said
targets:
  app: {template: x, cargo: {packages: [app]}, env: {LEVEL: info}}
  other: {extends: app}
  server: {template: x, env: {POSTGRES_DB: app}}
stacks:
  one:
    services:
      app: {target: app, environment: {URL: here}}
      builder: {target: app, build_only: true}
      server: {target: server}
      outside: {image: "redis:8", environment: {ANY: thing}}
"""
)


def test_what_is_declared_may_be_set_and_is_there() -> None:
    assert load_text(SPEC).contract["LEVEL"].means == "how much is said"


def test_a_variable_that_no_program_reads_is_named_once_where_it_stands() -> None:
    problems = problems_of(
        lambda: load_text(SPEC.replace("env: {LEVEL", "env: {LEVLE").replace("{URL: here}", "{URL: x, PORT: 1}"))
    )
    assert places(problems) == [("S021", 7, 61), ("S021", 13, 54)]
    assert problems[0].message == "no program reads the variable LEVLE: it is not in `contract`"
    assert "LEVEL" in problems[0].hints[0]
    assert "leave it out" in problems[1].hints[0]


def test_a_service_without_what_its_program_needs_is_named() -> None:
    (problem,) = problems_of(lambda: load_text(SPEC.replace(", environment: {URL: here}", "")))
    assert (problem.code, problem.span.line if problem.span else 0) == ("S022", 13)
    assert "lacks URL" in problem.message


def test_without_a_contract_anything_goes() -> None:
    load_text(HEAD + "targets: {app: {template: x, cargo: {packages: [app]}, env: {ANY: thing}}}\n")
