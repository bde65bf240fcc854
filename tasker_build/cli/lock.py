"""`tasker-build lock`: pin the bases by digest, move the pins, or say whether they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from tasker_build.checksums import checksums
from tasker_build.cli.answer import format_option, say_document
from tasker_build.engine.docker import DockerEngine
from tasker_build.errors import EngineError, Exit, Problem, SelectionError, nearest
from tasker_build.lock import (
    Lock,
    Pin,
    Row,
    State,
    ToolPin,
    blast_radius,
    layers_digest,
    lock_text,
    lockable,
    pinned,
    short,
    state_of,
    with_pins,
)
from tasker_build.records.durations import durations
from tasker_build.registry import Registries, RegistryError, Trouble
from tasker_build.spec.read import lock_beside
from tasker_build.view.document import document
from tasker_build.view.progress import seconds_text
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.cli import Settings
    from tasker_build.lock import Radius
    from tasker_build.project import Project
    from tasker_build.records.records import Records
    from tasker_build.spec.model import Spec


@click.command("lock")
@click.argument("bases", nargs=-1, metavar="[NAME]...")
@click.option(
    "--upgrade", is_flag=True, help="Move pins to what the registry has now: all, or those of the named bases and tools."
)
@click.option("--check", is_flag=True, help="Write nothing; exit 2 when pins are missing or have moved.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would change and what that rebuilds.")
@click.option("--offline", is_flag=True, help="With --check: ask no registry, only look for missing pins.")
@format_option("text", "json")
@click.pass_obj
def command(
    settings: Settings,
    bases: tuple[str, ...],
    upgrade: bool,  # noqa: FBT001
    check: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    offline: bool,  # noqa: FBT001
    form: str,
) -> int:
    if upgrade and check:
        raise click.UsageError("--upgrade moves pins and --check only looks: give one of them (or --upgrade --dry-run)")
    if offline and not check:
        raise click.UsageError("--offline goes with --check: pins come from a registry")
    project = settings.project()
    spec = project.written
    locker = _Locker(project.lock, _LocalBases.read(project.records), offline=offline)
    known = lockable(spec)
    names = _chosen({**known, **spec.all_tools}, bases)
    look = locker.check if check else locker.upgrade if upgrade else locker.add
    rows = [look(name, reference) for name, reference in names.items() if name in known] + list(_in_spec(spec, bases))
    rows = [replace(row, note=row.note or _lacking(spec, row)) for row in rows]
    upgrades = _upgrades(rows) if check else {}
    rows += [locker.tool(name, names[name], upgrade=upgrade, check=check) for name in spec.all_tools if name in names]
    new = with_pins(project.lock, locker.pins, {} if check else locker.tools)
    radius = _radius(project, spec, new, upgrades=upgrades, tools=locker.tools)
    if form == "text":
        _show(rows, radius)  # before anything is written: whoever sees more than was meant can still stop
    written = not check and not dry_run and _write(project, new, locker.local)
    file = lock_beside(project.files[0])
    if form == "json":
        say_document(_data(str(file), rows, radius, written=written, failures=locker.failures))
    for failure in locker.failures:
        click.echo(failure.draw(), err=True)
    if written:
        click.echo(f"wrote {file}; next: tasker-build render && tasker-build apply", err=True)
    if check and any(row.state.differs for row in rows):
        return Exit.DIFFERENCES
    return Exit.FAILED if locker.failures else Exit.OK


def _chosen(known: Mapping[str, str], names: Sequence[str]) -> Mapping[str, str]:
    problems = [
        Problem(
            code="L001",
            message=f"no base and no tool `{name}` to lock",
            hints=nearest(name, known) or (f"known: {', '.join(known)}",),
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise SelectionError(problems)
    return {name: reference for name, reference in known.items() if not names or name in names}


def _in_spec(spec: Spec, names: Sequence[str]) -> Iterator[Row]:
    for name, reference in sorted(spec.bases.items()):
        if "@" in reference and not names:
            bare, _, digest = reference.partition("@")
            yield Row(name=name, reference=bare, state=State.IN_SPEC, new=digest)


@dataclass(slots=True)
class _LocalBases:
    """Bases that no registry serves, as this machine's engine has them: beside the records, never in the lock."""

    records: Records
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)  # base → (reference, digest of its layers)
    changed: bool = False

    @classmethod
    def read(cls, records: Records) -> _LocalBases:
        """Read what is known; what cannot be read is as if it were not there."""
        try:
            rows: Any = json.loads((records.folder / "local-bases.json").read_text())["bases"]
            return cls(records, {str(name): (str(row["reference"]), str(row["layers"])) for name, row in rows.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(records)

    def write(self) -> None:
        """Write it, if there is anything new."""
        if self.changed:
            rows = {name: {"reference": reference, "layers": layers} for name, (reference, layers) in self.layers.items()}
            self.records.make()
            text = json.dumps({"version": 1, "bases": rows}, sort_keys=True, indent=1) + "\n"
            write_file(self.records.folder / "local-bases.json", text.encode(), 0o600)

    def known(self, name: str, reference: str) -> str:
        """The layers recorded for a base, "" when there are none."""
        was, layers = self.layers.get(name, ("", ""))
        return layers if was == reference else ""

    def note(self, name: str, reference: str, layers: str) -> None:
        """Record a base."""
        if self.layers.get(name) != (reference, layers):
            self.layers[name] = (reference, layers)
            self.changed = True

    def forget(self, name: str) -> None:
        """A registry serves the base now."""
        self.changed = self.layers.pop(name, None) is not None or self.changed


class _Locker:
    """Looks at one base after the other; gathers pins, local bases and failures."""

    def __init__(self, lock: Lock, local: _LocalBases, *, offline: bool) -> None:
        self.lock, self.local, self.offline = lock, local, offline
        self.registries = Registries()
        self.pins: dict[str, Pin] = {}
        self.tools: dict[str, ToolPin] = {}
        self.failures: list[RegistryError] = []

    def tool(self, name: str, reference: str, *, upgrade: bool, check: bool) -> Row:
        """Pin a tool by its checksums, or say how it stands; one that is pinned is asked about again where that is meant."""
        pin = self.lock.tool(name, reference)
        old = pin.digest if pin else ""
        if self.offline or (pin is not None and not upgrade and not check):
            state = State.PINNED if pin else State.MISSING
            return Row(name=name, reference=reference, state=state, old=old, new=old, platforms=_platforms(pin))
        try:
            now = ToolPin(tool=reference, digests=checksums(reference))
        except RegistryError as error:
            if error.trouble is Trouble.NOBODY:
                # Who has no cargo still locks and checks the rest.
                state = State.PINNED if pin else State.MISSING
                return Row(name=name, reference=reference, state=state, old=old, new=old, note=f"not asked: {error.message}")
            self.failures.append(error)
            return Row(name=name, reference=reference, state=State.UNKNOWN, old=old, new=old)
        if now != pin and not (check and pin is None):
            self.tools[name] = now
        state = State.MISSING if pin is None else State.PINNED if now == pin else State.MOVED
        return Row(name=name, reference=reference, state=state, old=old, new=now.digest, platforms=_platforms(now))

    def add(self, name: str, reference: str) -> Row:
        """Pin a base that has no pin, and complete one that a bot moved."""
        pin = self.lock.pin(name, reference)
        if pin is not None and pin.complete:
            return _row(name, pin, State.PINNED)
        return self._pin(name, reference, digest=pin.digest if pin else "")

    def upgrade(self, name: str, reference: str) -> Row:
        """Pin a base to what its reference stands for now."""
        return self._pin(name, reference)

    def check(self, name: str, reference: str) -> Row:
        """Say how a base stands, changing nothing."""
        pin, state = self.lock.pin(name, reference), state_of(self.lock, name, reference)
        if self.offline:
            known = self.local.known(name, reference)
            if pin is None and known:
                return Row(name=name, reference=reference, state=State.LOCAL, old=known, new=known)
            return _row(name, pin, state) if pin else Row(name=name, reference=reference, state=state)
        try:
            now = self.registries.digest(name, reference)
        except RegistryError as error:
            return self._unserved(name, reference, error, pin)
        if pin is None:
            return Row(name=name, reference=reference, state=state, new=now)
        return replace(_row(name, pin, State.MOVED if now != pin.digest else state), new=now)

    def _pin(self, name: str, reference: str, digest: str = "") -> Row:
        old = self.lock.pin(name, reference)
        try:
            served = self.registries.served(name, reference, digest)
        except RegistryError as error:
            return self._unserved(name, reference, error, old)
        pin = Pin(image=f"{reference}@{served.digest}", index=served.digest, platforms=served.platforms)
        if pin != old:
            self.pins[name] = pin
        self.local.forget(name)
        state = State.PINNED if old and old.digest == pin.digest else State.MOVED if old else State.MISSING
        return replace(_row(name, pin, state), old=old.digest if old else "")

    def _unserved(self, name: str, reference: str, error: RegistryError, pin: Pin | None) -> Row:
        """No registry says anything: a local image is one of the four places a base may come from."""
        layers = _local_layers(reference, error) if pin is None else ""
        if not layers:
            self.failures.append(error)
            return (
                replace(_row(name, pin, State.UNKNOWN), note="")
                if pin
                else Row(name=name, reference=reference, state=State.UNKNOWN)
            )
        known = self.local.known(name, reference)
        self.local.note(name, reference, layers)
        state = State.LOCAL_MOVED if known and known != layers else State.LOCAL
        return Row(name=name, reference=reference, state=state, old=known, new=layers)


def _platforms(pin: ToolPin | None) -> Mapping[str, str]:
    return {platform: digest for platform, digest in pin.digests.items() if platform != "any"} if pin else {}


def _row(name: str, pin: Pin, state: State) -> Row:
    return Row(name=name, reference=pin.reference, state=state, old=pin.digest, new=pin.digest, platforms=pin.platforms)


def _local_layers(reference: str, error: RegistryError) -> str:
    """The layers of the engine's own image of that name; "" where there is none, or where it came from a registry."""
    try:
        details = DockerEngine.connect().details(reference)
    except EngineError:
        return ""
    if details is None or (details.get("RepoDigests") and error.trouble is not Trouble.MISSING):
        # It was pulled once: a registry that is away or wants a login does not make it a local image.
        return ""
    return layers_digest([str(layer) for layer in (details.get("RootFS") or {}).get("Layers") or ()])


def _lacking(spec: Spec, row: Row) -> str:
    """What of the targets' platforms a base does not have."""
    if not row.platforms:
        return ""
    wanted = {
        platform.removesuffix("/v8") if platform.startswith("linux/arm64") else platform
        for target in spec.targets.values()
        if row.name in target.from_.values()
        for platform in target.platforms
    }
    lacking = sorted(wanted - row.platforms.keys())
    return f"it has no {', '.join(lacking)}, which a target is built for" if lacking else ""


def _upgrades(rows: Sequence[Row]) -> dict[str, Pin]:
    """What an upgrade would write, as far as a check can say."""
    return {row.name: Pin(image=f"{row.reference}@{row.new}") for row in rows if row.state is State.MOVED}


def _radius(
    project: Project, spec: Spec, new: Lock, *, upgrades: Mapping[str, Pin], tools: Mapping[str, ToolPin]
) -> Radius | None:
    """What the new lock rebuilds; None when it moves nothing."""
    after = with_pins(new, upgrades, tools)
    if pinned(spec, after) == project.spec:
        return None
    return blast_radius(project.wanted, project.with_lock(lock_text(after)).wanted, durations(project.records))


def _write(project: Project, new: Lock, local: _LocalBases) -> bool:
    """Write what changed; says whether the lock did."""
    local.write()
    if new == project.lock:
        return False
    write_file(lock_beside(project.files[0]), lock_text(new).encode(), 0o644)
    return True


def _show(rows: Sequence[Row], radius: Radius | None) -> None:
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row.name:<{width}}  {_row_text(row)}")
    if not rows:
        click.echo("the spec has no bases to lock")
    for line in _radius_lines(radius) if radius else ():
        click.echo(line)


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
        f", about {seconds_text(radius.seconds)} of building" if radius.seconds else ""
    )
    width = max(len(name) for name in (*radius.direct, *radius.through))
    for name, bases in radius.direct.items():
        kind = "tool" if radius.tools.issuperset(bases) else "base"
        yield f"  ~ {name:<{width}}  {kind}      {', '.join(bases)}"
    for name, parents in radius.through.items():
        yield f"  ^ {name:<{width}}  parent    {', '.join(parents)}"
    if radius.critical:
        about = f", about {seconds_text(radius.critical_seconds)}" if radius.critical_seconds else ""
        yield f"critical path: {' → '.join(radius.critical)}{about}"
    if radius.unknown:
        yield f"no duration is recorded here for: {', '.join(radius.unknown)}"


def _data(
    file: str, rows: Sequence[Row], radius: Radius | None, *, written: bool, failures: Sequence[RegistryError]
) -> dict[str, Any]:
    """The report as data: one document, fields are only ever added."""
    return document("lock") | {
        "lock": file,
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
            for row in rows
        ],
        "rebuilds": None
        if radius is None
        else {
            "total": radius.total,
            "direct": {name: list(bases) for name, bases in radius.direct.items()},
            "through_parents": {name: list(parents) for name, parents in radius.through.items()},
            "seconds": round(radius.seconds, 3),
            "without_duration": list(radius.unknown),
            "critical_path": list(radius.critical),
            "critical_seconds": round(radius.critical_seconds, 3),
        },
        "failures": [{"trouble": failure.trouble.value, "message": failure.message} for failure in failures],
    }
