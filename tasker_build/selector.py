"""The selection language → target names: `x`, `+x`, `x+`, `2+x`, `x+1`, `@x`, globs, `tag:`, `kind:`, `file:`, `state:`.

Commas intersect, repeats unite. States are what a plan says of each target; whoever has one hands them in.
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
STATES = ("new", "missing", "modified", "parent", "stale", "retag", "unmodified")
"""States by name; `modified.REASON` is one, too."""


def asks_for_state(words: Sequence[str]) -> bool:
    """Whether a selection cannot be read without a plan."""
    matches = (_TERM.fullmatch(part) for word in words for part in word.split(","))
    return any(match is not None and match["core"].startswith("state:") for match in matches)


def select(
    words: Sequence[str],
    spec: Spec,
    graph: Graph,
    closures: Mapping[TargetName, Closure],
    states: Mapping[TargetName, frozenset[str]] | None = None,
    *,
    may_be_empty: bool = False,
) -> frozenset[TargetName]:
    """Return the targets that any of the words names; all of them when there are no words.

    Args:
        words: the selection.
        spec: the spec.
        graph: its targets.
        closures: what each target reads.
        states: what state each target is in; None: nobody asked the engine.
        may_be_empty: that no target is in a state is fine; a word that could never match is not.

    Raises:
        SelectionError: a word that cannot be read or matches nothing: selecting nothing is never what was meant.
    """
    if not words:
        return frozenset(graph)
    problems: list[Problem] = []
    nothing: list[Problem] = []  # words that are right and find nothing today: only a mistake when nothing else is found
    chosen: set[TargetName] = set()
    for word in words:
        missed = nothing if asks_for_state([word]) else problems
        parts = [_term(part, spec, graph, closures, states, problems, nothing) for part in word.split(",")]
        found = set.intersection(*parts)
        if not found and all(parts):
            missed.append(Problem(code="S030", message=f"nothing matches all of `{word}`"))
        chosen |= found
    if not chosen and not may_be_empty:
        problems += nothing
    if problems:
        raise SelectionError(problems)
    return frozenset(chosen)


def _term(
    text: str,
    spec: Spec,
    graph: Graph,
    closures: Mapping[TargetName, Closure],
    states: Mapping[TargetName, frozenset[str]] | None,
    problems: list[Problem],
    nothing: list[Problem],
) -> set[TargetName]:
    match = _TERM.fullmatch(text)
    if match is None:
        problems.append(
            Problem(
                code="S030",
                message=f"`{text}` is not a selection",
                hints=("forms: x  +x  x+  @x  glob*  tag:x  kind:x  file:x  state:x",),
            )
        )
        return set()
    if match["core"].startswith("state:"):
        core = _in_state(match["core"].removeprefix("state:"), graph, states, problems, nothing)
    elif not (core := _core(match["core"], spec, graph, closures)):
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


def _in_state(
    state: str,
    graph: Graph,
    states: Mapping[TargetName, frozenset[str]] | None,
    problems: list[Problem],
    nothing: list[Problem],
) -> set[TargetName]:
    if state not in STATES and not state.startswith("modified."):
        hints = nearest(state, STATES) or (f"states: {', '.join(STATES)}, modified.REASON",)
        problems.append(Problem(code="S034", message=f"`state:{state}` is no state", hints=hints))
        return set()
    if states is None:
        hints = ("leave --offline out",)
        problems.append(Problem(code="S034", message=f"only an engine can say what is `state:{state}`", hints=hints))
        return set()
    found = {name for name in graph if state in states[name]}
    if not found:
        hints = ("`tasker-build plan --all` shows what each target is",)
        nothing.append(Problem(code="S030", message=f"no target is `state:{state}`", hints=hints))
    return found
