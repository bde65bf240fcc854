"""Why a target would be built or is kept. Pure.

A plan says what each target's reasons are; here they are followed to their roots, and what is *not* the cause is said with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasker_build.plan.changes import ImageChange, KeyChange, ParentChange, Unrecorded
from tasker_build.plan.facts import Difference, Group, differences
from tasker_build.plan.places import spans_of
from tasker_build.plan.planner import dockerfile_reason, preference
from tasker_build.plan.situation import built_on, record_of
from tasker_build.plan.words import Action, Reason, ReasonKind, unique_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.engine.api import Image
    from tasker_build.errors import Span
    from tasker_build.plan.history import BuildRecord
    from tasker_build.plan.situation import BuiltOn, Situation
    from tasker_build.plan.wanted import Wanted
    from tasker_build.plan.words import Step
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason that no other target gives."""

    reason: Reason  # with the places of what it speaks of
    facts: tuple[Difference, ...] = ()  # everything of its kind that differs
    dockerfile: tuple[str, Sequence[int]] | None = None  # the rendered file, and the line of each instruction
    is_listed: bool = False  # changed since an earlier build: what changed is only named


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A kind of facts that is as it was, with what it covers."""

    group: Group
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One target of a cause chain."""

    target: TargetName
    depth: int  # 0: the target asked about
    action: Action
    causes: tuple[Cause, ...]
    above: bool = False  # explained further up already


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a target is what it is in a plan."""

    step: Step
    links: tuple[Link, ...]
    same: tuple[Unchanged, ...]  # what is not the cause
    against: Image | None  # the image it was compared with
    record: BuildRecord | None  # the record of that image
    stands_on: tuple[BuiltOn, ...]


def explain(name: TargetName, situation: Situation) -> Explanation:
    """Follow a target's reasons to their roots, and say what is not the cause."""
    chain = _Chain(situation)
    chain.visit(name, 0)
    against = chain.baselines.of(name)
    same = _same(situation.wanted[name], against)
    if any(reason.kind in {ReasonKind.SPEC, ReasonKind.TOOL} for reason in chain.steps[name].reasons):
        same = tuple(row for row in same if row.group is not Group.SPEC)  # the spec reaches an image through its Dockerfile, too
    return Explanation(
        step=chain.steps[name],
        links=tuple(chain.links),
        same=same,
        against=against,
        record=record_of(situation, name, against),
        stands_on=built_on(against, situation) if against else (),
    )


class _Baselines:
    """The images of each target, sorted out once."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.names = situation.observed.names()
        self.by_target: dict[str, list[Image]] = {}
        for image in situation.observed.images:
            if image.label is not None and image.label.project == situation.spec.project:
                self.by_target.setdefault(image.label.target, []).append(image)

    def of(self, name: TargetName) -> Image | None:
        item = self.situation.wanted[name]
        human = frozenset(self.names.get(f"{item.image}:{tag}") for tag in item.tags)
        found = [
            (image.label.fingerprint == item.facts.fingerprint, preference(image, item.platform, human), image)
            for image in self.by_target.get(name, ())
            if image.label is not None and unique_reference(item.image, image.label.fingerprint) in image.references
        ]
        return max(found, key=lambda row: row[:2])[2] if found else None


class _Chain:
    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.steps = {step.target: step for step in situation.plan.steps}
        self.links: list[Link] = []
        self.seen: set[str] = set()
        self.baselines = _Baselines(situation)
        self.images = {image.id: image for image in situation.observed.images}

    def visit(self, name: TargetName, depth: int) -> None:
        """Add a target's link, then those of the parents it changes because of; without recursion, for chains are long."""
        todo = [(name, depth, "")]
        while todo:
            target, at, old = todo.pop()
            step = self.steps[target]
            above = target in self.seen
            self.seen.add(target)
            if above:
                self.links.append(Link(target=target, depth=at, action=step.action, causes=(), above=True))
                continue
            if at and not step.action.builds:
                causes, parents = self._since(target, old)
            else:
                causes, parents = self._now(step)
            self.links.append(Link(target=target, depth=at, action=step.action, causes=causes))
            todo += [(parent, at + 1, fingerprint) for parent, fingerprint in reversed(parents)]

    def _now(self, step: Step) -> tuple[tuple[Cause, ...], list[tuple[TargetName, str]]]:
        """A step's own causes, and the parents whose changes are its others."""
        item = self.situation.wanted[step.target]
        said = any(reason.kind is ReasonKind.PARENT for reason in step.reasons)
        parents = [(name, "") for name in item.parents if self.steps[name].action.builds] if said else []
        against = self.baselines.of(step.target)
        if said and against is not None:
            # A parent that was built meanwhile is kept now; what changed in it is still the root.
            parents += [(name, old) for name, old in self._moved(item, against) if not self.steps[name].action.builds]
        followed = {str(name) for name, _ in parents}
        own = [reason for reason in step.reasons if reason.kind is not ReasonKind.PARENT or not _is_told(reason, followed)]
        return tuple(self._cause(item, reason, against) for reason in own), parents

    def _moved(self, item: Wanted, against: Image) -> Iterator[tuple[TargetName, str]]:
        """Parents that had another fingerprint when the image was made."""
        label = against.label
        record = self.situation.records.get((item.name, label.fingerprint)) if label else None
        recorded = {fact.label: fact.value for fact in record.facts if fact.group is Group.PARENT} if record else {}
        for name in item.parents:
            built_on = self.images.get(label.built_on.get(name, "")) if label else None
            old = recorded.get(name) or (built_on.label.fingerprint if built_on and built_on.label else "")
            if old and old != self.situation.wanted[name].facts.fingerprint:
                yield name, old

    def _since(self, name: TargetName, old: str) -> tuple[tuple[Cause, ...], list[tuple[TargetName, str]]]:
        """What changed in a target since an older fingerprint of it."""
        item = self.situation.wanted[name]
        record = self.situation.records.get((name, old))
        if record is None:
            unknown = Reason(kind=ReasonKind.PARENT, changes=(Unrecorded(old=old, new=item.facts.fingerprint),))
            return (Cause(reason=unknown),), []
        found = differences(record.facts, item.facts.facts)
        causes = []
        for group in Group:
            rows = [row for row in found if row.group is group]
            if rows and group is Group.DOCKERFILE:
                causes.append(self._cause(item, dockerfile_reason(item, record), None, record))
            elif rows and group is not Group.PARENT:
                reason = Reason(kind=ReasonKind(group.value), changes=tuple(rows))
                causes.append(replace(self._cause(item, reason, None, record), is_listed=True))
        names = {str(parent): parent for parent in item.parents}
        parents = [(names[row.label], row.old) for row in found if row.group is Group.PARENT and row.label in names and row.old]
        return tuple(causes), parents

    def _cause(self, item: Wanted, reason: Reason, against: Image | None, record: BuildRecord | None = None) -> Cause:
        """A reason with its places and everything of its kind that differs."""
        if record is None and against is not None and against.label is not None:
            record = self.situation.records.get((item.name, against.label.fingerprint))
        facts: tuple[Difference, ...] = ()
        if record is not None and not reason.hunks:
            facts = tuple(row for row in differences(record.facts, item.facts.facts) if row.group.value == reason.kind.value)
        spans = reason.spans or spans_of(reason.keys, self.situation.places) or self._spans(item, reason)
        return Cause(reason=replace(reason, spans=spans), facts=facts, dockerfile=self.situation.lines.get(item.name))

    def _spans(self, item: Wanted, reason: Reason) -> tuple[Span, ...]:
        """Where the spec says what a reason speaks of that names no key of it."""
        spec = self.situation.spec
        target = spec.targets[item.name]
        kinds = {
            ReasonKind.SPEC: "",
            ReasonKind.NEW: "",
            ReasonKind.ARG: "args",
            ReasonKind.BASE: "from",
            ReasonKind.SECRET: "secrets",
        }
        if reason.kind not in kinds:
            return ()
        key, names = kinds[reason.kind], _named(reason)
        if reason.kind is ReasonKind.BASE:
            base = next((name for name, image in spec.bases.items() if image in names), None)
            return (spec.at.get(f"bases.{base}") or target.at.get(key) or target.span,)
        name = names[0] if len(names) == 1 else ""
        return (target.at.get(f"{key}.{name}") or target.at.get(name) or target.at.get(key) or target.span,)


def _named(reason: Reason) -> list[str]:
    """What a reason's changes are called in the spec."""
    facts = [change.label for change in reason.changes if isinstance(change, Difference)]
    images = [change.name for change in reason.changes if isinstance(change, ImageChange)]
    return [*facts, *images, *(change.key for change in reason.changes if isinstance(change, KeyChange))]


def _is_told(reason: Reason, followed: set[str]) -> bool:
    """Whether a `parent` reason only names what the chain follows anyway."""
    named = [change.parent for change in reason.changes if isinstance(change, ParentChange)]
    return named[0] in followed if named else not reason.changes and bool(followed)


_ALWAYS = frozenset({Group.SPEC, Group.SCHEMA})
"""Groups that every target has facts of: how many says nothing."""


def _same(item: Wanted, against: Image | None) -> tuple[Unchanged, ...]:
    """The kinds of facts that are as they were."""
    if against is None or against.label is None:
        return ()
    found = []
    for group in (Group.SPEC, Group.DOCKERFILE, Group.CONTEXT, Group.ARG, Group.BASE, Group.PARENT, Group.SECRET, Group.SCHEMA):
        if against.label.groups.get(group.value) != item.facts.groups[group.value]:
            continue
        labels = tuple(fact.label for fact in item.facts.facts if fact.group is group)
        if labels or group in _ALWAYS:
            found.append(Unchanged(group=group, labels=labels))
    return tuple(found)
