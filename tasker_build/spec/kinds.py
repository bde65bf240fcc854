"""Kinds of targets, named recipes, out of `kinds.yaml` files. Data alone: whoever adds a kind writes no code."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - dataclasses.fields reads the annotations
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Span
from tasker_build.spec.fields import BAD, NAME, PATH, Choice, ListOf, MapOf, Reader, Record, Text, key
from tasker_build.spec.nodes import MappingNode, Node, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOWHERE = Span(file="", line=0, col=0)


class Makes(StrEnum):
    """What targets of a kind are for."""

    DEPENDENCIES = "dependencies"
    """What others are built on: all that their selections depend on, and no code of the workspace."""
    PROGRAMS = "programs"
    """What the selection of the target names."""
    SERVICE = "service"
    """An image of its own that builds nothing of the workspace."""


@dataclass(frozen=True, slots=True)
class _AsWritten:
    """A mapping that is read later, as a part of what it is laid below."""

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        return node if isinstance(node, MappingNode) else reader.expected("a mapping", node, where)

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind."""

    name: str = field(default="")
    description: str = key(Text(), "what it is for", default="")
    template: str = key(PATH, "template of the Dockerfile")
    ecosystem: str | None = key(Text(NAME), "who knows what its targets need of the workspace: `cargo`, …", default=None)
    makes: str = key(
        Choice(tuple(Makes)),
        "`dependencies`: what others build on, no code of the workspace; `programs`; `service`: nothing of the workspace",
        default=Makes.PROGRAMS,
    )
    needs: tuple[str, ...] = key(ListOf(Text()), "keys that each of its targets must have", default=())
    defaults: MappingNode | None = key(
        _AsWritten(), "keys that its targets start from, below `defaults` of the spec", default=None
    )
    span: Span = field(compare=False, default=_NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


ROW = Record(Kind, "a kind", short="template")
_KINDS = MapOf(ROW, NAME, noun="kind")


def read_kinds(files: Sequence[tuple[str, bytes]], reader: Reader) -> Mapping[str, Kind]:
    """Read files of kinds; a later file's kind replaces an earlier one's of the same name.

    Args:
        files: (name for messages, content) of each.
        reader: takes the problems.
    """
    found: dict[str, Kind] = {}
    for name, data in files:
        rows = _KINDS.read(parse(data, name), reader, f"kinds of {name}")
        if rows is not BAD:
            found |= {kind: replace(row, name=kind) for kind, row in rows.items()}
    return found
