"""Explanations as text and as JSON."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tasker_build.errors import shown
from tasker_build.plan.judge import wrong_guesses
from tasker_build.plan.words import UNCOMMITTED, Action, ReasonKind, short_id
from tasker_build.view import wording
from tasker_build.view.document import document, revision_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.engine.api import Image
    from tasker_build.plan.history import BuildRecord
    from tasker_build.plan.judge import Guess, StepReport
    from tasker_build.plan.origin import Base, Origin
    from tasker_build.plan.situation import BuiltOn
    from tasker_build.plan.why import Explanation, Link

_WOULD = {
    Action.KEEP: "is kept",
    Action.CREATE: "would be created",
    Action.REBUILD: "would be rebuilt",
    Action.CASCADE: "would be rebuilt because of a parent",
    Action.RETAG: "keeps its image and gets its tags back",
}
_MOST_DETAILS = 40


def explanation_text(explanation: Explanation) -> str:
    """Why a target would be built or is kept: the chain to its roots, and what is not the cause."""
    step = explanation.step
    image = explanation.against
    lines = [f"{step.action.value} {step.target} {_WOULD[step.action]}"]
    if step.action is Action.KEEP and image is not None:
        lines[0] += f" since {_when(image, explanation.record)}: nothing it depends on changed"
    for link in explanation.links:
        lines += _link_lines(link)
    if explanation.same:
        same = ", ".join(map(wording.unchanged_words, explanation.same))
        lines.append(f"{'unchanged' if step.action is Action.KEEP else 'not the cause'}: {same}")
    if image is None:
        lines.append("nothing to compare with: no image of this target is here")
    else:
        record = explanation.record
        what = "image" if step.action in {Action.KEEP, Action.RETAG} else "compared with"
        fingerprint = image.label.fingerprint[:12] if image.label else ""
        lines.append(f"{what} {short_id(image.id)}, fingerprint {fingerprint}, of {_when(image, record)}{_record_words(record)}")
        lines += _built_on_lines(explanation.stands_on)
    return "\n".join(map(shown, lines))


def _link_lines(link: Link) -> Iterator[str]:
    indent = "  " * link.depth
    if link.depth:
        what = f"{link.action.value} {_WOULD[link.action]}" if link.action.builds else "was built meanwhile"
        yield f"{indent}<- {link.target}  {'(see above)' if link.above else what}"
    for cause in link.causes:
        place = wording.place(cause.reason)
        where = f"  ({place})" if place else ""
        word = "ALSO" if cause.reason.kind is ReasonKind.FAILED_BEFORE else "ROOT"
        yield f"{indent}   {word}: {cause.reason.kind.value}  {wording.cause_evidence(cause)}{where}"
        details = wording.cause_details(cause)
        yield from (f"{indent}      {line}" for line in details[:_MOST_DETAILS])
        if len(details) > _MOST_DETAILS:
            yield f"{indent}      … {len(details) - _MOST_DETAILS} more (--format json has all)"


def _built_on_lines(rows: Sequence[BuiltOn]) -> Iterator[str]:
    for row in rows:
        names = f" ({', '.join(row.references)})" if row.references else " (not here under any name)"
        now = f"; that name is {short_id(row.now)} now" if row.now else ""
        yield f"  built on {row.name} {short_id(row.image_id)}{names}{now}"


def _record_words(record: BuildRecord | None) -> str:
    if record is None:
        return "; no record of its build here"
    run = f", run {record.run}" if record.run else ""
    return run + _revision_words(record.revision)


def _revision_words(revision: str) -> str:
    commit, rest = revision.removesuffix(UNCOMMITTED), UNCOMMITTED if revision.endswith(UNCOMMITTED) else ""
    return f", Git revision {commit[:12]}{rest}" if commit else ""


def _when(image: Image, record: BuildRecord | None) -> str:
    """When an image was made. BuildKit gives one that came from its cache the time of that; a record knows better."""
    moment = datetime.fromtimestamp(image.created, UTC) if image.created else None
    with suppress(ValueError):
        moment = datetime.strptime((record.run if record else "").partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "an unknown time"


def explanation_data(explanation: Explanation) -> dict[str, Any]:
    """The same as data: one document, fields are only ever added."""
    step = explanation.step
    return document("why") | {
        "kind": "target",
        "target": step.target,
        "action": step.action.name.lower(),
        "fingerprint": step.fingerprint,
        "chain": [
            {
                "target": link.target,
                "depth": link.depth,
                "action": link.action.name.lower(),
                "above": link.above,
                "causes": list(map(wording.cause_data, link.causes)),
            }
            for link in explanation.links
        ],
        "not_the_cause": list(map(wording.unchanged_words, explanation.same)),
        "compared_with": _image_data(explanation.against, explanation.record) if explanation.against else None,
        "built_on": [_built_on_data(row) for row in explanation.stands_on],
    }


def explanations_data(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """Several of them as one document."""
    return document("why") | {"kind": "targets", "targets": [explanation_data(row) for row in explanations]}


def _image_data(image: Image, record: BuildRecord | None) -> dict[str, Any]:
    label = image.label
    return {
        "id": image.id,
        "references": list(image.references),
        "digests": list(image.digests),
        "created": image.created or None,
        "project": label.project if label else None,
        "target": label.target if label else None,
        "platform": label.platform if label else None,
        "fingerprint": label.fingerprint if label else None,
        "run": (record.run or None) if record else None,
        **revision_data(record.revision if record else ""),
    }


def _built_on_data(row: BuiltOn) -> dict[str, Any]:
    return {"name": row.name, "id": row.image_id, "references": list(row.references), "now": row.now}


def path_text(path: Sequence[str], one: str, other: str, roles: Mapping[tuple[str, str], tuple[str, str]]) -> str:
    """How one target hangs on another, or on a base.

    Args:
        path: the targets, what is built first, or the base, at the end; empty when neither needs the other.
        one: the first target or base asked about.
        other: the second one.
        roles: (target, parent) → role and place in the spec.
    """
    if one == other:
        return f"both are {one}: it is the same target, or base"
    if not path:
        return f"{one} and {other} do not depend on each other"
    lines = [path[0] if path[0] == one else f"{path[0]}  (it is {other} that needs {one})"]
    for i, (child, parent) in enumerate(pairwise(path)):
        role, place = roles[child, parent]
        lines.append(f"{'  ' * i}  <- {parent}  its `{role}` ({place})")
    return "\n".join(map(shown, lines))


def path_data(path: Sequence[str], one: str, other: str, roles: Mapping[tuple[str, str], tuple[str, str]]) -> dict[str, Any]:
    """The same as data."""
    edges = [
        {"target": child, "parent": parent, "role": roles[child, parent][0], "place": roles[child, parent][1]}
        for child, parent in pairwise(path)
    ]
    return document("why") | {"kind": "path", "from": one, "to": other, "path": list(path), "edges": edges}


def base_text(base: Base) -> str:
    """What stands on an image from outside, and what pins it."""
    pin = f"pinned to {base.digest} by {'stacks.lock' if base.is_locked else 'the spec'}"
    lines = [
        f"base {base.name}  {base.reference}  ({base.place})",
        f"  {pin if base.digest else 'not pinned: `tasker-build lock` pins it'}",
    ]
    lines += [f"  <- {target}  its `{role}` ({place})" for target, role, place in base.direct]
    if not base.direct:
        lines.append("  no target stands on it")
    if base.through:
        lines.append(f"  through these: {', '.join(base.through)}")
    return "\n".join(map(shown, lines))


def base_data(base: Base) -> dict[str, Any]:
    """The same as data."""
    return document("why") | {
        "kind": "base",
        "base": base.name,
        "reference": base.reference,
        "place": base.place,
        "digest": base.digest or None,
        "pinned_by": ("lock" if base.is_locked else "spec") if base.digest else None,
        "targets": [{"target": target, "role": role, "place": place} for target, role, place in base.direct],
        "through": list(base.through),
    }


def origin_text(found: Origin, spec_files: Sequence[str]) -> str:
    """Which target an image is of, and what made it."""
    image, label = found.image, found.image.label
    lines = [f"image {image.id}", f"  names        {', '.join(image.references) or 'none'}"]
    lines += [f"  digests      {', '.join(image.digests)}"] if image.digests else []
    lines.append(f"  {wording.verdict_words(found)}")
    if label is None:
        return "\n".join(map(shown, lines))
    current = "what the spec asks for now" if found.current else "not what the spec asks for now"
    lines += [
        f"  target       {label.target}  (project {label.project}, {', '.join(spec_files)})",
        f"  fingerprint  {label.fingerprint[:12]}, {current}",
        f"  platform     {label.platform}",
        f"  made         {_when(image, found.record)}{_record_words(found.record)}",
        *_built_on_lines(found.stands_on),
    ]
    return "\n".join(map(shown, lines))


def origin_data(found: Origin, spec_files: Sequence[str]) -> dict[str, Any]:
    """The same as data."""
    return document("why") | {
        "kind": "image",
        "image": _image_data(found.image, found.record),
        "ours": found.ours,
        "verdict": wording.verdict_words(found),
        "current": found.current,
        "spec": list(spec_files),
        "built_on": [_built_on_data(row) for row in found.stands_on],
    }


def steps_text(report: StepReport) -> str:
    """What was predicted, what BuildKit did, and every wrong guess."""
    reasons = f" ({', '.join(report.reasons)})" if report.reasons else ""
    lines = [f"{report.target} in run {report.run}{_revision_words(report.revision)}: predicted {report.action}{reasons}"]
    width = max((len(row.target) for row in report.rows), default=0)
    for i, row in enumerate(report.rows):
        did = "cached" if row.cached else f"ran {row.seconds:.1f}s"
        mark = "  <- first step that ran" if i == report.first_run else ""
        lines.append(f"  {did:>10}  {row.target:<{width}}  {row.name}{mark}")
    own = [row for row in report.rows if row.target == report.target]
    lines.append(f"{sum(not row.cached for row in own)} of its {len(own)} steps ran")
    lines += _guess_lines(report.wrong, report.run)
    return "\n".join(map(shown, lines))


def _guess_lines(wrong: Sequence[Guess], run: str) -> Iterator[str]:
    if not wrong:
        yield "no wrong guess"
        return
    yield from (f"wrong guess: {guess.verdict}: {guess.target} was {wording.guess_words(guess)}" for guess in wrong)
    yield (
        "this is a defect of tasker-build (unless BuildKit's cache was pruned in between): please report it, where you have "
        f"tasker-build from, with .tasker-build/runs/{run}/summary.json and what `tasker-build why --steps` says"
    )


def run_text(reports: Sequence[StepReport]) -> str:
    """How a whole run went against its plan; one that built nothing is none."""
    if not reports:
        return "no run recorded here built anything"
    first, width = reports[0], max(len(report.target) for report in reports)
    lines = [f"run {first.run}{_revision_words(first.revision)}"]
    for report in reports:
        own = [row for row in report.rows if row.target == report.target]
        ran = f"{sum(not row.cached for row in own)} of {len(own)} steps ran"
        reasons = f" ({', '.join(report.reasons)})" if report.reasons else ""
        lines.append(f"  {report.target:<{width}}  {ran}, predicted {report.action}{reasons}")
    lines += _guess_lines(wrong_guesses(reports), first.run)
    return "\n".join(map(shown, lines))


def run_data(reports: Sequence[StepReport]) -> dict[str, Any]:
    """The same as data."""
    return document("why") | {
        "kind": "run",
        "run": reports[0].run if reports else None,
        **revision_data(reports[0].revision if reports else ""),
        "targets": [steps_data(report) for report in reports],
        "wrong_guesses": _guesses_data(wrong_guesses(reports)),
    }


def _guesses_data(wrong: Sequence[Guess]) -> list[dict[str, str]]:
    return [{"target": guess.target, "verdict": guess.verdict, "message": wording.guess_words(guess)} for guess in wrong]


def steps_data(report: StepReport) -> dict[str, Any]:
    """The same as data."""
    return document("why") | {
        "kind": "steps",
        "target": report.target,
        "run": report.run,
        **revision_data(report.revision),
        "predicted": {"action": report.action, "reasons": list(report.reasons)},
        "steps": [{"target": row.target, "name": row.name, "cached": row.cached, "seconds": row.seconds} for row in report.rows],
        "first_run": report.first_run,
        "wrong_guesses": _guesses_data(report.wrong),
    }


def no_steps_data(target: str) -> dict[str, Any]:
    """The same for a target that no run recorded here built."""
    return document("why") | {
        "kind": "steps",
        "target": target,
        "run": None,
        **revision_data(""),
        "predicted": None,
        "steps": [],
        "first_run": None,
        "wrong_guesses": [],
    }
