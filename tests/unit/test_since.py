"""`--since` and `--exclude`: exact, because fingerprints are compared and not file names."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tasker_build.cli import run
from tasker_build.errors import ProblemsError, SelectionError
from tasker_build.project import Project
from tasker_build.work.asking import chosen
from tasker_build.work.since import affected_since
from tests.conftest import HEAD, write_files

if TYPE_CHECKING:
    from pathlib import Path

SPEC = (
    HEAD
    + """\
templates: tpl
bases: {linux: "linux:1"}
targets:
  base: {template: t.j2, from: {x: linux}, context: [lib]}
  app: {template: t.j2, from: {x: base}, context: [app]}
  lone: {template: other.j2, from: {x: linux}, context: [lone]}
"""
)
TEMPLATE = '# one\nARG X_IMAGE={{ images[0][1] }}\nFROM {{ image("x") }}\n'


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    files = {"lib/a": "1", "app/a": "1", "lone/a": "1", "README.md": "1"}
    write_files(folder, {"stacks.yaml": SPEC, "tpl/t.j2": TEMPLATE, "tpl/other.j2": TEMPLATE, **files})
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def affected(folder: Path, revision: str = "HEAD") -> set[str]:
    return set(map(str, affected_since(Project.open([folder / "stacks.yaml"]), revision)))


def test_nothing_changed(here: Path) -> None:
    assert affected(here) == set()


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("lone/a", "2", {"lone"}),
        ("lib/a", "2", {"base", "app"}),
        ("README.md", "2", set()),
        ("tpl/t.j2", TEMPLATE.replace("one", "two"), set()),
        ("tpl/t.j2", TEMPLATE + "RUN x\n", {"base", "app"}),
        ("stacks.yaml", SPEC.replace("linux:1", "linux:2"), {"base", "app", "lone"}),
        ("stacks.yaml", "# a comment\n" + SPEC, set()),
        ("stacks.yaml", SPEC + "  new: {template: t.j2, from: {x: linux}}\n", {"new"}),
    ],
)
def test_a_change_counts_where_it_changes_an_image(here: Path, path: str, text: str, expected: set[str]) -> None:
    write_files(here, {path: text})
    assert affected(here) == expected
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message=second", "--allow-empty")
    assert (affected(here), affected(here, "HEAD~1")) == (set(), expected)


def test_before_the_spec_was_there_everything_is_new(here: Path) -> None:
    git(here, "mv", "stacks.yaml", "later.yaml")
    project = Project.open([here / "later.yaml"])
    assert set(affected_since(project, "HEAD")) == {"base", "app", "lone"}


def refused(folder: Path, revision: str) -> str:
    with pytest.raises(SelectionError) as caught:
        affected(folder, revision)
    return caught.value.draw()


def commit(folder: Path, message: str, **files: str) -> None:
    """Write files (`__` stands for `/`) and commit everything."""
    write_files(folder, {path.replace("__", "/"): text for path, text in files.items()})
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={message}")


def test_a_revision_that_git_does_not_have_is_named(here: Path) -> None:
    git(here, "branch", "version8")
    git(here, "update-ref", "refs/remotes/origin/release", "HEAD")
    assert "Git does not have `v9` here: no such commit" in refused(here, "v9")
    assert "did you mean `version8`?" in refused(here, "version9")
    assert "did you mean `origin/release`?" in refused(here, "release")
    for odd in ("--git-dir=/tmp", "HEAD:lone", "HEAD~1"):
        assert "error[S033]: Git does not have" in refused(here, odd)


@pytest.mark.parametrize("revision", ["", "..", "...", "..HEAD", "HEAD~1..HEAD~0", "main...topic"])
def test_a_range_that_ends_elsewhere_is_no_revision(here: Path, revision: str) -> None:
    message = refused(here, revision)
    assert "error[S033]" in message
    assert "give one revision" in message
    assert "git fetch" not in message


# Real histories.


@pytest.fixture
def history(here: Path) -> Path:
    """Two branches, one merged; the tags say where what happened."""
    git(here, "tag", "first")
    commit(here, "lone", lone__a="2")
    git(here, "tag", "lone")
    git(here, "checkout", "--quiet", "-b", "topic")
    commit(here, "app", app__a="2")
    git(here, "checkout", "--quiet", "main")
    commit(here, "words", **{"README.md": "2"})
    commit(here, "lone back", lone__a="1")
    return here


def test_over_several_commits_only_the_two_ends_count(history: Path) -> None:
    assert affected(history, "first") == set()
    assert affected(history, "lone") == {"lone"}
    assert affected(history, "HEAD~1") == {"lone"}


def test_a_merge_counts_what_it_brought(history: Path) -> None:
    git(history, "merge", "--quiet", "--no-edit", "topic")
    assert affected(history, "HEAD^1") == {"app"}
    assert affected(history, "HEAD^2") == {"lone"}
    assert affected(history, "first") == {"app"}


def test_three_dots_are_where_a_branch_left(history: Path) -> None:
    git(history, "checkout", "--quiet", "topic")
    assert affected(history, "main") == {"app", "lone"}
    assert affected(history, "main...") == {"app"}
    assert affected(history, "main...HEAD") == affected(history, "main...@") == {"app"}
    assert affected(history, "main..") == affected(history, "main..HEAD") == {"app", "lone"}
    git(history, "checkout", "--quiet", "--orphan", "alone")
    commit(history, "another beginning")
    assert "their histories have nothing in common" in refused(history, "main...")


def test_a_rename_counts_where_the_name_does(here: Path) -> None:
    git(here, "mv", "lone/a", "lone/b")
    git(here, "mv", "README.md", "READ.md")
    git(here, "mv", "tpl/other.j2", "tpl/another.j2")
    commit(here, "names", **{"stacks.yaml": SPEC.replace("other.j2", "another.j2")})
    assert affected(here, "HEAD~1") == {"lone"}


def test_a_file_that_moves_from_one_closure_to_another_counts_in_both(here: Path) -> None:
    git(here, "mv", "lone/a", "app/moved")
    write_files(here, {"lone/b": "1"})
    assert affected(here) == {"app", "lone"}


def test_a_file_that_can_be_run_now_counts(here: Path) -> None:
    (here / "lone/a").chmod(0o755)
    assert affected(here) == {"lone"}


def test_untracked_files_count_and_ignored_ones_are_as_they_always_were(here: Path) -> None:
    commit(here, "ignore", **{".gitignore": "*.secret\n"})
    write_files(here, {"app/.env.secret": "here", "lone/new/deep.secret": "here"})
    assert affected(here) == set()
    write_files(here, {"app/new": "here"})
    assert affected(here) == {"app"}


def test_a_file_that_was_tracked_and_is_ignored_now_is_compared(here: Path) -> None:
    git(here, "rm", "--quiet", "--cached", "app/a")
    commit(here, "ignore", **{".gitignore": "app/a\n"})
    assert affected(here, "HEAD~1") == set()
    write_files(here, {"app/a": "2"})
    assert affected(here, "HEAD~1") == {"app"}
    assert affected(here) == set()


def test_what_attributes_do_to_releases_does_not_count(here: Path) -> None:
    attributes = "lone/a export-ignore\napp/a export-subst\nlib/a text eol=crlf\n"
    commit(here, "attributes", **{".gitattributes": attributes, "app__a": "$Format:%H$\n", "lib__a": "1\n"})
    git(here, "rm", "--quiet", "--cached", "-r", ".")
    git(here, "reset", "--quiet", "--hard")
    assert (here / "lib/a").read_bytes() == b"1\r\n"
    assert affected(here) == set()


def test_nothing_of_the_checkout_moves(history: Path) -> None:
    write_files(history, {"app/a": "3", "new": "1"})
    git(history, "add", "new")
    index = (history / ".git/index").read_bytes()
    before = sorted(str(path) for path in history.rglob("*"))
    assert affected(history, "topic") == {"app", "lone"}
    assert (history / ".git/index").read_bytes() == index
    assert sorted(str(path) for path in history.rglob("*")) == before


def shallow_clone(history: Path, into: Path, branch: str = "topic", depth: int = 1) -> Path:
    shallow = into / f"shallow-{len(list(into.iterdir()))}"
    git(into, "clone", "--quiet", f"--depth={depth}", "--branch", branch, f"file://{history}", shallow.name)
    return shallow


def follow(folder: Path, hint: str) -> str | None:
    """Run the commands of a hint, as a reader would; returns what it says to compare with then."""
    command, _, then = hint.removeprefix("a branch: ").removeprefix("a tag: ").partition(", then --since ")
    first, _, other = command.partition(", or only so many more commits: ")
    assert (other or first).startswith("git fetch "), hint
    git(folder, *(other or first).split()[1:])
    return then or None


@pytest.mark.parametrize(
    ("revision", "number", "expected"),
    [
        ("main", 0, {"app", "lone"}),
        ("origin/main", 0, {"app", "lone"}),
        ("lone", 1, {"app"}),
        ("main~1", 0, {"app"}),
        ("main...", 0, {"app"}),
        ("HEAD~2", 0, {"app", "lone"}),
        ("HEAD^", 0, {"app"}),
        ("@~1^", 0, {"app", "lone"}),
        ("topic~2", 0, {"app", "lone"}),
        ("FULL", 0, {"app", "lone"}),
        ("FULL^", 0, {"app"}),
        ("SHORT", 0, {"app"}),
    ],
)
def test_what_a_shallow_clone_is_told_to_do_gets_what_it_lacks(
    history: Path, tmp_path: Path, revision: str, number: int, expected: set[str]
) -> None:
    ids = {"FULL": "main", "FULL^": "main^", "SHORT": "lone"}
    if revision in ids:
        full = subprocess.check_output(["git", "rev-parse", ids[revision]], cwd=history, text=True).strip()
        revision = full[:9] if revision == "SHORT" else full
    shallow = shallow_clone(history, tmp_path)
    message = refused(shallow, revision)
    assert "this is a shallow clone, which has only the newest commits" in message
    assert "fetch-depth: 0" in message
    hints = [line.removeprefix("hint: ") for line in message.splitlines() if line.startswith("hint: ")]
    assert affected(shallow, follow(shallow, hints[number]) or revision) == expected


def test_a_shallow_clone_works_with_what_it_has_and_says_where_it_ends(history: Path, tmp_path: Path) -> None:
    shallow = shallow_clone(history, tmp_path, depth=2)
    assert affected(shallow, "HEAD~1") == {"app"}
    git(shallow, "fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main")
    assert "hint: did you mean `origin/main`?" in refused(shallow, "main"), "no fetch helps where it is there already"
    message = refused(shallow, "origin/main...")
    assert "where this commit left `origin/main`: the clone is shallow" in message
    assert "hint: git fetch --unshallow\n" in message
    git(shallow, "fetch", "--quiet", "--unshallow")
    assert affected(shallow, "origin/main...") == {"app"}


def test_a_detached_shallow_clone_is_not_told_to_deepen_what_is_no_branch(history: Path, tmp_path: Path) -> None:
    shallow = shallow_clone(history, tmp_path)
    git(shallow, "checkout", "--quiet", "--detach")
    assert "hint: git fetch --unshallow\n" in refused(shallow, "HEAD~1")
    git(shallow, "fetch", "--quiet", "--unshallow")
    assert affected(shallow, "HEAD~1") == {"app"}


def test_a_linked_worktree_and_a_hooks_variables(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(history, "worktree", "add", "--quiet", str(tmp_path / "linked"), "topic")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "no-index"))
    assert affected(tmp_path / "linked", "main") == {"app", "lone"}


def test_a_spec_in_a_folder_of_the_repository(tmp_path: Path) -> None:
    files = {"lib/a": "1", "app/a": "1", "lone/a": "1", "build/tpl/t.j2": TEMPLATE, "build/tpl/other.j2": TEMPLATE}
    write_files(tmp_path, files | {"build/stacks.yaml": SPEC.replace("templates:", "workspace: ..\ntemplates:")})
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path, "first")
    assert affected(tmp_path / "build") == set()
    write_files(tmp_path, {"lone/a": "2"})
    assert affected(tmp_path / "build") == {"lone"}


def test_a_workspace_elsewhere_cannot_be_compared(here: Path, tmp_path: Path) -> None:
    other = write_files(tmp_path / "other", {"lib/a": "1", "app/a": "1", "lone/a": "1"})
    with pytest.raises(SelectionError) as caught:
        affected_since(Project.open([here / "stacks.yaml"], workspace=other), "HEAD")
    assert "is not in the Git checkout of the spec" in caught.value.draw()


def test_overlays_that_are_new_or_from_elsewhere(here: Path, tmp_path: Path) -> None:
    write_files(tmp_path, {"site.yaml": "targets: {lone: {network: none}}\n"})
    elsewhere = Project.open([here / "stacks.yaml", tmp_path / "site.yaml"])
    assert affected_since(elsewhere, "HEAD") == set()
    write_files(here, {"more.yaml": "targets: {lone: {network: none}}\n"})
    assert affected_since(Project.open([here / "stacks.yaml", here / "more.yaml"]), "HEAD") == {"lone"}
    commit(here, "ignore", **{".gitignore": "more.yaml\n"})
    assert affected_since(Project.open([here / "stacks.yaml", here / "more.yaml"]), "HEAD~1") == set()


@pytest.fixture
def outer(here: Path, tmp_path: Path) -> Path:
    """A repository whose folder `app` is another one."""
    inner = write_files(tmp_path / "inner", {"a": "1", ".gitignore": "*.secret\n"})
    git(inner, "init", "--quiet", "--initial-branch=main")
    commit(inner, "first")
    git(here, "rm", "--quiet", "-r", "app")
    git(here, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"file://{inner}", "app")
    commit(here, "submodule")
    return here


def test_a_submodule_counts_by_the_commit_it_is_at(outer: Path) -> None:
    write_files(outer, {"app/x.secret": "ignored there"})
    assert affected(outer) == set()
    assert affected(outer, "HEAD~1") == {"app"}, "its .gitignore came with it"
    commit(outer / "app", "inner", a="2")
    assert affected(outer) == {"app"}
    commit(outer, "moved")
    assert affected(outer) == set()
    assert affected(outer, "HEAD~1") == {"app"}


def test_a_submodule_without_its_commit_of_then_says_how_to_get_it(outer: Path, tmp_path: Path) -> None:
    commit(tmp_path / "inner", "second", a="2")
    allowed = ("-c", "protocol.file.allow=always")
    git(outer / "app", "fetch", "--quiet", "--depth=1", "origin", "main")
    git(outer / "app", "checkout", "--quiet", "FETCH_HEAD")
    commit(outer, "moved")
    git(tmp_path, "clone", "--quiet", str(outer), "clone")
    assert "nothing in the workspace at `app`" in open_fails(tmp_path / "clone")
    git(tmp_path / "clone", *allowed, "submodule", "--quiet", "update", "--init", "--depth=1")
    message = refused(tmp_path / "clone", "HEAD~1")
    assert "the submodule `app` does not have commit" in message
    assert "hint: git -C app fetch origin " in message


def open_fails(folder: Path) -> str:
    with pytest.raises(ProblemsError) as caught:
        affected(folder, "HEAD~1")
    return caught.value.draw()


def test_outside_git_it_says_so(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "plain",
        {"stacks.yaml": SPEC, "tpl/t.j2": TEMPLATE, "tpl/other.j2": TEMPLATE, "lib/a": "", "app/a": "", "lone/a": ""},
    )
    with pytest.raises(SelectionError) as caught:
        affected(folder)
    assert "no Git checkout" in caught.value.draw()


def test_exclude_and_since_narrow_a_selection(here: Path) -> None:
    project = Project.open([here / "stacks.yaml"])
    assert chosen(project, ("base+",), (), None) == ("base+",)
    assert chosen(project, (), ("app",), None) == ("base", "lone")
    with pytest.raises(SelectionError):
        chosen(project, ("app",), ("app",), None)
    assert chosen(project, ("lone",), (), "HEAD") is None, "an answer, not a mistake"
    write_files(here, {"lone/a": "2"})
    project = Project.open([here / "stacks.yaml"])
    assert chosen(project, (), (), "HEAD") == ("lone",)
    assert chosen(project, ("app",), (), "HEAD") is None
    with pytest.raises(SelectionError):
        chosen(project, ("lone",), ("lone",), "HEAD")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["ls"], ""),
        (["plan", "--offline"], "nothing to do: 0 targets up to date\n"),
        (["plan", "--offline", "--format", "tree"], "\n"),
        (["plan", "--offline", "--format", "github"], ""),
        (["plan", "--offline", "--graph=g.svg"], ""),
    ],
)
def test_nothing_that_differs_is_success(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: list[str], out: str
) -> None:
    monkeypatch.chdir(here)
    assert run([*command, "--since", "HEAD"]) == 0
    said = capfd.readouterr()
    assert said.out == out or "github" in command
    assert "no selected target differs from `HEAD`" in said.err
    assert run(["plan", "--since", "HEAD", "--out", "p.json"]) == 3
    assert run(["plan", "--since", "nowhere"]) == 3
