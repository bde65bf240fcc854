"""Why a target would be built or is kept. Pure.

A plan says what each target's reasons are; here they are followed to their roots, and what is *not* the cause is said with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.plan.facts import Group, differences, hunk_lines, hunks
from tasker_build.plan.planner import dockerfile_reason, preference
from tasker_build.plan.situation import record_of, standing
from tasker_build.plan.words import Action, Reason, ReasonKind, shown, unique_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasker_build.engine.api import Image
    from tasker_build.plan.facts import Difference
    from tasker_build.plan.history import BuildRecord
    from tasker_build.plan.situation import Situation, Standing
    from tasker_build.plan.wanted import Wanted
    from tasker_build.plan.words import Step
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason that no other target gives."""

    kind: ReasonKind
    evidence: str
    details: tuple[str, ...] = ()
    place: str = ""  # file:line of the spec


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
    same: tuple[str, ...]  # what is not the cause
    against: Image | None  # the image it was compared with
    record: BuildRecord | None  # the record of that image
    stands_on: tuple[Standing, ...]


def explain(name: TargetName, situation: Situation) -> Explanation:
    """Follow a target's reasons to their roots, and say what is not the cause."""
    chain = _Chain(situation)
    chain.visit(name, 0)
    against = chain.baselines.of(name)
    same = _same(situation.wanted[name], against)
    if any(reason.kind in {ReasonKind.SPEC, ReasonKind.TOOL} for reason in chain.steps[name].reasons):
        same = tuple(word for word in same if word != "spec same")  # the spec reaches an image through its Dockerfile, too
    return Explanation(
        step=chain.steps[name],
        links=tuple(chain.links),
        same=same,
        against=against,
        record=record_of(situation, name, against),
        stands_on=standing(against, situation) if against else (),
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
        said = {reason.evidence for reason in step.reasons if reason.kind is ReasonKind.PARENT}
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
            return (
                Cause(kind=ReasonKind.PARENT, evidence=f"{old[:12]} → {item.facts.short}, no record here of what changed"),
            ), []
        found = differences(record.facts, item.facts.facts)
        causes = []
        for group in Group:
            rows = [row for row in found if row.group is group]
            if rows and group is Group.DOCKERFILE:
                causes.append(self._cause(item, dockerfile_reason(item, record), None, record))
            elif rows and group is not Group.PARENT:
                listed = ", ".join(f"{row.sign} {shown(row.label)}" for row in rows[:5]) + (" …" if len(rows) > 5 else "")  # noqa: PLR2004
                causes.append(self._cause(item, Reason(kind=ReasonKind(group.value), evidence=listed), None, record))
        names = {str(parent): parent for parent in item.parents}
        parents = [(names[row.label], row.old) for row in found if row.group is Group.PARENT and row.label in names and row.old]
        return tuple(causes), parents

    def _cause(self, item: Wanted, reason: Reason, against: Image | None, record: BuildRecord | None = None) -> Cause:
        """A reason with its place and all of its evidence."""
        if record is None and against is not None and against.label is not None:
            record = self.situation.records.get((item.name, against.label.fingerprint))
        details = reason.details
        if record is not None:
            old, new = record.facts, item.facts.facts
            if reason.is_dockerfile:
                details = tuple(map(shown, hunk_lines(tuple(hunks(old, new)), self.situation.lines.get(item.name))))
            else:
                rows = [row for row in differences(old, new) if row.group.value == reason.kind.value]
                details = tuple(_detail(row) for row in rows) or details
        return Cause(kind=reason.kind, evidence=reason.evidence, details=details, place=reason.place or self._place(item, reason))

    def _place(self, item: Wanted, reason: Reason) -> str:
        """Where the spec says what the reason speaks of."""
        target = self.situation.spec.targets[item.name]
        key = {
            ReasonKind.SPEC: "",
            ReasonKind.NEW: "",
            ReasonKind.ARG: "args",
            ReasonKind.BASE: "from",
            ReasonKind.SECRET: "secrets",
        }.get(reason.kind)
        if key is None:
            return ""
        first = reason.evidence.removeprefix("+ ").removeprefix("- ").removeprefix("~ ").split(maxsplit=1)[:1]
        label = first[0].split("=")[0] if first else ""
        if reason.kind is ReasonKind.BASE:
            spec = self.situation.spec
            base = next((name for name, image in spec.bases.items() if image in reason.evidence), None)
            return str(spec.at.get(f"bases.{base}") or target.at.get(key) or target.span)
        return str(target.at.get(f"{key}.{label}") or target.at.get(label) or target.at.get(key) or target.span)


def _is_told(reason: Reason, followed: set[str]) -> bool:
    """Whether a `parent` reason only names what the chain follows anyway."""
    return reason.evidence in followed or (reason.evidence == "parents" and bool(followed))


def _detail(row: Difference) -> str:
    label, old, new = shown(row.label), *(None if value is None else shown(_short(value)) for value in (row.old, row.new))
    if old is None:
        return f"+ {label}  {new}"
    return f"- {label}  {old}" if new is None else f"~ {label}  {old} → {new}"


def _short(value: str) -> str:
    """A digest short, anything else as it is."""
    kind, colon, digest = value.rpartition(":")
    is_digest = len(digest) == 64 and not set(digest) - set("0123456789abcdef")  # noqa: PLR2004 - sha256 in hex
    return f"{kind}{colon}{digest[:12]}" if is_digest else value


_NOUNS = {
    Group.DOCKERFILE: "instruction",
    Group.CONTEXT: "file",
    Group.ARG: "argument",
    Group.PARENT: "parent",
    Group.SECRET: "secret",
}


_WORDS = {Group.DOCKERFILE: "Dockerfile", Group.SCHEMA: "fingerprint schema", Group.ARG: "args", Group.PARENT: "parents"}


def _same(item: Wanted, against: Image | None) -> tuple[str, ...]:
    """The kinds of facts that are as they were, with how much they cover."""
    if against is None or against.label is None:
        return ()
    found = []
    for group in (Group.SPEC, Group.DOCKERFILE, Group.CONTEXT, Group.ARG, Group.BASE, Group.PARENT, Group.SECRET, Group.SCHEMA):
        if against.label.groups.get(group.value) != item.facts.groups[group.value]:
            continue
        facts = [fact for fact in item.facts.facts if fact.group is group]
        noun = _NOUNS.get(group)
        if group is Group.BASE:
            found += [f"base same ({', '.join(fact.label for fact in facts)})"] if facts else []
        elif noun is None:
            found.append(f"{_WORDS.get(group, group.value)} same")
        elif facts:
            count = f"{len(facts)} {noun}{'s' if len(facts) != 1 else ''}"
            found.append(f"{_WORDS.get(group, group.value)} same ({count})")
    return tuple(found)
