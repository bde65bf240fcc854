"""Digests of files that are kept between runs: kept where nothing changed, and never believed where anything might have."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasker_build import cache, filestate, workspace
from tasker_build.cache import Cache
from tasker_build.errors import RefusedError
from tasker_build.files.walk import Walk
from tasker_build.filestate import FileState
from tasker_build.workspace import Workspace
from tests.conftest import write_files

if TYPE_CHECKING:
    from collections.abc import Callable

OLD = 10_000_000_000
"""Nanoseconds after which a file is old enough to be remembered."""


class Clock:
    """The clock as the tool reads it; that of the file system goes on as it does."""

    def __init__(self) -> None:
        self.ahead = 0
        self.real = time.time_ns

    def __call__(self) -> int:
        return self.real() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that is ahead, so that files written just now are old; on a file system that can be believed."""
    clock = Clock()
    clock.ahead = OLD
    monkeypatch.setattr(time, "time_ns", clock)
    monkeypatch.setattr(filestate, "_is_sound", lambda _: True)
    return clock


@pytest.fixture
def root(tmp_path: Path, clock: Clock) -> Path:
    """Some files that an earlier run hashed."""
    root = write_files(tmp_path / "work", {"a.txt": "one", "b.txt": "two", "d/c.txt": "three"})
    digests(root)
    return root


def digests(root: Path, *ignore: str) -> dict[str, str]:
    """What a run finds."""
    workspace = Workspace(root, ignore, remembers=True)
    found = {path: workspace.entry(path).digest for path in workspace.paths}
    workspace.remember()
    return found


def right(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def hashed(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The files whose content a run reads."""
    read: set[str] = set()

    def note(descriptor: int, size: int) -> str:
        read.add(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), root))
        return digest(descriptor, size)

    digest = workspace._digest_of_file
    with monkeypatch.context() as patch:
        patch.setattr(workspace, "_digest_of_file", note)
        assert digests(root) == right(root)
    return read


def listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The folders that a run reads."""
    read: set[str] = set()

    def note(path: str) -> Any:
        if path.startswith(f"{root}/"):
            read.add(os.path.relpath(path, root))
        return scandir(path)

    scandir = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", note)
        found = digests(root)
    assert found == right(root)
    return read


def rewrite(path: Path, text: str) -> None:
    """Change a file in place, leaving size and time as they were."""
    status = path.stat()
    # Here the tool's clock is ahead, so the tick in which the file was made has to be over for real.
    while path.stat().st_ctime_ns == status.st_ctime_ns:
        path.write_text(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_what_did_not_change_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hashed(root, monkeypatch) == set()
    (root / "a.txt").write_text("other")
    (root / "new.txt").write_text("new")
    assert hashed(root, monkeypatch) == {"a.txt", "new.txt"}
    assert hashed(root, monkeypatch) == set()


def add(root: Path) -> None:
    (root / "d/new.txt").write_text("new")


def remove(root: Path) -> None:
    (root / "d/c.txt").unlink()


def rename(root: Path) -> None:
    (root / "d/c.txt").rename(root / "d/e.txt")


def turn_into_a_folder(root: Path) -> None:
    (root / "d/c.txt").unlink()
    write_files(root, {"d/c.txt/x": "x"})


def hide(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Set the folder's time back."""

    def changed(root: Path) -> None:
        status = (root / "d").stat()
        # The tool's clock is ahead: let the tick pass in which the folder was made.
        while (root / "d").stat().st_ctime_ns == status.st_ctime_ns:
            (root / "d").chmod(status.st_mode)
        change(root)
        os.utime(root / "d", ns=(status.st_atime_ns, status.st_mtime_ns))

    return changed


@pytest.mark.parametrize("change", [add, remove, rename, turn_into_a_folder])
@pytest.mark.parametrize("how", [hide, lambda change: change])
def test_a_folder_that_changed_is_listed_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], how: Callable[[Any], Callable[[Path], None]]
) -> None:
    assert listed(root, monkeypatch) == set()
    how(change)(root)
    assert "d" in listed(root, monkeypatch)
    assert listed(root, monkeypatch) == set()
    (root / "d").rename(root / "g")
    assert listed(root, monkeypatch) >= {".", "g"}


def test_a_young_folder_is_listed_again(root: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    clock.ahead = 0
    write_files(root, {"young/x": "x"})
    assert listed(root, monkeypatch) == {".", "d", "young"}  # the clock went back
    assert listed(root, monkeypatch) == {".", "d", "young"}
    clock.ahead = OLD
    assert listed(root, monkeypatch) == {".", "young"}
    assert listed(root, monkeypatch) == set()


def test_a_file_system_mounted_below_is_not_believed(root: Path) -> None:
    state = FileState(str(root))
    status = (root / "a.txt").stat()
    fields = list(status)
    fields[2] += 1  # its device
    names = ("st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")
    elsewhere = os.stat_result(tuple(fields), {name: getattr(status, name) for name in names})
    assert elsewhere.st_dev != status.st_dev
    assert (bool(state.stamp(status, time.time_ns())), state.stamp(elsewhere, time.time_ns())) == (True, b"")


def test_a_file_that_changes_in_the_middle_of_a_run_is_no_two_files(root: Path) -> None:
    workspace = Workspace(root, remembers=True)
    workspace.entries(workspace.paths)
    assert workspace.read("b.txt") == b"two"
    rewrite(root / "a.txt", "ONE")
    with pytest.raises(RefusedError, match="changed while it was read"):
        workspace.read("a.txt")
    rewrite(root / "b.txt", "TWO")
    assert workspace.read("b.txt") == b"two"


def test_content_has_one_word_while_all_of_it_is_known(root: Path, clock: Clock) -> None:
    def content(*asked: str) -> str:
        workspace = Workspace(root, remembers=True)
        before = workspace.content
        workspace.entries(asked)
        assert workspace.content in {before, ""}
        workspace.remember()
        return workspace.content

    first = content()
    assert first
    assert content("a.txt") == first
    (root / "never asked for").write_text("x")
    assert content("a.txt") == content() == first
    clock.ahead = 1_000_000_000
    assert content() == "", "the clock went back"
    clock.ahead = OLD
    rewrite(root / "a.txt", "ONE")
    second = content("a.txt")
    assert second not in {first, ""}
    rewrite(root / "a.txt", "one")
    assert content("a.txt") == first
    (root / "b.txt").chmod(0o755)
    assert content("b.txt") not in {first, second, ""}
    (root / "b.txt").unlink()
    assert content() not in {first, second, ""}


def edit_in_place(root: Path) -> None:
    rewrite(root / "a.txt", "ONE")


def rename_over(root: Path) -> None:
    status = (root / "a.txt").stat()
    (root / "draft").write_text("ONE")
    os.utime(root / "draft", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / "draft").rename(root / "a.txt")


def swap(root: Path) -> None:
    for one, other in (("a.txt", "x"), ("b.txt", "a.txt"), ("x", "b.txt")):
        (root / one).rename(root / other)
    os.utime(root / "a.txt", ns=(0, 0))
    os.utime(root / "b.txt", ns=(0, 0))


def remove_and_write(root: Path) -> None:
    # The inode number is often that of the removed file.
    status = (root / "a.txt").stat()
    (root / "a.txt").unlink()
    (root / "a.txt").write_text("ONE")
    os.utime(root / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    rewrite(root / "a.txt", "ONE")


def replace_folder(root: Path) -> None:
    (root / "e").mkdir()
    (root / "e/c.txt").write_text("THREE")
    status = (root / "d/c.txt").stat()
    os.utime(root / "e/c.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / "d").rename(root.parent / "away")
    (root / "e").rename(root / "d")


@pytest.mark.parametrize("change", [edit_in_place, rename_over, swap, remove_and_write, replace_folder])
def test_a_change_that_hides_is_seen(root: Path, change: Callable[[Path], None]) -> None:
    before = right(root)
    change(root)
    assert digests(root) == right(root) != before


def test_a_hundred_edits_of_equal_size_and_time(root: Path) -> None:
    for number in range(100):
        rewrite(root / "a.txt", f"{number:03}")
        assert digests(root) == right(root)


def status_of(path: Path, **times: int) -> os.stat_result:
    """A file's status as it would be with other times."""
    status = path.stat()
    extra = {name: getattr(status, name) for name in ("st_atime", "st_mtime", "st_ctime")}
    extra |= {"st_atime_ns": status.st_atime_ns, "st_mtime_ns": status.st_mtime_ns, "st_ctime_ns": status.st_ctime_ns, **times}
    return os.stat_result(tuple(status), extra)


@pytest.mark.parametrize(
    ("name", "age", "kept"),
    [("st_ctime_ns", 0, False), ("st_ctime_ns", 1.9, False), ("st_ctime_ns", 2.1, True), ("st_mtime_ns", -3600, True)],
)
def test_a_file_that_may_change_within_the_same_tick_is_not_remembered(root: Path, name: str, age: float, kept: bool) -> None:  # noqa: FBT001
    now = time.time_ns()
    old = {"st_mtime_ns": now - OLD, "st_ctime_ns": now - OLD}
    status = status_of(root / "a.txt", **(old | {name: now - int(age * 1e9)}))
    first = FileState(str(root), ["x"])
    first.add("a.txt", "file:" + "00" * 32, first.stamp(status, now))
    first.save(["a.txt"])
    assert (bool(first.content), FileState(str(root), ["x"]).content == first.content) == (kept, True)


def test_a_clock_that_went_back_is_noticed(root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.ahead -= 5_000_000_000
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}


def test_what_is_gone_is_forgotten(root: Path) -> None:
    (root / "b.txt").unlink()
    (root / "new.txt").write_text("x")
    digests(root)
    kept = FileState(str(root), ("", *Workspace(root).walk._ignore.patterns))._paths
    assert kept == ("a.txt", "d/c.txt", "new.txt")


def test_another_tool_lists_folders_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Walk, "_list", lambda *_: pytest.fail("was listed"))
        assert Workspace(root, remembers=True).paths
        with pytest.raises(pytest.fail.Exception):
            assert Workspace(root, remembers=True, tool="next").paths


def test_other_patterns_know_nothing_of_these_files(root: Path) -> None:
    assert set(digests(root, "a.txt")) == {"b.txt", "d/c.txt"}


def test_a_file_that_became_a_link(root: Path) -> None:
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to("b.txt")
    assert digests(root)["a.txt"] == sha256(b"b.txt").hexdigest()


def test_a_file_system_that_cannot_be_believed_is_not(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(filestate, "_is_sound", lambda _: False)
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty := tmp_path_factory.mktemp("empty")))
    digests(root)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(("kind", "sound"), [("ext4", True), ("overlay", True), ("nfs4", False), ("fuse.sshfs", False)])
def test_which_file_systems_are_believed(kind: str, sound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    (tmp_path / "fdinfo").write_text("pos:\t0\nflags:\t0100000\nmnt_id:\t36\n")
    rows = [("35", "ext4"), ("36", kind), ("37", "xfs")]
    rows_text = "".join(f"{number} 35 98:0 / /home/me\\040x rw,noatime master:1 - {kind} /dev/x rw\n" for number, kind in rows)
    (tmp_path / "mountinfo").write_text(rows_text)

    def instead(path: str, **more: Any) -> Any:
        return open(tmp_path / path.split("/")[3], **more)

    monkeypatch.setattr("tasker_build.filestate.open", instead, raising=False)
    assert filestate._is_sound(str(tmp_path)) == sound
    (tmp_path / "mountinfo").write_text("")
    assert not filestate._is_sound(str(tmp_path))
    assert not filestate._is_sound(str(tmp_path / "gone"))


def file_of(kind: str) -> Path:
    (found,) = Path(Cache(kind).folder).iterdir()
    return found


@pytest.mark.parametrize("keep", [0, 1, 31, 32, 33, 60, -1])
def test_a_cut_file_counts_as_none(root: Path, keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of("files-2")
    file.write_bytes(file.read_bytes()[:keep])
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}


def test_a_damaged_file_counts_as_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of("files-2")
    name, data = file.name.removesuffix(f"-{sys.implementation.cache_tag}"), file.read_bytes()
    assert Cache("files-2").load(name) is not None
    for place in range(0, len(data), 7):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert Cache("files-2").load(name) is None
    file.write_bytes(data[:40] + b"\xff" + data[41:])
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}


def test_a_folder_that_others_may_write_is_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of("files-2")
    before = file.read_bytes()
    file.parent.chmod(0o777)
    (root / "a.txt").write_text("ONE")
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}
    assert file.read_bytes() == before


def test_the_folder_of_another_user_is_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}


def test_a_link_in_place_of_the_folder_is_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = file_of("files-2").parent
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")
    assert hashed(root, monkeypatch) == {"a.txt", "b.txt", "d/c.txt"}


def test_nobody_minds_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    Cache("x").save("a", (1,))
    assert Cache("x").load("a") is None


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_FILES", 3)
    for number in range(6):
        (kept := Cache("x")).write(f"{number}", b"x")
        os.utime(os.path.join(kept.folder, f"{number}"), ns=(number, number))
    assert sorted(os.listdir(kept.folder)) == ["3", "4", "5"]
    monkeypatch.setattr(cache, "MOST_BYTES", 10)
    Cache("x").write("big", b"x" * 100)
    assert sorted(os.listdir(kept.folder)) == ["big"]


_TWO = """
import sys
from tasker_build.cache import Cache
own = int(sys.argv[1])
cache = Cache("x")
seen = set()
for _ in range(200):
    cache.save("a", (own, "x" * (1000 + 5000 * own)))
    value = cache.load("a")
    assert value is not None and len(value[1]) == 1000 + 5000 * value[0], value
    seen.add(value[0])
"""


def test_several_processes_at_once() -> None:
    running = [subprocess.Popen([sys.executable, "-c", _TWO, str(number)]) for number in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(os.listdir(Cache("x").folder)) == [f"a-{sys.implementation.cache_tag}"]
