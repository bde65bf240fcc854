"""A newer tool and the same spec: nothing is built again. Labels that earlier releases wrote are frozen in tests/fixtures."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tasker_build import fingerprint, plan
from tasker_build.cli.planning import plan_project
from tasker_build.engine.api import ImageLabel
from tasker_build.engine.memory import MemoryEngine
from tasker_build.fingerprint import SCHEMA, Group
from tasker_build.plan import Action, Kind
from tasker_build.project import Project
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tasker_build.plan import Plan

FIXTURES = REPOSITORY / "tests/fixtures"
RELEASES = sorted(path.name for path in FIXTURES.glob("labels-*.json"))
HELP = """\
With this change every image that {tool} built would be built again, although neither spec nor template changed: {what}.
If you did not mean to change what a fingerprint holds, find out what did. If you did: raise SCHEMA in tasker_build/fingerprint.py,
so that people are told why, then run `python -m tests.fixtures.freeze` and say it in the notes of the release."""


def read(release: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / release).read_text(encoding="utf-8"))
    return found


def engine_of(release: str) -> MemoryEngine:
    engine = MemoryEngine()
    for row in read(release)["images"]:
        label = ImageLabel.parse(row["label"])
        assert label is not None, f"a label of {release} cannot be read any more: {row['label']}"
        engine.put(row["id"], row["references"], label)
    return engine


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The frozen spec in another folder, with other times; the variable that names its secret is not set."""
    return shutil.copytree(FIXTURES / "frozen", tmp_path / "elsewhere", symlinks=True, copy_function=shutil.copy)


def planned(checkout: Path, release: str) -> Plan:
    return plan_project(Project.open([checkout / "stacks.yaml"]), engine_of(release), ())


@pytest.mark.parametrize("release", RELEASES)
def test_an_upgrade_of_the_tool_builds_nothing(checkout: Path, release: str) -> None:
    written = read(release)
    steps = planned(checkout, release).steps
    if written["schema"] != SCHEMA:
        assert {reason.kind for step in steps for reason in step.reasons} == {Kind.SCHEMA}
        return
    what = "; ".join(
        f"{step.target}: {', '.join(reason.kind.value for reason in step.reasons)}"
        for step in steps
        if step.action is not Action.KEEP
    )
    assert {step.action for step in steps} == {Action.KEEP}, HELP.format(tool=f"tasker-build {written['tool']}", what=what)


def test_the_present_schema_is_frozen() -> None:
    found = {read(release)["schema"] for release in RELEASES}
    assert SCHEMA in found, "SCHEMA was raised: run `python -m tests.fixtures.freeze`, and commit what it wrote"


def test_a_raised_schema_is_the_one_reason(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(plan, "SCHEMA", SCHEMA + 1)
    release = RELEASES[-1]
    steps = planned(checkout, release).steps
    assert {step.action for step in steps} == {Action.REBUILD}
    assert {(reason.kind, reason.evidence) for step in steps for reason in step.reasons} == {
        (Kind.SCHEMA, f"fingerprint schema {read(release)['schema']} → {SCHEMA + 1}")
    }


def test_the_frozen_spec_names_every_kind_of_fact(checkout: Path) -> None:
    facts = [fact for item in Project.open([checkout / "stacks.yaml"]).wanted.values() for fact in item.facts.facts]
    assert {fact.group for fact in facts} == set(Group)
    context = {fact.value.partition(":")[0] for fact in facts if fact.group is Group.CONTEXT}
    assert context == {"file", "exec", "link", "meaning"}
    assert {fact.label for fact in facts if fact.label.startswith("#")} == {"# syntax"}
    assert {fact.value.startswith("sha256:") for fact in facts if fact.group is Group.BASE} == {True, False}
