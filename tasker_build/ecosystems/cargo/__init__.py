"""Cargo: Rust workspaces, what compiles them, and what their dependencies are cooked with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasker_build.ecosystems.api import Ecosystem
from tasker_build.ecosystems.cargo.closure import closure_of
from tasker_build.ecosystems.cargo.record import CARGO_JOBS, SELECTION, SETTINGS, STORES, selection_flags
from tasker_build.ecosystems.cargo.workspace import CargoWorkspace, scan
from tasker_build.ecosystems.meaning import toml_meaning
from tasker_build.errors import Problem
from tasker_build.spec.kinds import Makes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasker_build.ecosystems.cargo.record import Cargo, Sccache
    from tasker_build.ecosystems.closure import Asked, Closure
    from tasker_build.spec.model import Spec, Target


class CargoEcosystem(Ecosystem):
    """Cargo, as the rest of the package asks for it."""

    name = "cargo"
    selection = SELECTION
    settings = SETTINGS
    jobs_secret = CARGO_JOBS

    def scan(self, paths: Sequence[str], read: Callable[[str], bytes]) -> CargoWorkspace | None:
        return scan(paths, read)

    def closure(self, asked: Asked, problems: list[Problem]) -> Closure:
        return closure_of(asked, asked.target.selections[self.name], problems)

    def meaning(self, path: str, data: bytes) -> str:
        return toml_meaning(data)

    def secrets(self, spec: Spec) -> Iterable[str]:
        return (CARGO_JOBS, *_sccache(spec).secrets)

    def tools(self, spec: Spec) -> Mapping[str, str]:
        cooks = any(self.name in target.ecosystems and target.makes == Makes.DEPENDENCIES for target in spec.targets.values())
        return {"cargo-chef": f"crate:cargo-chef@{spec.toolchain.settings['cargo_chef']}"} if cooks else {}

    def offers(self, spec: Spec, model: Any) -> Mapping[str, Any]:
        return {"cargo": model, "flags": selection_flags, "selections": lambda target: _cooked(spec, target)}

    def check(self, spec: Spec) -> Iterator[Problem]:
        sccache = _sccache(spec)
        if sccache.mode == "remote" and "store" not in sccache.at:
            yield Problem(
                code="S009",
                message="a remote compiler cache needs a `store`",
                span=sccache.at.get("mode", sccache.span),
                hints=(f"one of: {', '.join(STORES)}",),
            )
        if sccache.mode != "remote" and sccache.store is not None:
            yield Problem(
                code="S023",
                message="a `store` is for a remote compiler cache",
                span=sccache.at["store"],
                hints=("set `mode: remote`, or leave it out",),
            )


def _sccache(spec: Spec) -> Sccache:
    found: Sccache = spec.toolchain.settings["sccache"]
    return found


def _cooked(spec: Spec, target: Target) -> list[Cargo]:
    """The distinct selections of everything built from `target`: what it cooks, in the order of the spec."""
    chosen: list[Cargo] = []
    for other in spec.targets.values():
        selection: Cargo | None = other.selections["cargo"]
        if other.enabled and selection and target.name in other.from_.values() and selection.packages:
            same = [one for one in chosen if selection_flags(one) == selection_flags(selection)]
            chosen += [] if same else [selection]
    return chosen


ECOSYSTEM = CargoEcosystem()
