"""A scene as one HTML file: the picture, a script to walk through it, and a table of every step that needs no script."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from tasker_build.view.layout import inverse
from tasker_build.view.picture import TargetFacts, anchor, draw, escaped, facts_text, make_scene, style
from tasker_build.view.wording import details, evidence

if TYPE_CHECKING:
    from tasker_build.graph import Graph
    from tasker_build.plan.words import Plan, Reason, Step
    from tasker_build.view.picture import FactsOf, PictureOptions, Scene

_MOST_INPUTS, _MOST_DETAILS = 60, 40


def picture_html(graph: Graph, plan: Plan, facts: FactsOf, options: PictureOptions) -> str:
    """The plan as one HTML document.

    Raises:
        SelectionError: the focus is no target of the plan.
    """
    return page(make_scene(graph, plan, facts, options))


def page(scene: Scene) -> str:
    """Write the page. Nothing is loaded from anywhere: the policy in its head allows its own style and script, by hash."""
    css, script = _packaged("page.css"), _packaged("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(css)} {_hash(style(themed=True))}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(scene.title)}</title>
<style>{css}</style>
</head>
<body>
<header>
<h1>{escaped(scene.title)}</h1>
<div class="tools">
<input id="search" type="search" placeholder="Search targets, reasons  /" aria-label="Search" autocomplete="off">
<output id="found"></output>
<button id="out" type="button" title="Zoom out (-)" aria-label="Zoom out">&minus;</button>
<button id="in" type="button" title="Zoom in (+)" aria-label="Zoom in">+</button>
<button id="fit" type="button" title="Show everything (0)">Fit</button>
<button id="theme" type="button" title="Light or dark (t)">Theme</button>
</div>
</header>
<main id="stage">
{draw(scene, linked=True)}
<aside id="card" aria-live="polite" hidden></aside>
<p class="keys">drag to move, wheel to zoom · click or Enter: details · arrows: go along · / search · Esc back</p>
</main>
<section>
<h2>All steps</h2>
<table>
<thead><tr><th>Action</th><th>Target</th><th>Reasons</th><th>Last build</th></tr></thead>
<tbody>
{"".join(_row(scene, name) for name in scene.index)}</tbody>
</table>
</section>
<script id="data" type="application/json">{_data(scene)}</script>
<script>{script}</script>
</body>
</html>
"""


def _packaged(name: str) -> str:
    return resources.files("tasker_build.view").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _row(scene: Scene, name: str) -> str:
    step = scene.steps[name]
    needed = " <em>needed by the selection</em>" if step.needed_by_selection else ""
    critical = " <em>critical path</em>" if name in scene.path else ""
    facts = scene.facts.get(step.target, TargetFacts())
    return (
        f'<tr id="{escaped(anchor(name))}" class="{step.action.name.lower()}">'
        f'<td class="act"><b>{escaped(step.action.value)}</b> {escaped(step.action.word)}</td>'
        f"<td><code>{escaped(name)}</code>{needed}{critical}{_image(step)}</td>"
        f'<td class="reasons">{"".join(_reason(reason) for reason in step.reasons)}</td>'
        f'<td class="num">{escaped(facts_text(facts))}</td></tr>\n'
    )


def _image(step: Step) -> str:
    return f"<br><small>{escaped(step.image)}</small>" if step.image else ""


def _reason(reason: Reason) -> str:
    text = f"<b>{escaped(reason.kind.value)}</b> {escaped(evidence(reason))}"
    lines = details(reason)
    if not lines:
        return f"<div>{text}</div>"
    more = len(lines) - _MOST_DETAILS
    shown = "\n".join([*lines[:_MOST_DETAILS], *([f"… and {more} more"] if more > 0 else [])])
    return f"<details><summary>{text}</summary><pre>{escaped(shown)}</pre></details>"


def _data(scene: Scene) -> str:
    """What the script needs beyond picture and table; texts that many targets share stand in it once."""
    parents, texts = inverse(scene.links), dict[str, int]()
    rows: list[dict[str, Any]] = []
    for name, step in scene.steps.items():
        facts = scene.facts.get(step.target, TargetFacts())
        inputs = [texts.setdefault(text, len(texts)) for text in facts.inputs[:_MOST_INPUTS]]
        more = max(0, len(facts.inputs) - _MOST_INPUTS)
        above = [scene.index[parent] for parent in parents[name]]
        rows.append({"name": name, "parents": above, "inputs": inputs, "more": more})
    text = json.dumps({"targets": rows, "texts": list(texts)}, separators=(",", ":"))
    # Inside a script element only `<` could end it; `&` and `>` are for readers that are less exact.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
