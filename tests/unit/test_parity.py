"""What users of the hand-written folder look for, by name and value, in what the default spec renders."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tests.conftest import HEAD, REPOSITORY, load_text

PATHS = [
    "build/Dockerfile",
    "deploy/orchestration/Dockerfile",
    "deploy/workers/rust/Dockerfile",
    "deploy/workers/ruby/Dockerfile",
    "deploy/workers/python/Dockerfile",
    "deploy/workers/wasm/Dockerfile",
    "dev/orchestration/Dockerfile",
    "dev/workers/rust/Dockerfile",
    "docker-compose.integration.yml",
    "docker-compose.dev.yml",
    "docker-compose.deploy.yml",
    "docker-compose.db.yml",
    "Dockerfile.postgres-extensions",
    "README.md",
    ".env",
    "scripts/run-integration.sh",
    "scripts/run-dev.sh",
    "scripts/run-dev-db.sh",
    "scripts/run-prod.sh",
    "scripts/build-images.sh",
    "scripts/cleanup.sh",
    "scripts/postgres-init.sql",
    "scripts/postgres.conf",
    "scripts/postgres-dev.conf",
    "scripts/postgres-prod.conf",
]
# Everything else that is rendered, and why: an ignore file for each Dockerfile comes on top.
MORE = {
    "build/workers/Dockerfile",  # the dependencies of workers for other languages, on top of the builder base
    "ci/github-actions.yml",  # a workflow to copy
}
# stack → (database, subnet, network, volume)
ENVIRONMENTS = {
    "integration": ("tasker_integration", "172.20.0.0/16", "tasker-integration-network", "tasker-integration-postgres-data"),
    "dev": ("tasker_development", "172.21.0.0/16", "tasker-development-network", "tasker-dev-postgres-data"),
    "deploy": ("tasker_production", "172.22.0.0/16", "tasker-production-network", "tasker-prod-postgres-data"),
    "db": ("tasker_rust_test", "172.30.0.0/16", "tasker-dev-database", "tasker-dev-database-data"),
}


@pytest.fixture(scope="module")
def project() -> Project:
    return Project.open([REPOSITORY / "stacks.yaml"])


@pytest.fixture(scope="module")
def stacks(project: Project) -> dict[str, dict[str, Any]]:
    return {stack.name: yaml.safe_load(project.tree.files[stack.compose_file].text) for stack in project.spec.stacks.values()}


def text(project: Project, name: str) -> str:
    return project.tree.files[project.spec.targets[TargetName(name)].dockerfile].text


def test_p01_every_path_of_the_old_tree_is_there(project: Project) -> None:
    ignored = {
        f"{path}.dockerignore" for path in project.tree.files if "Dockerfile" in path and not path.endswith(".dockerignore")
    }
    assert set(project.tree.files) == {*PATHS, *MORE, *ignored}
    assert all(project.tree.files[path].mode == 0o755 for path in PATHS if path.endswith(".sh"))


def test_p02_the_builder_has_its_three_stages(project: Project) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text(project, "build"), re.MULTILINE)
    assert stages[:3] == ["chef", "planner", "builder"]
    assert project.spec.image_reference(project.spec.targets[TargetName("build")]) == "jcoletaylor/tasker-builder-base:latest"
    assert project.spec.bases["rust"].startswith("rust:1.89-")


@pytest.mark.parametrize(
    ("target", "image", "tags", "stage"),
    [
        ("deploy/orchestration", "tasker-orchestration", ("{version}", "deploy-{version}"), "runtime"),
        ("deploy/workers/rust", "tasker-worker-rust", ("{version}", "deploy-{version}"), "runtime"),
        ("dev/orchestration", "tasker-orchestration", ("dev-{version}",), "dev-runtime"),
        ("dev/workers/rust", "tasker-worker-rust", ("dev-{version}",), "dev-runtime"),
    ],
)
def test_p03_p04_p05_p10_images_stages_users_and_signals(
    project: Project, target: str, image: str, tags: tuple[str, ...], stage: str
) -> None:
    found = project.spec.targets[TargetName(target)]
    assert (found.image, found.tags, found.stage) == (image, tags, stage)
    assert found.user is not None
    assert (found.user.name, found.user.uid) == ("tasker", 1001)
    assert found.stop_signal == ("SIGINT" if "dev" in target else "SIGTERM")
    assert "/app/config /app/logs" in text(project, target)


def published(stacks: dict[str, dict[str, Any]], stack: str) -> dict[tuple[str, str], str]:
    """(service, port in the container) → variable and default."""
    ports = [(name, port) for name, service in stacks[stack]["services"].items() for port in service.get("ports", ())]
    rows = [(name, re.fullmatch(r"\$\{BIND_ADDRESS:-127\.0\.0\.1\}:\$\{(\w+:-[0-9-]+)\}:(\d+)", port)) for name, port in ports]
    return {(name, match[2]): match[1].replace(":-", "=") for name, match in rows if match}


OTHER_PORTS = {("ruby-worker", "8082"): "RUBY_WORKER_PORT=8082", ("python-worker", "8083"): "PYTHON_WORKER_PORT=8083"}
PORTS = OTHER_PORTS | {
    ("postgres", "5432"): "POSTGRES_PORT=5432",
    ("orchestration", "8080"): "ORCHESTRATION_PORT=8080",
    ("worker", "8081"): "WORKER_PORT=8081",
}
CONSOLES = {("orchestration", "6669"): "ORCHESTRATION_CONSOLE_PORT=6669", ("worker", "6669"): "WORKER_CONSOLE_PORT=6670"}


def test_p06_p07_p23_services_and_ports(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    for name in ("integration", "dev", "deploy"):
        services = stacks[name]["services"]
        assert {"builder-base", "postgres", "orchestration", "worker"} <= set(services)
        # Workers for other languages are switched on by a profile of their own, or all by one.
        for language in ("ruby", "python", "wasm"):
            assert services[f"{language}-worker"]["profiles"] == ["workers", language]
    assert published(stacks, "integration") == PORTS
    assert published(stacks, "dev") == PORTS | CONSOLES
    # Three workers cannot share a port. The one of `run-prod.sh` is on the old one.
    assert published(stacks, "deploy") == PORTS | {("worker", "8081"): "WORKER_PORT=8181-8199"}
    assert project.spec.stacks["deploy"].variables == {"WORKER_PORT": "8081"}
    assert published(stacks, "db") == {("postgres", "5432"): "POSTGRES_PORT=5432"}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_p08_databases_networks_and_volumes_keep_their_names(stacks: dict[str, dict[str, Any]], name: str) -> None:
    database, subnet, network, volume = ENVIRONMENTS[name]
    environment = stacks[name]["services"]["postgres"]["environment"]
    assert (environment["POSTGRES_DB"], environment["POSTGRES_USER"]) == (database, "tasker")
    assert [row["name"] for row in stacks[name]["volumes"].values()] == [volume]
    ((found),) = stacks[name]["networks"].values()
    assert (found["name"], found["ipam"]["config"][0]["subnet"]) == (network, subnet)


# service → limits (memory, processors) and reservations of production
RESOURCES = {
    "postgres": (("2G", "1.0"), ("1G", "0.5")),
    "orchestration": (("1G", "0.5"), ("512M", "0.25")),
    "worker": (("2G", "1.0"), ("1G", "0.5")),
    "ruby-worker": (("1G", "0.5"), None),
    "python-worker": (("1G", "0.5"), None),
    "wasm-worker": (("512M", "0.25"), None),
}


@pytest.mark.parametrize("name", RESOURCES)
def test_p11_production_is_limited(stacks: dict[str, dict[str, Any]], name: str) -> None:
    resources = stacks["deploy"]["services"][name]["deploy"]["resources"]
    limits, reserved = resources["limits"], resources.get("reservations")
    found = ((limits["memory"], limits["cpus"]), (reserved["memory"], reserved["cpus"]) if reserved else None)
    assert found == RESOURCES[name]
    assert limits["pids"] == 256


def test_p11_services_come_back_by_the_policy_of_their_environment(stacks: dict[str, dict[str, Any]]) -> None:
    for stack, content in stacks.items():
        policies = {name: service.get("restart") for name, service in content["services"].items()}
        for name, policy in policies.items():
            once = "no" if name == "migrate" else None if name.startswith("builder-") else ""
            always = "always" if stack == "deploy" else "unless-stopped"
            assert policy == (always if once == "" else once), f"{stack} {name}"


def test_p12_development_has_its_tools_and_its_mount(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    for target, helper in (("dev/orchestration", "health-check.sh"), ("dev/workers/rust", "worker-status.sh")):
        assert f"/app/debug/{helper}" in text(project, target)
        assert all(tool in text(project, target) for tool in ("netcat-traditional", "procps", "htop", "jq", 'RUST_LOG="debug"'))
    assert stacks["dev"]["services"]["orchestration"]["volumes"] == ["../config:/app/config:ro"]


def test_p13_to_p16_scripts_know_the_old_words(project: Project) -> None:
    def words(path: str) -> set[str]:
        rows = re.findall(r"^ +([a-z]+(?: \| [a-z]+)*)\)", project.tree.files[path].text, re.MULTILINE)
        return {word for row in rows for word in row.split(" | ")}

    assert words("scripts/build-images.sh") >= {
        "base",
        "orchestration",
        "workers",
        "rust",
        "ruby",
        "python",
        "wasm",
        "postgres",
        "all",
    }
    assert words("scripts/cleanup.sh") >= {"containers", "basic", "images", "cache", "deep"}
    commands = {"start", "stop", "restart", "status", "logs", "psql", "shell", "test", "build", "reset"}
    assert words("scripts/run-dev-db.sh") >= commands


def test_p19_p20_settings_queues_and_extensions(project: Project) -> None:
    init = project.tree.files["scripts/postgres-init.sql"].text
    for word in ("uuid-ossp", "pgcrypto", "btree_gin", "pgmq", "linear_workflow", "payments", "orchestration_step_results_queue"):
        assert word in init
    connections = {
        path: re.search(r"^max_connections = (\d+)", project.tree.files[f"scripts/{path}.conf"].text, re.MULTILINE)
        for path in ("postgres", "postgres-dev", "postgres-prod")
    }
    assert {path: match[1] for path, match in connections.items() if match} == {
        "postgres": "200",
        "postgres-dev": "20",
        "postgres-prod": "100",
    }


def test_p21_labels(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    assert {"description", "maintainer", "base-image", "extensions"} <= set(project.spec.targets[TargetName("postgres")].labels)
    assert stacks["db"]["services"]["postgres"]["labels"]["systems.tasker.service"] == "database"


def test_p22_the_compiler_cache_has_the_old_variables() -> None:
    settings = load_text(HEAD + "toolchain: {sccache: {mode: remote, store: github}}\ntargets: {}\n").toolchain.sccache.settings
    assert (settings["RUSTC_WRAPPER"], settings["SCCACHE_GHA_ENABLED"], settings["SCCACHE_CACHE_SIZE"]) == (
        "sccache",
        "true",
        "2G",
    )


def test_p25_commands_are_given_from_the_folder_of_the_files(project: Project) -> None:
    readme = project.tree.files["README.md"].text
    assert "docker compose -f docker-compose.dev.yml up --build" in readme
    # No command of compose works in production without the variable.
    for path, file in project.tree.files.items():
        for line in file.text.split("\n"):
            if re.search(r"docker compose -f docker-compose\.deploy\.yml \w", line):
                assert re.search(r"POSTGRES_PASSWORD=|\$\{credentials\}", line), f"{path}: {line}"
    assert "COMPOSE_FILE=docker-compose.integration.yml" in project.tree.files[".env"].text
