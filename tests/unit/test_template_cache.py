"""Compiled templates are code that is run: they lie with the user, never in a checkout, and damage costs nothing."""

from __future__ import annotations

import marshal
import pickle
from typing import TYPE_CHECKING

import pytest
from jinja2.bccache import bc_magic

from tasker_build.project import Project
from tests.conftest import HEAD, write_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def here(tmp_path: Path, cache: Path) -> Path:
    """A project whose cache is filled."""
    folder = write_files(
        tmp_path / "work",
        {"stacks.yaml": f"{HEAD}templates: tpl\ntargets: {{a: {{template: t.j2}}}}\n", "tpl/t.j2": "FROM good\n"},
    )
    assert dockerfile(folder).endswith("FROM good\n")
    assert cached(cache)
    return folder


def dockerfile(folder: Path) -> str:
    return next(iter(Project.open([folder / "stacks.yaml"]).images_tree.dockerfiles.values()))


def cached(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and path.read_bytes().startswith(bc_magic)]


def plant(cache: Path) -> None:
    """Put other code into the cached templates, with the right checksums."""
    for path in cached(cache):
        code = compile("name = 't'\nblocks = {}\ndebug_info = ''\ndef root(*_, **__):\n    yield 'FROM evil'\n", "t", "exec")
        with path.open("rb") as file:
            file.seek(len(bc_magic))
            pickle.load(file)  # noqa: S301 - the checksum of the template's text, written a moment ago
            head = path.read_bytes()[: file.tell()]
        path.write_bytes(head + marshal.dumps(code))


def test_a_changed_template_is_not_answered_from_the_cache(here: Path) -> None:
    (here / "tpl/t.j2").write_text("FROM other\n")
    assert dockerfile(here).endswith("FROM other\n")


def test_nothing_of_it_lies_in_the_checkout(here: Path) -> None:
    assert cached(here) == []
    assert not (here / ".tasker-build").exists()


def test_code_planted_in_the_checkout_is_not_run(here: Path, cache: Path) -> None:
    plant(cache)
    for folder in (here / ".tasker-build/cache", here / "cache"):
        folder.mkdir(parents=True)
        for path in cached(cache):
            path.rename(folder / path.name)
    assert dockerfile(here).endswith("FROM good\n")


def test_a_cache_that_others_may_write_is_not_used(here: Path, cache: Path) -> None:
    plant(cache)
    for path in cached(cache):
        path.parent.chmod(0o777)
    assert dockerfile(here).endswith("FROM good\n")


def test_a_cut_program_counts_as_none(here: Path, cache: Path) -> None:
    for path in cached(cache):
        path.write_bytes(path.read_bytes()[:-20])
    assert dockerfile(here).endswith("FROM good\n")


@pytest.mark.parametrize("keep", [len(bc_magic), len(bc_magic) + 3])
def test_a_cut_cache_file_counts_as_none(here: Path, cache: Path, keep: int) -> None:
    for path in cached(cache):
        path.write_bytes(path.read_bytes()[:keep])
    assert dockerfile(here).endswith("FROM good\n")
