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

from tasker_build.ecosystems.cargo.record import STORES
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


def test_jobs_may_stand_behind_an_equals_sign(folder: Path) -> None:
    program(folder, "docker", RECORD)
    code, said = run(folder, "build-images.sh", "base", "--jobs=4")
    assert code == 0, said
    assert " build builder-base jobs=4 parallel=1" in said


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("base", "v1", "false", "more"), "error: one word too many: 'more'; --help shows what there is"),
        (("base", "--quick"), "error: unknown option '--quick'; --help shows what there is"),
        (("base", "v1", "yes"), "error: push is true or false, not 'yes'"),
        (("base", "v 1"), "error: 'v 1' is no image tag"),
    ],
)
def test_a_word_that_means_nothing_is_refused(folder: Path, arguments: tuple[str, ...], error: str) -> None:
    program(folder, "docker", RECORD)
    code, said = run(folder, "build-images.sh", *arguments)
    assert (code, said.splitlines()[-1]) == (1, error)
    assert " build " not in said


@pytest.mark.parametrize("script", ["build-images.sh", "run-prod.sh", "run-integration.sh"])
def test_help_is_given_wherever_it_is_asked_for(folder: Path, script: str) -> None:
    program(folder, "docker", RECORD)
    words = [str(folder / "docker/scripts" / script), *(["all"] if script == "build-images.sh" else ["--no-build"]), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n{script} [" in done.stdout
    assert not (folder / "calls").exists()


# Knows what `compose build SERVICE` would tag: what the file says of the service and of what its build names.
TAGS = """\
#!/bin/bash
echo "docker $*" >>"$CALLS"
[[ "$1 $4" != "compose build" ]] || env | sed -n 's/^\\(TASKER_[A-Z_]*_IMAGE=\\)/VARIABLE \\1/p' >>"$CALLS"
"""
NONE_THERE = '[[ "$1 $2" != "image inspect" ]] || exit 1\n'


def test_a_version_reaches_what_is_built_on_the_way(folder: Path) -> None:
    program(folder, "docker", TAGS + NONE_THERE)
    (folder / "calls").write_text("")
    env = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(folder / "calls"), "PUSH_REGISTRY": "localhost:1"}
    words = [str(folder / "docker/scripts/build-images.sh"), "orchestration", "v1", "true"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls = (folder / "calls").read_text().splitlines()
    exported = dict(line.removeprefix("VARIABLE ").split("=") for line in calls if line.startswith("VARIABLE "))
    # Everything that compose builds for these two services is named by a variable, and has the version.
    tagged = set()
    for file in ("docker-compose.integration.yml", "docker-compose.dev.yml"):
        services = yaml.safe_load((folder / "docker" / file).read_text())["services"]
        names = ["orchestration", *services["orchestration"]["build"]["additional_contexts"].values()]
        for name in names:
            variable = services[name.removeprefix("service:")]["image"].split(":-")[0].removeprefix("${")
            tagged.add(exported[variable])
    base, orchestration = "jcoletaylor/tasker-builder-base", "jcoletaylor/tasker-orchestration"
    assert tagged == {f"{base}:v1", f"{base}:dev-v1", f"{orchestration}:v1", f"{orchestration}:dev-v1"}
    listed = {line.strip() for line in done.stdout.split("built:\n")[1].splitlines()}
    assert listed == tagged | {f"{orchestration}:deploy-v1"}
    # What was pushed elsewhere leaves no second name behind.
    pushed = {line.split()[-1] for line in calls if line.startswith("docker push ")}
    removed = {line.split()[-1] for line in calls if line.startswith("docker image rm ")}
    assert pushed == removed == {f"localhost:1/{reference}" for reference in listed}


def test_a_push_that_fails_fails_and_leaves_no_second_name(folder: Path) -> None:
    program(folder, "docker", TAGS + NONE_THERE + '[[ "$1" != push ]]\n')
    code, said = run(folder, "build-images.sh", "postgres", "v1", "true", PUSH_REGISTRY="localhost:1")
    assert code == 1
    assert "docker image rm localhost:1/jcoletaylor/tasker-pgmq:v1" in said


def test_a_name_that_was_there_before_a_push_stays(folder: Path) -> None:
    program(folder, "docker", TAGS)
    code, said = run(folder, "build-images.sh", "postgres", "v1", "true", PUSH_REGISTRY="localhost:1")
    assert code == 0
    assert "docker push --quiet localhost:1/jcoletaylor/tasker-pgmq:v1" in said
    assert "docker image rm" not in said


@pytest.mark.parametrize(("version", "code"), [("1.29.2", 4), ("2.21.9", 4), ("2.22.0", 0), ("v2.40.3-3", 0), ("5.0.1", 0)])
def test_a_compose_that_cannot_read_the_files_is_refused(folder: Path, version: str, code: int) -> None:
    program(folder, "docker", OLD_DOCKER)
    program(folder, "docker-compose", RECORD + f'[[ "$1" != version ]] || echo {version}\n')
    found, said = run(folder, "run-integration.sh")
    assert (found, f"compose {version} is too old" in said) == (code, code == 4)
    assert (" up " in said) == (code == 0)


def test_scripts_keep_to_what_the_bash_of_macos_knows(folder: Path) -> None:
    newer = (
        r"mapfile|readarray|declare -[An]|local -[An]|;;?&|\$\{\w+(\[[@*]\])?(,,?|\^\^?|@[A-Z])|\[-1\]|&>>|\|&|coproc|%\(.*\)T"
    )
    for script in (folder / "docker/scripts").glob("*.sh"):
        lines = [line for line in script.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if re.search(newer, line)], script.name
        # An empty list counts as unset there.
        for line in lines:
            for name in re.findall(r"\$\{(\w+)\[@\]\}", line):
                guarded = f'${{{name}[@]+"${{{name}[@]}}"}}' in line
                filled = re.search(rf"^\s*{name}=\([^)]", "\n".join(lines), re.MULTILINE) or f"${{{name}[*]:-}}" in line
                assert guarded or filled, f"{script.name}: {line}"


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
