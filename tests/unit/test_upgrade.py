"""A newer tool and the same spec: nothing is built again. Labels that earlier releases wrote are frozen in tests/fixtures."""

from __future__ import annotations

import difflib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tasker_build.engine.api import ImageLabel
from tasker_build.engine.memory import MemoryEngine
from tasker_build.plan import facts, planner
from tasker_build.plan.facts import SCHEMA, Group
from tasker_build.plan.words import Action, ReasonKind
from tasker_build.project import Project
from tasker_build.view.wording import evidence
from tasker_build.work.language import language_here
from tasker_build.work.planning import plan_project
from tests.conftest import REPOSITORY
from tests.fixtures import kinds

if TYPE_CHECKING:
    from pathlib import Path

    from tasker_build.plan.words import Plan

FIXTURES = REPOSITORY / "tests/fixtures"
RELEASES = sorted(path.name for path in FIXTURES.glob("labels-*.json"))
HELP = """\
With this change every image that {tool} built would be built again, although neither spec nor template changed: {what}.
If you did not mean to change what a fingerprint holds, find out what did. If you did: raise SCHEMA in tasker_build/plan/facts.py,
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
        assert {reason.kind for step in steps for reason in step.reasons} == {ReasonKind.SCHEMA}
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
    monkeypatch.setattr(facts, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(planner, "SCHEMA", SCHEMA + 1)
    release = RELEASES[-1]
    steps = planned(checkout, release).steps
    assert {step.action for step in steps} == {Action.REBUILD}
    assert {(reason.kind, evidence(reason)) for step in steps for reason in step.reasons} == {
        (ReasonKind.SCHEMA, f"fingerprint schema {read(release)['schema']} → {SCHEMA + 1}")
    }


def test_the_frozen_spec_names_every_kind_of_fact(checkout: Path) -> None:
    facts = [fact for item in Project.open([checkout / "stacks.yaml"]).wanted.values() for fact in item.facts.facts]
    assert {fact.group for fact in facts} == set(Group)
    context = {fact.value.partition(":")[0] for fact in facts if fact.group is Group.CONTEXT}
    assert context == {"file", "exec", "link", "meaning"}
    assert {fact.label for fact in facts if fact.label.startswith("#")} == {"# syntax"}
    assert {fact.value.startswith("sha256:") for fact in facts if fact.group is Group.BASE} == {True, False}


# What built-in kinds render.

KINDS_HELP = """\
With this change everyone who uses {names} builds these images again:
{difference}
If you did not mean that, find out what changed. If you did, it is a decision: run `python -m tests.fixtures.kinds`, commit what it
wrote, and say in the notes of the release what is built again and why."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Target → how its instructions differ; what differs otherwise says so."""
    found = {}
    for overlay in ("plain", *kinds.OVERLAYS):
        for name in sorted(old[overlay].keys() | new[overlay].keys()):
            before, after = old[overlay].get(name), new[overlay].get(name)
            if before != after:
                one, other = ([f"{line}\n" for line in row["instructions"]] if row else [] for row in (before, after))
                lines = [line for line in difflib.ndiff(one, other) if line.startswith(("+ ", "- "))]
                found[f"{name} ({overlay})"] = "".join(lines) or "the same instructions, another fingerprint\n"
    return found


def test_what_built_in_kinds_render_changes_by_decision() -> None:
    old: dict[str, Any] = json.loads(kinds.FILE.read_text(encoding="utf-8"))
    found = differences(old, kinds.frozen())
    said = "".join(f"{name}\n{text}" for name, text in found.items())
    assert not found, KINDS_HELP.format(names=", ".join(found), difference=said)


def test_the_frozen_kinds_are_all_there_are() -> None:
    spec = Project.open([FIXTURES / "kinds/stacks.yaml"]).spec
    assert {target.kind for target in spec.targets.values()} == set(language_here([FIXTURES / "kinds/stacks.yaml"]).kinds)
    builtin = {f"dockerfile/{path.name}" for path in (REPOSITORY / "templates/dockerfile").glob("*.Dockerfile.j2")}
    assert {target.template_name for target in spec.targets.values()} == builtin


def test_an_instruction_that_became_another_is_shown() -> None:
    old: dict[str, Any] = json.loads(kinds.FILE.read_text(encoding="utf-8"))
    new = json.loads(json.dumps(old))
    new["plain"]["postgres"]["instructions"][-1] = "STOPSIGNAL SIGQUIT"
    assert differences(old, new) == {"postgres (plain)": "- STOPSIGNAL SIGINT\n+ STOPSIGNAL SIGQUIT\n"}
