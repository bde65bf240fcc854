"""The graph: edges, order, cycles; equal for equal specs whatever the order of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.graph import ancestors, build_graph, build_order, descendants, find_cycle
from tasker_build.spec.model import TargetName
from tests.conftest import HEAD, load_text

if TYPE_CHECKING:
    from random import Random

T = TargetName


def spec_text(edges: dict[str, list[str]], bases: str = "") -> str:
    rows = [
        f"  {name}: {{kind: postgres, from: {{{', '.join(f'r{i}: {p}' for i, p in enumerate(parents))}}}}}"
        for name, parents in edges.items()
    ]
    return f"{HEAD}{bases}targets:\n" + "\n".join(rows) + "\n"


def test_edges_run_from_parents_and_bases_are_no_nodes() -> None:
    graph = build_graph(load_text(spec_text({"a": ["debian"], "b": ["a", "debian"]}, "bases: {debian: debian}\n")))
    assert list(graph.nodes) == ["a", "b"]
    assert list(graph.edges) == [("a", "b")]


def test_targets_that_are_not_enabled_are_left_out() -> None:
    graph = build_graph(load_text(f"{HEAD}targets: {{a: {{kind: postgres}}, b: {{kind: postgres, enabled: false}}}}\n"))
    assert list(graph) == ["a"]


def test_order_puts_parents_first_and_is_sorted_otherwise() -> None:
    graph = build_graph(load_text(spec_text({"z": [], "m": ["z"], "a": ["m"], "b": []})))
    assert build_order(graph) == ("b", "z", "m", "a")


def test_ancestors_and_descendants_come_in_build_order() -> None:
    graph = build_graph(load_text(spec_text({"z": [], "m": ["z"], "a": ["m"], "b": ["a"], "other": []})))
    assert ancestors(graph, T("b")) == ("z", "m", "a")
    assert descendants(graph, T("z")) == ("m", "a", "b")
    assert (ancestors(graph, T("other")), descendants(graph, T("other"))) == ((), ())


def test_a_cycle_reads_from_child_to_parent_and_starts_at_its_smallest_name() -> None:
    graph: nx.DiGraph[TargetName] = nx.DiGraph([(T("c"), T("b")), (T("b"), T("a")), (T("a"), T("c")), (T("a"), T("d"))])
    assert find_cycle(graph) == ("a", "b", "c", "a")
    graph.remove_edge(T("a"), T("c"))
    assert find_cycle(graph) == ()


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(1, 9))
    names = draw(st.permutations([f"t{i}" for i in range(size)]))
    return {name: sorted(draw(st.sets(st.sampled_from(names[:i]), max_size=3))) if i else [] for i, name in enumerate(names)}


@given(dags(), st.randoms(use_true_random=False))
def test_any_order_of_the_file_gives_the_same_order_and_parents_come_first(edges: dict[str, list[str]], random: Random) -> None:
    items = list(edges.items())
    random.shuffle(items)
    order = build_order(build_graph(load_text(spec_text(edges))))
    assert build_order(build_graph(load_text(spec_text(dict(items))))) == order
    assert sorted(order) == sorted(edges)
    assert all(order.index(T(parent)) < order.index(T(child)) for child, parents in edges.items() for parent in parents)
