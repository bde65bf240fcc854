"""Work in forked parts: nothing is lost, whatever happens to a part, and no process is left."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tasker_build import filestate, parallel
from tasker_build.errors import SpecError
from tasker_build.parallel import in_parts
from tasker_build.workspace import Workspace
from tests.conftest import write_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ITEMS = [f"item{number}" for number in range(10)]


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three processors that are worth it for two items each; afterwards no child is left."""
    monkeypatch.setattr(parallel, "LEAST", 2)
    monkeypatch.setattr(parallel, "_processors", lambda: 3)
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    if before:
        assert set(os.listdir("/proc/self/fd")) == before


def where(items: Sequence[str]) -> tuple[int, list[str]]:
    return os.getpid(), list(items)


def test_each_part_has_a_process_and_its_place() -> None:
    found = in_parts(where, ITEMS)
    assert [item for _, items in found for item in items] == ITEMS
    assert found[0][0] == os.getpid()
    assert len({process for process, _ in found}) == 3


@pytest.mark.parametrize("count", [0, 1, 3])
def test_little_is_done_here(count: int) -> None:
    assert in_parts(where, ITEMS[:count]) == [(os.getpid(), ITEMS[:count])]


def test_without_fork_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delattr(os, "fork")
    assert in_parts(where, ITEMS * 1000) == [(os.getpid(), ITEMS * 1000)]


@pytest.mark.parametrize("allowed", [0, 1])
def test_what_there_is_no_process_for_is_done_here(allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    here, fork, left = os.getpid(), os.fork, iter(range(allowed))

    def refuse() -> int:
        if next(left, None) is None:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", refuse)
    found = in_parts(where, ITEMS)
    assert [item for _, items in found for item in items] == ITEMS
    assert [process == here for process, _ in found] == [True, not allowed, True]


def test_what_a_process_that_dies_leaves_is_done_here() -> None:
    here = os.getpid()

    def work(items: Sequence[str]) -> tuple[int, list[str]]:
        if os.getpid() != here and "item9" in items:
            os.kill(os.getpid(), signal.SIGKILL)
        return where(items)

    found = in_parts(work, ITEMS)
    assert [item for _, items in found for item in items] == ITEMS
    assert (found[0][0], found[1][0] == here, found[2][0]) == (here, False, here)


def test_an_error_of_a_part_is_raised_here() -> None:
    def work(items: Sequence[str]) -> list[str]:
        if "item9" in items:
            raise KeyError("item9")
        return list(items)

    with pytest.raises(KeyError, match="item9"):
        in_parts(work, ITEMS)


def test_an_error_here_waits_for_nobody() -> None:
    here = os.getpid()

    def work(_: Sequence[str]) -> None:
        if os.getpid() == here:
            raise KeyboardInterrupt
        time.sleep(600)

    with pytest.raises(KeyboardInterrupt):
        in_parts(work, ITEMS)


def test_what_others_hash_is_what_this_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filestate, "_is_sound", lambda _: True)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10_000_000_000)
    root = write_files(tmp_path / "work", {f"{name}.txt": name for name in ITEMS})
    (root / "item3.txt").chmod(0o755)
    (root / "link").symlink_to("item3.txt")
    alone = Workspace(root)
    together = Workspace(root, remembers=True)
    together.hash_all(together.paths)
    assert together._entries.keys() == set(alone.paths)
    assert together.entries(alone.paths) == alone.entries(alone.paths)
    together.remember()
    assert together.content
    later = Workspace(root, remembers=True)
    assert later.content == together.content
    assert later.entries(alone.paths) == alone.entries(alone.paths)
    (root / "zzz").symlink_to("/etc/passwd")
    bad = Workspace(root, remembers=True)
    with pytest.raises(SpecError, match="leaves the workspace"):
        bad.hash_all(bad.paths)
