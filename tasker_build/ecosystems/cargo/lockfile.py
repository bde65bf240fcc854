"""Whether Cargo.lock is there and fits the manifests: every build is told `--locked`, and would fail late without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_build.errors import Problem, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasker_build.ecosystems.cargo.workspace import CargoWorkspace, Package

MISSING, STALE = "W015", "W016"
"""Codes of the two mistakes."""


def lock_problems(workspace: CargoWorkspace) -> Iterator[Problem]:
    """Say what of Cargo.lock would stop a build."""
    if workspace.lock is None:
        message = "the workspace has no Cargo.lock, and images are built with --locked"
        yield Problem(code="W015", message=message, span=_at("Cargo.toml"), hints=("run: cargo generate-lockfile",))
        return
    for package in workspace.packages.values():
        # A patch that nothing uses is in no lock file.
        if package.home == "" and package.folder not in workspace.patched:
            yield from (
                Problem(code="W016", message=message, span=_at(package.manifest), hints=("run: cargo update --workspace",))
                for message in _differences(package, workspace)
            )


def _differences(package: Package, workspace: CargoWorkspace) -> Iterator[str]:
    versions = workspace.lock.versions if workspace.lock else {}
    locked = versions.get(package.name, frozenset())
    if not locked:
        yield f"Cargo.lock does not know the package `{package.name}`"
    elif package.version and package.version not in locked:
        yield f"Cargo.lock has `{package.name}` {', '.join(sorted(locked))}; its manifest says {package.version}"
    for name in package.crates:
        if name not in versions:
            yield f"Cargo.lock does not know `{name}`, which `{package.name}` depends on"


def _at(path: str) -> Span:
    return Span(file=path, line=1, col=1)
