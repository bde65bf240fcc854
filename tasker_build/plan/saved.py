"""A plan as a file: written as plain JSON, read back, and compared with the world it is to be applied to. Pure.

Beside its steps a saved plan holds everything it rests on, in eight kinds. Applying it computes all of that again: when anything
moved, nothing is done and what moved is listed. The checksum is against accidents and edits by hand, not against an attacker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tasker_build import __version__
from tasker_build.errors import RefusedError, shown
from tasker_build.plan.changes import Quoted
from tasker_build.plan.facts import SCHEMA, Group
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tasker_build.plan.planner import Observed
    from tasker_build.plan.wanted import Wanted

FORMAT = "tasker-build plan"
VERSION = 1
_NO_PLAN = ("`tasker-build plan --out FILE.json` saves one",)


class Premise(StrEnum):
    """Kinds of things that a plan rests on, in the order in which they are listed."""

    SPEC = "spec"
    TEMPLATE = "template"
    CONTEXT = "context"
    ENV = "env"
    BASE = "base"
    STATE = "state"
    ENGINE = "engine"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What the command line asked for when the plan was made."""

    selection: tuple[str, ...] = ()
    rebuild: tuple[str, ...] = ()
    version: str = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan with everything it rests on; equal worlds give equal files."""

    project: str
    asked: PlanRequest
    plan: Plan
    rests_on: Mapping[str, Mapping[str, str]]  # kind → thing → its value then
    tool: str = __version__
    intact: bool = field(default=True, compare=False)  # False: the checksum does not fit what is written


def rests_on(
    plan: Plan,
    wanted: Mapping[TargetName, Wanted],
    observed: Observed,
    *,
    spec_files: Mapping[str, str],
    secrets: Mapping[str, bool],
    endpoint: str,
    engine_id: str,
) -> Mapping[str, Mapping[str, str]]:
    """Collect what a plan rests on: only what can change one of its steps, so that other people's edits do not void it.

    Args:
        plan: the plan.
        wanted: every target.
        observed: the engine's images.
        spec_files: file or setting of the spec → digest or value.
        secrets: secret id → whether this site has it.
        endpoint: where the engine is.
        engine_id: its own id.
    """
    items = [wanted[name] for name in _with_ancestors(plan, wanted)]
    names = observed.names()
    context: dict[str, set[str]] = {}
    env: dict[str, str] = {}
    base: dict[str, str] = {}
    for item in items:
        for fact in item.facts.facts:
            if fact.group is Group.CONTEXT:
                context.setdefault(fact.label, set()).add(fact.value)
            elif fact.group is Group.ARG:
                env[f"arg {item.name} {fact.label}"] = fact.value
            elif fact.group is Group.BASE:
                base[fact.label] = fact.value
            elif fact.group is Group.SECRET:
                env[f"secret {fact.label}"] = "there" if secrets.get(fact.label) else "not there"
        env[f"platform {item.name}"] = item.platform
    repositories = {item.image for item in items}
    base |= {f"{reference} here": names.get(reference, "not here") for item in items for reference in item.bases}
    found: dict[Premise, dict[str, str]] = {
        Premise.SPEC: dict(spec_files),
        Premise.TEMPLATE: {name: digest for item in items for name, digest in item.templates.items()},
        Premise.CONTEXT: {path: " ".join(sorted(values)) for path, values in context.items()},
        Premise.ENV: env,
        Premise.BASE: base,
        Premise.STATE: {reference: image for reference, image in names.items() if reference.rpartition(":")[0] in repositories},
        Premise.ENGINE: {"endpoint": endpoint, "id": engine_id},
        Premise.TOOL: {"version": __version__, "fingerprint schema": str(SCHEMA)},
    }
    return {kind.value: dict(sorted(found[kind].items())) for kind in Premise}


def _with_ancestors(plan: Plan, wanted: Mapping[TargetName, Wanted]) -> list[TargetName]:
    chosen = {step.target for step in plan.steps if step.target in wanted}
    todo = list(chosen)
    while todo:
        for parent in wanted[todo.pop()].parents:
            if parent not in chosen:
                chosen.add(parent)
                todo.append(parent)
    return [name for name in wanted if name in chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One thing that is not as it was when the plan was made; None where there was or is none."""

    kind: Premise
    thing: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        thing = shown(self.thing)
        if self.old is None:
            return f"{self.kind.value:<8}  + {thing}  {_short(self.new or '')}"
        if self.new is None:
            return f"{self.kind.value:<8}  - {thing}  was {_short(self.old)}"
        return f"{self.kind.value:<8}  ~ {thing}  {_short(self.old)} → {_short(self.new)}"


_DIGEST = 64


def _short(value: str) -> str:
    """Digests short, in the forms `hex`, `sha256:hex` and `file:hex`."""
    words = []
    for word in value.split(" "):
        kind, colon, digest = word.rpartition(":")
        is_digest = len(digest) == _DIGEST and not set(digest) - set("0123456789abcdef")
        words.append(f"{kind}{colon}{digest[:12]}" if is_digest else word)
    return shown(" ".join(words)) if value else '""'


def moved(saved: SavedPlan, now: SavedPlan) -> tuple[Moved, ...]:
    """Everything that is not as it was when `saved` was made, by kind; empty when it may be applied."""
    return tuple(_moved(saved, now))


def _moved(saved: SavedPlan, now: SavedPlan) -> Iterator[Moved]:
    if saved.project != now.project:
        yield Moved(kind=Premise.SPEC, thing="project", old=saved.project, new=now.project)
        return
    found = False
    for kind in Premise:
        old, new = saved.rests_on.get(kind.value, {}), now.rests_on.get(kind.value, {})
        for thing in sorted(old.keys() | new.keys()):
            if old.get(thing) != new.get(thing):
                found = True
                yield Moved(kind=kind, thing=thing, old=old.get(thing), new=new.get(thing))
    if found:
        return
    # What is listed above should be all a plan can rest on; should it not be, the steps themselves still have to agree.
    before, after = (
        {
            step.target: f"{step.action.name.lower()} {step.fingerprint[:12]}"
            for step in plan.steps
            if step.action is not Action.FORGET
        }
        for plan in (saved.plan, now.plan)
    )
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Moved(kind=Premise.STATE, thing=f"step of {name}", old=before.get(name), new=after.get(name))


def dump(saved: SavedPlan, step_data: Callable[[Step], dict[str, Any]]) -> str:
    """Write a plan; equal plans give equal text.

    Args:
        saved: the plan.
        step_data: writes a step as data, its reasons in words.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "tool": saved.tool,
        "project": saved.project,
        "selection": list(saved.asked.selection),
        "rebuild": list(saved.asked.rebuild),
        "tag_version": saved.asked.version,
        "changed": saved.plan.changed,
        "steps": [step_data(step) for step in saved.plan.steps],
        "rests_on": {kind: dict(things) for kind, things in saved.rests_on.items()},
    }
    return json.dumps(document | {"checksum": _checksum(document)}, indent=1, ensure_ascii=True) + "\n"


def looks_saved(data: bytes) -> bool:
    """Whether a file is a plan of ours, a damaged one included: only such a file is ever written over."""
    return data.replace(b" ", b"").replace(b"\n", b"").startswith(b'{"format":"tasker-buildplan"')


def _checksum(document: Mapping[str, Any]) -> str:
    content = {name: value for name, value in document.items() if name != "checksum"}
    return "sha256:" + sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse(data: bytes, file: str) -> SavedPlan:
    """Read a plan; one that was edited is read, too, and says so with `intact`.

    Raises:
        RefusedError: the file is damaged, is not a saved plan, or is of a newer form.
    """
    again = (f"make it again: tasker-build plan --out {file}",) if looks_saved(data) else _NO_PLAN
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = "is damaged: it is no JSON document" if looks_saved(data) else "is not a saved plan: it is no JSON document"
        raise RefusedError(f"{file} {what}", hints=again) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RefusedError(f"{file} is not a saved plan", hints=_NO_PLAN)
    if document.get("version") != VERSION:
        raise RefusedError(
            f"{file} has version {document.get('version')} of the plan's form, this tool reads {VERSION}", hints=again
        )
    try:
        return _saved(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"{file} is damaged: {_said(error)}", hints=again) from error


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _saved(document: Mapping[str, Any]) -> SavedPlan:
    given = document["rests_on"]
    asked = PlanRequest(
        selection=_texts(document["selection"]), rebuild=_texts(document["rebuild"]), version=_text(document["tag_version"])
    )
    return SavedPlan(
        project=_text(document["project"]),
        asked=asked,
        plan=Plan(steps=tuple(_step(row) for row in document["steps"])),
        rests_on={kind.value: {str(thing): _text(value) for thing, value in given[kind.value].items()} for kind in Premise},
        tool=_text(document["tool"]),
        intact=document.get("checksum") == _checksum(document),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{json.dumps(value)[:40]} is no text")
    return value


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)


def _action(name: str) -> Action:
    if name not in {action.name.lower() for action in Action}:
        raise ValueError(f"unknown action `{name}`")
    return Action[name.upper()]


def _reason(name: str) -> ReasonKind:
    if name not in set(ReasonKind):
        raise ValueError(f"unknown reason `{name}`")
    return ReasonKind(name)


def _step(row: Mapping[str, Any]) -> Step:
    return Step(
        target=TargetName(_text(row["target"])),
        action=_action(_text(row["action"])),
        reasons=tuple(
            Reason(
                kind=_reason(_text(reason["kind"])),
                changes=(
                    Quoted(
                        evidence=_text(reason["evidence"]),
                        details=_texts(reason["details"]),
                        place=_text(reason.get("place") or ""),
                    ),
                ),
            )
            for reason in row["reasons"]
        ),
        fingerprint=_text(row["fingerprint"] or ""),
        image=_text(row["image"] or ""),
        tags=_texts(row["tags"]),
        image_id=None if row["image_id"] is None else _text(row["image_id"]),
        needed_by_selection=bool(row["needed_by_selection"]),
    )
