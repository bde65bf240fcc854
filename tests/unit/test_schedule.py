"""The schedule, driven by hand: order, urgency, and what a failure stops."""

from __future__ import annotations

from random import Random

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.schedule import Schedule
from tasker_build.spec.model import TargetName

T = TargetName


def graph_of(*edges: str, nodes: str = "") -> nx.DiGraph[TargetName]:
    """`graph_of("ab", "ac")`: b and c are built from a."""
    graph: nx.DiGraph[TargetName] = nx.DiGraph()
    graph.add_nodes_from(T(n) for n in nodes)
    graph.add_edges_from((T(e[0]), T(e[1])) for e in edges)
    return graph


def test_only_what_has_all_its_parents_is_ready() -> None:
    graph = graph_of("ac", "bc")
    schedule = Schedule(graph, graph)
    assert schedule.ready() == ("a", "b")
    schedule.take(T("a"))
    assert schedule.ready() == ("b",)
    schedule.succeed(T("a"))
    schedule.take(T("b"))
    assert schedule.ready() == ()
    schedule.succeed(T("b"))
    assert schedule.ready() == ("c",)
    assert not schedule.done
    schedule.take(T("c"))
    schedule.succeed(T("c"))
    assert schedule.done


def test_what_most_wait_for_comes_first() -> None:
    graph = graph_of("zy", "yx", "ab", nodes="m")
    assert Schedule(graph, graph).ready() == ("z", "a", "m")


def test_what_is_not_asked_for_counts_as_there() -> None:
    graph = graph_of("ab", "bc")
    assert Schedule(graph, [T("c"), T("b")]).ready() == ("b",)


def test_a_failure_loses_its_descendants_in_order_and_nobody_else() -> None:
    graph = graph_of("ab", "bc", "ad", "xy")
    schedule = Schedule(graph, graph)
    schedule.take(T("a"))
    assert schedule.fail(T("a")) == ("b", "c", "d")
    assert schedule.ready() == ("x",)


def test_two_failures_above_one_child_lose_it_once() -> None:
    graph = graph_of("ac", "bc")
    schedule = Schedule(graph, graph)
    assert schedule.fail(T("a")) == ("c",)
    assert schedule.fail(T("b")) == ()
    assert schedule.done


def test_a_success_after_another_parents_failure_is_no_crash() -> None:
    graph = graph_of("ac", "bc")
    schedule = Schedule(graph, graph)
    schedule.fail(T("a"))
    schedule.succeed(T("b"))
    assert schedule.done


@st.composite
def trees(draw: st.DrawFn) -> nx.DiGraph[TargetName]:
    """DAGs in which nothing has two parents."""
    size = draw(st.integers(1, 10))
    graph: nx.DiGraph[TargetName] = nx.DiGraph()
    graph.add_nodes_from(T(f"t{i}") for i in range(size))
    for i in range(1, size):
        parent = draw(st.none() | st.integers(0, i - 1))
        if parent is not None:
            graph.add_edge(T(f"t{parent}"), T(f"t{i}"))
    return graph


@st.composite
def dags(draw: st.DrawFn) -> nx.DiGraph[TargetName]:
    size = draw(st.integers(1, 10))
    graph: nx.DiGraph[TargetName] = nx.DiGraph()
    graph.add_nodes_from(T(f"t{i}") for i in range(size))
    pairs = [(i, j) for j in range(size) for i in range(j)]
    for i, j in draw(st.sets(st.sampled_from(pairs), max_size=18)) if pairs else set():
        graph.add_edge(T(f"t{i}"), T(f"t{j}"))
    return graph


def drive(
    graph: nx.DiGraph[TargetName], failing: frozenset[TargetName], jobs: int, seed: int
) -> tuple[list[TargetName], set[TargetName]]:
    """Run a schedule with `jobs` at once; returns the starts in order and what was lost."""
    random = Random(seed)  # noqa: S311 - a reproducible choice of what ends first
    schedule = Schedule(graph, graph)
    started: list[TargetName] = []
    lost: set[TargetName] = set()
    built: set[TargetName] = set()
    running: list[TargetName] = []
    while not schedule.done:
        for name in schedule.ready()[: jobs - len(running)]:
            schedule.take(name)
            assert set(graph.predecessors(name)) <= built
            started.append(name)
            running.append(name)
        ended = running.pop(random.randrange(len(running)))
        if ended in failing:
            lost |= set(schedule.fail(ended))
        else:
            built.add(ended)
            schedule.succeed(ended)
    return started, lost


@given(dags(), st.integers(1, 4), st.integers(0, 1000))
def test_without_failures_everything_is_started_once_after_its_parents(
    graph: nx.DiGraph[TargetName], jobs: int, seed: int
) -> None:
    started, lost = drive(graph, frozenset(), jobs, seed)
    assert sorted(started) == sorted(graph)
    assert not lost


def check_failures(graph: nx.DiGraph[TargetName], failing: frozenset[TargetName], jobs: int, seed: int) -> None:
    started, lost = drive(graph, failing, jobs, seed)
    below: set[TargetName] = set()
    for name in failing & set(graph):
        below |= nx.descendants(graph, name)
    assert sorted(started) == sorted(set(graph) - below)  # whatever `jobs` and `seed` are
    assert lost == below


FAILING = st.frozensets(st.sampled_from([T(f"t{i}") for i in range(10)]), max_size=3)


@given(trees(), FAILING, st.integers(1, 4), st.integers(0, 1000))
def test_failures_skip_their_descendants_only(
    graph: nx.DiGraph[TargetName], failing: frozenset[TargetName], jobs: int, seed: int
) -> None:
    check_failures(graph, failing, jobs, seed)


@given(dags(), FAILING, st.integers(1, 4), st.integers(0, 1000))
def test_failures_skip_their_descendants_only_in_any_graph(
    graph: nx.DiGraph[TargetName], failing: frozenset[TargetName], jobs: int, seed: int
) -> None:
    check_failures(graph, failing, jobs, seed)


@given(dags(), st.integers(0, 1000))
def test_the_order_does_not_depend_on_the_order_of_insertion(graph: nx.DiGraph[TargetName], seed: int) -> None:
    random = Random(seed)  # noqa: S311
    nodes, edges = list(graph.nodes), list(graph.edges)
    random.shuffle(nodes)
    random.shuffle(edges)
    other: nx.DiGraph[TargetName] = nx.DiGraph()
    other.add_nodes_from(nodes)
    other.add_edges_from(edges)
    assert drive(graph, frozenset(), 3, seed) == drive(other, frozenset(), 3, seed)
