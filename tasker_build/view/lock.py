"""How the pins of a project stand: lines for people, and one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasker_build.spec.lock import short
from tasker_build.view.document import document
from tasker_build.view.progress import seconds_text
from tasker_build.work.locking import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasker_build.plan.radius import Radius
    from tasker_build.work.locking import Locking, Row


def lock_lines(locking: Locking) -> Iterator[str]:
    """Each base and tool on a line, then what moving them rebuilds."""
    width = max((len(row.name) for row in locking.rows), default=0)
    for row in locking.rows:
        yield f"{row.name:<{width}}  {_row_text(row)}"
    if not locking.rows:
        yield "the spec has no bases to lock"
    if locking.radius:
        yield from _radius_lines(locking.radius)


_SAYS = {
    State.MISSING: "no pin yet: tasker-build lock",
    State.INCOMPLETE: "its platforms are not listed: tasker-build lock",
    State.LOCAL: "local image of this engine, no registry serves it: not pinned",
    State.LOCAL_MOVED: "local image of this engine, another one than recorded here",
    State.IN_SPEC: "pinned in the spec itself",
    State.UNKNOWN: "not known: the registry did not say",
}


def _row_text(row: Row) -> str:
    words = [row.reference]
    if row.old and row.new and row.old != row.new:
        words.append(f"{short(row.old)} → {short(row.new)}")
    elif row.state is State.MISSING and row.new:
        words.append(f"unpinned → {short(row.new)}")
    elif row.new:
        words.append(short(row.new))
    said = _SAYS.get(row.state, "" if row.state is State.MOVED else row.state.value)
    count = len(row.platforms)
    platforms = f"{count} platform{'s' if count != 1 else ''}" if count else ""
    said = platforms if row.state is State.MISSING and platforms else ", ".join(word for word in (said, platforms) if word)
    return "  ".join(word for word in (*words, said, row.note) if word)


def _radius_lines(radius: Radius) -> Iterator[str]:
    if not radius.count:
        yield "\nrebuilds nothing: no target stands on what moves"
        return
    plural = "s" if radius.total != 1 else ""
    parts = [f"{len(radius.direct)} directly"] if radius.direct else []
    parts += [f"{len(radius.through)} through parents"] if radius.through else []
    yield ""
    yield f"rebuilds {radius.count} of {radius.total} target{plural} ({', '.join(parts)})" + (
        f", about {seconds_text(radius.time.seconds)} of building" if radius.time.seconds else ""
    )
    width = max(len(name) for name in (*radius.direct, *radius.through))
    for name, bases in radius.direct.items():
        kind = "tool" if radius.tools.issuperset(bases) else "base"
        yield f"  ~ {name:<{width}}  {kind}      {', '.join(bases)}"
    for name, parents in radius.through.items():
        yield f"  ^ {name:<{width}}  parent    {', '.join(parents)}"
    if radius.time.critical:
        about = f", about {seconds_text(radius.time.critical_seconds)}" if radius.time.critical_seconds else ""
        yield f"critical path: {' → '.join(radius.time.critical)}{about}"
    if radius.time.unknown:
        yield f"no duration is recorded here for: {', '.join(radius.time.unknown)}"


def lock_data(locking: Locking, *, written: bool) -> dict[str, Any]:
    """The report as data: one document, fields are only ever added."""
    radius = locking.radius
    return document("lock") | {
        "lock": str(locking.file),
        "written": written,
        "bases": [
            {
                "name": row.name,
                "reference": row.reference,
                "state": row.state.name.lower(),
                "old": row.old or None,
                "new": row.new or None,
                "platforms": dict(row.platforms),
                "note": row.note or None,
            }
            for row in locking.rows
        ],
        "rebuilds": None
        if radius is None
        else {
            "total": radius.total,
            "direct": {name: list(bases) for name, bases in radius.direct.items()},
            "through_parents": {name: list(parents) for name, parents in radius.through.items()},
            "seconds": round(radius.time.seconds, 3),
            "without_duration": list(radius.time.unknown),
            "critical_path": list(radius.time.critical),
            "critical_seconds": round(radius.time.critical_seconds, 3),
        },
        "failures": [{"trouble": failure.trouble.value, "message": failure.message} for failure in locking.failures],
    }
