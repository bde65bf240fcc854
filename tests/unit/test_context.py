"""The context tar: the same bytes for the same content, and only the bytes that were planned."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tasker_build.context import DOCKERFILE, ContextPart, by_path, entries_of, write_tar
from tasker_build.errors import RefusedError
from tasker_build.workspace import Workspace
from tests.conftest import problems_of, write_files

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a/x.txt": "x", "a/b/run.sh": "#!/bin/sh\n", "z.txt": "z", "target/no": "", ".git/no": "", "a/.env": "", "docker/no": ""}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = write_files(tmp_path / "work", FILES)
    (folder / "a/b/run.sh").chmod(0o755)
    (folder / "a/link").symlink_to("x.txt")
    return folder


def packed(root: Path, prefix: str = "api", dockerfile: str = "FROM x\n") -> bytes:
    workspace = Workspace(root, output="docker")
    out = io.BytesIO()
    write_tar(out, workspace, [ContextPart(prefix=prefix, entries=entries_of(workspace, workspace.paths))], dockerfile)
    return out.getvalue()


def listed(data: bytes) -> list[tarfile.TarInfo]:
    return tarfile.open(fileobj=io.BytesIO(data)).getmembers()


def test_the_tar_holds_what_counts_in_a_fixed_order_and_the_dockerfile_last(root: Path) -> None:
    members = listed(packed(root))
    assert [member.name for member in members] == [
        *("api", "api/a", "api/a/b", "context"),
        *("api/a/b/run.sh", "api/a/link", "api/a/x.txt", "api/z.txt", DOCKERFILE),
    ]
    assert members[0].isdir()
    assert [oct(member.mode) for member in members if member.isfile()] == ["0o755", "0o644", "0o644", "0o644"]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert len({member.mtime for member in members}) == 1
    assert members[5].linkname == "x.txt"
    assert packed(root)[257:263] == b"ustar\0"


def test_two_writes_are_equal_whatever_the_time_the_umask_the_order_and_the_folder(root: Path, tmp_path: Path) -> None:
    first = packed(root)
    for path in root.rglob("*"):
        os.utime(path, (7, 7), follow_symlinks=False)
    (root / "z.txt").chmod(0o600)
    (root / "a/b/run.sh").chmod(0o700)
    assert packed(root) == first
    before = os.umask(0o077)
    try:
        other = write_files(tmp_path / "elsewhere", dict(reversed(FILES.items())))
        (other / "a/b/run.sh").chmod(0o711)
        (other / "a/link").symlink_to("x.txt")
        assert packed(other) == first
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_do_not_count(root: Path) -> None:
    first = packed(root)
    for path in root.rglob("*"):
        os.chown(path, 1234, 1234, follow_symlinks=False)
    assert packed(root) == first


@pytest.mark.parametrize("change", ["content", "exec", "link", "name", "dockerfile"])
def test_every_change_that_counts_changes_the_bytes(root: Path, change: str) -> None:
    first = packed(root)
    if change == "content":
        (root / "z.txt").write_text("Z")
    elif change == "exec":
        (root / "z.txt").chmod(0o755)
    elif change == "link":
        (root / "a/link").unlink()
        (root / "a/link").symlink_to("b/run.sh")
    elif change == "name":
        (root / "z.txt").rename(root / "y.txt")
    assert packed(root, dockerfile="FROM y\n" if change == "dockerfile" else "FROM x\n") != first


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_changed_since_the_plan_is_refused(root: Path, gone: bool) -> None:  # noqa: FBT001
    """The new content has the old one's size and time, so only the bytes can tell."""
    workspace = Workspace(root)
    entries = entries_of(workspace, ["z.txt"])
    times = (root / "z.txt").stat()
    (root / "z.txt").write_text("y")
    os.utime(root / "z.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    if gone:
        (root / "z.txt").unlink()
    with pytest.raises(RefusedError, match=r"`z\.txt` changed after the plan was made"):
        write_tar(io.BytesIO(), workspace, [ContextPart(prefix="p", entries=entries)], "FROM x\n")


def test_several_parts_share_one_tar(root: Path) -> None:
    workspace = Workspace(root)
    out = io.BytesIO()
    parts = [ContextPart(prefix=name, entries=entries_of(workspace, ["z.txt"])) for name in ("b", "a")]
    write_tar(out, workspace, parts, "FROM x\n")
    assert [member.name for member in listed(out.getvalue())] == ["a", "b", "context", "a/z.txt", "b/z.txt", DOCKERFILE]


def test_an_empty_context_is_a_folder_and_a_dockerfile(root: Path) -> None:
    out = io.BytesIO()
    write_tar(out, Workspace(root), [], "FROM x\n")
    assert [member.name for member in listed(out.getvalue())] == ["context", DOCKERFILE]


def test_names_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert packed(tmp_path) == packed(tmp_path)
    assert os.fsencode(listed(packed(tmp_path))[2].name) == b"api/caf\xe9"


def test_long_names_are_kept(tmp_path: Path) -> None:
    path = "/".join(["d" * 60] * 4) + "/" + "f" * 120
    write_files(tmp_path, {path: "x"})
    assert f"api/{path}" in [member.name for member in listed(packed(tmp_path))]


# The workspace.


def test_paths_are_sorted_and_without_what_never_counts(root: Path) -> None:
    assert Workspace(root, output="docker").paths == ("a/b/run.sh", "a/link", "a/x.txt", "z.txt")
    assert Workspace(root, ["a", "!a/x.txt"], "docker").paths == ("a/x.txt", "z.txt")


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "../../x", "b/../../../x"])
def test_a_link_that_leaves_the_workspace_is_refused(root: Path, target: str) -> None:
    (root / "z.lnk").symlink_to(target)
    (problem,) = problems_of(lambda: Workspace(root).entry("z.lnk"))
    assert (problem.code, f"it points to {target}" in problem.message) == ("W011", True)


def test_a_link_up_and_down_again_stays(root: Path) -> None:
    (root / "a/b/l").symlink_to("../../z.txt")
    assert Workspace(root).entry("a/b/l").link == "../../z.txt"


def test_a_name_that_starts_with_two_dots_is_inside(root: Path) -> None:
    (root / "..name").write_text("x")
    (root / "l").symlink_to("..name")
    assert Workspace(root).entry("l").link == "..name"


def test_a_link_to_a_folder_is_a_link_and_is_not_followed(root: Path) -> None:
    (root / "loop").symlink_to(".")
    assert "loop" in Workspace(root).paths
    assert not any(path.startswith("loop/") for path in Workspace(root).paths)


def test_a_fifo_is_refused_without_waiting_for_it_and_may_be_ignored(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (problem,) = problems_of(lambda: Workspace(root).paths)
    assert (problem.code, problem.message) == ("W010", "`pipe` is neither a file, a folder nor a link")
    assert "pipe" not in Workspace(root, ["pipe"]).paths


def test_entries_say_all_that_counts(root: Path) -> None:
    entries = by_path(entries_of(Workspace(root), ["z.txt", "a/b/run.sh", "a/link"]))
    kinds = {path: entry.identity.split(":")[0] for path, entry in entries.items()}
    assert kinds == {"z.txt": "file", "a/b/run.sh": "exec", "a/link": "link"}


def test_what_goes_away_or_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_files(tmp_path / "work", {"a/x.txt": "x", "a/y.txt": "y"})
    workspace = Workspace(root)
    assert workspace.paths == ("a/x.txt", "a/y.txt")
    (root / "a/x.txt").unlink()
    for ask in (workspace.entry, workspace.read):
        with pytest.raises(RefusedError, match=r"`a/x\.txt` went away"):
            ask("a/x.txt")
    assert workspace.digest("a/x.txt") == ""

    def refuse(path: str, *_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    for name in ("open", "scandir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            (problem,) = problems_of(lambda: workspace.entry("a/y.txt") if name == "open" else Workspace(root).paths)  # noqa: B023
        assert (problem.code, problem.message.endswith(": permission denied")) == ("W013", True)
