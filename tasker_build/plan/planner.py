"""Facts wanted and images observed → steps with reasons. Pure: touches nothing, asks nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasker_build.engine.api import UNIQUE_TAG, Image
from tasker_build.plan.changes import (
    Absence,
    Age,
    FailedRun,
    Found,
    ImageChange,
    KeyChange,
    NoImage,
    ParentChange,
    TagChange,
    TemplateChange,
)
from tasker_build.plan.facts import SCHEMA, Difference, Group, differences, hunks
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step, unique_reference
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tasker_build.engine.api import ImageLabel
    from tasker_build.plan.history import BuildKey, BuildRecord, BuiltImage, History
    from tasker_build.plan.wanted import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the engine has."""

    images: Sequence[Image] = ()
    asked: bool = True  # False: offline, nothing was observed
    engine: str = ""  # its id; "" where it was not asked for

    def is_another_engine(self, engine: str) -> bool:
        """Whether an id is known to be that of another engine than this one."""
        return bool(self.engine and engine) and self.engine != engine

    def names(self) -> Mapping[str, str]:
        """Every reference that is there → its image's id."""
        return {reference: image.id for image in self.images for reference in image.references}


def depends_on_engine(plan: Plan) -> bool:
    """Whether the plan says something of what was built here that would be another thing for images of another engine."""
    return any(reason.kind in {ReasonKind.MISSING, ReasonKind.NOT_OURS} for step in plan.steps for reason in step.reasons)


def states(plan: Plan) -> Mapping[TargetName, frozenset[str]]:
    """What each target of a plan is, in the words of `state:`; a plan of all targets says it of all."""
    return {step.target: frozenset(_states(step)) for step in plan.steps if step.action is not Action.FORGET}


def _states(step: Step) -> Iterator[str]:
    kinds = {reason.kind for reason in step.reasons}
    if step.action is Action.KEEP:
        yield "unmodified"
    elif step.action is Action.RETAG:
        yield "retag"
    else:
        yield "stale"
        yield from (kind.value for kind in (ReasonKind.NEW, ReasonKind.MISSING, ReasonKind.PARENT) if kind in kinds)
        # As in dbt: what is new has been modified, and what only stands on it has not (`state:modified+` takes it along).
        if step.action is not Action.CASCADE:
            yield "modified"
        yield from (f"modified.{kind.value}" for kind in kinds)


def make_plan(
    project: str,
    wanted: Sequence[Wanted],
    observed: Observed,
    *,
    history: History,
    selected: frozenset[TargetName],
    forced: frozenset[TargetName] = frozenset(),
    now: float | None = None,
) -> Plan:
    """Compare what the spec asks for with what the engine has. Reads nothing: no file, no clock, no engine.

    Args:
        project: the spec's project; images of other projects are none of our business.
        wanted: every enabled target, parents before children.
        observed: the engine's images.
        history: what records here know: all that `records_needed` names.
        selected: the targets asked for; stale ancestors of theirs are added and marked.
        forced: targets to build whatever their state.
        now: seconds since 1970; None: no image counts as too old.
    """
    planner = _Planner(project, wanted, observed, history, forced, now)
    steps = {item.name: planner.step(item) for item in wanted}
    chosen = _with_stale_ancestors(wanted, steps, selected)
    listed = [steps[item.name] for item in wanted if item.name in chosen]
    listed = [replace(step, needed_by_selection=step.target not in selected) for step in listed]
    gone = planner.gone() if selected == frozenset(steps) else ()
    return Plan(steps=(*listed, *gone))


def _with_stale_ancestors(
    wanted: Sequence[Wanted], steps: Mapping[TargetName, Step], selected: frozenset[TargetName]
) -> frozenset[TargetName]:
    parents = {item.name: item.parents for item in wanted}
    chosen = set(selected)
    todo = list(selected)
    while todo:
        for parent in parents[todo.pop()]:
            if parent not in chosen and steps[parent].action.builds:
                chosen.add(parent)
                todo.append(parent)
    return frozenset(chosen)


class _OurImages:
    """The images of a project, by target: which one fits what is wanted, and which one a difference is explained against."""

    def __init__(self, project: str, observed: Observed) -> None:
        self.references = observed.names()
        self.labelled: dict[str, list[tuple[Image, ImageLabel]]] = {}
        for image in observed.images:
            if image.label is not None and image.label.project == project:
                self.labelled.setdefault(image.label.target, []).append((image, image.label))

    def of(self, item: Wanted) -> Iterator[tuple[Image, ImageLabel]]:
        """Images that are really ours: label and unique tag are there and agree."""
        for image, label in self.labelled.get(item.name, ()):
            if unique_reference(item.image, label.fingerprint) in image.references:
                yield image, label

    def match(self, item: Wanted) -> Image | None:
        """The image that is what is wanted."""
        wanted = (item.facts.fingerprint, item.platform)
        return next((image for image, label in self.of(item) if (label.fingerprint, label.platform) == wanted), None)

    def latest(self, item: Wanted) -> Image | None:
        """What a difference is explained against."""
        human = frozenset(self.references.get(f"{item.image}:{tag}") for tag in item.tags)
        return max((image for image, _ in self.of(item)), key=lambda image: preference(image, item.platform, human), default=None)


def records_needed(
    project: str, wanted: Iterable[Wanted], observed: Observed, built: Mapping[BuildKey, BuiltImage]
) -> Iterator[BuildKey]:
    """The builds whose whole record `make_plan` explains something with: read these first, and give them to it.

    What is kept needs none, so a plan with nothing to do reads none.
    """
    images = _OurImages(project, observed)
    for item in wanted:
        latest = None if images.match(item) else images.latest(item)
        label = latest.label if latest else None
        if label is not None and label.schema == SCHEMA and _is_explained(item, label, built):
            yield item.name, label.fingerprint


def _is_explained(item: Wanted, label: ImageLabel, built: Mapping[BuildKey, BuiltImage]) -> bool:
    """Whether the plan compares facts with this image's: not when the very build that is wanted was here and is gone."""
    return (item.name, item.facts.fingerprint) not in built or label.platform == item.platform


class _Planner:
    def __init__(
        self,
        project: str,
        wanted: Sequence[Wanted],
        observed: Observed,
        history: History,
        forced: frozenset[TargetName],
        now: float | None,
    ) -> None:
        self.project, self.observed, self.history, self.forced, self.now = project, observed, history, forced, now
        self.images = _OurImages(project, observed)
        self.references = self.images.references
        self.by_id = {image.id: image for image in observed.images}
        self.names = frozenset(item.name for item in wanted)
        self.actions: dict[TargetName, Action] = {}
        self.ids: dict[TargetName, str | None] = {}

    def step(self, item: Wanted) -> Step:
        match = self.images.match(item)
        latest = match or self.images.latest(item)
        reasons = tuple(sorted(self._reasons(item, latest, match), key=lambda reason: list(ReasonKind).index(reason.kind)))
        if any(reason.kind is not ReasonKind.TAG for reason in reasons):
            # What is built is tagged anyway.
            reasons = tuple(reason for reason in reasons if reason.kind is not ReasonKind.TAG)
        action = self._action(reasons)
        if action.builds and (run := self.history.failed.get(item.name)):
            reasons += (Reason(kind=ReasonKind.FAILED_BEFORE, changes=(FailedRun(run=run),)),)
        keeps = action in {Action.KEEP, Action.RETAG}
        self.actions[item.name] = action
        self.ids[item.name] = match.id if match and keeps else None
        return Step(
            target=item.name,
            action=action,
            reasons=reasons,
            fingerprint=item.facts.fingerprint,
            image=item.image,
            tags=item.tags,
            image_id=match.id if match and keeps else None,
            against=latest.id if latest and action.builds else "",
        )

    @staticmethod
    def _action(reasons: Sequence[Reason]) -> Action:
        kinds = {reason.kind for reason in reasons}
        if not kinds:
            return Action.KEEP
        if kinds == {ReasonKind.TAG}:
            return Action.RETAG
        if kinds == {ReasonKind.PARENT}:
            return Action.CASCADE
        return Action.CREATE if kinds & {ReasonKind.NEW, ReasonKind.MISSING} else Action.REBUILD

    def _reasons(self, item: Wanted, latest: Image | None, match: Image | None) -> Iterator[Reason]:
        if item.name in self.forced:
            yield Reason(kind=ReasonKind.FORCED)
        if not self.observed.asked:
            yield Reason(kind=ReasonKind.NEW, changes=(NoImage(why=Absence.NOT_ASKED),))
            return
        yield from self._tag_reasons(item, match)
        if match is not None:
            yield from self._standing(item, match)
            yield from self._age(item, match)
            return
        if latest is not None:
            yield from self._age(item, latest)
        built = self.history.built.get((item.name, item.facts.fingerprint))
        if latest is not None and latest.label is not None and _is_explained(item, latest.label, self.history.built):
            yield from self._changes(item, latest.label)
        elif built is not None and self.observed.is_another_engine(built.engine):
            yield Reason(kind=ReasonKind.NEW, changes=(NoImage(why=Absence.OTHER_ENGINE),))
        elif built is not None:
            gone = ImageChange(name=unique_reference(item.image, item.facts.fingerprint), old=built.image_id, new=None)
            yield Reason(kind=ReasonKind.MISSING, changes=(gone,))
        else:
            yield Reason(kind=ReasonKind.NEW)

    def _age(self, item: Wanted, image: Image) -> Iterator[Reason]:
        """What is older than the target's `refresh` allows."""
        if not item.refresh or self.now is None or image.label is None or image.label.platform != item.platform:
            return
        built = image.label.built or image.created
        age = self.now - built
        if age > int(item.refresh[:-1]) * _SECONDS[item.refresh[-1]]:
            change = Age(seconds=age if built else None, refresh=item.refresh)
            yield Reason(kind=ReasonKind.AGE, changes=(change,), keys=(f"targets.{item.name}.refresh",))

    def _tag_reasons(self, item: Wanted, match: Image | None) -> Iterator[Reason]:
        """Names for people that stand on something else than the image they should."""
        if match is None:
            return
        for tag in item.tags:
            reference = f"{item.image}:{tag}"
            image_id = self.references.get(reference)
            if image_id != match.id:
                change = _found_at(reference, item, image_id, self.by_id.get(image_id or ""))
                yield Reason(kind=ReasonKind.TAG, changes=(change,))

    def _standing(self, item: Wanted, match: Image) -> Iterator[Reason]:
        """What an image with the right fingerprint stands on: a parent may have been made again, a local base replaced."""
        built = self.history.built.get((item.name, item.facts.fingerprint))
        if built is not None and built.image_id != match.id and not self.observed.is_another_engine(built.engine):
            reference = unique_reference(item.image, item.facts.fingerprint)
            yield Reason(kind=ReasonKind.NOT_OURS, changes=(ImageChange(name=reference, old=built.image_id, new=match.id),))
        built_on = match.label.built_on if match.label else {}
        for parent in item.parents:
            if self.actions[parent].builds:
                yield Reason(kind=ReasonKind.PARENT, changes=(ParentChange(parent=parent),))
            elif parent in built_on and self.ids[parent] and built_on[parent] != self.ids[parent]:
                change = ImageChange(name=parent, old=built_on[parent], new=self.ids[parent])
                yield Reason(kind=ReasonKind.PARENT, changes=(change,))
        for base in item.bases:
            now = self.references.get(base)
            if base in built_on and now is not None and now != built_on[base]:
                yield Reason(kind=ReasonKind.BASE, changes=(ImageChange(name=base, old=built_on[base], new=now),))

    def _changes(self, item: Wanted, label: ImageLabel) -> Iterator[Reason]:
        """Why the newest image's facts are not the wanted ones."""
        if label.schema != SCHEMA:
            change = Difference(group=Group.SCHEMA, label="schema", old=str(label.schema), new=str(SCHEMA))
            yield Reason(kind=ReasonKind.SCHEMA, changes=(change,))
            return
        record = self.history.records.get((item.name, label.fingerprint))
        changed = {group for group in Group if label.groups.get(group.value) != item.facts.groups[group.value]}
        found = differences(record.facts, item.facts.facts) if record else ()
        if not changed:
            # Its label contradicts itself: fingerprint and facts do not belong together.
            yield Reason(kind=ReasonKind.NOT_OURS)
        for group in Group:
            if group in changed:
                rows = [d for d in found if d.group is group]
                if group is Group.SPEC and record is None and label.platform != item.platform:
                    # The label itself says so much.
                    rows = [Difference(group=group, label="platform", old=label.platform, new=item.platform)]
                yield from self._explain(item, group, rows, record)

    def _explain(self, item: Wanted, group: Group, found: Sequence[Difference], record: BuildRecord | None) -> Iterator[Reason]:
        if group is Group.PARENT:
            names = [d.label for d in found if self.actions.get(d.label) is not None] or [  # type: ignore[call-overload]
                parent for parent in item.parents if self.actions[parent].builds
            ]
            for name in names:
                yield Reason(kind=ReasonKind.PARENT, changes=(ParentChange(parent=str(name)),))
            if not names:
                yield Reason(kind=ReasonKind.PARENT)
        elif group is Group.DOCKERFILE:
            yield dockerfile_reason(item, record)
        elif group is Group.CONTEXT:
            yield Reason(kind=ReasonKind.CONTEXT, changes=tuple(found))
        else:
            # What is gone has no place any more; it is where what came instead of it is.
            here = [d for d in found if d.new is not None] or found
            keys = tuple(dict.fromkeys(_key(item.name, d) for d in here))
            yield Reason(kind=ReasonKind(group.value), changes=tuple(found), keys=keys)

    def gone(self) -> tuple[Step, ...]:
        """Images of ours whose target the spec no longer has: a note, nothing is removed."""
        names = {
            image.label.target
            for image in self.observed.images
            if image.label and image.label.project == self.project and image.label.target not in self.names
            if any(reference.split(":")[-1] == f"{UNIQUE_TAG}{image.label.fingerprint[:12]}" for reference in image.references)
        }
        return tuple(Step(target=TargetName(name), action=Action.FORGET) for name in sorted(names))


def dockerfile_reason(item: Wanted, record: BuildRecord | None) -> Reason:
    """Whose doing a difference in the Dockerfile is: a template's, the spec's, or that of the workspace."""
    if record is None:
        return Reason(kind=ReasonKind.TEMPLATE)
    found = tuple(hunks(record.facts, item.facts.facts))
    if moved := _changed_keys(item.templates, record.templates):
        changes = tuple(TemplateChange(chain=_chain(item, name)) for name in moved)
        return Reason(kind=ReasonKind.TEMPLATE, changes=changes, hunks=found)
    if keys := [key for key in _changed_keys(item.spec, record.spec) if key in record.spec or not key.startswith("tools.")]:
        kind = ReasonKind.TOOL if all(key.startswith(_TOOL_KEYS) for key in keys) else ReasonKind.SPEC
        return Reason(kind=kind, changes=tuple(KeyChange(key=key) for key in keys), hunks=found, keys=tuple(keys))
    return Reason(kind=ReasonKind.CONTEXT, hunks=found)  # neither template nor spec: it is the layout of the workspace


_TOOL_KEYS = ("tools.", "toolchain.")


def _changed_keys(new: Mapping[str, str], old: Mapping[str, str]) -> list[str]:
    return sorted(key for key in new.keys() | old.keys() if new.get(key) != old.get(key))


def _chain(item: Wanted, name: str) -> tuple[str, ...]:
    """A template after those that lead to it."""
    chain = [name]
    while (above := item.included_by.get(chain[0], "")) and above not in chain:
        chain.insert(0, above)
    return tuple(chain)


def _key(target: TargetName, difference: Difference) -> str:
    """The key of the spec that a fact comes from."""
    if difference.group is Group.BASE:
        return f"bases.{difference.label}"
    key = {Group.ARG: f"args.{difference.label}", Group.SECRET: "secrets", Group.SPEC: difference.label}.get(difference.group, "")
    return f"targets.{target}.{'platforms' if key == 'platform' else key}".removesuffix(".")


def _found_at(reference: str, item: Wanted, image_id: str | None, image: Image | None) -> TagChange:
    """What a tag of a target stands on instead of the wanted image."""
    if image_id is None:
        return TagChange(reference=reference, found=Found.NOTHING)
    if image is None or image.label is None:
        return TagChange(reference=reference, found=Found.FOREIGN, image_id=image_id)
    found = Found.OTHER_TARGET
    if image.label.target == item.name:
        unique = unique_reference(item.image, image.label.fingerprint)
        found = Found.OTHER_BUILD if unique in image.references else Found.BY_HAND
    return TagChange(
        reference=reference, found=found, image_id=image_id, target=image.label.target, fingerprint=image.label.fingerprint
    )


def preference(image: Image, platform: str, human: Collection[str | None]) -> tuple[bool, bool, int, str]:
    """Orders a target's images by how well a difference is explained against them.

    The wanted platform's come last, there the one that people use now, else the newest.
    """
    same_platform = image.label is not None and image.label.platform == platform
    return same_platform, image.id in human, image.created, image.id


_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
