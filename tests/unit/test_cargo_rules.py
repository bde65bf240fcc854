"""What cargo's manifests mean in corners: platforms, features, nested workspaces, linked folders, odd places of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasker_build.ecosystems.cargo.advice import config_advice, reading_advice, toolchain_advice
from tasker_build.ecosystems.cargo.lockfile import MISSING, STALE, lock_problems
from tasker_build.ecosystems.cargo.platforms import may_count
from tasker_build.ecosystems.cargo.workspace import scan
from tests.conftest import problems_of

if TYPE_CHECKING:
    from tasker_build.ecosystems.cargo.workspace import CargoWorkspace


def package(name: str, rest: str = "", edition: str = "2021") -> str:
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "{edition}"\n{rest}\n'


def scanned(files: dict[str, str]) -> CargoWorkspace:
    found = scan(sorted(files), lambda path: files[path].encode())
    assert found is not None
    return found


def workspace(*members: str, rest: str = "") -> str:
    return f'[workspace]\nresolver = "2"\nmembers = {list(members)}\n{rest}\n'.replace("'", '"')


@pytest.mark.parametrize(
    ("condition", "platform", "counts"),
    [
        ("cfg(unix)", "linux/amd64", True),
        ("cfg(windows)", "linux/amd64", False),
        ("cfg(not(windows))", "linux", True),
        ('cfg(any(windows, target_os = "macos"))', "linux", False),
        ('cfg(all(unix, target_arch = "aarch64"))', "linux/amd64", False),
        ('cfg(all(unix, target_arch = "aarch64"))', "linux/arm64", True),
        ('cfg(all(unix, target_arch = "aarch64"))', "linux", True),
        ('cfg(target_env = "musl")', "linux/amd64", True),
        ('cfg(not(target_env = "gnu"))', "linux/amd64", True),
        ("cfg(windows)", "", True),
        ("cfg(tokio_unstable)", "linux/amd64", True),
        ("cfg(not(tokio_unstable))", "linux/amd64", True),
        ("cfg(any())", "linux/amd64", False),
        ("cfg(all())", "linux/amd64", True),
        ("x86_64-unknown-linux-musl", "linux/amd64", True),
        ("aarch64-unknown-linux-gnu", "linux/amd64", False),
        ("aarch64-unknown-linux-gnu", "linux", True),
        ("x86_64-pc-windows-msvc", "linux", False),
        ("cfg(", "linux", True),
    ],
)
def test_conditions_are_read_as_cargo_reads_them(condition: str, platform: str, counts: bool) -> None:  # noqa: FBT001
    assert may_count(condition, platform) is counts


APP = "app/Cargo.toml"


@pytest.mark.parametrize(
    ("dependencies", "features", "asked", "expected"),
    [
        ("a = { path = '../a', optional = true }", "", (), ["app"]),
        ("a = { path = '../a', optional = true }", "", ("a",), ["a", "app"]),
        ("a = { path = '../a', optional = true }", "on = ['dep:a']", ("on",), ["a", "app"]),
        ("a = { path = '../a', optional = true }", "default = ['on']\non = ['dep:a']", (), ["a", "app"]),
        ("a = { path = '../a', optional = true }", "on = ['a?/b']", ("on",), ["app"]),
        ("a = { path = '../a' }", "", (), ["a", "app"]),
        ("a = { path = '../a' }", "on = ['a/with']", ("on",), ["a", "app", "b"]),
        ("a = { path = '../a', features = ['with'] }", "", (), ["a", "app", "b"]),
        ("a = { path = '../a', optional = true }", "on = ['a?/with', 'dep:a']", ("on",), ["a", "app", "b"]),
    ],
)
def test_what_is_off_is_not_compiled(dependencies: str, features: str, asked: tuple[str, ...], expected: list[str]) -> None:
    found = scanned(
        {
            "Cargo.toml": workspace("app", "a", "b"),
            APP: package("app", f"[dependencies]\n{dependencies}\n[features]\n{features}"),
            "a/Cargo.toml": package("a", "[dependencies]\nb = { path = '../b', optional = true }\n[features]\nwith = ['dep:b']"),
            "b/Cargo.toml": package("b"),
        }
    )
    assert sorted(p.name for p in found.closure(["app"], features=asked)) == expected


@pytest.mark.parametrize("table", ["build-dependencies", "build_dependencies", "dependencies"])
def test_tables_with_underscores_count(table: str) -> None:
    files = {
        "Cargo.toml": workspace("app", "a"),
        APP: package("app", f"[{table}]\na = {{ path = '../a' }}"),
        "a/Cargo.toml": package("a"),
    }
    assert [p.name for p in scanned(files).closure(["app"])] == ["a", "app"]


def test_a_package_inherits_from_its_own_workspace() -> None:
    files = {
        "Cargo.toml": workspace("app", rest='exclude = ["inner"]\n[workspace.dependencies]\nutil = { path = "nowhere" }'),
        APP: package("app", "[dependencies]\nlib = { path = '../inner/lib' }"),
        "inner/Cargo.toml": workspace("lib", "util", rest='[workspace.dependencies]\nutil = { path = "util" }'),
        "inner/lib/Cargo.toml": package("lib", "[dependencies]\nutil.workspace = true"),
        "inner/util/Cargo.toml": package("util"),
    }
    found = scanned(files)
    assert [p.folder for p in found.closure(["app"])] == ["app", "inner/lib", "inner/util"]
    assert "inner/Cargo.toml" in found.manifests()
    assert [p.name for p in found.whole] == ["lib", "util"]


def test_two_workspaces_deep() -> None:
    files = {
        "Cargo.toml": workspace("app", rest='exclude = ["x"]'),
        APP: package("app", "[dependencies]\none = { path = '../x/one' }"),
        "x/Cargo.toml": workspace("one", rest='exclude = ["y"]'),
        "x/one/Cargo.toml": package("one", "[dependencies]\ntwo = { path = '../y/two' }"),
        "x/y/Cargo.toml": workspace("two"),
        "x/y/two/Cargo.toml": package("two"),
    }
    assert scanned(files).homes == ("x/Cargo.toml", "x/y/Cargo.toml")


@pytest.mark.parametrize(("members", "exclude"), [(["lib/app"], ["lib"]), (["./lib/app/"], ["lib"]), (["lib/app"], ["lib/app"])])
def test_a_member_that_is_named_is_one_below_an_exclude(members: list[str], exclude: list[str]) -> None:
    files = {"Cargo.toml": workspace(*members, rest=f"exclude = {exclude}"), "lib/app/Cargo.toml": package("app")}
    assert list(scanned(files).packages) == ["lib/app"]


@pytest.mark.parametrize("place", ["examples/tool.rs", "tests/bin/tool.rs", "benches/tool.rs"])
def test_a_program_in_a_folder_of_tests_is_compiled(place: str) -> None:
    files = {
        "Cargo.toml": workspace("app", rest=""),
        APP: package("app", f'[[bin]]\nname = "tool"\npath = "{place}"'),
        f"app/{place}": "",
        "app/src/lib.rs": "",
        "app/tests/it.rs": "",
        "app/benches/b.rs": "",
    }
    found = scanned(files)
    hidden = found.not_compiled(found.packages["app"])
    assert not any(f"app/{place}".startswith(path + "/") for path in hidden)
    assert len(hidden) == 2


@pytest.mark.parametrize("build", ["../build.rs", "../shared/build.rs"])
def test_a_shared_build_script_is_a_source(build: str) -> None:
    script = build.removeprefix("../")
    files = {"Cargo.toml": workspace("app"), APP: package("app").replace("edition", f'build = "{build}"\nedition'), script: ""}
    found = scanned(files)
    assert found.sources(found.packages["app"], sorted(files)) == tuple(sorted(["app", script]))


def test_a_library_elsewhere_brings_its_folder() -> None:
    files = {
        "Cargo.toml": workspace("app"),
        APP: package("app", '[lib]\npath = "../code/lib.rs"'),
        "code/lib.rs": "",
        "code/m.rs": "",
    }
    found = scanned(files)
    assert found.sources(found.packages["app"], sorted(files)) == ("app", "code")


@pytest.mark.parametrize("member", ["packages/b", "./packages/b/"])
def test_a_linked_member_is_told_as_one(member: str) -> None:
    files = {"Cargo.toml": workspace(member), "packages/b": "", "real/b/Cargo.toml": package("b")}
    assert "is a link" in problems_of(lambda: scanned(files))[0].message


@pytest.mark.parametrize(
    ("config", "folders"),
    [
        ('[source.crates-io]\nreplace-with = "v"\n[source.v]\ndirectory = "vendor"', ("vendor",)),
        ('[source.v]\ndirectory = "./third/party/"', ("third/party",)),
        ('[source.v]\nlocal-registry = "registry"', ("registry",)),
        ('[source.v]\nregistry = "https://example.org/index"', ()),
        ('[source.v]\ndirectory = "../vendor"', ()),
    ],
)
def test_folders_that_stand_for_registries(config: str, folders: tuple[str, ...]) -> None:
    files = {"Cargo.toml": workspace("app"), APP: package("app"), ".cargo/config.toml": config}
    assert scanned(files).vendored == folders


LOCK = 'version = 4\n[[package]]\nname = "app"\nversion = "0.1.0"\n'


@pytest.mark.parametrize(
    ("manifest", "lock", "codes"),
    [
        (package("app"), None, [MISSING]),
        (package("app"), LOCK, []),
        (package("app"), "version = 4\n", [STALE]),
        (package("app").replace("0.1.0", "0.2.0"), LOCK, [STALE]),
        (package("app", '[dependencies]\nserde = "1"'), LOCK, [STALE]),
        (package("app", '[dev-dependencies]\ns = { package = "serde", version = "1" }'), LOCK, [STALE]),
        (package("app", '[dependencies]\nserde = "1"'), LOCK + '[[package]]\nname = "serde"\nversion = "1.0.0"\n', []),
    ],
)
def test_a_lock_file_that_would_stop_the_build(manifest: str, lock: str | None, codes: list[str]) -> None:
    files = {"Cargo.toml": workspace("app"), APP: manifest} | ({"Cargo.lock": lock} if lock is not None else {})
    assert [problem.code for problem in lock_problems(scanned(files))] == codes


def test_a_patch_that_nothing_uses_is_in_no_lock_file() -> None:
    files = {
        "Cargo.toml": workspace("app", rest='[patch.crates-io]\next = { path = "own/ext" }'),
        APP: package("app"),
        "own/ext/Cargo.toml": package("ext"),
        "Cargo.lock": LOCK,
    }
    assert list(lock_problems(scanned(files))) == []


@pytest.mark.parametrize(
    ("text", "base", "told"),
    [
        ('[toolchain]\nchannel = "1.80"\n', "rust:1.89-trixie", True),
        ('[toolchain]\nchannel = "1.80"\n', "rust:1.80.1-trixie", False),
        ('[toolchain]\nchannel = "1.89.0"\n', "rust:1.89-trixie@sha256:" + "0" * 64, False),
        ('[toolchain]\nchannel = "nightly-2026-01-01"\n', "docker.io/library/rust:1.89", True),
        ('[toolchain]\nchannel = "stable"\n', "rust:1.89", False),
        ("1.80\n", "rust:1.89", True),
        ('[toolchain]\nchannel = "1.80"\n', "debian:trixie", False),
    ],
)
def test_a_toolchain_file_that_no_builder_follows(text: str, base: str, told: bool) -> None:  # noqa: FBT001
    assert bool(list(toolchain_advice(["rust-toolchain.toml"], lambda _: text.encode(), [base]))) is told


@pytest.mark.parametrize(
    ("config", "provided", "names"),
    [
        ('[build]\ntarget = "x86_64-unknown-linux-musl"', "", ["cargo-target"]),
        ('[build]\ntarget-dir = "../out"', "", ["cargo-target"]),
        ('[target.x86_64-unknown-linux-gnu]\nlinker = "clang"', "", ["cargo-linker"]),
        ('[target.x86_64-unknown-linux-gnu]\nlinker = "clang"', "clang", []),
        ("[target.'cfg(unix)']\nrustflags = ['-C', 'link-arg=-fuse-ld=mold']", "", ["cargo-linker"]),
        ('[target.x86_64-pc-windows-msvc]\nlinker = "rust-lld"', "", []),
        ('[build]\nrustflags = ["-C", "linker=gcc"]', "", []),
        ("[net]\noffline = true", "", []),
    ],
)
def test_settings_that_an_image_cannot_follow(config: str, provided: str, names: list[str]) -> None:
    assert [found.name for found in config_advice([".cargo/config.toml"], lambda _: config.encode(), provided)] == names


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("app/src/lib.rs", 'const A: &str = include_str!("../../data/a.txt");', True),
        ("app/src/lib.rs", 'const A: &[u8] = include_bytes!( "../../data/a.txt" );', True),
        ("app/src/lib.rs", '// include_str!("../../data/a.txt")', False),
        ("app/src/lib.rs", 'const A: &str = include_str!("own.txt");', False),
        ("app/src/lib.rs", 'sqlx::migrate!("../migrations").run(&pool)', True),
        ("app/src/lib.rs", 'include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/a.txt"))', True),
        ("app/src/lib.rs", '#[path = "../../data/m.rs"] mod m;', True),
        ("app/build.rs", 'tonic::compile(&["../proto/a.proto"])', True),
        ("app/src/lib.rs", 'let link = "../proto/a.proto";', False),
    ],
)
def test_sources_that_read_what_is_not_sent(path: str, text: str, told: bool) -> None:  # noqa: FBT001
    files = {
        "Cargo.toml": workspace("app"),
        APP: package("app"),
        "app/src/own.txt": "",
        "app/src/lib.rs": "",
        "data/a.txt": "",
        "data/m.rs": "",
        "migrations/1.sql": "",
        "proto/a.proto": "",
        path: text,
    }
    found = scanned(files)
    sent = [name for name in files if name.startswith("app/")]
    advice = list(reading_advice(found.packages["app"], sent, sorted(files), lambda name: files[name].encode()))
    assert bool(advice) is told
