"""Locking: ask registries what the spec's bases and tools are now, say what other pins rebuild, write the lock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Any, Protocol

from tasker_build.errors import EngineError, Problem, SelectionError, nearest
from tasker_build.plan.radius import blast_radius
from tasker_build.records.durations import durations
from tasker_build.records.local_bases import LocalBases
from tasker_build.registries.images import Registries
from tasker_build.registries.tools import checksums
from tasker_build.registries.trouble import RegistryError, Trouble
from tasker_build.spec.lock import Lock, Pin, ToolPin, layers_digest, lock_text, lockable, with_pins
from tasker_build.spec.read import lock_beside
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tasker_build.plan.radius import Radius
    from tasker_build.project import Project
    from tasker_build.spec.model import Spec


class Wish(Enum):
    """What is done about pins."""

    ADD = auto()  # pin what has no pin, complete what a bot moved
    UPGRADE = auto()  # pin to what registries have now
    CHECK = auto()  # change nothing


class Images(Protocol):
    """What locking asks of an engine."""

    def details(self, reference: str) -> Mapping[str, Any] | None:
        """Everything the engine knows of an image."""


class State(StrEnum):
    """How one base stands."""

    PINNED = "pinned"
    MISSING = "missing"
    INCOMPLETE = "platforms missing"
    MOVED = "moved"
    LOCAL = "local"
    LOCAL_MOVED = "local image changed"
    IN_SPEC = "digest in the spec"
    UNKNOWN = "not known"

    @property
    def differs(self) -> bool:
        """Whether `lock --check` counts it as a difference."""
        return self in {State.MISSING, State.INCOMPLETE, State.MOVED, State.LOCAL_MOVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One base in a report."""

    name: str
    reference: str
    state: State
    old: str = ""  # digest in the lock, or of the layers recorded here
    new: str = ""  # digest that the registry or the engine has
    platforms: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def state_of(lock: Lock, name: str, reference: str) -> State:
    """How a base stands as far as the lock alone can say."""
    pin = lock.pin(name, reference)
    if pin is None:
        return State.MISSING
    return State.PINNED if pin.complete else State.INCOMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """How the pins of a project stand, and what is to be written."""

    file: Path
    rows: tuple[Row, ...]
    failures: tuple[RegistryError, ...]
    lock: Lock | None  # the new one; None: it is what it was
    radius: Radius | None  # None: nothing moves
    local: LocalBases

    def write(self) -> bool:
        """Write what changed; says whether the lock did."""
        self.local.write()
        if self.lock is None:
            return False
        write_file(self.file, lock_text(self.lock).encode(), 0o644)
        return True


def look(project: Project, names: Sequence[str], wish: Wish, connect: Callable[[], Images], *, offline: bool) -> Locking:
    """Look at every base and tool, or at some by name; writes nothing.

    Args:
        project: the project as it is.
        names: bases and tools; none means all.
        wish: what is done about pins.
        connect: finds the engine, for bases that no registry serves.
        offline: asks nobody: only what the lock says.

    Raises:
        SelectionError: a name that is neither a base nor a tool.
    """
    spec = project.written
    bases = lockable(spec)
    chosen = _chosen({**bases, **spec.all_tools}, names)
    locker = _Locker(project.lock, LocalBases.read(project.records), connect, offline=offline)
    base = {Wish.ADD: locker.add, Wish.UPGRADE: locker.upgrade, Wish.CHECK: locker.check}[wish]
    rows = [base(name, reference) for name, reference in chosen.items() if name in bases]
    # What a check finds moved is not written, but it says what writing it would rebuild.
    moved = {row.name: Pin(image=f"{row.reference}@{row.new}") for row in rows if row.state is State.MOVED}
    rows += _in_spec(spec, names)
    rows = [replace(row, note=row.note or _lacking(spec, row)) for row in rows]
    rows += [locker.tool(name, chosen[name], wish) for name in spec.all_tools if name in chosen]
    new = with_pins(project.lock, locker.pins, {} if wish is Wish.CHECK else locker.tools)
    after = with_pins(new, moved, locker.tools) if wish is Wish.CHECK else new
    return Locking(
        file=lock_beside(project.files[0]),
        rows=tuple(rows),
        failures=tuple(locker.failures),
        lock=None if new == project.lock else new,
        radius=_radius(project, after),
        local=locker.local,
    )


def _radius(project: Project, lock: Lock) -> Radius | None:
    """What another lock rebuilds; None when it moves nothing."""
    if lock == project.lock:
        return None
    after = project.with_lock(lock_text(lock))
    if after.spec == project.spec:
        return None
    return blast_radius(project.wanted, after.wanted, durations(project.records))


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


class _Locker:
    """Looks at one base after the other; gathers pins, local bases and failures."""

    def __init__(self, lock: Lock, local: LocalBases, connect: Callable[[], Images], *, offline: bool) -> None:
        self.lock, self.local, self.connect, self.offline = lock, local, connect, offline
        self.registries = Registries()
        self.pins: dict[str, Pin] = {}
        self.tools: dict[str, ToolPin] = {}
        self.failures: list[RegistryError] = []

    def tool(self, name: str, reference: str, wish: Wish) -> Row:
        """Pin a tool by its checksums, or say how it stands; one that is pinned is asked about again where that is meant."""
        pin = self.lock.tool(name, reference)
        old = pin.digest if pin else ""
        if self.offline or (pin is not None and wish is Wish.ADD):
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
        if now != pin and not (wish is Wish.CHECK and pin is None):
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
        layers = self._local_layers(reference, error) if pin is None else ""
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

    def _local_layers(self, reference: str, error: RegistryError) -> str:
        """The layers of the engine's own image of that name; "" where there is none, or where it came from a registry."""
        try:
            details = self.connect().details(reference)
        except EngineError:
            return ""
        if details is None or (details.get("RepoDigests") and error.trouble is not Trouble.MISSING):
            # It was pulled once: a registry that is away or wants a login does not make it a local image.
            return ""
        return layers_digest([str(layer) for layer in (details.get("RootFS") or {}).get("Layers") or ()])


def _platforms(pin: ToolPin | None) -> Mapping[str, str]:
    return {platform: digest for platform, digest in pin.digests.items() if platform != "any"} if pin else {}


def _row(name: str, pin: Pin, state: State) -> Row:
    return Row(name=name, reference=pin.reference, state=state, old=pin.digest, new=pin.digest, platforms=pin.platforms)


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
