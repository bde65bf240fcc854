"""The rendered scripts with stand-ins for docker on their PATH: what they call, with which arguments and environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasker_build.spec.model import STORES
from tasker_build.spec.names import secret_variable
from tests.conftest import REPOSITORY

# Writes what it was called with, and what the build would read as the limit for cargo.
RECORD = """\
#!/bin/bash
limit=$(cat "${TASKER_BUILD_CARGO_JOBS:-/dev/null}")
echo "NAME $* jobs=${limit} parallel=${COMPOSE_PARALLEL_LIMIT:-}" >>"$CALLS"
"""
OLD_DOCKER = '#!/bin/bash\n[[ "$1" != compose ]] || exit 1\necho "docker $*" >>"$CALLS"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "examples/tasker/docker", tmp_path / "docker")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    file = folder / "bin" / name
    file.write_text(text.replace("NAME", name))
    file.chmod(0o755)


def run(folder: Path, script: str, *arguments: str, **env: str) -> tuple[int, str]:
    """Exit code, and what was called."""
    calls = folder / "calls"
    calls.write_text("")
    where = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(calls), "TMPDIR": str(folder), **env}
    done = subprocess.run(
        [str(folder / "docker/scripts" / script), *arguments], env=where, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, calls.read_text() + done.stderr


def test_jobs_limit_cargo_and_leave_no_file(folder: Path) -> None:
    program(folder, "docker", RECORD)
    before = set(folder.iterdir()) | {folder / "calls"}
    code, said = run(folder, "build-images.sh", "--jobs", "3", "base", "v1")
    assert code == 0, said
    assert " build builder-base jobs=3 parallel=1" in said
    assert set(folder.iterdir()) == before
    code, said = run(folder, "build-images.sh", "base", "v1")
    assert " build builder-base jobs= parallel=\n" in said


@pytest.mark.parametrize("number", ["0", "x", "", "-1", "1000"])
def test_jobs_are_a_number(folder: Path, number: str) -> None:
    program(folder, "docker", RECORD)
    code, said = run(folder, "build-images.sh", "base", "--jobs", number)
    assert (code, said.splitlines()[-1]) == (1, "error: --jobs takes a number from 1 to 999")
    assert " build " not in said


@pytest.mark.parametrize(
    ("script", "arguments", "called"),
    [
        ("run-integration.sh", (), "docker-compose -f docker-compose.integration.yml"),
        ("run-dev.sh", (), "docker-compose -f docker-compose.dev.yml"),
        ("run-prod.sh", (), "docker-compose -f docker-compose.deploy.yml"),
        ("run-dev-db.sh", ("start",), "docker-compose -f docker-compose.db.yml"),
        ("run-dev-db.sh", ("stop",), "docker-compose -f docker-compose.db.yml"),
        ("build-images.sh", ("base", "v1"), "docker-compose -f docker-compose.integration.yml build builder-base"),
    ],
)
def test_an_older_compose_serves_too(folder: Path, script: str, arguments: tuple[str, ...], called: str) -> None:
    program(folder, "docker", OLD_DOCKER)
    program(folder, "docker-compose", RECORD)
    code, said = run(folder, script, *arguments, POSTGRES_PASSWORD="x")  # noqa: S106 - nobody's
    assert code == 0, said
    assert called in said


def test_without_any_compose_the_scripts_say_so(folder: Path) -> None:
    program(folder, "docker", OLD_DOCKER)
    program(folder, "docker-compose", "#!/bin/bash\nexit 127\n")
    (folder / "bin/docker-compose").unlink()
    where = ":".join(part for part in os.environ["PATH"].split(":") if not (REPOSITORY / part / "docker-compose").exists())
    code, said = run(folder, "run-integration.sh", PATH=f"{folder / 'bin'}:{where}")
    assert (code, "neither 'docker compose' nor 'docker-compose' is installed" in said) == (4, True)


def test_the_workflow_is_one_by_githubs_schema_and_its_commands_pass_shellcheck() -> None:
    file = REPOSITORY / "examples/tasker/docker/ci/github-actions.yml"
    words = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    workflow = yaml.safe_load(file.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@v\d+(\.\d+)*", step["uses"])
        else:
            # Values of the run reach a command through its environment, never by being written into it.
            assert "${{" not in step["run"]
            words = [str(Path(sys.executable).with_name("shellcheck")), "--shell", "bash", "-"]
            done = subprocess.run(words, input=step["run"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
    names = {"TASKER_BUILD_" + name.upper() for name in STORES["github"].secrets}
    script = next(step["with"]["script"] for step in steps if "script" in step.get("with", {}))
    assert all(name.removeprefix("TASKER_BUILD_") in script for name in names)
    assert {secret_variable(secret) for secret in STORES["github"].secrets} == names
