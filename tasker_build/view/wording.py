"""The words for what a plan's reasons hold as data: every sentence about a reason is made here, and nobody reads one back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tasker_build.errors import shown
from tasker_build.plan.changes import (
    Absence,
    Age,
    FailedRun,
    Found,
    ImageChange,
    KeyChange,
    NoImage,
    ParentChange,
    Quoted,
    TagChange,
    TemplateChange,
    Unrecorded,
)
from tasker_build.plan.facts import Difference, Group
from tasker_build.plan.origin import Verdict
from tasker_build.plan.words import ReasonKind, short_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.errors import Span
    from tasker_build.plan.changes import Change
    from tasker_build.plan.facts import Hunk
    from tasker_build.plan.judge import Guess
    from tasker_build.plan.origin import Origin
    from tasker_build.plan.why import Cause, Unchanged
    from tasker_build.plan.words import Reason

_MOST_NAMED = 5
_NO_RECORD = "no record here: group only"
_WITHOUT_CHANGES = {
    ReasonKind.FORCED: "asked for on the command line",
    ReasonKind.NEW: "no image of this target is here",
    ReasonKind.NOT_OURS: "its label contradicts itself: fingerprint and facts do not belong together",
    ReasonKind.TEMPLATE: f"{_NO_RECORD} (Dockerfile instructions)",
    ReasonKind.PARENT: "parents",
}


def evidence(reason: Reason) -> str:
    """What a reason says differs, on one line."""
    if quoted := _quoted(reason):
        return quoted.evidence
    if not reason.changes:
        return "layout of the workspace" if reason.hunks else _WITHOUT_CHANGES.get(reason.kind, _NO_RECORD)
    if reason.kind is ReasonKind.CONTEXT:
        files = _signed(reason.changes)
        more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
        return f"{len(files)} file{'s' if len(files) != 1 else ''}: {', '.join(files[:_MOST_NAMED])}{more}"
    return ", ".join(_change(reason.kind, change) for change in reason.changes)


def details(reason: Reason) -> tuple[str, ...]:
    """What a reason has to show beside its evidence: all files, or the instructions of the Dockerfile."""
    if quoted := _quoted(reason):
        return quoted.details
    if reason.hunks:
        return tuple(map(shown, hunk_lines(reason.hunks)))
    return _signed(reason.changes) if reason.kind is ReasonKind.CONTEXT else ()


def place(reason: Reason) -> str:
    """Where the spec says what a reason speaks of: file:line:column, several after commas."""
    quoted = _quoted(reason)
    return quoted.place if quoted else _places(reason.spans)


def reason_data(reason: Reason) -> dict[str, Any]:
    """A reason in documents."""
    return {
        "kind": reason.kind.value,
        "evidence": evidence(reason),
        "details": list(details(reason)),
        "place": place(reason) or None,
    }


def cause_data(cause: Cause) -> dict[str, Any]:
    """A cause in documents."""
    return {
        "kind": cause.reason.kind.value,
        "evidence": cause_evidence(cause),
        "details": list(cause_details(cause)),
        "place": place(cause.reason) or None,
    }


def cause_evidence(cause: Cause) -> str:
    """What a cause says differs, on one line."""
    if not cause.is_listed:
        return evidence(cause.reason)
    named = _signed(cause.reason.changes)
    return ", ".join(named[:_MOST_NAMED]) + (" …" if len(named) > _MOST_NAMED else "")


def cause_details(cause: Cause) -> tuple[str, ...]:
    """Everything of a cause's kind that differs, with old and new values."""
    if cause.reason.hunks:
        return tuple(map(shown, hunk_lines(cause.reason.hunks, cause.dockerfile)))
    return tuple(map(_detail, cause.facts)) or details(cause.reason)


def hunk_lines(found: Sequence[Hunk], dockerfile: tuple[str, Sequence[int]] | None = None) -> Iterator[str]:
    """Hunks as lines: each has a line of its own that says where it is, then its instructions with their signs.

    Args:
        found: the hunks.
        dockerfile: the rendered Dockerfile and the line of each of its instructions; None: not known.
    """
    for hunk in found:
        if dockerfile and dockerfile[1]:
            yield f"{dockerfile[0]}:{dockerfile[1][min(hunk.at, len(dockerfile[1]) - 1)]}"
        else:
            yield f"@@ instruction {hunk.at + 1}"
        yield from signed_lines(hunk)


def signed_lines(hunk: Hunk) -> Iterator[str]:
    """One line or more for each instruction of a hunk, after its sign."""
    for sign, values in (("-", hunk.went), ("+", hunk.came)):
        for value in values:
            first, *rest = value.split("\n")
            yield f"{sign} {first}"
            yield from (f"{sign}   {line}" for line in rest)


_NOUNS = {
    Group.DOCKERFILE: "instruction",
    Group.CONTEXT: "file",
    Group.ARG: "argument",
    Group.PARENT: "parent",
    Group.SECRET: "secret",
}
_GROUPS = {Group.DOCKERFILE: "Dockerfile", Group.SCHEMA: "fingerprint schema", Group.ARG: "args", Group.PARENT: "parents"}


def unchanged_words(row: Unchanged) -> str:
    """A kind of facts that is as it was, with how much it covers."""
    if row.group is Group.BASE:
        return f"base same ({', '.join(row.labels)})"
    words, noun = f"{_GROUPS.get(row.group, row.group.value)} same", _NOUNS.get(row.group)
    return f"{words} ({len(row.labels)} {noun}{'s' if len(row.labels) != 1 else ''})" if noun else words


def guess_words(guess: Guess) -> str:
    """What was predicted of a target, and what BuildKit did."""
    if guess.verdict == "missed":
        return f"predicted to be kept, and {len(guess.ran)} of its steps ran for `{guess.child}`: {guess.ran[0]}"
    reasons = ", ".join(guess.reasons)
    return f"predicted to change ({reasons}), and BuildKit had all of its steps; the image is the same as before"


def verdict_words(found: Origin) -> str:
    """Whose an image is, and how that is known."""
    if found.verdict is Verdict.UNLABELLED and found.base:
        return f"{_VERDICTS[found.verdict]}; it is the base `{found.base}`"
    if found.verdict is Verdict.OTHER_PROJECT and found.image.label:
        return f"an image of another project, `{found.image.label.project}`; its unique tag agrees"
    return _VERDICTS[found.verdict]


_VERDICTS = {
    Verdict.UNLABELLED: "it carries no label of ours",
    Verdict.UNTAGGED: (
        "not ours: it carries our label without the unique tag that goes with it (made by hand, copied, or its tag was moved)"
    ),
    Verdict.REPLACED: "not ours: it has our unique tag, but the image built here under that tag was another",
    Verdict.OTHER_PROJECT: "an image of another project; its unique tag agrees",
    Verdict.GONE_TARGET: "ours, of a target that the spec no longer has",
    Verdict.OURS: "ours: its unique tag agrees with its label",
}


def _quoted(reason: Reason) -> Quoted | None:
    return next((change for change in reason.changes if isinstance(change, Quoted)), None)


def _places(spans: Sequence[Span]) -> str:
    return ", ".join(map(str, spans))


def _signed(changes: Sequence[Change]) -> tuple[str, ...]:
    return tuple(f"{change.sign} {shown(change.label)}" for change in changes if isinstance(change, Difference))


def _change(kind: ReasonKind, change: Change) -> str:  # noqa: PLR0911 - a line a kind of change
    match change:
        case Difference():
            return f"fingerprint schema {change.old} → {change.new}" if kind is ReasonKind.SCHEMA else _value(change)
        case TemplateChange():
            return " → ".join(change.chain)
        case KeyChange():
            return change.key
        case ParentChange():
            return change.parent
        case ImageChange():
            return _image(kind, change)
        case TagChange():
            return f"{change.reference} is {_found(change)}"
        case NoImage():
            return _ABSENT[change.why]
        case Age():
            when = "nobody knows when it was built" if change.seconds is None else f"built {_age(change.seconds)} ago"
            return f"{when}, refresh: {change.refresh}"
        case FailedRun():
            return f"its last build failed: {_run(change.run)}"
        case Unrecorded():
            return f"{change.old[:12]} → {change.new[:12]}, no record here of what changed"
        case Quoted():
            return change.evidence


_ABSENT = {
    Absence.NOT_ASKED: "offline: the engine was not asked",
    Absence.OTHER_ENGINE: "no image of this target on this engine; it was built on another one",
}


def _image(kind: ReasonKind, change: ImageChange) -> str:
    if change.new is None:
        return f"{change.name} was built here and is gone"
    old, new = short_id(change.old), short_id(change.new)
    if kind is ReasonKind.NOT_OURS:
        return f"{change.name} is {new}; what was built here is {old}"
    return f"{change.name}{' was built again:' if kind is ReasonKind.PARENT else ''} {old} → {new}"


def _found(change: TagChange) -> str:
    image = short_id(change.image_id)
    return {
        Found.NOTHING: "missing",
        Found.FOREIGN: f"{image}, which we did not build",
        Found.OTHER_TARGET: f"{image}, an image of `{change.target}`",
        Found.BY_HAND: f"{image}, made by hand from an image of ours (it carries our label, not our tag)",
        Found.OTHER_BUILD: f"our image of fingerprint {change.fingerprint[:12]}",
    }[change.found]


_HOUR, _DAY = 3600, 86400
_FULL_DAYS = 2


def _age(seconds: float) -> str:
    """An age as people say it, whole and rounded down."""
    days, hours = int(seconds // _DAY), int(seconds // _HOUR)
    return f"{days} days" if days >= _FULL_DAYS else f"{hours} hour{'s' if hours != 1 else ''}"


def _run(run: str) -> str:
    """A run and the time in its name."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)", run)
    return f"run {run}, {match[1]}-{match[2]}-{match[3]} {match[4]}:{match[5]} UTC" if match else f"run {run}"


_EMPTY = '""'


def _value(difference: Difference) -> str:
    if difference.old is None and difference.group is Group.BASE:
        return f"+ {difference.label}"
    if difference.old is None:
        return f"+ {difference.label}={shown(difference.new or '')}"
    if difference.new is None:
        return f"- {difference.label}"
    if difference.group is Group.BASE:
        return f"{difference.label} {_pinned(difference.old)} → {_pinned(difference.new)}"
    if difference.group is Group.SECRET:
        return f"{difference.label} {_secret(difference.old)} → {_secret(difference.new)}"
    return f"{difference.label} {shown(difference.old) or _EMPTY} → {shown(difference.new) or _EMPTY}"


def _secret(value: str) -> str:
    """What counts of a secret in words: never its value."""
    state, _, version = value.partition(" ")
    words = {"True": "required", "False": "required and not here"}.get(state, state)
    return f"{words}, version {version}" if version else words


def _pinned(value: str) -> str:
    """What a base stands for: the digest that the lock pins, or whatever its name finds."""
    return short_id(value) if value.startswith("sha256:") else "unpinned"


def _detail(row: Difference) -> str:
    label, old, new = shown(row.label), *(None if value is None else shown(_short(value)) for value in (row.old, row.new))
    if old is None:
        return f"+ {label}  {new}"
    return f"- {label}  {old}" if new is None else f"~ {label}  {old} → {new}"


_DIGEST = 64
"""Letters of a SHA-256 in hex."""


def _short(value: str) -> str:
    """A digest short, anything else as it is."""
    kind, colon, digest = value.rpartition(":")
    is_digest = len(digest) == _DIGEST and not set(digest) - set("0123456789abcdef")
    return f"{kind}{colon}{digest[:12]}" if is_digest else value
