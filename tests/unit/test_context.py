"""The context tar: the same bytes for the same content, and only the bytes that were planned."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tasker_build.context import DOCKERFILE, ContextPart, entries_of, write_tar
from tasker_build.errors import RefusedError, SpecError
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
    entries = entries_of(workspace, workspace.paths, tuple(workspace.folders))
    write_tar(out, workspace, [ContextPart(prefix=prefix, entries=entries)], dockerfile)
    return out.getvalue()


def listed(data: bytes) -> list[tarfile.TarInfo]:
    return tarfile.open(fileobj=io.BytesIO(data)).getmembers()


def test_the_tar_holds_what_counts_in_a_fixed_order_and_the_dockerfile_last(root: Path) -> None:
    (root / "empty/deep").mkdir(parents=True)
    members = listed(packed(root))
    assert [member.name for member in members] == [
        *("api", "context", "api/a", "api/a/b", "api/empty", "api/empty/deep"),
        *("api/a/b/run.sh", "api/a/link", "api/a/x.txt", "api/z.txt", DOCKERFILE),
    ]
    assert members[0].isdir()
    assert [oct(member.mode) for member in members if member.isfile()] == ["0o755", "0o644", "0o644", "0o644"]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert members[7].linkname == "x.txt"
    assert packed(root)[257:263] == b"ustar\0"


@pytest.mark.parametrize("time", [0, 7, 1_700_000_000_123_456_789, 1_999_999_999_000_000_001, -5, 1 << 62])
def test_files_links_and_folders_have_their_own_times(root: Path, time: int) -> None:
    for path in ("z.txt", "a/link", "a/b"):
        os.utime(root / path, ns=(5, time), follow_symlinks=False)
    exact = {member.name: member.pax_headers.get("mtime") or str(int(member.mtime)) for member in listed(packed(root))}
    seconds, rest = divmod(os.lstat(root / "z.txt").st_mtime_ns, 1_000_000_000)
    shown = f"{seconds}.{rest:09d}" if rest else str(seconds)
    assert {exact[f"api/{path}"] for path in ("z.txt", "a/link", "a/b")} == {shown}
    assert "mtime" not in listed(packed(root))[0].pax_headers


def test_two_writes_are_equal_whatever_the_owner_the_order_and_the_folder(root: Path, tmp_path: Path) -> None:
    other = write_files(tmp_path / "elsewhere", dict(reversed(FILES.items())))
    (other / "a/b/run.sh").chmod(0o755)
    (other / "a/link").symlink_to("x.txt")
    for path in [*root.rglob("*"), *other.rglob("*")]:
        os.utime(path, (7, 7), follow_symlinks=False)
    assert packed(root) == packed(other)


def test_modes_are_those_of_the_disk(root: Path) -> None:
    modes = {"z.txt": 0o600, "a/x.txt": 0o664, "a/b/run.sh": 0o4711, "a/b": 0o2775, "a": 0o700}
    for path, mode in modes.items():
        (root / path).chmod(mode)
    found = {member.name: member.mode for member in listed(packed(root))}
    assert {path: found[f"api/{path}"] for path in modes} == modes


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


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_neither_file_nor_link_is_refused_without_waiting_for_it(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = root / "a" / kind
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        monkeypatch.chdir(root / "a")  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(kind)
    elif os.geteuid() != 0:
        pytest.skip("only root can make devices")
    else:
        try:
            os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("no devices can be made here")
    (problem,) = problems_of(lambda: Workspace(root).entry(f"a/{kind}"))
    assert (problem.code, problem.message) == ("W010", f"`a/{kind}` is neither a file, a folder nor a link")
    with pytest.raises(SpecError, match=r"neither a file|cannot read"):
        Workspace(root).read(f"a/{kind}")
    assert f"a/{kind}" not in Workspace(root, ["a"]).paths


def test_a_pipe_in_place_of_a_planned_file_is_refused_without_waiting_for_it(root: Path) -> None:
    workspace = Workspace(root)
    entries = entries_of(workspace, ["z.txt"])
    (root / "z.txt").unlink()
    os.mkfifo(root / "z.txt")
    with pytest.raises(RefusedError, match=r"`z\.txt` changed after the plan was made"):
        write_tar(io.BytesIO(), workspace, [ContextPart(prefix="p", entries=entries)], "FROM x\n")


@pytest.mark.parametrize("what", ["longer", "shorter", "mode", "folder"])
def test_what_changed_otherwise_since_the_plan_is_refused(root: Path, what: str) -> None:
    workspace = Workspace(root)
    entries = entries_of(workspace, workspace.paths, tuple(workspace.folders))
    if what == "mode":
        (root / "z.txt").chmod(0o640)
    elif what == "folder":
        (root / "a/b").chmod(0o700)
    else:
        (root / "z.txt").write_text("zz" if what == "longer" else "")
    with pytest.raises(RefusedError, match="changed after the plan was made"):
        write_tar(io.BytesIO(), workspace, [ContextPart(prefix="p", entries=entries)], "FROM x\n")


def kinds(root: Path) -> dict[str, str]:
    workspace = Workspace(root)
    entries = entries_of(workspace, workspace.paths, tuple(workspace.folders))
    return {entry.path: entry.identity.split(":")[0] for entry in entries}


def umask(root: Path, taken: int) -> None:
    """Change the modes of everything to what a checkout under another umask would have."""
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() or path.stat().st_mode & 0o100 else 0o666) & ~taken)


ORDINARY = {"a": "dir", "a/b": "dir", "a/b/run.sh": "exec", "a/link": "link", "a/x.txt": "file", "z.txt": "file"}


@pytest.mark.parametrize("taken", [0o022, 0o002, 0o077, 0o027, 0o007, 0])
def test_another_umask_is_no_change(root: Path, taken: int) -> None:
    (root / "docker/no").unlink()
    (root / "docker").rmdir()
    umask(root, taken)
    assert kinds(root) == ORDINARY
    # A folder made by mktemp is private, whatever the umask.
    root.chmod(0o700)
    assert kinds(root) == ORDINARY


@pytest.mark.parametrize("taken", [0o022, 0o002, 0o077])
@pytest.mark.parametrize(
    ("path", "mode", "kind"),
    [
        ("z.txt", 0o640, "file-0640"),
        ("a/x.txt", 0o4755, "exec-4755"),
        ("a/b/run.sh", 0o711, "exec-0711"),
        ("a/b/run.sh", 0, "file-0000"),
        ("a/b", 0o750, "dir-0750"),
        ("a", 0o1777, "dir-1777"),
    ],
)
def test_a_mode_that_somebody_chose_is_seen(root: Path, taken: int, path: str, mode: int, kind: str) -> None:
    (root / "docker/no").unlink()
    (root / "docker").rmdir()
    umask(root, taken)
    (root / path).chmod(mode)
    assert kinds(root) == ORDINARY | {path: kind}


@pytest.mark.parametrize(("taken", "mode"), [(0o022, 0o600), (0o002, 0o644), (0o022, 0o664), (0o077, 0o644)])
def test_a_mode_of_another_umask_is_seen_too(tmp_path: Path, taken: int, mode: int) -> None:
    flat = write_files(tmp_path / "flat", {"a": "", "b": "", "c": ""})
    umask(flat, taken)
    assert set(kinds(flat).values()) == {"file"}
    (flat / "b").chmod(mode)
    assert kinds(flat) == {"a": "file", "b": f"file-{mode:04o}", "c": "file"}


def test_folders_that_change_an_image_by_themselves_are_marked(root: Path) -> None:
    for path in ("empty/deep", "only/target", "gone"):
        (root / path).mkdir(parents=True)
    write_files(root, {"leftovers/x.swp": "", "gone/kept/x": ""})
    (root / "gone").chmod(0o711)
    workspace = Workspace(root, output="docker")
    marked = [entry.path for entry in workspace.walk.marked]
    assert marked == ["empty", "empty/deep", "gone", "leftovers", "only"]
    assert list(workspace.folders) == ["a", "a/b", "empty", "empty/deep", "gone", "gone/kept", "leftovers", "only"]
    excepted = Workspace(root, ["gone", "!gone/kept/x", "empty", "!leftovers"], output="docker")
    assert list(excepted.folders) == ["a", "a/b", "gone", "gone/kept", "leftovers", "only"]


def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    """In a process of its own: memory that was once used is not given back."""
    size = int(os.environ.get("TASKER_CONTEXT_MB", "300")) << 20
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    program = (
        "import os, resource, sys; from pathlib import Path\n"
        "from tasker_build.context import ContextPart, entries_of, write_tar\n"
        "from tasker_build.workspace import Workspace\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "workspace = Workspace(Path(sys.argv[1]))\n"
        "with open(os.devnull, 'wb') as out:\n"
        "    write_tar(out, workspace, [ContextPart(prefix='p', entries=entries_of(workspace, workspace.paths))], 'FROM x')\n"
        "    print(out.tell(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    _, kilobytes = map(int, done.stdout.split())
    assert kilobytes < 32 << 10


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
