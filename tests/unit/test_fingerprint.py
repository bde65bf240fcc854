"""Fingerprints: one thing changes, exactly its group changes; what cannot change an image changes nothing."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.ecosystems.meaning import toml_meaning
from tasker_build.plan.facts import Fact, Facts, Group, differences, hunks
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tasker_build.view.wording import hunk_lines
from tests.conftest import cargo_lock, write_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = """\
version: 1
project: demo
templates: tpl
bases: {rust: "rust:1", debian: "debian:13"}
targets:
  build:
    kind: cargo-chef
    from: {rust: rust}
    stage: builder
  app:
    kind: rust-service
    from: {builder: build, runtime: debian}
    stage: runtime
    user: {name: app, uid: 1000}
    cargo: {packages: [app], binaries: {app: app}}
    context: [config]
    args: {NOBODY: asks}
  other:
    template: other.j2
    from: {base: debian}
    context: [web]
    secrets: [{id: token, required: true}, ca]
    args: {FLAVOUR: plain}
"""
FILES = {
    "stacks.yaml": SPEC,
    "tpl/other.j2": "FROM {{ image('base') }}\n".replace("{{ image('base') }}", "debian:13")
    + "ARG FLAVOUR\nARG NEW\nCOPY web/ web/\n",
    "Cargo.toml": '[workspace]\nmembers = ["app", "lib", "tool"]\n',
    "Cargo.lock": cargo_lock("app", "lib", "tool", "serde", version="1.0.0"),
    "app/Cargo.toml": '[package]\nname = "app"\nversion = "1.0.0"\n[dependencies]\nlib = {path = "../lib"}\n',
    "app/src/main.rs": "fn main() {}\n",
    "lib/Cargo.toml": '[package]\nname = "lib"\nversion = "1.0.0"\n',
    "lib/src/lib.rs": "",
    "tool/Cargo.toml": '[package]\nname = "tool"\nversion = "1.0.0"\n[dependencies]\nserde = "1"\n',
    "tool/src/lib.rs": "",
    "config/base.toml": "a = 1\n",
    "web/index.html": "<p>\n",
    "README.md": "hello\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "checkout", FILES)


def facts(root: Path) -> dict[str, Facts]:
    wanted = Project.open([root / "stacks.yaml"]).wanted
    return {str(name): item.facts for name, item in wanted.items()}


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return change


def add(*paths: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write_files(root, dict.fromkeys(paths, "x"))

    return change


def relink(root: Path) -> None:
    (root / "web/index.html").unlink()
    (root / "web/other.html").write_text("x")
    (root / "web/index.html").symlink_to("other.html")


def touch(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (1, 1))


def umask(root: Path, taken: int) -> None:
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() or path.stat().st_mode & 0o100 else 0o666) & ~taken)


def reorder(root: Path) -> None:
    other = SPEC[SPEC.index("  other:") :]
    edit("stacks.yaml", other, "")(root)
    edit("stacks.yaml", "targets:\n", "targets:\n" + other)(root)


SPEC_EDITS: dict[str, tuple[Callable[[Path], None], dict[str, set[str]]]] = {
    "a source file": (edit("app/src/main.rs", "{}", "{ }"), {"app": {"context"}}),
    "a file of a dependency": (add("lib/src/more.rs"), {"app": {"context"}}),
    "a runtime file": (edit("config/base.toml", "1", "2"), {"app": {"context"}}),
    "the exec bit": (lambda root: (root / "web/index.html").chmod(0o755), {"other": {"context"}}),
    "a mode that somebody chose": (lambda root: (root / "web/index.html").chmod(0o600), {"other": {"context"}}),
    "a folder's mode": (lambda root: (root / "web").chmod(0o700), {"other": {"context"}}),
    "an empty folder": (lambda root: (root / "web/empty").mkdir(), {"other": {"context"}}),
    "a folder of ignored files": (add("config/tmp/x.swp"), {"app": {"context"}}),
    "a file becomes a link": (relink, {"other": {"context"}}),
    "the lock file": (edit("Cargo.lock", "version = 4", "version = 3"), {"build": {"context"}, "app": {"context", "parent"}}),
    "a dependency of a package outside the closure": (
        edit("tool/Cargo.toml", 'serde = "1"', 'serde = "2"'),
        {"build": {"context"}, "app": {"context", "parent"}},
    ),
    "a build argument": (edit("stacks.yaml", "FLAVOUR: plain", "FLAVOUR: sweet"), {"other": {"arg"}}),
    "an argument from unset to empty": (edit("stacks.yaml", "FLAVOUR: plain", 'FLAVOUR: plain, NEW: ""'), {"other": {"arg"}}),
    "a base": (edit("stacks.yaml", "rust:1", "rust:2"), {"build": {"base", "dockerfile"}, "app": {"parent"}}),
    "the network": (edit("stacks.yaml", "template: other.j2", "template: other.j2\n    network: none"), {"other": {"spec"}}),
    "the platform": (edit("stacks.yaml", "template: other.j2", "template: other.j2\n    platforms: [linux/arm64]"), {"other": {"spec"}}),
    "a version of a secret": (edit("stacks.yaml", "required: true", "required: true, version: v2"), {"other": {"secret"}}),
    "the template": (edit("tpl/other.j2", "COPY", "USER x\nCOPY"), {"other": {"dockerfile"}}),
    "what is cooked": (edit("stacks.yaml", "packages: [app]", "features: [x], packages: [app]"), {"build": {"dockerfile"}, "app": {"dockerfile", "parent"}}),
}  # fmt: skip


@pytest.mark.parametrize("what", SPEC_EDITS)
def test_one_change_changes_exactly_its_groups(root: Path, what: str) -> None:
    change, expected = SPEC_EDITS[what]
    before = facts(root)
    if what == "the platform" and next(f.value for f in before["other"].facts if f.label == "platform") == "linux/arm64":
        pytest.skip("this machine is one")
    change(root)
    after = facts(root)
    changed = {
        name: {group for group in after[name].groups if after[name].groups[group] != before[name].groups[group]} for name in after
    }
    assert {name: groups for name, groups in changed.items() if groups} == expected
    assert {name for name in after if after[name].fingerprint != before[name].fingerprint} == set(expected)


NOTHING: dict[str, Callable[[Path], None]] = {
    "times": touch,
    "a file outside every closure": edit("README.md", "hello", "bye"),
    "code of a package outside the closure": edit("tool/src/lib.rs", "", "fn x() {}\n"),
    "build outputs and editors' files": add("target/x", "app/target/x", "web/.x.swp", "web/x~"),
    "a comment in a manifest of others": edit("tool/Cargo.toml", "[dependencies]", "# why\n[dependencies]"),
    "the order of keys in a manifest of others": edit("tool/Cargo.toml", 'name = "tool"\nversion = "1.0.0"', 'version = "1.0.0"\nname   =   "tool"'),
    "helpers of tests": add("app/tests/common/mod.rs"),
    "comments in the spec": edit("stacks.yaml", "targets:", "# why\ntargets:   # here"),
    "the order of keys in the spec": edit("stacks.yaml", "    kind: cargo-chef\n    from: {rust: rust}\n", "    from: {rust: rust}\n    kind: cargo-chef\n"),
    "the order of targets in the spec": reorder,
    "an argument that no ARG declares": edit("stacks.yaml", "NOBODY: asks", "NOBODY: knows"),
    "a tag": edit("stacks.yaml", "template: other.j2", "template: other.j2\n    tags: [x]"),
    "a comment in a template": edit("tpl/other.j2", "COPY", "# why\n\n{# and why not #}COPY"),
    "blanks between words of a COPY": edit("tpl/other.j2", "COPY ", "COPY   "),
    "the rendered files": add("docker/app/Dockerfile"),
    "the modes of another umask": lambda root: umask(root, 0o077),
    "the modes of a shared checkout": lambda root: umask(root, 0o002),
    "a mode outside every closure": lambda root: (root / "README.md").chmod(0o600),
    "an empty folder outside every closure": lambda root: (root / "empty").mkdir(),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTHING)
def test_what_cannot_change_an_image_changes_nothing(root: Path, what: str) -> None:
    before = {name: item.fingerprint for name, item in facts(root).items()}
    NOTHING[what](root)
    assert {name: item.fingerprint for name, item in facts(root).items()} == before


def test_another_checkout_has_the_same_fingerprints(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "some where" / "else"
    shutil.copytree(root, other)
    assert {n: f.fingerprint for n, f in facts(other).items()} == {n: f.fingerprint for n, f in facts(root).items()}


def test_a_required_secret_counts_by_being_there_and_never_by_its_value(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "token"
    seen = []
    for content in (None, "one", "two"):
        if content is not None:
            secret.write_text(content)
            monkeypatch.setenv("TASKER_BUILD_TOKEN", str(secret))
            monkeypatch.setenv("TASKER_BUILD_CA", str(secret))
        seen.append(facts(root)["other"])
    assert seen[0].groups["secret"] != seen[1].groups["secret"]
    assert seen[1] == seen[2]
    assert not any("one" in fact.value for fact in seen[1].facts)


def test_secrets_that_nobody_wrote_are_no_fact(root: Path) -> None:
    project = Project.open([root / "stacks.yaml"])
    implied = [secret.id for secret in project.spec.targets[TargetName("build")].secrets]
    assert implied
    assert not [fact for fact in facts(root)["build"].facts if fact.group is Group.SECRET]


def test_facts_are_the_same_in_any_order() -> None:
    rows = [Fact(group=Group.ARG, label=str(i), value="x") for i in range(5)]
    assert Facts.of(iter(rows)) == Facts.of(iter(reversed(rows)))
    assert len(Facts.of(iter(rows)).short) == 12


WORDS = st.text(max_size=4)
FACTS = st.lists(
    st.builds(Fact, group=st.sampled_from(list(Group)), label=WORDS, value=WORDS),
    max_size=5,
    unique_by=lambda fact: (fact.group, fact.label),
)


@given(FACTS, FACTS)
def test_equal_digests_mean_equal_facts_and_differences_say_what_differs(old: list[Fact], new: list[Fact]) -> None:
    first, second = Facts.of(iter(old)), Facts.of(iter(new))
    found = differences(first.facts, second.facts)
    assert (first.fingerprint == second.fingerprint) == (sorted(old) == sorted(new)) == (not found)
    changed = {group for group in first.groups if first.groups[group] != second.groups[group]}
    assert changed == {difference.group.value for difference in found}


def test_lengths_keep_words_apart() -> None:
    one = Facts.of(iter([Fact(group=Group.ARG, label="ab", value="c")]))
    two = Facts.of(iter([Fact(group=Group.ARG, label="a", value="bc")]))
    assert one.fingerprint != two.fingerprint


def test_signs_of_differences() -> None:
    old = (Fact(group=Group.ARG, label="a", value="1"), Fact(group=Group.ARG, label="b", value="1"))
    new = (Fact(group=Group.ARG, label="b", value="2"), Fact(group=Group.ARG, label="c", value="1"))
    assert [(d.sign, d.label) for d in differences(old, new)] == [("-", "a"), ("~", "b"), ("+", "c")]


def test_manifests_count_by_meaning() -> None:
    base = toml_meaning(b"a = 1\nb = [1, 2]\n")
    assert toml_meaning(b"# x\nb = [1,\n 2]\na=1") == base
    assert toml_meaning(b"a = 1\nb = [2, 1]\n") != base
    assert toml_meaning(b"a = 1.0\nb = [1, 2]\n") != base
    assert toml_meaning(b"broken") == toml_meaning(b"broken") != toml_meaning(b"broken ")


def test_the_order_of_the_plan_is_that_of_the_graph(root: Path) -> None:
    project = Project.open([root / "stacks.yaml"])
    assert list(project.wanted) == ["build", "app", "other"]
    assert project.wanted[TargetName("app")].parents == ("build",)
    assert project.wanted[TargetName("build")].bases == ("rust:1",)


def instructions(*values: str, **directives: str) -> list[Fact]:
    rows = [Fact(group=Group.DOCKERFILE, label=f"# {name}", value=value) for name, value in directives.items()]
    return rows + [Fact(group=Group.DOCKERFILE, label=f"{i:04}", value=value) for i, value in enumerate(values)]


def hunk_text(old: list[Fact], new: list[Fact], place: tuple[str, list[int]] | None = None) -> list[str]:
    return list(hunk_lines(tuple(hunks(old, new)), place))


def test_a_hunk_shows_what_came_and_went_not_what_moved_down() -> None:
    old, new = instructions("FROM a", "RUN b", "RUN c"), instructions("FROM a", "RUN new\nx", "RUN b", "RUN d")
    assert hunk_text(old, new) == ["@@ instruction 2", "+ RUN new", "+   x", "@@ instruction 4", "- RUN c", "+ RUN d"]
    assert hunk_text(instructions("FROM a", "RUN b"), instructions("FROM a"), ("D", [1])) == ["D:1", "- RUN b"]
    assert hunk_text(old, old, ("D", [1])) == []


def test_a_directive_has_its_name_in_a_hunk_and_counts_no_line() -> None:
    old, new = instructions("FROM a", syntax="x:1"), instructions("FROM a", "RUN b", syntax="x:2")
    assert hunk_text(old, new, ("D", [3, 5])) == ["D:3", "- # syntax=x:1", "+ # syntax=x:2", "D:5", "+ RUN b"]
