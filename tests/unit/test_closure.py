"""What targets need of a workspace, and that the ignore file says the same as the list of files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_build.ecosystems import built_in
from tasker_build.ecosystems.closure import Closure, make_closures, scan_all
from tasker_build.ignore import ALWAYS, Ignore
from tasker_build.spec.model import TargetName
from tasker_build.workspace import Workspace
from tests.conftest import HEAD, cargo_lock, load_text, places, problems_of, write_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = {
    "Cargo.toml": '[workspace]\nmembers = ["app", "lib", "other"]\n',
    "Cargo.lock": cargo_lock("app", "lib", "other", "macros"),
    ".cargo/config.toml": "",
    "app/Cargo.toml": '[package]\nname = "app"\n[dependencies]\nlib = {path = "../lib"}\n[dev-dependencies]\nother = {path = "../other"}\n',
    "app/src/main.rs": "",
    "app/tests/it.rs": "",
    "app/macros/Cargo.toml": '[package]\nname = "macros"\n',
    "app/macros/src/lib.rs": "",
    "lib/Cargo.toml": '[package]\nname = "lib"\n',
    "lib/src/lib.rs": "",
    "lib/data/x.json": "",
    "lib/target/debug/x": "",
    "other/Cargo.toml": '[package]\nname = "other"\n[dependencies]\nmacros = {path = "../app/macros"}\n',
    "other/src/lib.rs": "",
    "config/base.toml": "",
    "config/.env": "",
    "docker/app/Dockerfile": "",
    "migrations/1.sql": "",
    "README.md": "",
}
PATHS = sorted(FILES)
THERE = [path for path in PATHS if not Ignore(ALWAYS).matches(path)]  # what never counts is no part of a workspace
TARGETS = """
sources: {packages: {lib: [migrations]}, ignore: ["**/*.md"]}
targets:
  build: {kind: cargo-chef}
  app: {kind: rust-service, from: {builder: build}, cargo: {packages: [app], binaries: {app: app}}, context: [config]}
  db: {kind: postgres, context: [migrations/1.sql]}
"""


def scanned(files: Mapping[str, str]) -> Mapping[str, object]:
    return scan_all(built_in(), sorted(files), lambda path: files[path].encode())


def closures(text: str = TARGETS, files: dict[str, str] | None = None) -> dict[str, Closure]:
    known = FILES if files is None else files
    paths = sorted(known)
    found = make_closures(load_text(HEAD + text), scanned(known), paths)
    return {str(name): closure for name, closure in found.items()}


def files_of(name: str) -> set[str]:
    return set(closures()[name].files(PATHS))


def test_the_builder_needs_manifests_and_the_lock_file_and_no_code() -> None:
    assert files_of("build") == {path for path in PATHS if path.endswith("Cargo.toml")} | {"Cargo.lock", ".cargo/config.toml"}
    assert closures()["build"].sources == ("Cargo.lock",)
    assert closures()["build"].is_manifest_only("lib/Cargo.toml")


def test_a_service_needs_its_packages_what_they_declare_and_its_context() -> None:
    assert files_of("app") == {
        *("Cargo.toml", "Cargo.lock", ".cargo/config.toml", "app/Cargo.toml", "app/src/main.rs"),
        "app/macros/Cargo.toml",
        *("lib/Cargo.toml", "lib/src/lib.rs", "lib/data/x.json", "migrations/1.sql", "config/base.toml", "other/Cargo.toml"),
    }
    assert [package.name for package in closures()["app"].packages] == ["app", "lib"]
    assert closures()["app"].runtime == ("config",)


def test_only_the_meaning_of_a_manifest_without_code_counts() -> None:
    app = closures()["app"]
    assert app.is_manifest_only("other/Cargo.toml")
    assert not app.is_manifest_only("lib/Cargo.toml")


def test_a_plain_target_needs_its_context_only() -> None:
    assert files_of("db") == {"migrations/1.sql"}


def test_a_nested_package_of_the_closure_stays() -> None:
    text = TARGETS.replace("packages: [app], binaries: {app: app}", "packages: [app, other]")
    assert "app/macros/src/lib.rs" in closures(text)["app"].files(PATHS)


def test_the_manifest_of_a_nested_package_outside_the_closure_is_there() -> None:
    assert "app/macros/Cargo.toml" in files_of("app")


def test_a_needed_package_below_a_nested_one_that_is_not_needed_stays() -> None:
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["app", "app/mid", "app/mid/deep"]\n',
        "app/Cargo.toml": '[package]\nname = "app"\n[dependencies]\ndeep = {path = "mid/deep"}\n',
        "app/mid/Cargo.toml": '[package]\nname = "mid"\n',
        "app/mid/deep/Cargo.toml": '[package]\nname = "deep"\n',
        "app/mid/deep/src/lib.rs": "",
        "Cargo.lock": cargo_lock("app", "mid", "deep"),
    }
    text = "\ntargets:\n  app: {kind: rust-service, cargo: {packages: [app]}}\n"
    assert "app/mid/deep/src/lib.rs" in closures(text, files)["app"].files(sorted(files))


def test_what_is_declared_is_never_hidden() -> None:
    text = TARGETS.replace("{lib: [migrations]}", "{app: [app/tests/it.rs]}")
    assert "app/tests/it.rs" in closures(text)["app"].files(PATHS)


@pytest.mark.parametrize("path", ["config/", "./config"])
def test_a_context_path_may_be_written_as_people_write_folders(path: str) -> None:
    assert closures(f"\ntargets: {{a: {{kind: postgres, context: [{path}]}}}}\n")["a"].files(THERE) == ("config/base.toml",)


def test_unknown_packages_binaries_and_paths_are_all_named_where_they_stand() -> None:
    text = (
        "\ntargets:\n"
        "  a: {kind: rust-service, cargo: {packages: [ap], binaries: {app: app}}, context: [confg]}\n"
        "  b: {kind: rust-service, cargo: {packages: [app], binaries: {apq: app}}}\n"
    )
    problems = problems_of(lambda: closures(text))
    assert places(problems) == [("W002", 5, 46), ("W004", 5, 84), ("W003", 6, 68)]
    assert [problem.hints[0] for problem in problems][::2] == ["did you mean `app`?", "did you mean `app`?"]


def test_a_shared_library_must_be_made_by_a_selected_package() -> None:
    text = "\ntargets:\n  a: {kind: ruby-ffi, cargo: {packages: [lib], libraries: {lib: lib.so}}}\n"
    (problem,) = problems_of(lambda: closures(text))
    assert (problem.code, "crate types cdylib here: none" in problem.hints[0]) == ("W006", True)


def test_whatever_has_a_cargo_selection_has_its_closure() -> None:
    text = "\ntargets:\n  a: {template: own.j2, cargo: {packages: [lib]}}\n  b: {template: own.j2}\n"
    found = closures(text)
    assert "lib" in found["a"].sources
    assert found["b"].sources == ()


def test_cargo_targets_need_a_cargo_workspace() -> None:
    (problem,) = problems_of(lambda: closures("\ntargets: {b: {kind: cargo-chef}}\n", {"x": ""}))
    assert (problem.code, "there is no Cargo.toml" in problem.message) == ("W005", True)


def test_targets_that_are_not_enabled_have_none() -> None:
    assert closures("\ntargets: {a: {kind: postgres, enabled: false, context: [nowhere]}}\n") == {}


def test_what_a_target_names_is_there_even_among_the_tests_of_a_package() -> None:
    """Tests are left out of a closure, unless the spec asks for some of their files."""
    files = FILES | {"app/tests/data/x.json": ""}
    spec = load_text(f"{HEAD}targets: {{app: {{kind: rust-service, cargo: {{packages: [app]}}, context: [app/tests/data]}}}}\n")
    closure = make_closures(spec, scanned(files), sorted(files))[TargetName("app")]
    kept = closure.files(sorted(files))
    assert "app/tests/data/x.json" in kept
    assert "app/tests/it.rs" not in kept
    assert kept_by_ignore_file(closure, sorted(files)) == kept


# The ignore file and the list of files are one thing said twice.


def patterns(closure: Closure) -> list[str]:
    """The patterns of an ignore file as BuildKit reads it: lines that start with `#` are comments."""
    return [line for line in closure.ignore_file().split("\n") if line.strip() and not line.startswith("#")]


def kept_by_ignore_file(closure: Closure, paths: list[str]) -> tuple[str, ...]:
    rules = Ignore(patterns(closure))
    return tuple(path for path in paths if not rules.matches(path))


@pytest.mark.parametrize("name", ["build", "app", "db"])
def test_the_ignore_file_keeps_exactly_the_closure(name: str) -> None:
    closure = closures()[name]
    assert kept_by_ignore_file(closure, PATHS) == closure.files(THERE)


NAMES = st.sampled_from(["a", "b", "src", "target", ".env", "x.md", "tests"])
TREE_PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=14, unique=True).map(
    # Nothing is a file and a folder at once, and paths of a workspace are sorted.
    lambda paths: sorted(path for path in paths if not any(other.startswith(path + "/") for other in paths))
)
HIDDEN = st.lists(st.sampled_from(["a/tests", "b", "**/*.md", "src/a", "docker", "*.md"]), max_size=3)


@given(TREE_PATHS, st.data())
def test_files_and_ignore_file_agree_on_any_tree(paths: list[str], data: st.DataObject) -> None:
    ignore = (*ALWAYS, *data.draw(HIDDEN))
    rules = Ignore(ignore)
    there = [path for path in paths if not rules.matches(path)]  # what never counts is no part of a workspace
    folders = {path[: match.start()] for path in there for match in re.finditer("/", path)}
    roots = data.draw(st.lists(st.sampled_from(sorted({*there, *folders})), max_size=4, unique=True)) if there else []
    closure = Closure(sources=tuple(sorted(roots)), ignore=ignore)
    assert kept_by_ignore_file(closure, paths) == closure.files(there)


@pytest.mark.parametrize("name", ["a[1].txt", "a*", "what?", "end "])
def test_names_with_pattern_characters_are_escaped(name: str) -> None:
    paths = sorted([name, "a1.txt", "ab", "whatx", "end"])
    closure = Closure(runtime=(name,))
    assert kept_by_ignore_file(closure, paths) == closure.files(paths) == (name,)


EXCEPTIONS = st.lists(
    st.sampled_from(["a/target", "!a/target", "!**/target", "!**/.env", "!a/src/target", "!*/src/**/target", "!a/**", "!*"])
    | st.sampled_from(["!b/*/target", "!x.md", "**/*.md", "b", "!b/a", "!./a/b/", "!**/src/target/a", "!src/**/a/target"])
    | st.sampled_from(["!a?/../b", "!tar*/b", "!**", "**/a", "!**/a", "a/b"]),
    min_size=1,
    max_size=4,
)


@given(TREE_PATHS, EXCEPTIONS, st.data())
@settings(max_examples=400)
def test_an_exception_lets_in_what_the_closure_names_and_nothing_else(
    paths: list[str], exceptions: list[str], data: st.DataObject
) -> None:
    ignore = (*ALWAYS, *exceptions)
    rules = Ignore(ignore)
    there = [path for path in paths if not rules.matches(path)]
    folders = {path[: match.start()] for path in there for match in re.finditer("/", path)}
    roots = data.draw(st.lists(st.sampled_from(sorted({*there, *folders})), max_size=3, unique=True)) if there else []
    closure = Closure(sources=tuple(sorted(roots)), ignore=ignore)
    assert kept_by_ignore_file(closure, paths) == closure.files(there)


BACK = """
sources: {ignore: ["!web/src/target", "**/*.tmp"]}
targets:
  web: {kind: postgres, context: [web, target/app.jar, web/.env.local]}
  all: {kind: postgres, context: [web, dist/node_modules]}
"""
BACK_FILES = [
    *(
        "dist/node_modules/.env",
        "dist/node_modules/x.js",
        "dist/node_modules/y.tmp",
        "target/app.jar",
        "target/other",
        "web/.env",
    ),
    *(
        "web/.env.local",
        "web/.env.production",
        "web/node_modules/x",
        "web/src/target/index.ts",
        "web/src/target/x.tmp",
        "web/target/x",
    ),
]


def test_what_is_always_ignored_comes_back_when_it_is_named() -> None:
    spec = load_text(HEAD + BACK)
    rules = Ignore(spec.ignored)
    there = [path for path in BACK_FILES if not rules.matches(path)]
    found = make_closures(spec, {}, there)
    expected = {
        "web": ("target/app.jar", "web/.env.local", "web/.env.production", "web/src/target/index.ts"),
        "all": ("dist/node_modules/x.js", "web/.env.production", "web/src/target/index.ts"),
    }
    assert {name: closure.files(there) for name, closure in found.items()} == expected
    assert {name: kept_by_ignore_file(closure, BACK_FILES) for name, closure in found.items()} == expected


def test_an_exception_that_cannot_be_kept_to_a_closure_is_refused() -> None:
    (problem,) = problems_of(lambda: load_text(HEAD + BACK.replace("!web/src/target", "!a/**b")))
    assert (problem.code, "stands beside something else" in problem.message) == ("S019", True)


OWN = """
sources: {ignore: ["**/*.tmp"]}
targets:
  web: {kind: postgres, context: [web, "a b", x.md], dockerignore: [%s]}
  not: {kind: postgres, context: [web]}
"""
OWN_FILES = {
    "a b/.dockerignore": "# all but one\n*\n!/keep\n!../x.md\n",
    "a b/keep": "",
    "a b/lost": "",
    "web/.dockerignore": "\ufeff*.md\r\n!keep.md\n\n./logs/\n**/y\n!**/*.tmp\n",
    "web/a.md": "",
    "web/deep/a.md": "",
    "web/deep/y": "",
    "web/keep.md": "",
    "web/logs/x": "",
    "web/x.tmp": "",
    "x.md": "",
    ".dockerignore": "web/deep\n",
}
WEB = {"web/.dockerignore", "web/keep.md"}


@pytest.mark.parametrize(
    ("folders", "kept"),
    [
        ("web", {*WEB, "a b/.dockerignore", "a b/keep", "a b/lost", "web/deep/a.md", "x.md"}),
        ('"a b/"', {*WEB, "a b/keep", "web/a.md", "web/deep/a.md", "web/deep/y", "web/logs/x", "x.md"}),
        ('., "a b", web', {*WEB, "a b/keep", "x.md"}),
    ],
)
def test_a_folders_own_dockerignore_counts_where_the_target_says_so(folders: str, kept: set[str]) -> None:
    spec = load_text(HEAD + OWN % folders)
    there = [path for path in sorted(OWN_FILES) if not path.endswith(".tmp")]
    found = make_closures(spec, {}, there, (), lambda path: OWN_FILES[path].encode())
    assert set(found[TargetName("web")].files(there)) == kept
    assert set(kept_by_ignore_file(found[TargetName("web")], sorted(OWN_FILES))) == kept
    assert len(found[TargetName("not")].files(there)) == 6


@pytest.mark.parametrize(("text", "line"), [("a\n[b\n", 2), ("!\n", 1), ("\\d", 1)])
def test_a_pattern_that_cannot_be_read_is_found_in_its_file(text: str, line: int) -> None:
    spec = load_text(HEAD + OWN % "web")
    files = OWN_FILES | {"web/.dockerignore": text}
    (problem,) = problems_of(lambda: make_closures(spec, {}, sorted(files), (), lambda path: files[path].encode()))
    assert (problem.code, str(problem.span)) == ("W020", f"web/.dockerignore:{line}:1")


def test_a_folder_without_a_dockerignore_is_a_mistake(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"web/x": "", "a b/x": "", "x.md": ""})
    workspace = Workspace(root)
    spec = load_text(HEAD + OWN % "web")
    (problem,) = problems_of(lambda: make_closures(spec, {}, workspace.paths, (), workspace.read))
    assert (problem.code, "web/.dockerignore" in problem.message) == ("W020", True)


def test_target_names_are_keys() -> None:
    spec = load_text(f"{HEAD}targets: {{a: {{kind: postgres}}}}\n")
    assert list(make_closures(spec, {}, ())) == [TargetName("a")]
