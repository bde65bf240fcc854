"""Pictures: deterministic, inert, well-formed, and right about what takes longest."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import networkx as nx
import pytest

from tasker_build.errors import RefusedError, SelectionError
from tasker_build.plan.changes import Quoted
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step
from tasker_build.records.durations import durations
from tasker_build.records.records import Records
from tasker_build.spec.model import TargetName
from tasker_build.view.layout import Placement, inverse, place, reduced, topological
from tasker_build.view.page import picture_html
from tasker_build.view.picture import (
    PictureOptions,
    TargetFacts,
    critical_path,
    duration_text,
    narrow,
    picture_png,
    picture_svg,
    size_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tasker_build.graph import Graph

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</script><script>alert(1)</script>\"'&<img onerror=x> \x00\udce9"
PLAIN = PictureOptions(title="demo")
DIAMOND = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d")]


def graph_of(edges: Iterable[tuple[str, str]], extra: Iterable[str] = ()) -> Graph:
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(TargetName(name) for name in extra)
    graph.add_edges_from((TargetName(a), TargetName(b)) for a, b in edges)
    return graph


def plan_of(graph: Graph, actions: Mapping[str, Action] | None = None, default: Action = Action.CASCADE) -> Plan:
    actions = actions or {}
    steps = []
    for name in nx.lexicographical_topological_sort(graph):
        action = actions.get(name, default)
        kind = {Action.REBUILD: ReasonKind.CONTEXT, Action.CREATE: ReasonKind.NEW}.get(action, ReasonKind.PARENT)
        reasons = (
            ()
            if action is Action.KEEP
            else (Reason(kind=kind, changes=(Quoted(evidence=f"evidence of {name}", details=("+ one",)),)),)
        )
        steps.append(Step(target=name, action=action, reasons=reasons, image=f"registry/{name}"))
    return Plan(steps=tuple(steps))


def facts_of(seconds: Mapping[str, float]) -> dict[TargetName, TargetFacts]:
    return {TargetName(name): TargetFacts(duration=value, size=10**9, inputs=("Cargo.toml",)) for name, value in seconds.items()}


def texts(svg: str, css: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    return [element.text or "" for element in root.iter(f"{SVG}text") if css in (element.get("class") or "").split()]


def chain(size: int) -> Graph:
    return graph_of((f"t{i:04}", f"t{i + 1:04}") for i in range(size - 1))


def services(size: int) -> Graph:
    """Bases, builders, and small families below them."""
    edges = [("base", f"cook/{i}") for i in range(5)]
    for i in range((size - 6) // 4):
        edges += [(f"cook/{i % 5}", f"build/{i}"), *((f"build/{i}", f"{kind}/{i}") for kind in ("deploy", "dev", "test"))]
        edges += [(f"build/{i}", "bundle")] if i % 9 == 0 else []
    return graph_of(edges)


def overlaps(placement: Placement) -> list[tuple[str, str]]:
    boxes = sorted(placement.boxes.items(), key=lambda item: item[1].x)
    found = []
    for i, (name, a) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            if b.x >= a.x + a.w:
                break
            if a.y < b.y + b.h and b.y < a.y + a.h:
                found.append((name, other))
    return found


def test_equal_plans_give_equal_bytes_whatever_the_order_of_the_graph() -> None:
    pictures = {
        picture_html(graph_of(edges), plan_of(graph_of(edges)), facts_of({"b": 1.04, "c": 7.0}), PLAIN)
        for edges in (DIAMOND, DIAMOND[::-1], sorted(DIAMOND, key=lambda edge: edge[1]))
    }
    assert len(pictures) == 1


def test_a_box_says_sign_name_reason_duration_and_size() -> None:
    graph = graph_of([("a", "b")])
    svg = picture_svg(graph, plan_of(graph, {"a": Action.REBUILD, "b": Action.KEEP}), facts_of({"a": 220.0}), PLAIN)
    assert texts(svg, "name") == ["a", "b"]
    assert texts(svg, "why") == ["context", "up to date"]
    assert texts(svg, "end") == ["3m40s · 1.0 GB"]
    assert texts(svg, "glyph") == ["=", "~", "~", "="]  # legend first
    assert texts(svg, "label") == ["1 keep", "1 rebuild", "critical path: 1 build, about 3m40s"]
    assert texts(svg, "title") == ["demo: 1 of 2 targets to build"]


def test_targets_gone_from_the_spec_are_drawn_without_lines() -> None:
    graph = graph_of([("a", "b")])
    gone = Step(target=TargetName("old"), action=Action.FORGET)
    svg = picture_svg(graph, Plan(steps=(*plan_of(graph).steps, gone)), {}, PLAIN)
    assert "old" in texts(svg, "name")


def test_a_picture_needs_nothing_from_outside() -> None:
    graph = graph_of(DIAMOND)
    page = picture_html(graph, plan_of(graph), {}, PLAIN)
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page
    assert "unsafe-inline" not in page
    assert not re.search(r"<[^>]+\s(on\w+|style)=", page)


@pytest.mark.parametrize("linked", [False, True])
def test_names_and_evidence_are_inert(linked: bool) -> None:  # noqa: FBT001
    graph = graph_of([(EVIL, "b")])
    reason = Reason(kind=ReasonKind.CONTEXT, changes=(Quoted(evidence=EVIL, details=(EVIL,)),))
    plan = Plan(
        steps=tuple(
            Step(target=name, action=Action.REBUILD, reasons=(reason,), image=EVIL)
            for name in (TargetName(EVIL), TargetName("b"))
        )
    )
    facts = {TargetName("b"): TargetFacts(inputs=(EVIL,))}
    options = PictureOptions(title=EVIL)
    text = picture_html(graph, plan, facts, options) if linked else picture_svg(graph, plan, facts, options)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert text.count("<script") == (2 if linked else 0)
    text.encode("utf-8")
    ET.fromstring(re.search(r"<svg.*?</svg>", text, re.DOTALL)[0])  # type: ignore[index]  # noqa: S314
    if linked:
        data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
        assert data
        assert json.loads(data[1])["targets"][0]["name"] == EVIL


def test_the_table_has_every_step_with_its_evidence() -> None:
    graph = graph_of(DIAMOND)
    page = picture_html(graph, plan_of(graph), {}, PLAIN)
    for name in "abcd":
        assert f'<tr id="step:{name}"' in page
        assert f'href="#step:{name}"' in page
        assert f"evidence of {name}" in page


def test_the_critical_path_is_the_longest_by_duration() -> None:
    graph = graph_of([("a", "b"), ("b", "c"), ("a", "slow"), ("c", "d")])
    assert critical_path(graph, plan_of(graph), facts_of({"a": 1, "b": 1, "c": 1, "d": 1, "slow": 60})) == ("a", "slow")


def test_without_durations_the_critical_path_has_most_builds() -> None:
    graph = graph_of([*DIAMOND, ("c", "e"), ("e", "f")])
    assert critical_path(graph, plan_of(graph), {}) == ("a", "c", "e", "f")


def test_the_critical_path_goes_through_what_is_built_only() -> None:
    graph = graph_of([("a", "b"), ("b", "c")])
    assert critical_path(graph, plan_of(graph, {"a": Action.KEEP}), facts_of({"a": 99})) == ("b", "c")
    assert critical_path(graph, plan_of(graph, default=Action.KEEP), {}) == ()


def test_focus_and_depth_keep_the_neighbourhood() -> None:
    graph = graph_of([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("a", "x")])

    def kept(options: PictureOptions) -> list[str]:
        return sorted(narrow(graph, plan_of(graph), options)[0])

    assert kept(PictureOptions(focus="c")) == ["a", "b", "c", "d", "e"]
    assert kept(PictureOptions(focus="c", depth=1)) == ["b", "c", "d"]
    assert kept(PictureOptions(focus="c", depth=0)) == ["c"]
    assert kept(PictureOptions(focus="x")) == ["a", "x"]


def test_a_misspelt_focus_is_told_with_a_suggestion() -> None:
    graph = graph_of([("api", "worker")])
    with pytest.raises(SelectionError) as caught:
        narrow(graph, plan_of(graph), PictureOptions(focus="wroker"))
    assert "did you mean `worker`?" in caught.value.draw()


def test_changed_only_leaves_unchanged_targets_out_and_joins_what_they_separated() -> None:
    graph = graph_of([("a", "b"), ("b", "c"), ("c", "d")])
    part, plan = narrow(graph, plan_of(graph, {"b": Action.KEEP, "c": Action.KEEP}), PictureOptions(changed_only=True))
    assert sorted(part.edges) == [("a", "d")]
    assert [step.target for step in plan.steps] == ["a", "d"]
    assert sorted(graph.edges) == [("a", "b"), ("b", "c"), ("c", "d")]


def test_links_that_a_longer_way_says_are_left_out_unless_asked_for() -> None:
    graph = graph_of(DIAMOND)
    assert reduced({"a": ("b", "c", "d"), "b": ("d",), "c": ("d",), "d": ()}) == {
        "a": ("b", "c"),
        "b": ("d",),
        "c": ("d",),
        "d": (),
    }
    lean, full = (
        picture_svg(graph, plan_of(graph, default=Action.KEEP), {}, PictureOptions(all_edges=all_edges))
        for all_edges in (False, True)
    )
    assert (lean.count('class="line"'), full.count('class="line"')) == (4, 5)


def test_order_and_inverse() -> None:
    links = {"z": ("m",), "m": ("a",), "a": (), "b": ()}
    assert topological(links) == ["b", "z", "m", "a"]
    assert inverse(links) == {"z": [], "m": ["z"], "a": ["m"], "b": []}


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(DIAMOND),
        services(30),
        services(300),
        chain(60),
        chain(1200),
        graph_of((f"{i}/{a}", f"{i + 1}/{b}") for i in range(5) for a in range(6) for b in range(6)),
    ],
    ids=["diamond", "30", "300", "chain60", "chain1200", "layers"],
)
def test_boxes_never_overlap_and_stay_inside(graph: Graph) -> None:
    links = reduced({name: tuple(graph.successors(name)) for name in graph})
    placement = place(links, {name: (150.0 + len(name), 48.0) for name in links})
    assert placement.boxes.keys() == set(graph)
    assert overlaps(placement) == []
    for box in placement.boxes.values():
        assert box.x >= 0
        assert box.y >= -0.01
        assert box.x + box.w <= placement.width + 0.01
        assert box.y + box.h <= placement.height + 0.01


@pytest.mark.parametrize("graph", [services(120), chain(80), graph_of(DIAMOND)], ids=["services", "chain", "diamond"])
def test_every_link_is_part_of_exactly_one_line(graph: Graph) -> None:
    links = reduced({name: tuple(graph.successors(name)) for name in graph})
    lines = place(links, dict.fromkeys(links, (150.0, 48.0))).lines
    drawn = [(a, b) for line in lines for a in line.sources for b in line.targets]
    assert sorted(drawn) == sorted((a, b) for a, children in links.items() for b in children)


@pytest.mark.parametrize(
    "graph", [chain(1200), services(1000), graph_of(("base", f"t{i}") for i in range(1, 1000))], ids=["chain", "services", "star"]
)
def test_a_thousand_targets_take_no_time_and_no_recursion(graph: Graph) -> None:
    plan, limit, began = plan_of(graph), sys.getrecursionlimit(), time.process_time()
    page = picture_html(graph, plan, {}, PLAIN)
    assert time.process_time() - began < 6  # about 1 s; a slow machine is no mistake
    assert sys.getrecursionlimit() == limit
    assert page.count('class="node ') == len(graph)


def test_siblings_share_a_frame_and_one_line() -> None:
    graph = graph_of(("base", f"t{i}") for i in range(40))
    svg = picture_svg(graph, plan_of(graph, default=Action.KEEP), {}, PLAIN)
    assert (svg.count('class="frame"'), svg.count('class="line"')) == (1, 1)


def test_a_long_chain_is_folded_to_about_a_screen() -> None:
    links = {f"t{i:04}": (f"t{i + 1:04}",) if i < 1199 else () for i in range(1200)}
    placement = place(links, dict.fromkeys(links, (150.0, 48.0)))
    assert 1 < placement.width / placement.height < 3


def test_a_png_is_a_png_and_a_missing_renderer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(DIAMOND)
    pytest.importorskip("resvg_py")
    assert picture_png(graph, plan_of(graph), {}, PLAIN).startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(RefusedError) as caught:
        picture_png(graph, plan_of(graph), {}, PLAIN)
    assert "pip install 'tasker-build[png]'" in caught.value.draw()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.6, "1m00s"), (220, "3m40s"), (3900, "1h05m")]
)
def test_durations_read_like_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (640, "640 B"), (1500, "1.5 kB"), (312_400_000, "312 MB"), (999_900_000, "1.0 GB"), (1_900_000_000, "1.9 GB")],
)
def test_sizes_are_decimal(size: int, text: str) -> None:
    assert size_text(size) == text


def test_durations_are_the_median_of_the_last_five_builds(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert durations(records) == {}
    for i, seconds in enumerate([100.0, 1.0, 2.0, 9.0, 3.0, 4.0]):
        run = tmp_path / "runs" / f"2026010{i}"
        run.mkdir(parents=True)
        rows = [{"target": "a", "seconds": seconds}, {"target": "b", "result": "failed"}]
        records.summarise(run, {"results": [*rows, {"target": "c", "seconds": i}] if i < 2 else rows})
    broken = tmp_path / "runs" / "20260201"
    broken.mkdir()
    (broken / "summary.json").write_text('{"results": [{"target": "a", "seconds": null}]}')
    assert durations(records) == {"a": 3.0, "c": 0.5}
