"""Pieces that environments are made of: shared Dockerfiles, watched sources, variables, checked values, trees."""

from __future__ import annotations

import pytest

from tasker_build.compose import builders, stack_services, variables
from tasker_build.dockerfile import parse, reaching
from tasker_build.ecosystems.closure import Closure, make_closures
from tasker_build.errors import SpecError
from tasker_build.render import stamp_state, stamped
from tasker_build.spec.model import TargetName
from tasker_build.tree import draw_tree
from tests.conftest import load

TWO = """\
ARG BASE=debian
FROM ${BASE} AS chef
RUN a
FROM chef AS planner
RUN b
FROM chef AS builder
COPY --from=planner /x /x
FROM chef AS builder-dev
RUN --mount=type=bind,from=planner,target=/x c
"""


def test_only_what_leads_to_a_stage_counts() -> None:
    whole = parse(TWO)
    release, debug = reaching(whole, "builder"), reaching(whole, "builder-dev")
    assert [stage.name for stage in release.stages] == ["chef", "planner", "builder"]
    assert [stage.name for stage in debug.stages] == ["chef", "planner", "builder-dev"]
    assert [stage.name for stage in reaching(whole, "chef").stages] == ["chef"]
    assert reaching(whole, None) == debug
    # A change in one stage is no change for the other.
    other = reaching(parse(TWO.replace("target=/x c", "target=/x d")), "builder")
    assert [step.canonical for step in other.instructions] == [step.canonical for step in release.instructions]
    assert release.globals == whole.globals


BUILDERS = b"""\
version: 1
project: demo
bases: {rust: "rust:1"}
targets:
  build: {kind: cargo-chef, from: {rust: rust}, stage: builder}
  build-dev: {extends: build, image: dev, file: build/Dockerfile, stage: %s}
"""


def test_two_builders_share_a_file_when_their_stages_differ() -> None:
    assert load([("s", BUILDERS % b"builder-dev")]).targets[TargetName("build-dev")].dockerfile == "build/Dockerfile"
    with pytest.raises(SpecError) as caught:
        load([("s", BUILDERS % b"builder")])
    assert [problem.code for problem in caught.value.problems] == ["S018"]


STACK = b"""\
version: 1
project: demo
output: docker
registry: acme
sources: {values: {APP_ENV: config/environments}}
targets:
  app: {template: x.j2, image: app, tags: ["{version}", "deploy-{version}"], env: {APP_ENV: production}}
stacks:
  dev:
    services:
      db: {image: "postgres:17", environment: {PASSWORD: "${PASSWORD?set it}", COST: "$${NO}"}}
      app: {target: app, watch: true, ports: ["${PORT:-80}:80"], environment: {APP_ENV: %s}}
"""
CLOSURES = {TargetName("app"): Closure(manifests=("Cargo.toml",), sources=("src", "lib/a"), runtime=("config",))}


def test_what_is_compiled_is_watched_and_what_is_mounted_is_not() -> None:
    spec = load([("s", STACK % b"production")])
    watch = stack_services(spec, spec.stacks["dev"], CLOSURES)["app"]["develop"]["watch"]
    assert [rule["path"] for rule in watch] == ["../Cargo.toml", "../lib/a", "../src"]
    assert {rule["action"] for rule in watch} == {"rebuild"}


def test_variables_and_their_defaults() -> None:
    spec = load([("s", STACK % b"production")])
    found = variables(stack_services(spec, spec.stacks["dev"], CLOSURES))
    assert found == {"PASSWORD": "required", "APP_IMAGE": "acme/app:latest", "PORT": "80"}


def test_who_builds_a_target() -> None:
    builder = builders(load([("s", STACK % b"production")]))["app"]
    assert (builder.file, builder.service, builder.image) == ("docker-compose.dev.yml", "app", "acme/app")
    assert builder.tags == ("{version}", "deploy-{version}")


def test_a_value_without_its_folder_is_a_mistake() -> None:
    paths = ("config/environments/production/a.toml", "config/environments/integration/a.toml")
    make_closures(load([("s", STACK % b"production")]), {}, paths)
    make_closures(load([("s", STACK % b'"${ANY}"')]), {}, paths)
    with pytest.raises(SpecError) as caught:
        make_closures(load([("s", STACK % b"productoin")]), {}, paths)
    problem = caught.value.problems[0]
    assert (problem.code, problem.span is not None and problem.span.line) == ("W007", 12)
    assert "did you mean `production`?" in problem.hints[0]


def test_a_tree_as_people_draw_it() -> None:
    drawn = draw_tree("docker", ["b/c/D", "a", "b/e"], {"a": "first", "b/": "a folder"})
    assert drawn.split("\n") == [
        "docker/",
        "├── b/         # a folder",
        "│   ├── c/",
        "│   │   └── D",
        "│   └── e",
        "└── a          # first",
    ]


def test_the_stamp_of_markdown_is_a_comment_there() -> None:
    text = stamped("README.md", "# Title\n", "docs/x.j2").text
    assert text.startswith("<!-- Rendered by")
    assert text.split("\n")[0].endswith(" -->")
    assert stamp_state(text) == "ours"
    assert stamp_state(text + "more\n") == "edited"
