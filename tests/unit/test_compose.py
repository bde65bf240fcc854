"""Stacks as compose data."""

from __future__ import annotations

from typing import Any

import pytest

from tasker_build.compose import build_secrets, named_context, runs, stack_services, variables_in_urls
from tasker_build.spec.model import TargetName, image_variable
from tasker_build.spec.names import secret_variable
from tests.conftest import HEAD, load_text, problems_of

TEXT = """
registry: reg
bases: {debian: debian:13}
targets:
  build: {kind: cargo-chef, from: {rust: debian}, image: builder, stage: b}
  deploy/api: {kind: postgres, from: {builder: build, runtime: debian}, secrets: [ca-file], args: {A: "1"}, network: none}
  off: {kind: postgres, enabled: false}
stacks:
  s:
    services:
      base: {target: build, build_only: true}
      db: {image: "postgres:17", healthcheck: {command: [CMD-SHELL, "pg_isready"]}}
      api:
        target: deploy/api
        command: [run, "a b"]
        environment: {B: "2", A: "1"}
        depends_on: {db: healthy, migrate: completed, gone: started}
        ports: ["8080:80"]
        healthcheck: {command: [/bin/check], start_interval: 1s}
        init: true
        compose: {read_only: true}
      migrate: {image: x, profiles: [ops], restart: "no"}
      gone: {target: off}
      away: {image: x, enabled: false}
"""


def services(text: str = TEXT) -> dict[str, dict[str, Any]]:
    spec = load_text(HEAD + text)
    return dict(stack_services(spec, spec.stacks["s"], {}))


def test_what_is_switched_off_is_left_out_with_its_dependants_mention() -> None:
    found = services()
    assert list(found) == ["base", "db", "api", "migrate"]
    assert found["api"]["depends_on"] == {
        "db": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }


def test_images_of_targets_can_be_pinned_and_are_never_pulled() -> None:
    found = services()
    assert found["api"]["image"] == "${DEPLOY_API_IMAGE:-reg/demo-deploy-api:latest}"
    assert found["base"]["image"] == "${BUILDER_IMAGE:-reg/builder:latest}"
    assert (found["api"]["pull_policy"], found["db"]["image"], "build" in found["db"]) == ("never", "postgres:17", False)
    assert found["base"]["deploy"] == {"replicas": 0}


def test_a_build_names_its_parents_as_services() -> None:
    assert services()["api"]["build"] == {
        "context": "..",
        "dockerfile": "docker/deploy/api/Dockerfile",
        "additional_contexts": {"reg/builder": "service:base"},
        "args": {"A": "1"},
        "secrets": ["ca-file"],
        "network": "none",
    }
    assert services()["base"]["build"]["target"] == "b"


def test_health_checks() -> None:
    found = services()
    assert found["db"]["healthcheck"]["test"] == ["CMD-SHELL", "pg_isready"]
    assert found["api"]["healthcheck"]["test"] == ["CMD", "/bin/check"]
    assert found["api"]["healthcheck"]["start_interval"] == "1s"
    assert "start_interval" not in found["db"]["healthcheck"]


def test_the_rest_is_passed_on_in_the_order_people_expect() -> None:
    keys = list(services()["api"])
    assert keys[:3] == ["image", "build", "pull_policy"]
    assert keys[-2:] == ["init", "read_only"]
    assert list(services()["api"]["environment"]) == ["B", "A"]
    assert services()["migrate"] == {"image": "x", "profiles": ["ops"], "restart": "no"}


def test_secrets_are_files_of_the_site() -> None:
    spec = load_text(HEAD + TEXT)
    assert build_secrets(spec, spec.stacks["s"]) == {
        "ca-file": {"file": "${TASKER_BUILD_CA_FILE:-/dev/null}"},
        "cargo_jobs": {"file": "${TASKER_BUILD_CARGO_JOBS:-/dev/null}"},
    }
    assert secret_variable("a.b-c") == "TASKER_BUILD_A_B_C"


def test_names() -> None:
    spec = load_text(HEAD + TEXT)
    assert image_variable(spec.targets[TargetName("deploy/api")]) == "DEPLOY_API_IMAGE"


def test_targets_that_share_an_image_have_variables_of_their_own() -> None:
    kinds = {"a": "", "b": ', tags: ["dev-{version}"]', "c": ', tags: ["{version}-slim"]'}
    rows = "".join(f"  {name}: {{template: x, image: acme-x{tags}}}\n" for name, tags in kinds.items())
    found = load_text(HEAD + "targets:\n" + rows).targets.values()
    assert [image_variable(target) for target in found] == ["ACME_X_IMAGE", "ACME_X_DEV_IMAGE", "ACME_X_SLIM_IMAGE"]


def test_what_runs_and_what_switches_it_on() -> None:
    services = (
        "{b: {target: a, build_only: true}, one: {target: b, profiles: [p]}, two: {target: b, profiles: [q, p]}, "
        "three: {target: c, profiles: [p]}, four: {target: c}, off: {target: a, enabled: false}}"
    )
    targets = "{a: {template: x}, b: {template: x}, c: {template: x, tags: ['dev-{version}']}}"
    spec = load_text(HEAD + f"targets: {targets}\nstacks: {{s: {{services: {services}}}}}\n")
    found = [(str(run.target), run.tag, run.profiles) for run in runs(spec, spec.stacks["s"])]
    assert found == [("b", "{version}", ("p", "q")), ("c", "dev-{version}", ())]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("postgresql://me:${PASSWORD-}@host/db", ("PASSWORD",)),
        ("postgresql://${NAME}@host/${DB}", ("NAME",)),
        ("http://${HOST:-localhost}:80/", ()),
        ("PASSWORD: ${PASSWORD?say it}, someone@host", ()),
    ],
)
def test_variables_that_a_url_holds_before_its_at(text: str, found: tuple[str, ...]) -> None:
    assert variables_in_urls(text) == found
    assert (named_context("a:latest"), named_context("a:1")) == ("a", "a:1")


def test_two_targets_never_share_a_variable() -> None:
    text = "targets:\n  a: {template: x, image: foo, tags: ['dev-{version}']}\n  b: {template: x, image: foo-dev}\n"
    (problem,) = problems_of(lambda: load_text(HEAD + text))
    assert (problem.code, problem.message) == (
        "S018",
        "target `b` and target `a` both make the variable FOO_DEV_IMAGE of compose files",
    )
