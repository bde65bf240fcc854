"""Spec → a networkx DiGraph of targets: an edge runs from a parent to the target built from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from tasker_build.spec.model import TargetName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasker_build.spec.model import Spec, Target

    Graph = nx.DiGraph[TargetName]


def build_graph(spec: Spec) -> Graph:
    """Return the graph of all enabled targets; parents that are not in the spec are the checker's business and left out."""
    graph: Graph = nx.DiGraph()
    enabled = {name: target for name, target in spec.targets.items() if target.enabled}
    graph.add_nodes_from(sorted(enabled))
    for name, target in sorted(enabled.items()):
        graph.add_edges_from((parent, name) for parent in sorted(_parents(spec, target)))
    return graph


def _parents(spec: Spec, target: Target) -> set[TargetName]:
    """The enabled targets a target is built from; its other sources are bases."""
    wanted = set(target.from_.values()) - spec.bases.keys()
    return {name for name in map(TargetName, wanted) if name in spec.targets and spec.targets[name].enabled}


def find_cycle(graph: Graph) -> tuple[TargetName, ...]:
    """Return a cycle as a path that reads child → … → the same child, starting at its smallest name; empty when there is none."""
    # Finding one takes much longer than knowing that there is none.
    if nx.is_directed_acyclic_graph(graph):
        return ()
    edges = nx.find_cycle(graph)
    # An edge runs parent → child; people read "needs", the other way round.
    ring = [edge[0] for edge in edges][::-1]
    start = ring.index(min(ring))
    ring = ring[start:] + ring[:start]
    return (*ring, ring[0])


def build_order(graph: Graph) -> tuple[TargetName, ...]:
    """Return every target, parents before children; the same for equal graphs, whatever the order of the file."""
    return tuple(nx.lexicographical_topological_sort(graph))


def ancestors(graph: Graph, name: TargetName) -> tuple[TargetName, ...]:
    """Return everything the target stands on, in build order."""
    above = nx.ancestors(graph, name)
    return tuple(n for n in build_order(graph.subgraph(above)))


def descendants(graph: Graph, name: TargetName) -> tuple[TargetName, ...]:
    """Return everything that stands on the target, in build order."""
    below = nx.descendants(graph, name)
    return tuple(n for n in build_order(graph.subgraph(below)))


def path_to_any(graph: Graph, name: TargetName, others: Iterable[TargetName]) -> tuple[TargetName, ...]:
    """Return the shortest path from a target down to one of others that it stands on or is; empty when there is none."""
    found = [path for other in others if (path := dependency_path(graph, name, other)) and path[0] == name]
    return min(found, key=lambda path: (len(path), path), default=())


def dependency_path(graph: Graph, one: TargetName, other: TargetName) -> tuple[TargetName, ...]:
    """Return the shortest path between two targets, the one that is built first at the end; empty when there is none."""
    for parent, child in ((other, one), (one, other)):
        try:
            return tuple(nx.shortest_path(graph, parent, child))[::-1]
        except nx.NetworkXNoPath:
            continue
    return ()
