"""Why a target would be built or is kept, where an image comes from, and how a run went against its plan. Pure.

A plan says what each target's reasons are; here they are followed to their roots, and what is *not* the cause is said with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasker_build.engine.api import UNIQUE_TAG
from tasker_build.errors import Problem, SelectionError
from tasker_build.fingerprint import Group, differences, hunk_lines, hunks
from tasker_build.plan import UNCOMMITTED, Action, Kind, Reason, dockerfile_reason, preference, shown, unique_reference
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tasker_build.engine.api import Image
    from tasker_build.fingerprint import Difference
    from tasker_build.plan import Known, Observed, Plan, Step, Wanted
    from tasker_build.spec.model import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything an explanation draws on; `plan` is that of all targets."""

    spec: Spec
    wanted: Mapping[TargetName, Wanted]
    observed: Observed
    known: Mapping[tuple[TargetName, str], Known]
    plan: Plan
    lines: Mapping[TargetName, tuple[str, Sequence[int]]] = field(default_factory=dict)  # Dockerfile, line of each instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason that no other target gives."""

    kind: Kind
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
class Standing:
    """Something an image was built on."""

    name: str  # a target, or the reference of a base
    image_id: str
    references: tuple[str, ...]  # its names now; none: it is gone or has lost its names
    now: str | None = None  # the image that has the name now, where that is another


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a target is what it is in a plan."""

    step: Step
    links: tuple[Link, ...]
    same: tuple[str, ...]  # what is not the cause
    against: Image | None  # the image it was compared with
    known: Known | None  # the record of that image
    stands_on: tuple[Standing, ...]


def explain(name: TargetName, situation: Situation) -> Explanation:
    """Follow a target's reasons to their roots, and say what is not the cause."""
    chain = _Chain(situation)
    chain.visit(name, 0)
    against = chain.baselines.of(name)
    same = _same(situation.wanted[name], against)
    if any(reason.kind in {Kind.SPEC, Kind.TOOL} for reason in chain.steps[name].reasons):
        same = tuple(word for word in same if word != "spec same")  # the spec reaches an image through its Dockerfile, too
    return Explanation(
        step=chain.steps[name],
        links=tuple(chain.links),
        same=same,
        against=against,
        known=_record(situation, name, against),
        stands_on=standing(against, situation) if against else (),
    )


def baseline(situation: Situation, name: TargetName) -> Image | None:
    """The image that a target's reasons speak of: the one that is wanted, else the one people use, else the newest."""
    return _Baselines(situation).of(name)


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


def _record(situation: Situation, name: TargetName, image: Image | None) -> Known | None:
    known = situation.known.get((name, image.label.fingerprint)) if image and image.label else None
    return known if known and image and known.image_id == image.id else None


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
        said = {reason.evidence for reason in step.reasons if reason.kind is Kind.PARENT}
        parents = [(name, "") for name in item.parents if self.steps[name].action.builds] if said else []
        against = self.baselines.of(step.target)
        if said and against is not None:
            # A parent that was built meanwhile is kept now; what changed in it is still the root.
            parents += [(name, old) for name, old in self._moved(item, against) if not self.steps[name].action.builds]
        followed = {str(name) for name, _ in parents}
        own = [reason for reason in step.reasons if reason.kind is not Kind.PARENT or not _is_told(reason, followed)]
        return tuple(self._cause(item, reason, against) for reason in own), parents

    def _moved(self, item: Wanted, against: Image) -> Iterator[tuple[TargetName, str]]:
        """Parents that had another fingerprint when the image was made."""
        label = against.label
        known = self.situation.known.get((item.name, label.fingerprint)) if label else None
        recorded = {fact.label: fact.value for fact in known.facts if fact.group is Group.PARENT} if known else {}
        for name in item.parents:
            built_on = self.images.get(label.built_on.get(name, "")) if label else None
            old = recorded.get(name) or (built_on.label.fingerprint if built_on and built_on.label else "")
            if old and old != self.situation.wanted[name].facts.fingerprint:
                yield name, old

    def _since(self, name: TargetName, old: str) -> tuple[tuple[Cause, ...], list[tuple[TargetName, str]]]:
        """What changed in a target since an older fingerprint of it."""
        item = self.situation.wanted[name]
        known = self.situation.known.get((name, old))
        if known is None:
            return (Cause(kind=Kind.PARENT, evidence=f"{old[:12]} → {item.facts.short}, no record here of what changed"),), []
        found = differences(known.facts, item.facts.facts)
        causes = []
        for group in Group:
            rows = [row for row in found if row.group is group]
            if rows and group is Group.DOCKERFILE:
                causes.append(self._cause(item, dockerfile_reason(item, known), None, known))
            elif rows and group is not Group.PARENT:
                listed = ", ".join(f"{row.sign} {shown(row.label)}" for row in rows[:5]) + (" …" if len(rows) > 5 else "")  # noqa: PLR2004
                causes.append(self._cause(item, Reason(kind=Kind(group.value), evidence=listed), None, known))
        names = {str(parent): parent for parent in item.parents}
        parents = [(names[row.label], row.old) for row in found if row.group is Group.PARENT and row.label in names and row.old]
        return tuple(causes), parents

    def _cause(self, item: Wanted, reason: Reason, against: Image | None, known: Known | None = None) -> Cause:
        """A reason with its place and all of its evidence."""
        if known is None and against is not None and against.label is not None:
            known = self.situation.known.get((item.name, against.label.fingerprint))
        details = reason.details
        if known is not None:
            old, new = known.facts, item.facts.facts
            if reason.is_dockerfile:
                details = tuple(map(shown, hunk_lines(tuple(hunks(old, new)), self.situation.lines.get(item.name))))
            else:
                rows = [row for row in differences(old, new) if row.group.value == reason.kind.value]
                details = tuple(_detail(row) for row in rows) or details
        return Cause(kind=reason.kind, evidence=reason.evidence, details=details, place=reason.place or self._place(item, reason))

    def _place(self, item: Wanted, reason: Reason) -> str:
        """Where the spec says what the reason speaks of."""
        target = self.situation.spec.targets[item.name]
        key = {Kind.SPEC: "", Kind.NEW: "", Kind.ARG: "args", Kind.BASE: "from", Kind.SECRET: "secrets"}.get(reason.kind)
        if key is None:
            return ""
        first = reason.evidence.removeprefix("+ ").removeprefix("- ").removeprefix("~ ").split(maxsplit=1)[:1]
        label = first[0].split("=")[0] if first else ""
        if reason.kind is Kind.BASE:
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


def standing(image: Image, situation: Situation) -> tuple[Standing, ...]:
    """What an image says it was built on, beside what has those names now."""
    names = situation.observed.names()
    references = {other.id: other.references for other in situation.observed.images}
    current = {step.target: step.image_id for step in situation.plan.steps}
    rows = []
    for name, image_id in sorted((image.label.built_on if image.label else {}).items()):
        now = next((found for target, found in current.items() if target == name), None) or names.get(name)
        rows.append(
            Standing(
                name=name,
                image_id=image_id,
                references=references.get(image_id, ()),
                now=now if now and now != image_id else None,
            )
        )
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an image comes from."""

    image: Image
    ours: bool
    verdict: str
    current: bool  # it is what the spec asks for now
    stands_on: tuple[Standing, ...]
    known: Known | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An image from outside, and what stands on it."""

    name: str
    reference: str  # without a digest
    place: str  # file:line:column of the spec
    digest: str  # "" where nothing pins it
    is_locked: bool  # it is the lock that pins it, not the spec
    direct: tuple[tuple[str, str, str], ...]  # target, its role there, place
    through: tuple[str, ...]  # targets that stand on it through these


def find_image(text: str, images: Sequence[Image]) -> Image:
    """Return the image of a reference, or of an id or a registry's digest or the beginning of one.

    Raises:
        SelectionError: there is none, or more than one.
    """
    for reference in (text, f"{text}:latest"):
        if found := next((image for image in images if reference in image.references), None):
            return found
    name, _, digest = text.partition("@")
    if digest:
        # A tag beside a digest says nothing: the digest decides.
        wanted = f"{familiar(name)}@{digest}"
        matches = [image for image in images if wanted in map(_familiar_digest, image.digests)]
    else:
        matches = [image for image in images if looks_like_id(text) and _begins(image, text.removeprefix("sha256:"))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise SelectionError(
            [Problem(code="S031", message=f"{len(matches)} images have an id or digest that begins with `{text}`")]
        )
    message = f"`{text}` is neither a target nor an image that is here"
    raise SelectionError([Problem(code="S031", message=message, hints=("`tasker-build ls` lists the targets",))])


def looks_like_id(text: str) -> bool:
    """Whether a word can be an image id or the beginning of one."""
    digits = text.removeprefix("sha256:")
    return 4 <= len(digits) <= 64 and not set(digits) - set("0123456789abcdef")  # noqa: PLR2004 - sha256 in hex


def _begins(image: Image, start: str) -> bool:
    """Whether an image's id or one of its digests begins so, algorithms left out."""
    names = (image.id, *(digest.partition("@")[2] for digest in image.digests))
    return any(name.removeprefix("sha256:").startswith(start) for name in names)


def familiar(name: str) -> str:
    """An image's name as engines list it: without the hub's host and folder, and without a tag."""
    slash = name.rfind("/")
    name = name[:slash] + name[slash:].partition(":")[0] if slash >= 0 else name.partition(":")[0]
    return name.removeprefix("docker.io/").removeprefix("library/")


def _familiar_digest(text: str) -> str:
    name, _, digest = text.partition("@")
    return f"{familiar(name)}@{digest}"


def _is_called(image: Image, reference: str) -> bool:
    """Whether a reference, with a digest or without, is a name of an image."""
    name, _, digest = reference.partition("@")
    return f"{familiar(name)}@{digest}" in map(_familiar_digest, image.digests) if digest else reference in image.references


def origin(image: Image, situation: Situation) -> Origin:
    """Say which target an image is of, whether it is ours, and what it was made from."""
    label = image.label
    if label is None:
        base = next((name for name, reference in situation.spec.bases.items() if _is_called(image, reference)), None)
        verdict = "it carries no label of ours" + (f"; it is the base `{base}`" if base else "")
        return Origin(image=image, ours=False, verdict=verdict, current=False, stands_on=(), known=None)
    unique = f"{UNIQUE_TAG}{label.fingerprint[:12]}"
    name = next((name for name in situation.wanted if name == label.target), None)
    item = situation.wanted[name] if name is not None else None
    mine = label.project == situation.spec.project
    here = [reference for reference in image.references if reference.rpartition(":")[2] == unique]
    agrees = f"{item.image}:{unique}" in here if item and mine else bool(here)
    if not agrees:
        verdict = (
            "not ours: it carries our label without the unique tag that goes with it (made by hand, copied, or its tag was moved)"
        )
    elif not mine:
        verdict = f"an image of another project, `{label.project}`; its unique tag agrees"
    elif item is None:
        verdict = "ours, of a target that the spec no longer has"
    else:
        verdict = "ours: its unique tag agrees with its label"
    known = _record(situation, name, image) if name is not None and mine else None
    noted = situation.known.get((name, label.fingerprint)) if name is not None and mine and known is None else None
    if agrees and noted is not None and not situation.observed.is_another_engine(noted.engine):
        agrees, verdict = False, "not ours: it has our unique tag, but the image built here under that tag was another"
    return Origin(
        image=image,
        ours=agrees and mine,
        verdict=verdict,
        current=bool(item and mine and agrees and item.facts.fingerprint == label.fingerprint),
        stands_on=standing(image, situation),
        known=known,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One instruction of an earlier run."""

    target: str
    name: str
    cached: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A prediction that the run did not bear out."""

    target: str
    verdict: str  # `needless` or `missed`
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """A plan's prediction beside what BuildKit did."""

    target: TargetName
    run: str
    revision: str
    action: str  # name of the action that was planned
    reasons: tuple[str, ...]  # kinds
    rows: tuple[StepRow, ...]
    wrong: tuple[Guess, ...]

    @property
    def first_run(self) -> int | None:
        """Index of the first own instruction that was not cached: where the cache was lost."""
        return next((i for i, row in enumerate(self.rows) if row.target == self.target and not row.cached), None)


_OWN_CHANGES = frozenset(kind.value for kind in (Kind.SPEC, Kind.TEMPLATE, Kind.CONTEXT, Kind.ARG))
"""What a target itself is made from. A parent, base or tool may come out as it was, and BuildKit knows no version of a secret."""
_KEPT = frozenset({"keep", "retag"})


def judge_steps(name: TargetName, runs: Iterator[tuple[str, Any]]) -> StepReport | None:
    """Compare plan and outcome of the last run that built a target; a summary that cannot be read counts as none."""
    for run, summary in runs:
        try:
            result = next(row for row in summary["results"] if row["target"] == name and "steps" in row)
            return _judge(name, run, summary, result)
        except (StopIteration, KeyError, TypeError, ValueError, AttributeError):
            continue
    return None


def judge_run(runs: Iterator[tuple[str, Any]]) -> tuple[StepReport, ...]:
    """Compare plan and outcome of everything that the last run with a build built; empty where there is none."""
    for run, summary in runs:
        try:
            rows = [row for row in summary["results"] if "steps" in row]
            if rows:
                return tuple(_judge(TargetName(row["target"]), run, summary, row) for row in rows)
        except (StopIteration, KeyError, TypeError, ValueError, AttributeError):
            continue
    return ()


def wrong_guesses(reports: Iterable[StepReport]) -> tuple[Guess, ...]:
    """Each wrong guess of several reports, once: a parent's may have shown in the builds of all of its children."""
    found = {(guess.target, guess.verdict): guess for report in reports for guess in reversed(report.wrong)}
    return tuple(found.values())


def _judge(name: TargetName, run: str, summary: Mapping[str, Any], result: Mapping[str, Any]) -> StepReport:
    rows = tuple(
        StepRow(target=str(row["target"]), name=str(row["name"]), cached=bool(row["cached"]), seconds=float(row["seconds"]))
        for row in result["steps"]
    )
    planned = {str(step["target"]): step for step in summary["plan"]["steps"]}
    step = planned[name]
    reasons = tuple(dict.fromkeys(str(reason["kind"]) for reason in step["reasons"]))
    return StepReport(
        target=name,
        run=run,
        revision=str(summary.get("revision") or "") + (UNCOMMITTED if summary.get("uncommitted") else ""),
        action=str(step["action"]),
        reasons=reasons,
        rows=rows,
        wrong=tuple(_wrong_guesses(name, reasons, rows, planned, as_before=result.get("as_before") is True)),
    )


def _wrong_guesses(
    name: TargetName,
    reasons: Sequence[str],
    rows: Sequence[StepRow],
    planned: Mapping[str, Mapping[str, Any]],
    *,
    as_before: bool,
) -> Iterator[Guess]:
    own = [row for row in rows if row.target == name]
    # BuildKit may have the steps from another build, by compose or some time ago; only what came out as before was no change.
    reasons = [kind for kind in reasons if kind != Kind.FAILED_BEFORE.value]
    if as_before and all(row.cached for row in own) and reasons and set(reasons) <= _OWN_CHANGES:
        message = (
            f"predicted to change ({', '.join(reasons)}), and BuildKit had all of its steps; the image is the same as before"
        )
        yield Guess(target=name, verdict="needless", message=message)
    for ancestor in dict.fromkeys(row.target for row in rows if row.target != name):
        ran = [row for row in rows if row.target == ancestor and not row.cached]
        # Where none of its steps was there, it may be BuildKit's cache that is gone.
        if (
            ran
            and any(row.cached for row in rows if row.target == ancestor)
            and str(planned.get(ancestor, {}).get("action", "keep")) in _KEPT
        ):
            message = f"predicted to be kept, and {len(ran)} of its steps ran for `{name}`: {ran[0].name}"
            yield Guess(target=ancestor, verdict="missed", message=message)
