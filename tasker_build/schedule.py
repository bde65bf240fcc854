"""Which targets may start now: a state machine without threads, clocks or engines, that a test can drive by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasker_build.graph import Graph
    from tasker_build.spec.model import TargetName


class Schedule:
    """Tracks a set of targets to build. What is not in the set counts as there already."""

    def __init__(self, graph: Graph, names: Iterable[TargetName]) -> None:
        self._graph: Graph = nx.DiGraph(graph.subgraph(names))
        self._waiting = {name: set(self._graph.predecessors(name)) for name in self._graph}
        # The longest way to a leaf first: what most others wait for should not wait itself.
        self._rank: dict[TargetName, int] = {}
        for name in reversed(list(nx.topological_sort(self._graph))):
            self._rank[name] = 1 + max((self._rank[child] for child in self._graph.successors(name)), default=0)
        self._taken: set[TargetName] = set()

    def ready(self) -> tuple[TargetName, ...]:
        """Targets whose parents are all built, the most urgent first; the same order for equal graphs."""
        free = [name for name, parents in self._waiting.items() if not parents and name not in self._taken]
        return tuple(sorted(free, key=lambda name: (-self._rank[name], name)))

    def take(self, name: TargetName) -> None:
        """Say that a ready target is being built."""
        self._taken.add(name)

    def succeed(self, name: TargetName) -> None:
        """Say that a target is built."""
        for child in self._graph.successors(name):
            # A child that another parent's failure has taken out is not waiting any more.
            self._waiting.get(child, set()).discard(name)
        del self._waiting[name]

    def fail(self, name: TargetName) -> tuple[TargetName, ...]:
        """Say that a target failed; return those that can no longer be built, in build order, nobody else is concerned."""
        lost = nx.descendants(self._graph, name)
        order = [n for n in nx.lexicographical_topological_sort(self._graph) if n in lost and n in self._waiting]
        for gone in (name, *order):
            del self._waiting[gone]
        return tuple(order)

    @property
    def done(self) -> bool:
        """Whether nothing is left to build or to wait for."""
        return not self._waiting
