"""What a target needs of the workspace: its closure. From it come the copy list, the ignore file, the context and its facts."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasker_build.cargo import CargoWorkspace, Package, unknown_binary, unknown_library, unknown_package
from tasker_build.errors import Problem, SpecError, nearest
from tasker_build.ignore import ALWAYS, Ignore, below, escape, within
from tasker_build.spec.model import COOK, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.spec.model import Service, Spec, TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Paths of the workspace (relative, sorted) that one target may read."""

    manifests: tuple[str, ...] = ()
    """Files whose meaning counts and whose layout and comments do not: manifests of packages whose code is not here."""
    sources: tuple[str, ...] = ()
    """Files and folders that builder stages copy."""
    runtime: tuple[str, ...] = ()
    """Files and folders that the image itself holds."""
    ignore: tuple[str, ...] = ()
    """Patterns for what never counts in any closure of this workspace: its paths are known without what they match."""
    hidden: tuple[str, ...] = ()
    """Patterns for what lies in a folder above and is no part of this closure; they come after `ignore`."""
    packages: tuple[Package, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        """Every path the closure names, sorted."""
        return tuple(sorted({*self.manifests, *self.sources, *self.runtime}))

    def files(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The files of the closure out of all `paths` of the workspace that `ignore` leaves, both sorted."""
        named = sorted({path for root in self.roots for path in below(paths, root)})
        if not self.hidden:
            return tuple(named)
        rules = Ignore((*self.ignore, *self.hidden))
        return tuple(path for path in named if not rules.matches(path))

    def is_manifest_only(self, path: str) -> bool:
        """Whether only the meaning of this file counts."""
        return path in self.manifests

    def ignore_file(self) -> str:
        """The closure in the words of a .dockerignore: everything out, the closure in, what never counts out again."""
        keep = [f"!{escape(path)}" for path in self.roots]
        return "\n".join(
            ["# Nothing enters the build but what the closure of this target names.", "*", *keep, *self.ignore, *self.hidden, ""]
        )


def make_closures(spec: Spec, cargo: CargoWorkspace | None, paths: Sequence[str]) -> Mapping[TargetName, Closure]:
    """Compute the closure of every enabled target.

    Raises:
        SpecError: packages, binaries or context paths that the workspace does not have.
    """
    problems: list[Problem] = []
    closures: dict[TargetName, Closure] = {}
    ignore = (*ALWAYS, spec.output, *spec.sources.ignore)
    for name, target in spec.targets.items():
        if target.enabled:
            closures[name] = _closure(spec, target, cargo, paths, ignore, problems)
    _check_values(spec, paths, problems)
    if problems:
        raise SpecError(problems)
    return closures


def _check_values(spec: Spec, paths: Sequence[str], problems: list[Problem]) -> None:
    """Variables that choose a folder of the workspace must choose one that is there."""
    users: list[Target | Service] = [target for target in spec.targets.values() if target.enabled]
    users += [service for stack in spec.stacks.values() if stack.enabled for service in stack.services.values()]
    for variable, folder in spec.sources.values.items():
        known = sorted({path.removeprefix(f"{folder}/").split("/")[0] for path in paths if path.startswith(f"{folder}/")})
        for user in users:
            key, values = ("env", user.env) if isinstance(user, Target) else ("environment", user.environment)
            value = values.get(variable)
            if value is not None and "$" not in value and value not in known:
                place = user.at.get(f"{key}.{variable}", user.span)
                hints = nearest(value, known) or (f"in {folder}: {', '.join(known) or 'nothing'}",)
                message = f"{variable} is `{value}`, but there is no {folder}/{value}"
                problems.append(Problem(code="W006", message=message, span=place, hints=hints))


def _closure(
    spec: Spec,
    target: Target,
    cargo: CargoWorkspace | None,
    paths: Sequence[str],
    ignore: tuple[str, ...],
    problems: list[Problem],
) -> Closure:
    context = [posixpath.normpath(path) for path in target.context]
    for i, path in enumerate(context):
        if not below(paths, path):
            place = target.at.get(f"context.{i}", target.span)
            hint = "paths start at the workspace folder; ignored files do not count"
            problems.append(Problem(code="W004", message=f"nothing in the workspace at `{path}`", span=place, hints=(hint,)))
    plain = Closure(runtime=tuple(sorted(context)), ignore=ignore)
    if target.kind != COOK and target.cargo is None:
        return plain
    if cargo is None:
        message = f"target `{target.name}` needs a Cargo workspace, but there is no Cargo.toml in {spec.workspace}"
        problems.append(Problem(code="W005", message=message, span=target.span))
        return plain
    cargo_files = (*cargo.root_files, *cargo.config_files)
    if target.kind == COOK:
        patched = tuple(path for folder in cargo.patched for path in cargo.sources(cargo.packages[folder], paths))
        manifests = tuple(sorted({*cargo.manifests(), *cargo.config_files}))
        sources = tuple(sorted({*(set(cargo.root_files) - set(manifests)), *patched}))
        return Closure(manifests=manifests, sources=sources, ignore=ignore)
    packages = _packages(target, cargo, problems)
    own = {path for package in packages for path in cargo.sources(package, paths)}
    declared = {posixpath.normpath(path) for package in packages for path in spec.sources.packages.get(package.name, ())}
    copied = tuple(sorted({*cargo_files, *own, *declared}))
    outside = {package.manifest for package in cargo.packages.values()} - {package.manifest for package in packages}
    manifests = tuple(path for path in cargo.manifests() if path in outside or not within(path, copied))
    return Closure(
        manifests=manifests,
        sources=copied,
        runtime=plain.runtime,
        ignore=ignore,
        hidden=tuple(_hidden(cargo, packages, [*declared, *manifests, *plain.runtime], ignore)),
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


def _packages(target: Target, cargo: CargoWorkspace, problems: list[Problem]) -> tuple[Package, ...]:
    selection = target.cargo
    if selection is None:
        return ()
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
    return cargo.closure(package.name for package in chosen)
