"""Cargo workspaces from manifests alone: members, path dependencies, binaries, target files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasker_build.ecosystems.cargo.workspace import scan, unknown_binary, unknown_package
from tasker_build.errors import Span, SpecError
from tests.conftest import problems_of

if TYPE_CHECKING:
    from tasker_build.ecosystems.cargo.workspace import CargoWorkspace

HERE = Span(file="stacks.yaml", line=1, col=1)


def package(name: str, rest: str = "") -> str:
    return f'[package]\nname = "{name}"\n{rest}\n'


def members(*folders: str, rest: str = "") -> str:
    return f"[workspace]\nmembers = {list(folders)}\n{rest}\n".replace("'", '"')


def scanned(files: dict[str, str]) -> CargoWorkspace:
    found = scan(sorted(files), lambda path: files[path].encode())
    assert found is not None
    return found


def closure(files: dict[str, str], *names: str) -> list[str]:
    return [found.name for found in scanned(files).closure(names)]


def test_no_manifest_no_workspace() -> None:
    assert scan(["src/main.rs", "sub/Cargo.toml"], lambda _: b"") is None


@pytest.mark.parametrize(
    ("patterns", "exclude", "expected"),
    [
        (["a"], [], ["a"]),
        (["./a", "b/"], [], ["a", "b"]),
        (["crates/*"], [], ["crates/x", "crates/y"]),
        (["crates/?"], [], ["crates/x", "crates/y"]),
        (["crates/*"], ["crates/y"], ["crates/x"]),
        (["*"], [], ["a", "b"]),
        (["crates/*/deep"], [], ["crates/x/deep"]),
    ],
)
def test_members_are_folders_and_globs_within_one_folder(patterns: list[str], exclude: list[str], expected: list[str]) -> None:
    folders = ["a", "b", "crates/x", "crates/y", "crates/x/deep"]
    files = {f"{folder}/Cargo.toml": package(folder.replace("/", "-")) for folder in folders}
    rest = f"exclude = {exclude}".replace("'", '"')
    assert list(scanned({**files, "Cargo.toml": members(*patterns, rest=rest)}).packages) == expected


def test_exclude_takes_what_is_below_along() -> None:
    root = members("crates/*/*", rest='exclude = ["crates/old"]')
    assert list(scanned({"Cargo.toml": root, "crates/old/b/Cargo.toml": package("b")}).packages) == []


@pytest.mark.parametrize(("pattern", "folder"), [("crates/**", "crates/x/a"), ("crates/[ab]", "crates/a")])
def test_other_globs_of_cargo(pattern: str, folder: str) -> None:
    assert list(scanned({"Cargo.toml": members(pattern), f"{folder}/Cargo.toml": package("a")}).packages) == [folder]


def test_the_root_may_be_a_package_and_a_workspace() -> None:
    files = {"Cargo.toml": package("root") + members("a"), "a/Cargo.toml": package("a"), "src/lib.rs": ""}
    assert [(p.name, p.folder, p.manifest) for p in scanned(files).packages.values()] == [
        ("root", "", "Cargo.toml"),
        ("a", "a", "a/Cargo.toml"),
    ]


ROOT = members("app", rest='[workspace.dependencies]\nshared = {path = "libs/shared"}\nother = {path = "libs/other"}\n')


@pytest.mark.parametrize(
    ("dependency", "needed"),
    [
        ('[dependencies]\nlib = {path = "../libs/lib"}', True),
        ('[dependencies.lib]\npath = "../libs/lib"', True),
        ("[dependencies]\nshared = {workspace = true}", True),
        ("[dependencies]\nshared.workspace = true", True),
        ("[build-dependencies]\nshared = {workspace = true}", True),
        ('[build-dependencies]\nlib = {path = "../libs/lib"}', True),
        ("[dev-dependencies]\nshared = {workspace = true}", False),
        ('[dev-dependencies]\nlib = {path = "../libs/lib"}', False),
        ("[target.'cfg(unix)'.dependencies]\nlib = {path = \"../libs/lib\"}", True),
        ("[target.'cfg(unix)'.dev-dependencies]\nlib = {path = \"../libs/lib\"}", False),
        ('[dependencies]\nlib = {path = "../libs/lib", optional = true}', False),
        ('[dependencies]\nrenamed = {package = "lib", path = "../libs/lib"}', True),
        ('[dependencies]\nlib = "1.0"', False),
        ('[dependencies]\nlib = {version = "1.0"}', False),
    ],
)
def test_path_dependencies_join_the_closure(dependency: str, needed: bool) -> None:  # noqa: FBT001
    files = {
        "Cargo.toml": ROOT,
        "app/Cargo.toml": package("app", dependency),
        "libs/lib/Cargo.toml": package("lib"),
        "libs/shared/Cargo.toml": package("shared", '[dependencies]\nother = {path = "../other"}'),
        "libs/other/Cargo.toml": package("other"),
    }
    names = closure(files, "app")
    assert ("lib" in names or "shared" in names) is needed
    assert ("other" in names) is ("shared" in names)


def test_a_cycle_by_dev_dependency_is_no_problem() -> None:
    files = {
        "Cargo.toml": members("a", "b"),
        "a/Cargo.toml": package("a", '[dependencies]\nb = {path = "../b"}'),
        "b/Cargo.toml": package("b", '[dev-dependencies]\na = {path = "../a"}'),
    }
    assert closure(files, "b") == ["b"]
    assert closure(files, "a") == ["a", "b"]


def test_what_patch_puts_in_place_belongs_to_every_closure() -> None:
    files = {
        "Cargo.toml": members("a", rest='[patch.crates-io]\nserde = {path = "vendor/serde"}\n'),
        "a/Cargo.toml": package("a"),
        "vendor/serde/Cargo.toml": package("serde"),
    }
    assert closure(files, "a") == ["a", "serde"]
    assert scanned(files).patched == ("vendor/serde",)


@pytest.mark.parametrize(
    ("files", "message", "place"),
    [
        ({"Cargo.toml": members("gone")}, "workspace member `gone` has no Cargo.toml", "Cargo.toml:1:1"),
        ({"Cargo.toml": "a = \n"}, "not a valid manifest", "Cargo.toml:1:5"),
        ({"Cargo.toml": members("a"), "a/Cargo.toml": "[package]\n"}, "a manifest without [package] name", "a/Cargo.toml:1:1"),
        (
            {"Cargo.toml": package("r", '[dependencies]\nx = {path = "../x"}')},
            "path dependency `x` leaves the workspace: ../x",
            "Cargo.toml:1:1",
        ),
        ({"Cargo.toml": package("r", '[dependencies]\nx = {path = "/x"}')}, "leaves the workspace", "Cargo.toml:1:1"),
        ({"Cargo.toml": package("r", '[dependencies]\nx = {path = "x"}')}, "`x` has no Cargo.toml", "Cargo.toml:1:1"),
        ({"Cargo.toml": members(rest='[patch.crates-io]\nx = {path = "../x"}')}, "leaves the workspace", "Cargo.toml:1:1"),
    ],
)
def test_mistakes_in_manifests_are_located(files: dict[str, str], message: str, place: str) -> None:
    (problem,) = problems_of(lambda: scanned(files))
    assert message in problem.message
    assert str(problem.span) == place


def test_all_broken_manifests_are_reported() -> None:
    files = {"Cargo.toml": members("a", "b", "c"), "a/Cargo.toml": "x =", "b/Cargo.toml": "[[", "c/Cargo.toml": package("c")}
    places = {problem.span.file for problem in problems_of(lambda: scanned(files)) if problem.span}
    assert {"a/Cargo.toml", "b/Cargo.toml"} <= places


@pytest.mark.parametrize(
    "text",
    [
        "dependencies = 5\n" + package("x"),
        package("x", "[dependencies]\na = {path = 5}"),
        "workspace = 3\n",
        package("x", "[target]\na = 5"),
        package("x", "[[bin]]\nname = 'a'\npath = 5"),
        "[workspace]\nmembers = 5\n",
    ],
)
def test_odd_manifests_are_a_spec_error_and_no_crash(text: str) -> None:
    with pytest.raises(SpecError):
        scanned({"Cargo.toml": text, "src/main.rs": ""})


@pytest.mark.parametrize(
    ("files", "rest", "binaries"),
    [
        (["src/main.rs"], "", ("pkg",)),
        (["src/lib.rs"], "", ()),
        (["src/bin/one.rs", "src/bin/two/main.rs", "src/bin/two/util.rs"], "", ("one", "two")),
        (["src/main.rs", "src/bin/one.rs"], "autobins = false", ()),
        (["src/main.rs"], '[[bin]]\nname = "server"\npath = "src/main.rs"', ("server",)),
        (["src/bin/a.rs"], '[[bin]]\nname = "b"\npath = "src/bin/a.rs"', ("b",)),
        (["src/bin/a.rs"], '[[bin]]\nname = "a"', ("a",)),
        (["tools/x.rs", "src/main.rs"], '[[bin]]\nname = "x"\npath = "tools/x.rs"', ("pkg", "x")),
    ],
)
def test_binaries_are_named_as_cargo_names_them(files: list[str], rest: str, binaries: tuple[str, ...]) -> None:
    found = scanned(
        {"Cargo.toml": members("pkg"), "pkg/Cargo.toml": package("pkg", rest)} | {f"pkg/{path}": "" for path in files}
    )
    assert found.by_name()["pkg"].binaries == binaries


@pytest.mark.parametrize(
    ("rest", "libraries"),
    [
        ("", ()),
        ('[lib]\ncrate-type = ["rlib"]\n', ()),
        ('[lib]\ncrate-type = ["cdylib", "rlib"]\n', ("my_pkg",)),
        ('[lib]\nname = "other"\ncrate_type = ["cdylib"]\n', ("other",)),
    ],
)
def test_shared_libraries_are_named_as_cargo_names_them(rest: str, libraries: tuple[str, ...]) -> None:
    found = scanned({"Cargo.toml": members("pkg"), "pkg/Cargo.toml": package("my-pkg", rest), "pkg/src/lib.rs": ""})
    assert found.by_name()["my-pkg"].libraries == libraries


def test_target_files_are_all_that_cargo_looks_for() -> None:
    there = [
        "build.rs",
        "src/lib.rs",
        "src/bin/x.rs",
        "tests/t.rs",
        "tests/deep/main.rs",
        "benches/b.rs",
        "examples/e.rs",
        "odd/o.rs",
    ]
    others = ["src/util.rs", "tests/common/mod.rs", "README.md"]
    rest = '[[test]]\nname = "o"\npath = "odd/o.rs"'
    files = {"Cargo.toml": members("p"), "p/Cargo.toml": package("p", rest)} | {f"p/{path}": "" for path in there + others}
    assert scanned(files).target_files() == tuple(sorted(f"p/{path}" for path in there))


def test_no_build_script_where_the_manifest_says_so() -> None:
    assert scanned({"Cargo.toml": package("p", "build = false"), "build.rs": ""}).target_files() == ()
    assert scanned({"Cargo.toml": package("p", 'build = "b/x.rs"'), "b/x.rs": ""}).target_files() == ("b/x.rs",)


def test_sources_of_the_root_package_are_its_own_folders() -> None:
    files = {"Cargo.toml": package("p") + members("a"), "a/Cargo.toml": package("a"), "a/src/lib.rs": "", "build.rs": ""}
    files |= {"src/lib.rs": "", "src/deep/x.rs": "", "tests/t.rs": "", "docs/x.md": ""}
    found = scanned(files)
    assert found.sources(found.packages[""], sorted(files)) == ("build.rs", "src")
    assert found.sources(found.packages["a"], sorted(files)) == ("a",)


def test_root_and_config_files() -> None:
    files = {"Cargo.toml": package("p"), "Cargo.lock": "", ".cargo/config.toml": "", "src/lib.rs": ""}
    found = scanned(files)
    assert (found.root_files, found.config_files) == (("Cargo.toml", "Cargo.lock"), (".cargo/config.toml",))


def test_unknown_names_come_with_suggestions() -> None:
    found = scanned({"Cargo.toml": members("a"), "a/Cargo.toml": package("orchestration"), "a/src/bin/server.rs": ""})
    packages = tuple(found.packages.values())
    assert unknown_package("orchestation", found, HERE).hints == ("did you mean `orchestration`?",)
    assert unknown_package("zzz", found, HERE).hints == ("packages here: orchestration",)
    assert unknown_binary("sever", packages, HERE).hints == ("did you mean `server`?",)
    assert unknown_binary("zzz", packages, HERE).hints == ("binaries here: server",)
    with pytest.raises(KeyError):
        found.closure(["zzz"])
