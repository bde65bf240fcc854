"""Which packages a selection compiles: cargo's features, optional and platform dependencies, followed as its resolver does.

Where cargo's answer rests on crates that are not in the workspace, more is taken rather than less: a package too many rebuilds an
image once too often, one too few breaks its build.

Source: the Cargo book, "Features", "Features: Feature resolver version 2" and "Specifying dependencies".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasker_build.ecosystems.cargo.platforms import may_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tasker_build.ecosystems.cargo.workspace import Dependency, Package

Unit = tuple[str, bool]
"""A package's folder, and whether it is compiled for the machine that builds: a build script's or a macro's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `cargo build` is told."""

    packages: tuple[str, ...]  # folders
    features: tuple[str, ...] = ()
    default_features: bool = True
    platform: str = ""  # os/architecture; "" for any
    everything: tuple[str, ...] = ()  # folders whose every feature may be asked for from outside


@dataclass(slots=True)
class _State:
    features: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)  # keys of optional dependencies that are switched on
    weak: list[tuple[str, str]] = field(default_factory=list)  # `key?/feature`


def compiled(packages: Mapping[str, Package], asked: Asked, *, resolver: str) -> frozenset[str]:
    """Folders of the packages that a selection compiles.

    Args:
        packages: every package of the workspace by folder.
        asked: what is selected.
        resolver: version of the resolver, as the workspace's root says it.
    """
    return _Resolver(packages, asked, splits=resolver != "1").compiled()


class _Resolver:
    def __init__(self, packages: Mapping[str, Package], asked: Asked, *, splits: bool) -> None:
        self.packages, self.asked, self.splits = packages, asked, splits
        self.states: dict[Unit, _State] = {}

    def compiled(self) -> frozenset[str]:
        roots = [(folder, self.splits and self.packages[folder].is_macro) for folder in self.asked.packages]
        for unit in roots:
            self._request(unit, (), default=self.asked.default_features)
            for feature in self.asked.features:
                self._command_line(unit, feature)
            if not self.splits:
                # The first resolver unites what tests ask for, too.
                for dependency in self._dependencies(unit[0], kinds=("dev",), wide=True):
                    self._follow(unit, dependency)
        everything = [(folder, False) for folder in self.asked.everything]
        for unit in everything:
            self._request(unit, (*self.packages[unit[0]].features, *self._optional(unit[0])), default=True)
        found: set[Unit] = set()
        todo = [*roots, *everything]
        while todo:
            unit = todo.pop()
            if unit not in found:
                found.add(unit)
                active = self.states[unit].active if unit in self.states else set()
                todo += [
                    self._unit(unit, dependency)
                    for dependency in self._dependencies(unit[0], kinds=("normal", "build"), wide=False)
                    if not dependency.optional or dependency.key in active
                ]
        return frozenset(folder for folder, _ in found)

    def _optional(self, folder: str) -> Iterator[str]:
        return (dependency.key for dependency in self.packages[folder].dependencies if dependency.optional)

    def _command_line(self, unit: Unit, feature: str) -> None:
        name, slash, inner = feature.partition("/")
        if not slash:
            self._enable(unit, feature)
        elif name == self.packages[unit[0]].name:
            self._enable(unit, inner)
        else:
            self._value(unit, feature)

    def _unit(self, unit: Unit, dependency: Dependency) -> Unit:
        host = unit[1] or dependency.kind == "build" or self.packages[dependency.folder].is_macro
        return dependency.folder, self.splits and host

    def _dependencies(self, folder: str, *, kinds: Iterable[str], wide: bool) -> Iterator[Dependency]:
        for dependency in self.packages[folder].dependencies:
            known = dependency.kind in kinds and dependency.folder in self.packages
            if known and (wide or not dependency.condition or may_count(dependency.condition, self.asked.platform)):
                yield dependency

    def _request(self, unit: Unit, features: Iterable[str], *, default: bool) -> None:
        """Ask for a package with features; what it always needs follows the first time."""
        if unit not in self.states:
            self.states[unit] = _State()
            for dependency in self._dependencies(unit[0], kinds=("normal", "build"), wide=not self.splits):
                if not dependency.optional:
                    self._follow(unit, dependency)
        for feature in (*features, *(("default",) if default else ())):
            self._enable(unit, feature)

    def _follow(self, unit: Unit, dependency: Dependency) -> None:
        self._request(self._unit(unit, dependency), dependency.features, default=dependency.default_features)

    def _enable(self, unit: Unit, feature: str) -> None:
        state = self.states[unit]
        if feature in state.features:
            return
        state.features.add(feature)
        values = self.packages[unit[0]].features.get(feature)
        if values is None:
            self._switch_on(unit, feature)
            return
        for value in values:
            self._value(unit, value)

    def _value(self, unit: Unit, value: str) -> None:
        """One word of a feature's list: `feature`, `dep:key`, `key/feature` or `key?/feature`."""
        key, slash, inner = value.partition("/")
        if not slash:
            self._switch_on(unit, value[4:]) if value.startswith("dep:") else self._enable(unit, value)
        elif key.endswith("?"):
            self.states[unit].weak.append((key[:-1], inner))
            self._pass_on(unit, key[:-1], inner)
        else:
            self._switch_on(unit, key)
            if key in self.packages[unit[0]].features:
                self._enable(unit, key)
            self._pass_on(unit, key, inner)

    def _switch_on(self, unit: Unit, key: str) -> None:
        """Switch an optional dependency on; it may stand in several tables."""
        state = self.states[unit]
        if key in state.active:
            return
        state.active.add(key)
        for dependency in self._dependencies(unit[0], kinds=("normal", "build"), wide=not self.splits):
            if dependency.key == key and dependency.optional:
                self._follow(unit, dependency)
        for weak, inner in list(state.weak):
            if weak == key:
                self._pass_on(unit, key, inner)

    def _pass_on(self, unit: Unit, key: str, feature: str) -> None:
        """Enable a feature of a dependency that is there."""
        active = self.states[unit].active
        for dependency in self._dependencies(unit[0], kinds=("normal", "build"), wide=not self.splits):
            if dependency.key == key and (not dependency.optional or key in active):
                self._request(self._unit(unit, dependency), (feature,), default=False)
