"""The memo: what holds is not made again, what does not hold is not kept, and no answer depends on what was asked before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasker_build.plan.memo import Memo, key_of
from tasker_build.project import Project
from tasker_build.spec.lock import Lock, Pin, lock_text
from tests.conftest import HEAD, write_files

if TYPE_CHECKING:
    from pathlib import Path


def never() -> object:
    return pytest.fail("was made again")


def test_what_was_made_is_kept() -> None:
    assert Memo().get("one", lambda: (1, "a")) == (1, "a")
    assert Memo().get("one", never) == (1, "a")
    assert Memo().get("other", lambda: 2) == 2


def test_what_no_longer_holds_is_made_again() -> None:
    Memo().get("one", lambda: 1)
    assert Memo().get("one", lambda: 2, lambda kept: kept == 2) == 2
    assert Memo().get("one", never) == 2


def test_what_does_not_hold_when_it_is_made_is_not_kept() -> None:
    assert Memo().get("one", lambda: 1, lambda _: False) == 1
    assert Memo().get("one", lambda: 3) == 3


def test_words_of_a_key_do_not_run_together() -> None:
    assert key_of([b"ab", b"c"]) != key_of([b"a", b"bc"])


SPEC = f"{HEAD}templates: tpl\nbases: {{debian: debian:13}}\ntargets: {{a: {{template: t.j2, from: {{system: debian}}}}}}\n"
QUESTIONS = ("order", "images_tree", "tree", "dockerfiles", "wanted", "references")


@pytest.mark.parametrize("first", QUESTIONS)
def test_no_answer_depends_on_what_was_asked_before(tmp_path: Path, first: str) -> None:
    folder = write_files(tmp_path, {"stacks.yaml": SPEC, "tpl/t.j2": "FROM {{ spec.bases.debian }}\n"})
    alone = {question: getattr(Project.open([folder / "stacks.yaml"]), question) for question in QUESTIONS}
    project = Project.open([folder / "stacks.yaml"])
    getattr(project, first)
    assert {question: getattr(project, question) for question in QUESTIONS} == alone


def test_another_lock_is_another_plan_of_the_same_project(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"stacks.yaml": SPEC, "tpl/t.j2": "FROM {{ spec.bases.debian }}\n"})
    before = Project.open([folder / "stacks.yaml"])
    after = before.with_lock(lock_text(Lock(bases={"debian": Pin(image=f"debian:13@sha256:{'a' * 64}")})))
    prints = {name: item.facts.fingerprint for name, item in before.wanted.items()}
    assert {name: item.facts.fingerprint for name, item in after.wanted.items()} != prints
    assert (after.written, before.written) == (before.spec, before.spec)
    again = Project.open([folder / "stacks.yaml"])
    assert {name: item.facts.fingerprint for name, item in again.wanted.items()} == prints
