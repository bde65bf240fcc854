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


def docker_bytes(*words: str) -> bytes:
    return subprocess.run(["docker", *words], stdout=subprocess.PIPE, check=True).stdout


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


# What the image of the older layout leaves in a volume: functions of a library that is gone, queues that belong to an older
# PGMQ, and the text order of another release.
OLD_LAYOUT = r"""
DROP FUNCTION uuid_generate_v7();
CREATE EXTENSION pg_uuidv7;
UPDATE pg_proc SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'c'), probin = '$libdir/pg_uuidv7', prosrc = proname
WHERE proname ~ '^uuid_(generate_v7|v7_to|time.*_to_v7)';
CREATE TABLE kept (id uuid PRIMARY KEY DEFAULT uuid_generate_v7(), word text UNIQUE);
INSERT INTO kept SELECT gen_random_uuid(), 'row ' || n FROM generate_series(1, 1000) n;
SELECT pgmq.send('worker_payments_queue', '{"paid": 7}');
ALTER TABLE pgmq.q_worker_payments_queue DROP COLUMN last_read_at;
ALTER TABLE pgmq.a_worker_payments_queue DROP COLUMN last_read_at;
ALTER EXTENSION pgmq ADD TABLE pgmq.q_worker_payments_queue;
ALTER EXTENSION pgmq ADD SEQUENCE pgmq.q_worker_payments_queue_msg_id_seq;
ALTER EXTENSION pgmq ADD TABLE pgmq.a_worker_payments_queue;
ALTER EXTENSION pgmq DROP FUNCTION pgmq.metrics_all();
DROP FUNCTION pgmq.metrics_all();
UPDATE pg_extension SET extversion = '1.5.1' WHERE extname = 'pgmq';
UPDATE pg_database SET datcollversion = '2.36' WHERE datcollversion IS NOT NULL;
UPDATE pg_collation SET collversion = '2.36' WHERE collname = 'en_US.utf8';
"""


def adopted(databases: Databases, messages: int) -> None:
    """Everything is there and works, the queue included."""
    assert databases.sql("17", "SELECT count(*) FROM kept WHERE word LIKE 'row %'") == "1000"
    fresh = (
        "INSERT INTO kept (word) VALUES (clock_timestamp()) RETURNING uuid_v7_to_timestamptz(id) > now() - interval '1 minute'"
    )
    assert databases.sql("17", fresh).splitlines()[0] == "t"
    assert databases.sql("17", "SELECT extversion FROM pg_extension WHERE extname = 'pgmq'") == "1.13.0"
    read = "SELECT count(*) FROM pgmq.read('worker_payments_queue', 0, 9) WHERE message->>'paid' = '7'"
    assert databases.sql("17", read) == str(messages)
    assert "all passed" in databases.good("17", "db", "test")
    assert databases.sql("17", "SELECT count(*) FROM pgmq.metrics_all()") == str(QUEUES)


def test_a_volume_of_the_older_layout_works_again(databases: Databases, tmp_path: Path) -> None:
    databases.good("17", "render")
    databases.good("17", "apply", "postgres")
    databases.good("17", "db", "start")
    databases.sql("17", OLD_LAYOUT)
    container = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={databases.name}").stdout.strip()
    broken = databases.run("17", "db", "psql", "-v", "ON_ERROR_STOP=1", "-c", "INSERT INTO kept (word) VALUES ('new')")
    assert "could not access file" in broken.stderr
    health = docker("exec", container, "database-health", check=False)
    assert (health.returncode, "could not access file" in health.stderr) == (1, True)
    old, new = tmp_path / "old.dump", tmp_path / "new.dump"
    dump = ("pg_dump", "-U", "tasker", "-d", "tasker_rust_test", "--format=custom")
    old.write_bytes(docker_bytes("exec", container, *dump))
    # Started anew it is healthy, without a word from anybody.
    databases.good("17", "db", "restart")
    adopted(databases, 1)
    container = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={databases.name}").stdout.strip()
    said = docker("logs", container).stderr
    told = [line for line in said.splitlines() if line.startswith("database-adopt: ")]
    assert any("tasker_rust_test: uuid_generate_v7()" in line for line in told), told
    quiet = databases.run("17", "db", "psql", "-c", "CREATE DATABASE beside")
    assert (quiet.returncode, quiet.stderr) == (0, ""), "no template has an older collation"
    again = docker("exec", container, "database-adopt")
    assert again.stdout + again.stderr == ""
    # Dumps from before and after; the older PGMQ kept messages out of them.
    new.write_bytes(docker_bytes("exec", container, *dump))
    agree = ("--yes", "--confirm", "tasker_rust_test")
    script = databases.script("restore", str(old), *agree)
    assert script.returncode == 0, script.stdout + script.stderr
    adopted(databases, 0)
    databases.good("17", "db", "restore", str(new), *agree)
    adopted(databases, 1)
    databases.good("17", "env", "down", "db")
    docker("volume", "rm", databases.name)


def test_data_moves_from_17_to_18_in_a_dump(databases: Databases) -> None:
    volume = f"{databases.name}-18"
    (databases.folder / "18.yaml").write_text(
        f'vars: {{postgres: "18"}}\nstacks: {{db: {{volumes: {{postgres_dev_db_data: {{name: {volume}}}}}}}}}\n'
    )
    try:
        databases.good("17", "render")
        databases.good("17", "apply", "postgres")
        databases.good("17", "db", "start")
        databases.sql("17", "CREATE TABLE kept (id uuid PRIMARY KEY DEFAULT uuid_generate_v7(), x int)")
        databases.sql("17", "INSERT INTO kept (x) SELECT n FROM generate_series(1, 1000) n")
        databases.sql("17", """SELECT pgmq.send('worker_payments_queue', '{"paid": 7}')""")
        # As the README has it: the dump of the old version, its server goes, the new one has a volume of its own.
        container = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={databases.name}").stdout.strip()
        dump = databases.folder / "tasker.dump"
        dump.write_bytes(docker_bytes("exec", container, "pg_dump", "-U", "tasker", "-Fc", "tasker_rust_test"))
        assert databases.script("stop").returncode == 0
        databases.good("18", "render")
        databases.good("18", "apply", "postgres")
        databases.good("18", "db", "start")
        restored = databases.script("restore", str(dump), "--yes", "--confirm", "tasker_rust_test")
        assert restored.returncode == 0, restored.stdout + restored.stderr
        assert databases.sql("18", "SHOW server_version_num")[:2] == "18"
        assert databases.sql("18", "SELECT count(*), sum(x) FROM kept") == "1000|500500"
        databases.sql("18", "INSERT INTO kept (x) VALUES (0)")
        assert databases.sql("18", "SELECT message->>'paid' FROM pgmq.read('worker_payments_queue', 0, 1)") == "7"
        assert "all passed" in databases.good("18", "db", "test")
        # The old data is where it was.
        databases.good("18", "env", "down", "db")
        databases.good("17", "render")
        databases.good("17", "db", "start")
        assert databases.sql("17", "SELECT count(*) FROM kept") == "1000"
    finally:
        databases.run("17", "env", "down", "db")
        docker("volume", "rm", databases.name, volume, check=False)
        (databases.folder / "18.yaml").write_text('vars: {postgres: "18"}\n')
