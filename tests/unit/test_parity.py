"""What users of the hand-written folder look for, by name and value, in what the default spec renders."""

from __future__ import annotations

import re
import tomllib
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


def test_p20_queues_and_extensions(project: Project) -> None:
    init = project.tree.files["scripts/postgres-init.sql"].text
    for word in ("uuid-ossp", "pgcrypto", "btree_gin", "pgmq", "linear_workflow", "payments", "orchestration_step_results_queue"):
        assert word in init


# Section 7 of what was there before: setting → value in integration, development, production; None: not set.
SETTINGS: dict[str, tuple[str | None, str | None, str | None]] = {
    "listen_addresses": ("*", "*", "*"),
    "port": ("5432", "5432", "5432"),
    "max_connections": ("200", "20", "100"),
    "max_prepared_transactions": ("100", None, None),
    "shared_buffers": ("256MB", "128MB", "512MB"),
    "effective_cache_size": ("1GB", "512MB", "1536MB"),
    "work_mem": ("4MB", "8MB", "16MB"),
    "maintenance_work_mem": ("64MB", "64MB", "128MB"),
    "wal_buffers": ("16MB", None, "16MB"),
    "wal_level": (None, "replica", "replica"),
    "max_wal_size": ("1GB", "512MB", "2GB"),
    "min_wal_size": ("256MB", "64MB", "256MB"),
    "checkpoint_completion_target": ("0.9", "0.7", "0.9"),
    "checkpoint_timeout": ("10min", "10min", "15min"),
    "wal_compression": (None, None, "on"),
    "random_page_cost": ("1.1", "1.1", "1.1"),
    "seq_page_cost": ("1.0", None, "1.0"),
    "cpu_tuple_cost": ("0.01", None, None),
    "cpu_index_tuple_cost": ("0.005", None, None),
    "cpu_operator_cost": ("0.0025", None, None),
    "effective_io_concurrency": ("200", "200", "200"),
    "bgwriter_delay": ("100ms", None, "200ms"),
    "bgwriter_lru_maxpages": ("200", None, "100"),
    "bgwriter_lru_multiplier": ("4.0", None, "2.0"),
    "log_destination": ("stderr", None, None),
    "logging_collector": ("off", "on", "on"),
    "log_directory": (None, "/var/log/postgresql", "/var/log/postgresql"),
    "log_filename": (None, "postgresql-dev.log", "postgresql-prod-%Y%m%d.log"),
    "log_rotation_age": (None, None, "1d"),
    "log_rotation_size": (None, None, "100MB"),
    "log_statement": ("mod", "all", None),
    "log_duration": ("on", None, None),
    "log_min_duration_statement": ("1000", "100", "1000"),
    "log_checkpoints": (None, "on", "on"),
    "log_lock_waits": (None, "on", "on"),
    "log_connections": (None, "on", None),
    "log_disconnections": (None, "on", None),
    "log_temp_files": (None, "0", "10MB"),
    "log_line_prefix": ("%t [%p-%l] %q%u@%d ", None, None),
    "log_timezone": ("UTC", None, None),
    "timezone": ("UTC", None, None),
    "autovacuum": ("on", "on", "on"),
    "autovacuum_max_workers": ("3", None, "3"),
    "autovacuum_naptime": ("30s", "10min", "1min"),
    "autovacuum_vacuum_threshold": ("50", None, None),
    "autovacuum_analyze_threshold": ("25", None, None),
    "autovacuum_vacuum_scale_factor": (None, "0.2", "0.1"),
    "autovacuum_analyze_scale_factor": (None, "0.1", "0.05"),
    "autovacuum_vacuum_cost_limit": (None, None, "200"),
    "max_locks_per_transaction": ("256", None, None),
    "max_pred_locks_per_transaction": ("256", None, None),
    "deadlock_timeout": ("1s", None, None),
    "archive_mode": ("off", None, None),
    "max_wal_senders": ("0", None, None),
    "max_replication_slots": ("0", None, None),
    "shared_preload_libraries": ("pgmq", "pg_stat_statements", "pg_stat_statements,pgmq"),
    "lc_messages": ("en_US.utf8", None, None),
    "lc_monetary": ("en_US.utf8", None, None),
    "lc_numeric": ("en_US.utf8", None, None),
    "lc_time": ("en_US.utf8", None, None),
    "default_text_search_config": ("pg_catalog.english", None, None),
    "fsync": ("on", "off", "on"),
    "synchronous_commit": ("on", "off", "on"),
    "full_page_writes": ("on", "off", "on"),
    "lock_timeout": ("60000", "30s", "10s"),
    "statement_timeout": ("300000", "0", "300s"),
    "idle_in_transaction_session_timeout": ("300000", None, "600s"),
}
# On purpose not the same: PGMQ is no library, and what is logged goes to where `logs` looks.
LOGGING = {"log_directory", "log_filename", "log_rotation_age", "log_rotation_size"}
STDERR = {"log_destination": "stderr", "logging_collector": "off"}
OURS = [
    {"shared_preload_libraries": "pg_stat_statements", "wal_level": "replica"},
    {"log_min_messages": "info", **STDERR},
    {
        "shared_preload_libraries": "pg_stat_statements",
        "ssl": "off",
        "password_encryption": "scram-sha-256",
        "track_activities": "on",
        "track_counts": "on",
        "track_io_timing": "on",
        "track_functions": "all",
        **STDERR,
    },
]


def settings_of(project: Project, path: str) -> dict[str, str]:
    rows = re.findall(r"^(\w+) = (?:'(.*)'|(\S+))$", project.tree.files[path].text, re.MULTILINE)
    return {name: text or number for name, text, number in rows}


@pytest.mark.parametrize(("column", "name"), [(0, "postgres"), (1, "postgres-dev"), (2, "postgres-prod")])
def test_p19_the_servers_settings_are_the_old_ones(project: Project, column: int, name: str) -> None:
    old = {setting: row[column] for setting, row in SETTINGS.items() if row[column] is not None and setting not in LOGGING}
    assert settings_of(project, f"scripts/{name}.conf") == old | OURS[column]


# Three that the server keeps for itself, the health check, and somebody's prompt.
SPARE = 5
SCALED = {("deploy", "worker"): 3}


@pytest.mark.parametrize("stack", ["integration", "dev", "deploy"])
def test_the_pools_of_all_programs_fit_the_server(project: Project, stacks: dict[str, dict[str, Any]], stack: str) -> None:
    wanted = 0
    for name, service in stacks[stack]["services"].items():
        environment = service.get("environment", {})
        # What ends before the others start takes nothing from them.
        if "DATABASE_URL" not in environment or service.get("restart") == "no":
            continue
        pool = 0
        for place in ("base", f"environments/{environment['TASKER_ENV']}"):
            file = REPOSITORY / "examples/tasker/config/tasker" / place / "database.toml"
            if file.exists():
                pool = tomllib.loads(file.read_text())["database"].get("max_connections", pool)
        wanted += pool * SCALED.get((stack, name), 1)
    mounted = next(row for row in stacks[stack]["services"]["postgres"]["volumes"] if row.endswith("postgresql.conf:ro"))
    limit = int(settings_of(project, mounted.split(":")[0].removeprefix("./"))["max_connections"])
    assert 0 < wanted <= limit - SPARE


def test_p21_labels(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    assert {"description", "maintainer", "base-image", "extensions"} <= set(project.spec.targets[TargetName("postgres")].labels)
    assert stacks["db"]["services"]["postgres"]["labels"]["systems.tasker.service"] == "database"


def test_p22_the_compiler_cache_has_the_old_variables() -> None:
    settings = (
        load_text(HEAD + "toolchain: {sccache: {mode: remote, store: github}}\ntargets: {}\n")
        .toolchain.settings["sccache"]
        .settings
    )
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
