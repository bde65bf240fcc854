"""Plans over an engine in memory: every reason, every action, and whose images are believed."""

from __future__ import annotations

import builtins
import os
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.engine.api import ImageLabel
from tasker_build.engine.memory import MemoryEngine
from tasker_build.plan.facts import SCHEMA, Fact, Facts, Group
from tasker_build.plan.history import BuildKey, BuildRecord, History
from tasker_build.plan.places import with_places
from tasker_build.plan.planner import Observed, make_plan
from tasker_build.plan.wanted import Wanted
from tasker_build.plan.words import Action, Plan, Step, unique_reference
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tasker_build.view.plan import plan_data, plan_text
from tasker_build.view.wording import details, evidence
from tasker_build.work.planning import plan_project, read_for_plan
from tests.conftest import write_files
from tests.unit.tiny import FILES, TinyEngine, build_all, edit

if TYPE_CHECKING:
    from pathlib import Path

T = TargetName
BASE = "debian:13"


def facts(**values: str) -> Facts:
    """Facts with one fact in each named group."""
    groups = {group.value: "0" for group in Group} | {"schema": str(SCHEMA)} | values
    return Facts.of(iter([Fact(group=Group(group), label=f"{group}-fact", value=value) for group, value in groups.items()]))


@dataclass
class World:
    """A chain base → app, with `lone` beside it; everything can be changed and planned again."""

    engine: MemoryEngine = field(default_factory=MemoryEngine)
    changes: dict[str, dict[str, str]] = field(default_factory=dict)
    known: dict[BuildKey, BuildRecord] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=lambda: {"app.j2": "1"})
    spec_digest: str = "1"
    tags: tuple[str, ...] = ("latest",)
    built: int = 0

    def wanted(self) -> tuple[Wanted, ...]:
        found: dict[str, Wanted] = {}
        for name, parents in (("base", ()), ("app", ("base",)), ("lone", ())):
            changed = dict(self.changes.get(name, {}))
            if parents:
                changed["parent"] = found["base"].facts.fingerprint
            found[name] = Wanted(
                name=T(name),
                facts=facts(**{"spec": name} | changed),
                image=f"demo-{name}",
                tags=self.tags,
                platform="linux/amd64",
                parents=tuple(T(parent) for parent in parents),
                bases=(BASE,),
                templates=self.templates,
                spec={"targets.lone.vars": self.spec_digest},
            )
        return tuple(found.values())

    def build(self, *names: str, record: bool = True, **label: object) -> None:
        """Put what an apply would: an image with our label under its unique tag and its tags for people."""
        self.engine.put("debian-1", [BASE], None) if BASE not in self.engine.names else None
        for item in self.wanted():
            if item.name not in names:
                continue
            self.built += 1
            on: dict[str, str] = {
                parent: self.engine.names[unique_reference(f"demo-{parent}", self.facts(parent).fingerprint)]
                for parent in item.parents
            }
            mark = ImageLabel(
                schema=SCHEMA,
                project="demo",
                target=item.name,
                platform="linux/amd64",
                fingerprint=item.facts.fingerprint,
                groups=item.facts.groups,
                built_on={**on, BASE: self.engine.names[BASE]},
            )
            references = [unique_reference(item.image, item.facts.fingerprint), *(f"{item.image}:{tag}" for tag in self.tags)]
            self.engine.put(f"{item.name}-{self.built}", references, replace(mark, **label), self.built)  # type: ignore[arg-type]
            if record:
                self.known[item.name, item.facts.fingerprint] = BuildRecord(
                    facts=item.facts.facts,
                    templates=dict(self.templates),
                    spec={"targets.lone.vars": self.spec_digest},
                    image_id=f"{item.name}-{self.built}",
                )

    def facts(self, name: str) -> Facts:
        return next(item.facts for item in self.wanted() if item.name == name)

    def unique(self, name: str) -> str:
        return unique_reference(f"demo-{name}", self.facts(name).fingerprint)

    def plan(self, *selected: str, forced: tuple[str, ...] = (), asked: bool = True) -> Plan:
        return make_plan(
            "demo",
            self.wanted(),
            Observed(images=self.engine.images()) if asked else Observed(asked=False),
            history=History.of(self.known),
            selected=frozenset(T(name) for name in selected or ("base", "app", "lone")),
            forced=frozenset(T(name) for name in forced),
        )


def signs(plan: Plan) -> dict[str, str]:
    return {step.target: step.action.value for step in plan.steps}


def kinds(plan: Plan, name: str) -> list[str]:
    return [reason.kind.value for reason in step(plan, name).reasons]


def step(plan: Plan, name: str) -> Step:
    return next(step for step in plan.steps if step.target == name)


@pytest.fixture
def world() -> World:
    """Everything is built and recorded."""
    found = World()
    found.build("base", "app", "lone")
    return found


ALL = ("base", "app", "lone")


def test_nothing_is_there() -> None:
    plan = World().plan()
    assert signs(plan) == {"base": "+", "app": "+", "lone": "+"}
    assert kinds(plan, "app") == ["new"]
    assert plan.changed


def test_nothing_changed(world: World) -> None:
    plan = world.plan()
    assert signs(plan) == {"base": "=", "app": "=", "lone": "="}
    assert not plan.changed
    assert [step.image_id for step in plan.steps] == ["base-1", "app-2", "lone-3"]
    assert plan_text(plan, show_kept=False, details=False) == "nothing to do: 3 targets up to date"


def test_offline_everything_counts_as_new(world: World) -> None:
    plan = world.plan(asked=False)
    assert signs(plan) == {"base": "+", "app": "+", "lone": "+"}
    assert evidence(step(plan, "lone").reasons[0]) == "offline: the engine was not asked"


def test_what_was_built_here_and_is_gone_is_missing(world: World) -> None:
    for name in ("demo-lone:latest", world.unique("lone")):
        world.engine.remove(name)
    world.engine.stored.pop("lone-3")
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == ("+", ["missing"])
    assert "was built here and is gone" in evidence(step(plan, "lone").reasons[0])
    world.known.clear()
    assert kinds(world.plan(), "lone") == ["new"]


@pytest.mark.parametrize("group", ["spec", "context", "arg", "base", "secret"])
def test_a_change_is_named_with_its_evidence(world: World, group: str) -> None:
    world.changes["lone"] = {group: "1"}
    plan = world.plan()
    assert signs(plan) == {"base": "=", "app": "=", "lone": "~"}
    assert kinds(plan, "lone") == [group]
    assert f"{group}-fact" in evidence(step(plan, "lone").reasons[0])


@pytest.mark.parametrize("group", ["spec", "context", "arg", "base", "secret", "dockerfile"])
def test_without_a_record_the_group_is_known_and_the_action_is_the_same(world: World, group: str) -> None:
    world.changes["lone"] = {group: "1"}
    world.known.clear()
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == ("~", ["template" if group == "dockerfile" else group])
    assert "no record here: group only" in evidence(step(plan, "lone").reasons[0])


def test_several_changes_are_several_reasons_in_their_order(world: World) -> None:
    world.changes["lone"] = {"arg": "1", "context": "1", "secret": "1"}
    assert kinds(world.plan(), "lone") == ["context", "arg", "secret"]


def test_a_changed_dockerfile_is_the_templates_the_specs_or_the_workspaces_doing(world: World) -> None:
    world.changes["lone"] = {"dockerfile": "1"}
    assert kinds(world.plan(), "lone") == ["context"]
    assert "layout of the workspace" in evidence(step(world.plan(), "lone").reasons[0])
    world.spec_digest = "2"
    assert kinds(world.plan(), "lone") == ["spec"]
    world.templates = {"app.j2": "2"}
    assert kinds(world.plan(), "lone") == ["template"]
    assert evidence(step(world.plan(), "lone").reasons[0]) == "app.j2"
    assert details(step(world.plan(), "lone").reasons[0]) == ("@@ instruction 1", "- 0", "+ 1")


def test_another_schema_rebuilds_once(world: World) -> None:
    world.changes["lone"] = {"schema": "0"}
    world.build("lone", schema=0)
    world.changes.clear()
    world.engine.remove(world.unique("lone"))
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == ("~", ["schema"])


def test_a_changed_parent_takes_its_children_along(world: World) -> None:
    world.changes["base"] = {"context": "1"}
    plan = world.plan()
    assert signs(plan) == {"base": "~", "app": "^", "lone": "="}
    assert kinds(plan, "app") == ["parent"]
    assert evidence(step(plan, "app").reasons[0]) == "base"


def test_a_parent_and_something_of_its_own_is_a_rebuild(world: World) -> None:
    world.changes = {"base": {"context": "1"}, "app": {"arg": "1"}}
    plan = world.plan()
    assert (signs(plan)["app"], kinds(plan, "app")) == ("~", ["arg", "parent"])


def test_a_parent_that_was_built_again_by_hand(world: World) -> None:
    world.build("base")
    plan = world.plan()
    assert signs(plan) == {"base": "=", "app": "^", "lone": "="}
    assert evidence(step(plan, "app").reasons[0]) == "base was built again: base-1 → base-4"


def test_a_base_that_moved(world: World) -> None:
    world.engine.put("debian-2", [BASE], None)
    plan = world.plan()
    assert signs(plan) == {"base": "~", "app": "~", "lone": "~"}
    assert kinds(plan, "lone") == ["base"]
    assert evidence(step(plan, "lone").reasons[0]) == f"{BASE} debian-1 → debian-2"


def test_a_base_that_is_not_here_any_more_changes_nothing(world: World) -> None:
    world.engine.remove(BASE)
    assert not world.plan().changed


def test_an_image_under_our_tag_that_is_not_the_one_we_built(world: World) -> None:
    world.build("lone", record=False)
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == ("~", ["not-ours"])


def test_without_a_record_an_image_under_our_tag_is_believed(world: World) -> None:
    """The one case where a record adds a build: only it can tell a hand-made image under our unique tag. It never saves one."""
    world.build("lone", record=False)
    world.known.clear()
    assert signs(world.plan())["lone"] == "="


def test_forced(world: World) -> None:
    plan = world.plan("lone", "base", forced=("lone",))
    assert signs(plan) == {"base": "=", "lone": "~"}
    assert kinds(plan, "lone") == ["forced"]
    assert signs(world.plan(forced=("base",))) == {"base": "~", "app": "^", "lone": "="}


def test_forcing_what_is_not_there_creates_it() -> None:
    plan = World().plan(forced=("lone",))
    assert (signs(plan)["lone"], kinds(plan, "lone")) == ("+", ["forced", "new"])


# Names for people.


def test_a_missing_tag_is_only_put_back(world: World) -> None:
    world.engine.remove("demo-lone:latest")
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == (">", ["tag"])
    assert evidence(step(plan, "lone").reasons[0]) == "demo-lone:latest is missing"
    assert (step(plan, "lone").image_id, plan.changed) == ("lone-3", True)


def test_a_new_version_is_a_retag(world: World) -> None:
    world.tags = ("1.2", "latest")
    assert signs(world.plan()) == {"base": ">", "app": ">", "lone": ">"}


def test_a_tag_that_moved_to_a_foreign_image(world: World) -> None:
    world.engine.put("foreign", ["demo-lone:latest"], None)
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == (">", ["tag"])
    assert evidence(step(plan, "lone").reasons[0]) == "demo-lone:latest is foreign, which we did not build"


def test_a_tag_that_moved_to_an_older_image_of_ours(world: World) -> None:
    world.changes["lone"] = {"arg": "1"}
    world.build("lone")
    world.changes.clear()
    assert kinds(world.plan(), "lone") == ["tag"]
    assert "our image of fingerprint" in evidence(step(world.plan(), "lone").reasons[0])


def test_a_tag_that_stands_on_another_target(world: World) -> None:
    world.engine.tag("app-2", "demo-lone:latest")
    assert evidence(step(world.plan(), "lone").reasons[0]) == "demo-lone:latest is app-2, an image of `app`"


def test_a_hand_made_child_under_our_tag_is_seen_and_the_tag_put_back(world: World) -> None:
    """A `docker commit` or a `FROM demo-lone` inherits our label, but not our unique tag."""
    label = world.engine.stored["lone-3"].label
    world.engine.put("child", ["demo-lone:latest"], label, created=99)
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == (">", ["tag"])
    assert "made by hand from an image of ours" in evidence(step(plan, "lone").reasons[0])
    assert step(plan, "lone").image_id == "lone-3"


# Whose images are believed.


@pytest.mark.parametrize("label", [{"project": "elsewhere"}, {"target": "app2"}])
def test_images_of_others_are_none_of_our_business(label: dict[str, object]) -> None:
    world = World()
    world.build("lone", record=False, **label)
    assert kinds(world.plan(), "lone") == ["new"]


def test_a_label_of_this_fingerprint_and_another_platform_is_not_believed() -> None:
    world = World()
    world.build("lone", record=False, platform="linux/arm64")
    assert kinds(world.plan(), "lone") == ["not-ours"]


def test_a_label_without_its_unique_tag_is_not_believed(world: World) -> None:
    world.engine.remove(world.unique("lone"))
    world.known.clear()
    plan = world.plan()
    assert (signs(plan)["lone"], kinds(plan, "lone")) == ("+", ["new"])


def test_a_unique_tag_on_an_image_without_label_is_not_believed(world: World) -> None:
    world.engine.put("foreign", [world.unique("lone"), "demo-lone:latest"], None)
    assert signs(world.plan())["lone"] == "+"


def test_another_fingerprint_is_never_kept(world: World) -> None:
    world.changes["lone"] = {"arg": "1"}
    groups = world.facts("lone").groups
    world.changes["lone"] = {"arg": "2"}
    world.build("lone", groups=groups)
    world.changes["lone"] = {"arg": "1"}
    for name in [name for name, image in world.engine.names.items() if image == "lone-3"]:
        world.engine.remove(name)
    assert step(world.plan(), "lone").action.builds


def test_an_older_image_comes_back_without_a_build(world: World) -> None:
    world.changes["lone"] = {"arg": "1"}
    world.build("lone")
    world.changes.clear()
    plan = world.plan()
    assert (signs(plan)["lone"], step(plan, "lone").image_id) == (">", "lone-3")


def test_a_difference_is_explained_against_what_people_use_now(world: World) -> None:
    world.changes["lone"] = {"arg": "1"}
    world.build("lone")
    world.engine.tag("lone-3", "demo-lone:latest")
    world.changes["lone"] = {"context": "1"}
    assert kinds(world.plan(), "lone") == ["context"]


# Selections and what is gone.


def test_a_selection_brings_its_stale_ancestors_in(world: World) -> None:
    assert signs(world.plan("app")) == {"app": "="}
    world.changes["base"] = {"context": "1"}
    plan = world.plan("app")
    assert signs(plan) == {"base": "~", "app": "^"}
    assert [(step.target, step.needed_by_selection) for step in plan.steps] == [("base", True), ("app", False)]
    assert signs(world.plan("base")) == {"base": "~"}


def test_what_the_spec_no_longer_has_is_a_note(world: World) -> None:
    old = ImageLabel(schema=SCHEMA, project="demo", target="old", platform="linux/amd64", fingerprint="f" * 64, groups={})
    world.engine.put("old-1", [unique_reference("demo-old", "f" * 64)], old)
    world.engine.put("copy-1", ["copied:latest"], replace(old, target="copied"))
    plan = world.plan()
    assert signs(plan) == {"base": "=", "app": "=", "lone": "=", "old": "-"}
    assert not plan.changed
    assert "old" not in signs(world.plan("lone"))


def test_the_plan_after_an_apply_is_empty(world: World) -> None:
    world.changes = {"base": {"context": "1"}, "lone": {"arg": "1"}}
    names = [step.target for step in world.plan().steps if step.action.builds]
    assert names == ["base", "app", "lone"]
    world.build(*names)
    assert not world.plan().changed


GROUPS = st.sampled_from(["spec", "context", "arg", "base", "secret", "dockerfile"])
CHANGES = st.dictionaries(st.sampled_from(ALL), st.dictionaries(GROUPS, st.sampled_from(["0", "1", "2"]), max_size=2))


@given(st.lists(st.tuples(CHANGES, st.sets(st.sampled_from(ALL))), max_size=5), CHANGES)
def test_whatever_was_built_before_only_a_true_match_is_kept_and_apply_converges(
    history: list[tuple[dict[str, dict[str, str]], set[str]]], last: dict[str, dict[str, str]]
) -> None:
    world = World()
    for changes, names in history:
        world.changes = changes
        world.build(*(["base", "app"] if "app" in names else []), *(names - {"app"}))
    world.changes = last
    plan = world.plan()
    for found in plan.steps:
        if found.action in {Action.KEEP, Action.RETAG}:
            label = world.engine.stored[found.image_id or ""].label
            assert label
            assert (label.target, label.fingerprint) == (found.target, world.facts(found.target).fingerprint)
    world.build(*(step.target for step in plan.steps if step.action.builds))
    assert not any(step.action.builds for step in world.plan().steps)


# How it is shown.


def test_the_plan_as_text(world: World) -> None:
    world.changes = {"base": {"context": "1"}}
    assert plan_text(world.plan(), show_kept=True, details=True).split("\n") == [
        "~ base  context   1 file: ~ context-fact",
        "                  ~ context-fact",
        "^ app   parent    base",
        "= lone",
        "",
        "1 to rebuild, 1 because of a parent, 1 unchanged.",
    ]


def test_the_plan_as_data(world: World) -> None:
    world.changes = {"lone": {"arg": "1"}}
    data = plan_data(world.plan("lone"), "demo")
    (row,) = data["steps"]
    assert (data["version"], data["project"], data["changed"]) == (1, "demo", True)
    assert (row["action"], row["reasons"][0]["kind"], row["tags"], row["image_id"]) == ("rebuild", "arg", ["latest"], None)


def test_names_that_are_not_utf_8_can_be_shown(world: World) -> None:
    item = next(item for item in world.wanted() if item.name == "lone")
    moved = Facts.of(iter([*item.facts.facts, Fact(group=Group.CONTEXT, label="caf\udce9", value="1")]))
    plan = make_plan(
        "demo",
        [replace(item, facts=moved)],
        Observed(images=world.engine.images()),
        history=History.of(world.known),
        selected=frozenset([T("lone")]),
    )
    assert plan_text(plan, show_kept=False, details=False).encode()


def test_a_name_with_a_line_break_stays_on_its_line(world: World) -> None:
    item = next(item for item in world.wanted() if item.name == "lone")
    moved = Facts.of(iter([*item.facts.facts, Fact(group=Group.CONTEXT, label="a\n::error::b", value="1")]))
    observed = Observed(images=world.engine.images())
    plan = make_plan(
        "demo", [replace(item, facts=moved)], observed, history=History.of(world.known), selected=frozenset([T("lone")])
    )
    assert plan_text(plan, show_kept=False, details=True).count("\\n::error::b") == 2


# Labels.


def test_a_label_is_read_back_and_anything_else_is_none() -> None:
    label = ImageLabel(schema=1, project="p", target="t", platform="x", fingerprint="f", groups={"a": "b"}, built_on={"c": "d"})
    assert ImageLabel.parse(label.dump()) == label
    for text in ("", "{}", "[]", "null", "5", '{"v": "x"}', label.dump()[:-5], label.dump().replace('{"a":"b"}', "5")):
        assert ImageLabel.parse(text) is None


def test_a_deeply_nested_label_is_none() -> None:
    assert ImageLabel.parse("[" * 100_000) is None


def test_a_plan_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, engine = write_files(tmp_path / "checkout", FILES), TinyEngine()
    build_all(engine, root)
    edit(root, "work/app/main.txt", "1", "2")
    edit(root, "tpl/other.j2", "RUN cat", "RUN ls && cat")
    edit(root, "stacks.yaml", "FLAVOUR: plain", "FLAVOUR: spicy")
    project = Project.open([root / "stacks.yaml"])
    observed = Observed(images=engine.images(), engine=engine.identity())
    wanted, history = read_for_plan(project, observed)
    every = frozenset(project.order)

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("make_plan reads nothing")

    with monkeypatch.context() as patch:
        for place, names in ((builtins, ["open"]), (os, ["open", "stat", "lstat", "scandir"]), (socket, ["socket"])):
            for name in names:
                patch.setattr(place, name, refuse)
        plan = make_plan("demo", wanted, observed, history=history, selected=every, now=2e9)
    assert with_places(plan, project.places) == plan_project(project, engine, ())
    assert {step.target: kinds(plan, step.target) for step in plan.steps} == {
        "base": [],
        "app": ["context", "arg"],
        "other": ["template"],
    }


def test_what_is_kept_needs_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, engine = write_files(tmp_path / "checkout", FILES), TinyEngine()
    build_all(engine, root)
    monkeypatch.setattr("tasker_build.records.records.read_target", lambda path: pytest.fail(f"{path} was read"))
    assert not plan_project(Project.open([root / "stacks.yaml"]), engine, ()).changed
