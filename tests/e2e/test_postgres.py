"""PostgreSQL 17 and 18 from one spec on a real engine; only the database image is built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY

from .conftest import docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.long]

STANDS_IN = REPOSITORY / "tools/engine"


@dataclass
class Databases:
    """The `db` environment under names of its own, in each version over the same workspace."""

    folder: Path
    name: str

    def _environment(self) -> dict[str, str]:
        return os.environ | {"POSTGRES_PORT": "0"}

    def run(self, version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        overlays = [word for name in ("names", version) for word in ("-f", str(self.folder / f"{name}.yaml"))]
        command = [
            sys.executable,
            "-m",
            "tasker_build",
            "-f",
            "stacks.yaml",
            *overlays,
            "--workspace",
            str(self.folder / "tasker"),
        ]
        return subprocess.run(
            [*command, *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=self._environment(),
        )

    def script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["scripts/run-dev-db.sh", *arguments],
            cwd=self.folder / "tasker/docker",
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=self._environment(),
        )

    def good(self, version: str, *arguments: str) -> str:
        done = self.run(version, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sql(self, version: str, statement: str) -> str:
        return self.good(version, "db", "psql", "-v", "ON_ERROR_STOP=1", "-Atc", statement).strip()


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder = tmp_path_factory.mktemp("databases")
    # Made on request only; where the engine is the user's, the registry has it.
    if docker("image", "inspect", "postgres:18-trixie", check=False).returncode != 0:
        subprocess.run([STANDS_IN, "bases", "postgres:18-trixie"], check=True)
    shutil.copytree(REPOSITORY / "examples/tasker", folder / "tasker", ignore=shutil.ignore_patterns("target", "docker"))
    name = f"tasker-e2e-{uuid.uuid4().hex[:8]}"
    names = f"db: {{project: {name}, networks: {{tasker-dev-db: {{name: {name}, ipam: ~}}}}, volumes: {{postgres_dev_db_data: {{name: {name}}}}}}}"
    (folder / "names.yaml").write_text(f"registry: {name}\nstacks: {{{names}}}\n")
    (folder / "17.yaml").write_text('vars: {postgres: "17"}\n')
    (folder / "18.yaml").write_text('vars: {postgres: "18"}\n')
    databases = Databases(folder, name)
    yield databases
    databases.run("17", "env", "down", "db")
    docker("volume", "rm", name, check=False)
    images = docker("image", "ls", f"{name}/tasker-pgmq", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    docker("image", "rm", *images, check=False)


QUEUES = 21
EXTENSIONS = "btree_gin,pgcrypto,pgmq,uuid-ossp"


@pytest.mark.parametrize("version", ["17", "18"])
def test_both_versions_have_everything_and_keep_their_data(databases: Databases, version: str) -> None:
    databases.good(version, "render")
    databases.good(version, "apply", "postgres")
    databases.good(version, "db", "start")
    assert databases.sql(version, "SHOW server_version_num")[:2] == version
    assert databases.sql(version, "SHOW shared_preload_libraries") == "pg_stat_statements"
    found = "SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'"
    assert databases.sql(version, found) == EXTENSIONS
    assert databases.sql(version, "SELECT count(*) FROM pgmq.meta") == str(QUEUES)
    for queue in ("orchestration_step_results_queue", "worker_payments_queue"):
        assert databases.sql(version, f"SELECT has_table_privilege('tasker', 'pgmq.q_{queue}', 'INSERT')") == "t"
    for function in ("uuidv7", "uuid_generate_v7"):
        distinct = f"SELECT count(DISTINCT {function}()) FROM generate_series(1, 1000)"  # noqa: S608
        assert databases.sql(version, distinct) == "1000"
        assert databases.sql(version, f"SELECT substr({function}()::text, 15, 1)") == "7"
    assert "all passed" in databases.good(version, "db", "test")
    databases.sql(version, f"CREATE TABLE kept AS SELECT {version} AS x")
    databases.good(version, "env", "down", "db")
    databases.good(version, "db", "start")
    assert databases.sql(version, "SELECT x FROM kept") == version
    # The other version meets this one's data: refused with the place of the version, and nothing is written.
    other = {"17": "18", "18": "17"}[version]
    databases.good(version, "env", "down", "db")
    databases.good(other, "render")
    databases.good(other, "apply", "postgres")
    for command in (("db", "start"), ("env", "up", "db")):
        refused = databases.run(other, *command)
        assert refused.returncode == 5
        assert f"holds data of PostgreSQL {version}" in refused.stderr
        assert "stacks.yaml:" in refused.stderr
    # Without the tool the server itself refuses, and the script shows what it says.
    script = databases.script("start")
    assert script.returncode == 1
    assert f"PostgreSQL {version}" in script.stdout + script.stderr
    databases.run(other, "env", "down", "db")
    databases.good(version, "render")
    databases.good(version, "db", "start")
    assert databases.sql(version, "SELECT x FROM kept") == version
    databases.good(version, "env", "down", "db")
    docker("volume", "rm", databases.name)
