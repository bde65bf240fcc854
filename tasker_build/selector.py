"""The selection language → target names: `x`, `+x`, `x+`, `2+x`, `x+1`, `@x`, globs, `tag:`, `kind:`, `file:`.

Commas intersect, repeats unite.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import networkx as nx

from tasker_build.errors import Problem, SelectionError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.closure import Closure
    from tasker_build.graph import Graph
    from tasker_build.spec.model import Spec, TargetName

_TERM = re.compile(r"(?P<at>@)?(?:(?P<up>\d*)\+)?(?P<core>[^+@]+?)(?:\+(?P<down>\d*))?")
METHODS = ("tag", "kind", "file")


def select(words: Sequence[str], spec: Spec, graph: Graph, closures: Mapping[TargetName, Closure]) -> frozenset[TargetName]:
    """Return the targets that any of the words names; all of them when there are no words.

    Raises:
        SelectionError: a word that cannot be read or matches nothing: selecting nothing is never what was meant.
    """
    if not words:
        return frozenset(graph)
    problems: list[Problem] = []
    chosen: set[TargetName] = set()
    for word in words:
        parts = [_term(part, spec, graph, closures, problems) for part in word.split(",")]
        found = set.intersection(*parts)
        if not found and all(parts):
            problems.append(Problem(code="S030", message=f"nothing matches all of `{word}`"))
        chosen |= found
    if problems:
        raise SelectionError(problems)
    return frozenset(chosen)


def _term(
    text: str, spec: Spec, graph: Graph, closures: Mapping[TargetName, Closure], problems: list[Problem]
) -> set[TargetName]:
    match = _TERM.fullmatch(text)
    if match is None:
        problems.append(
            Problem(
                code="S030",
                message=f"`{text}` is not a selection",
                hints=("forms: x  +x  x+  @x  glob*  tag:x  kind:x  file:x",),
            )
        )
        return set()
    core = _core(match["core"], spec, graph, closures)
    if not core:
        hints = nearest(match["core"], graph) or ("`tasker-build ls` lists the targets",)
        problems.append(Problem(code="S030", message=f"no target matches `{match['core']}`", hints=hints))
        return set()
    found = set(core)
    for name in core:
        if match["at"]:
            below = nx.descendants(graph, name) | {name}
            found |= below | {ancestor for child in below for ancestor in nx.ancestors(graph, child)}
        if match["up"] is not None:
            found |= _within(graph.reverse(copy=False), name, match["up"])
        if match["down"] is not None:
            found |= _within(graph, name, match["down"])
    return found


def _within(graph: Graph, name: TargetName, depth: str) -> set[TargetName]:
    cutoff = int(depth) if depth else None
    return set(nx.single_source_shortest_path_length(graph, name, cutoff))


def _core(core: str, spec: Spec, graph: Graph, closures: Mapping[TargetName, Closure]) -> set[TargetName]:
    method, colon, value = core.partition(":")
    if not colon:
        return {name for name in graph if name == core or fnmatchcase(name, core)}
    if method == "kind":
        return {name for name in graph if spec.targets[name].kind == value}
    if method == "tag":
        return {name for name in graph if any(fnmatchcase(tag, value) for tag in spec.targets[name].tags)}
    if method == "file":
        return {name for name in graph if closures[name].files([value])}
    return set()
