"""The graph as a tree, dot, mermaid or JSON; each needs no other program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tasker_build.plan.words import Action
from tasker_build.view.document import document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.graph import Graph
    from tasker_build.plan.words import Plan, Step
    from tasker_build.spec.model import TargetName

FORMATS = ("tree", "dot", "mermaid", "json")
_COLOURS = {
    Action.KEEP: "#6b7280",
    Action.CREATE: "#15803d",
    Action.REBUILD: "#b45309",
    Action.CASCADE: "#1d4ed8",
    Action.RETAG: "#7e22ce",
    Action.FORGET: "#b91c1c",
}


def graph_text(graph: Graph, plan: Plan, form: str) -> str:
    """Draw the planned part of the graph in one of FORMATS."""
    steps = {step.target: step for step in plan.steps if step.target in graph}
    part: Graph = graph.subgraph(steps)
    # An edge that a longer way already says is left out of the pictures.
    import networkx as nx  # noqa: PLC0415 - a plan that draws nothing does not wait for it

    lean: Graph = nx.transitive_reduction(part)
    lean.add_nodes_from(sorted(part))
    if form == "dot":
        return _dot(lean, steps)
    if form == "mermaid":
        return _mermaid(lean, steps)
    if form == "json":
        return json.dumps(graph_data(part, steps), indent=2)
    return _tree(lean, steps)


def _label(step: Step) -> str:
    reasons = ", ".join(dict.fromkeys(reason.kind.value for reason in step.reasons))
    return f"{step.action.value} {step.target}" + (f"  {reasons}" if reasons else "")


def _tree(graph: Graph, steps: Mapping[TargetName, Step]) -> str:
    lines: list[str] = []
    drawn: set[TargetName] = set()

    # A stack of its own: a chain of a thousand targets is no reason to run out of Python's.
    roots = sorted(name for name in graph if not list(graph.predecessors(name)))
    todo: list[tuple[TargetName, str, str]] = [(name, "", "") for name in reversed(roots)]
    while todo:
        name, lead, below = todo.pop()
        again = name in drawn
        lines.append(f"{lead}{_label(steps[name])}" + ("  (above)" if again and list(graph.successors(name)) else ""))
        if again:
            continue
        drawn.add(name)
        children = sorted(graph.successors(name))
        todo.extend(
            (
                child,
                below + ("└─ " if child == children[-1] else "├─ "),
                below + ("   " if child == children[-1] else "│  "),
            )
            for child in reversed(children)
        )
    return "\n".join(lines)


def _dot(graph: Graph, steps: Mapping[TargetName, Step]) -> str:
    lines = ["digraph targets {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += [f'  "{name}" [label="{_label(steps[name])}", color="{_COLOURS[steps[name].action]}"];' for name in sorted(graph)]
    lines += [f'  "{parent}" -> "{child}";' for parent, child in sorted(graph.edges)]
    return "\n".join([*lines, "}"])


def _mermaid(graph: Graph, steps: Mapping[TargetName, Step]) -> str:
    ids = {name: f"t{i}" for i, name in enumerate(sorted(graph))}
    lines = ["graph LR"]
    lines += [f'  {ids[name]}["{_label(steps[name])}"]' for name in sorted(graph)]
    lines += [f"  {ids[parent]} --> {ids[child]}" for parent, child in sorted(graph.edges)]
    lines += [f"  style {ids[name]} stroke:{_COLOURS[steps[name].action]}" for name in sorted(graph)]
    return "\n".join(lines)


def graph_data(graph: Graph, steps: Mapping[TargetName, Step]) -> dict[str, Any]:
    """The graph as data: every edge, not only the drawn ones."""
    return document("graph") | {
        "nodes": [
            {
                "target": name,
                "action": steps[name].action.name.lower(),
                "reasons": [r.kind.value for r in steps[name].reasons],
            }
            for name in sorted(graph)
        ],
        "edges": [{"parent": parent, "child": child} for parent, child in sorted(graph.edges)],
    }
