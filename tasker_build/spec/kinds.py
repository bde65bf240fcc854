"""Kinds of targets: named recipes. Data, not code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Makes(StrEnum):
    """What targets of a kind are for."""

    DEPENDENCIES = "dependencies"
    """What others are built on: all that their selections depend on, compiled or fetched, and no code of the workspace."""
    PROGRAMS = "programs"
    """What the selection of the target names."""
    SERVICE = "service"
    """An image of its own that builds nothing of the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind."""

    name: str
    template: str
    ecosystem: str | None = None
    makes: Makes = Makes.PROGRAMS
    needs: tuple[str, ...] = ()


_ROWS = (
    Kind(name="cargo-chef", template="dockerfile/cargo-chef.Dockerfile.j2", ecosystem="cargo", makes=Makes.DEPENDENCIES),
    *(
        Kind(name=name, template=f"dockerfile/{name}.Dockerfile.j2", ecosystem="cargo", needs=("cargo",))
        for name in ("rust-service", "ruby-ffi", "python-pyo3", "wasm-worker")
    ),
    Kind(name="postgres", template="dockerfile/postgres.Dockerfile.j2", makes=Makes.SERVICE),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ROWS}
