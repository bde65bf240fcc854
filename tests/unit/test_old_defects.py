"""Defects of hand-written container folders, one test each: none of them can be in what the default spec renders.

What a rendered file cannot show is shown by running it; those rows name the test that does, and it is looked up here.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tasker_build.ecosystems.cargo.record import selection_flags
from tasker_build.errors import SpecError
from tasker_build.plan.facts import Group
from tasker_build.project import Project
from tasker_build.spec.kinds import Makes
from tasker_build.spec.model import TargetName
from tests.conftest import HEAD, REPOSITORY, load_text

WORKSPACE = REPOSITORY / "examples/tasker"
RUN_ELSEWHERE = {
    "D-09 a helper fails when something is wrong": "e2e/test_environments.py::test_development_helpers_fail_when_something_is_wrong",
    "D-14 migrations run": "e2e/test_example.py::test_a_task_comes_back_processed_by_the_rust_worker",
    "D-19 a cleanup takes only what is ours": "e2e/test_environments.py::test_a_cleanup_takes_what_is_ours_and_nothing_else",
    "D-22 nothing is compiled twice": "e2e/test_example.py::test_one_line_in_the_worker_rebuilds_the_worker_and_no_third_party_crate",
    "D-33 an older compose": "unit/test_scripts.py::test_an_older_compose_serves_too",
    "D-05 production wants a password": "e2e/test_environments.py::test_production_wants_a_password_runs_hardened_and_scales",
    "D-03 a stub is never compiled": "e2e/test_example.py::test_a_member_outside_the_closure_is_never_compiled_as_an_empty_stub",
}


@pytest.fixture(scope="module")
def project() -> Project:
    return Project.open([REPOSITORY / "stacks.yaml"])


@pytest.fixture(scope="module")
def stacks(project: Project) -> dict[str, dict[str, Any]]:
    return {stack.name: yaml.safe_load(project.tree.files[stack.compose_file].text) for stack in project.spec.stacks.values()}


def services(stacks: dict[str, dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(stack, name, service) for stack, content in stacks.items() for name, service in content["services"].items()]


def dockerfiles(project: Project) -> dict[str, str]:
    return {str(name): project.tree.files[target.dockerfile].text for name, target in project.spec.targets.items()}


def files_of(project: Project, name: TargetName) -> set[str]:
    """The files of the workspace that are sent to build a target."""
    return {fact.label for fact in project.wanted[name].facts.facts if fact.group is Group.CONTEXT}


def scripts(project: Project) -> dict[str, str]:
    return {path: file.text for path, file in project.tree.files.items() if path.endswith(".sh")}


@pytest.mark.parametrize("row", RUN_ELSEWHERE)
def test_rows_that_have_to_be_run_are_run(row: str) -> None:
    path, _, name = RUN_ELSEWHERE[row].partition("::")
    assert f"def {name}(" in (REPOSITORY / "tests" / path).read_text()


def test_d01_programs_are_those_of_the_manifests(project: Project) -> None:
    assert project.models["cargo"] is not None
    programs: set[str] = set()
    for manifest in WORKSPACE.glob("**/Cargo.toml"):
        content = tomllib.loads(manifest.read_text())
        programs |= {row["name"] for row in content.get("bin", [])} | {content.get("package", {}).get("name", "")}
    for target in project.spec.targets.values():
        assert set(selection.binaries if (selection := target.selected.get("cargo")) else ()) <= programs


def test_d02_queries_are_checked_without_a_database(project: Project) -> None:
    for name, target in project.spec.targets.items():
        if "cargo" in target.ecosystems and target.makes == Makes.PROGRAMS:
            assert target.build_env["SQLX_OFFLINE"] == "true"
            assert any("/.sqlx/" in f"/{file}" for file in files_of(project, name)), name
        assert "DATABASE_URL" not in dockerfiles(project)[str(name)]


def test_d03_every_package_that_is_compiled_is_copied(project: Project) -> None:
    text = dockerfiles(project)["deploy/workers/rust"]
    for folder in ("migrations", "src", "tasker-shared", "tasker-worker", "workers/rust"):
        needed = any(file.startswith(f"{folder}/") for file in files_of(project, TargetName("deploy/workers/rust")))
        assert needed == bool(re.search(rf"^COPY (--\S+ )*{folder}/ ", text, re.MULTILINE)), folder
    assert "compile_error!" in dockerfiles(project)["build"]


def test_d04_d31_an_image_has_one_name_of_its_own(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    outside = set(project.spec.bases.values())
    ours = {project.spec.image_name(target) for target in project.spec.targets.values()}
    for _, _, service in services(stacks):
        image = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", service["image"])
        assert image not in outside
        assert "build" not in service or image.rpartition(":")[0] in ours


def test_d05_d35_no_password_is_kept_and_none_is_assumed(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    environment = stacks["deploy"]["services"]["postgres"]["environment"]
    assert re.match(r"\$\{POSTGRES_PASSWORD:?\?", environment["POSTGRES_PASSWORD"])
    for text in dockerfiles(project).values():
        assert not re.search(r"PASSWORD|DATABASE_URL|://\w+:\w+@", text)


def test_d06_d23_settings_are_ones_that_the_server_knows(project: Project) -> None:
    for path, file in project.tree.files.items():
        if path.endswith((".conf", ".sql")):
            settings = [line for line in file.text.split("\n") if line.startswith("shared_preload_libraries")]
            assert not [line for line in settings if "pgmq" in line]
            assert "checkpoint_segments" not in file.text
            assert not re.search(r"ON DATABASE tasker\w* ", file.text)


def test_d07_d32_order_is_no_business_of_depends_on(stacks: dict[str, dict[str, Any]]) -> None:
    for stack, name, service in services(stacks):
        assert not [other for other in service.get("depends_on", ()) if other.startswith("builder-")], f"{stack} {name}"
        assert not name.startswith("builder-") or service["deploy"]["replicas"] == 0


def test_d08_environments_do_not_meet(stacks: dict[str, dict[str, Any]]) -> None:
    for what in (
        [content["name"] for content in stacks.values()],
        [row["name"] for content in stacks.values() for row in content["networks"].values()],
        [row["name"] for content in stacks.values() for row in content["volumes"].values()],
    ):
        assert len(what) == len(set(what))
    for _, _, service in services(stacks):
        assert "container_name" not in service
        assert all("${" in port for port in service.get("ports", ()))


def test_d10_d11_every_environment_has_its_configuration(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    folders = {path.name for path in (WORKSPACE / "config/tasker/environments").iterdir()}
    for _, _, service in services(stacks):
        assert service.get("environment", {}).get("TASKER_ENV", "production") in folders
    for name in ("dev/orchestration", "deploy/orchestration", "dev/workers/rust", "deploy/workers/rust"):
        files = files_of(project, TargetName(name))
        assert all(any(file.startswith(f"config/tasker/environments/{folder}/") for file in files) for folder in folders)
    stack = "stacks: {s: {services: {a: {image: x, environment: {TASKER_ENV: docker}}}}}\n"
    text = (REPOSITORY / "stacks.yaml").read_text()
    assert "TASKER_ENV: config/tasker/environments" in text
    assert load_text(HEAD + "targets: {}\n" + stack)  # a name without its folder is found against the workspace, not in the spec


def test_d12_d26_d30_names_of_tools_and_packages_fit_their_release(project: Project) -> None:
    whole = "\n".join(dockerfiles(project).values())
    for word in ("bullseye", "libssl1.1", "libffi", "wasm32-wasi ", "wasm-pack", "rake-compiler"):
        assert word not in whole
    assert "wasm32-wasip1" in whole
    assert all("trixie" in reference for reference in project.spec.bases.values())


def test_d13_paths_start_at_the_workspace(stacks: dict[str, dict[str, Any]]) -> None:
    for _, _, service in services(stacks):
        if "build" in service:
            assert service["build"]["context"] == ".."
            assert (WORKSPACE / service["build"]["dockerfile"]).is_file()


def test_d14_services_wait_for_the_migrations(stacks: dict[str, dict[str, Any]]) -> None:
    for name in ("integration", "dev", "deploy"):
        row = stacks[name]["services"]["orchestration"]["depends_on"]["migrate"]
        assert row == {"condition": "service_completed_successfully"}


def test_d15_only_variables_that_programs_read_are_set(project: Project) -> None:
    read = "\n".join(file.read_text() for pattern in ("*.rs", "*.py", "*.rb", "*.toml") for file in WORKSPACE.rglob(pattern))
    read += "RUST_LOG RUST_BACKTRACE PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE"  # of the languages themselves
    for target in project.spec.targets.values():
        assert not [name for name in target.env if name not in read], target.name


def test_d16_d17_scripts_come_to_an_end(project: Project) -> None:
    for path, text in scripts(project).items():
        assert not re.search(r"^\s*(while (true|:|sleep)|until )", text, re.MULTILINE), path
        for line in text.split("\n"):
            assert not re.search(r"\bup\b.*--build(?!.*--detach)", line.split("#")[0]) or "compose -f" not in line, line
    run = project.tree.files["scripts/run-integration.sh"].text
    assert "--detach" in run
    assert "--wait" in run


def test_d18_d36_only_what_was_built_is_pushed_and_unknown_words_are_refused(project: Project) -> None:
    text = project.tree.files["scripts/build-images.sh"].text
    assert 'for reference in ${built[@]+"${built[@]}"}' in text
    assert "unknown type" in text
    assert "grep" not in text


def test_d19_data_is_never_removed_without_a_word(project: Project) -> None:
    text = project.tree.files["scripts/cleanup.sh"].text
    assert not re.search(r"grep.*tasker", text)
    # What reaches the whole machine comes after a question.
    assert text.rindex("agree ") < text.index("docker system prune")
    # Every environment is known to it.
    assert all(stack.project in text for stack in project.spec.stacks.values() if stack.project)


def test_d20_d37_everything_that_is_downloaded_is_pinned(project: Project) -> None:
    for name, text in dockerfiles(project).items():
        for line in text.split("\n"):
            assert not re.search(r"(RUN|&&) (curl|wget) |^ADD .*://", line), f"{name}: {line}"
            assert "cargo install" not in line or re.search(r"--locked \S+@\d+\.\d+\.\d+", line), line
            assert not re.search(r"pip (install|download)", line) or "--require-hashes" in line or "--no-index" in line, line
    assert all(re.search(r":(?!latest)\w", reference) for reference in project.spec.bases.values())


def test_d21_the_compiler_cache_is_complete_or_absent() -> None:
    text = "\n".join(dockerfiles(Project.open([REPOSITORY / "stacks.yaml"])).values())
    assert "sccache" not in text.lower()
    assert (
        load_text(HEAD + "toolchain: {sccache: local}\ntargets: {}\n").toolchain.settings["sccache"].settings["RUSTC_WRAPPER"]
        == "sccache"
    )
    with pytest.raises(SpecError):
        load_text(HEAD + "toolchain: {sccache: remote}\ntargets: {}\n")


def test_d22_cook_and_build_are_told_the_same(project: Project) -> None:
    texts = dockerfiles(project)
    for name, target in project.spec.targets.items():
        if "cargo" in target.selected and target.makes == Makes.PROGRAMS:
            flags = selection_flags(target.selected["cargo"])
            assert f"cargo chef cook {flags} --locked" in texts[target.from_["builder"]], name
            built = re.search(r"(cargo|maturin) build .*", texts[str(name)])
            assert built
            assert "--locked" in built[0]
            assert built[1] == "maturin" or flags in built[0]
        assert "strip " not in texts[str(name)]


def test_d24_d29_logs_are_limited_and_nothing_is_open_to_everybody(project: Project, stacks: dict[str, dict[str, Any]]) -> None:
    for stack, name, service in services(stacks):
        where = f"{stack} {name}"
        assert name.startswith("builder-") or service["logging"]["options"]["max-size"], where
        assert "restart_policy" not in service.get("deploy", {}), where
        assert all(port.startswith(("${BIND_ADDRESS:-127.0.0.1}", "127.0.0.1")) for port in service.get("ports", ())), where
        assert "trust" not in service.get("environment", {}).get("POSTGRES_INITDB_ARGS", ""), where
    for path, file in project.tree.files.items():
        assert not path.endswith(".conf") or re.search(r"^logging_collector = '?off", file.text, re.MULTILINE), path


def test_d25_task_templates_are_in_the_images(project: Project) -> None:
    templates = {f"config/tasks/{path.name}" for path in (WORKSPACE / "config/tasks").glob("*.yaml")}
    assert len(templates) > 8
    for name, target in project.spec.targets.items():
        if "cargo" in target.ecosystems and target.makes == Makes.PROGRAMS and target.command:
            assert templates <= files_of(project, name), name
            # In what runs, and not only in what builds.
            last = dockerfiles(project)[str(name)].rpartition("\nFROM ")[2]
            assert re.search(r"^COPY .*\bconfig/ \S*config/$", last, re.MULTILINE), name


def test_d27_one_wheel_for_one_interpreter(project: Project) -> None:
    text = dockerfiles(project)["deploy/workers/python"]
    assert "--interpreter python3" in text
    assert "/usr/local/bin" not in text


def test_d28_d34_every_rendered_file_is_used(project: Project) -> None:
    everything = {path: file.text for path, file in project.tree.files.items()}
    for path in everything:
        name = path.rpartition("/")[2]
        seen = any(name in text for other, text in everything.items() if other != path)
        assert seen or path.endswith(".dockerignore") or path in {"README.md", ".env"}, path
    assert "purge" not in "\n".join(dockerfiles(project).values())


def test_d38_labels_and_platforms_can_be_asked_for() -> None:
    row = "{kind: postgres, platforms: [linux/arm64], labels: {org.opencontainers.image.source: x}}"
    target = load_text(HEAD + f"targets: {{t: {row}}}\n").targets[TargetName("t")]
    assert target.platforms == ("linux/arm64",)
    assert target.labels["org.opencontainers.image.source"] == "x"
