"""What a target needs of a Cargo workspace: manifests alone to compile its dependencies, manifests and sources for programs."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from tasker_build.ecosystems.cargo.lockfile import MISSING, STALE, lock_problems
from tasker_build.ecosystems.cargo.workspace import unknown_binary, unknown_library, unknown_package
from tasker_build.ecosystems.closure import Closure
from tasker_build.errors import Problem
from tasker_build.ignore import escape, within
from tasker_build.spec.kinds import Makes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.ecosystems.cargo.record import Cargo
    from tasker_build.ecosystems.cargo.workspace import CargoWorkspace, Package
    from tasker_build.ecosystems.closure import Asked


def closure_of(asked: Asked, selection: Cargo | None, problems: list[Problem]) -> Closure:
    """Compute the closure of one target."""
    target, plain, paths = asked.target, asked.plain, asked.paths
    cooks = target.makes == Makes.DEPENDENCIES
    if not cooks and selection is None:
        return plain
    cargo: CargoWorkspace | None = asked.model
    if cargo is None:
        message = f"target `{target.name}` needs a Cargo workspace, but there is no Cargo.toml in {asked.spec.workspace}"
        problems.append(Problem(code="W005", message=message, span=target.span))
        return plain
    if not any(problem.code in {MISSING, STALE} for problem in problems):
        # One file, whatever the number of targets.
        problems.extend(lock_problems(cargo))
    cargo_files = (*cargo.root_files, *cargo.config_files)
    if cooks or selection is None:
        whole = {path for package in cargo.whole for path in cargo.sources(package, paths)}
        manifests = tuple(sorted({*cargo.manifests(), *cargo.config_files}))
        sources = tuple(sorted({*(set(cargo.root_files) - set(manifests)), *cargo.homes, *cargo.vendored, *whole}))
        return Closure(manifests=manifests, sources=sources, ignore=plain.ignore)
    # Without a platform of its own, a target's files are the same on every machine: only the system is known.
    platform = target.platforms[0] if len(target.platforms) == 1 else "linux"
    packages = _packages(selection, cargo, platform, problems)
    own = {path for package in packages for path in cargo.sources(package, paths)}
    named = asked.spec.sources.packages
    declared = {posixpath.normpath(path) for package in packages for path in named.get(package.name, ())}
    copied = tuple(sorted({*cargo_files, *cargo.vendored, *own, *declared}))
    outside = {package.manifest for package in cargo.packages.values()} - {package.manifest for package in packages}
    manifests = tuple(path for path in cargo.manifests() if path in outside or not within(path, copied))
    return Closure(
        manifests=manifests,
        sources=copied,
        runtime=plain.runtime,
        ignore=plain.ignore,
        hidden=tuple(_hidden(cargo, packages, [*declared, *manifests, *plain.runtime], plain.ignore)),
        packages=packages,
    )


def _hidden(cargo: CargoWorkspace, packages: Sequence[Package], wanted: Sequence[str], ignore: tuple[str, ...]) -> Iterator[str]:
    """Patterns for what lies in the folders of a closure's packages and is no part of it.

    Outer packages come first: what one hides (a package inside it, its tests) a later exception may take back.
    """
    hidden: list[str] = []
    back = False
    for package in packages:
        if within(package.folder, hidden):
            back = True
            yield f"!{escape(package.folder)}"
        new = cargo.not_compiled(package)
        hidden += new
        yield from map(escape, new)
    for path in sorted(wanted):
        if within(path, hidden):
            back = True
            yield f"!{escape(path)}"
    if back:
        # What never counts must not come back with them.
        yield from ignore


def _packages(selection: Cargo, cargo: CargoWorkspace, platform: str, problems: list[Problem]) -> tuple[Package, ...]:
    known = cargo.by_name()
    places = [selection.at.get(f"packages.{i}", selection.span) for i in range(len(selection.packages))]
    named = zip(selection.packages, places, strict=True)
    problems.extend(unknown_package(name, cargo, place) for name, place in named if name not in known)
    chosen = [known[name] for name in selection.packages if name in known]
    made = {binary for package in chosen for binary in package.binaries}
    strange = [binary for binary in selection.binaries if chosen and binary not in made]
    problems.extend(unknown_binary(name, chosen, selection.at.get(f"binaries.{name}", selection.span)) for name in strange)
    shared = {library for package in chosen for library in package.libraries}
    strange = [library for library in selection.libraries if chosen and library not in shared]
    problems.extend(unknown_library(name, chosen, selection.at.get(f"libraries.{name}", selection.span)) for name in strange)
    return cargo.closure(
        [package.name for package in chosen],
        features=selection.features,
        default_features=selection.default_features,
        platform=platform,
    )
