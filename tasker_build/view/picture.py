"""The plan as a picture: SVG, and PNG made from it. Values in, text out; equal values give equal bytes."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.duration import estimate
from tasker_build.errors import Problem, RefusedError, SelectionError, nearest
from tasker_build.plan.words import Action
from tasker_build.view.layout import inverse, place, reduced
from tasker_build.view.wording import evidence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tasker_build.graph import Graph
    from tasker_build.plan.words import Plan, Step
    from tasker_build.spec.model import TargetName
    from tasker_build.view.layout import Box, Line, Placement, Point

    FactsOf = Mapping[TargetName, "TargetFacts"]

FORMATS = ("svg", "html", "png")
_BOX_HEIGHT, _BADGE, _PAD = 48.0, 20.0, 11.0
_NAME_SIZE, _SMALL = 13.0, 11.0
_LONGEST = 44  # characters of a name in a box; the whole name is in its tooltip
_MARGIN, _NARROWEST = 28.0, 640.0
_MOST_PIXELS, _LONGEST_SIDE = 24_000_000, 16_000
_MINUTE, _HOUR, _KILO = 60, 3600, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What is known of a target besides its step."""

    duration: float | None = None  # seconds
    size: int | None = None  # bytes
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """Which part of the plan is drawn, and how."""

    title: str = ""
    focus: str | None = None  # only this target with what it stands on and what stands on it
    depth: int | None = None  # so many steps away from the focus
    changed_only: bool = False
    all_edges: bool = False  # also those that a longer way already says


_NO_FACTS = TargetFacts()


# ── which part


def narrow(graph: Graph, plan: Plan, options: PictureOptions) -> tuple[Graph, Plan]:
    """Keep what the options ask for; where unchanged targets between changed ones go, a direct edge takes their place.

    Raises:
        SelectionError: the focus is no target of the plan.
    """
    steps = {step.target: step for step in plan.steps}
    links: dict[str, tuple[str, ...]] = {
        name: tuple(sorted(child for child in graph.successors(name) if child in steps)) for name in graph if name in steps
    }
    chosen: Collection[str] = steps
    if options.focus is not None:
        if options.focus not in links:
            message = f"the focus `{options.focus}` is not a target of this plan"
            raise SelectionError([Problem(code="G002", message=message, hints=nearest(options.focus, sorted(links)))])
        chosen = _around(reduced(links), options.focus, options.depth)
    if options.changed_only:
        chosen = {name for name in chosen if name == options.focus or steps[_typed(name)].action is not Action.KEEP}
    part = graph.copy()
    part.remove_nodes_from([name for name in graph if name not in chosen])
    part.add_edges_from((_typed(name), _typed(child)) for name in part for child in _beyond(links, chosen, name))
    return part, replace(plan, steps=tuple(step for step in plan.steps if step.target in chosen))


def _typed(name: str) -> TargetName:
    return name  # type: ignore[return-value]


def _around(links: Mapping[str, Sequence[str]], focus: str, depth: int | None) -> set[str]:
    found = {focus}
    for side in (links, inverse(links)):
        edge, left = {focus}, depth
        while edge and left != 0:
            edge = {other for name in edge for other in side[name]} - (found - {focus})
            found |= edge
            left = None if left is None else left - 1
    return found


def _beyond(links: Mapping[str, Sequence[str]], chosen: Collection[str], name: str) -> Iterator[str]:
    """The nearest chosen targets below, through targets that are not chosen."""
    seen: set[str] = set()
    todo = [child for child in links[name] if child not in chosen]
    while todo:
        hidden = todo.pop()
        for child in links[hidden]:
            if child not in seen:
                seen.add(child)
                if child in chosen:
                    yield child
                else:
                    todo.append(child)


def critical_path(graph: Graph, plan: Plan, facts: FactsOf) -> tuple[TargetName, ...]:
    """The chain of builds that takes longest; where durations are unknown or equal, the one with most builds."""
    builds = [step.target for step in plan.steps if step.action.builds and step.target in graph]
    durations: dict[str, float] = {name: took for name in builds if (took := facts.get(name, _NO_FACTS).duration) is not None}
    return estimate(builds, {name: sorted(graph.predecessors(name)) for name in builds}, durations).critical


# ── words

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escaped(text: str) -> str:
    """Text that is inert in XML and HTML, in attributes too; what XML cannot hold becomes U+FFFD."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def duration_text(seconds: float) -> str:
    """Such as 0.4s, 52s, 3m40s, 1h05m."""
    if seconds < 9.95:  # noqa: PLR2004
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def size_text(size: float) -> str:
    """Such as 640 B, 312 MB, 1.9 GB."""
    for unit in ("B", "kB", "MB"):
        if size < _KILO * 0.9995:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"  # noqa: PLR2004
        size /= _KILO
    return f"{size:.1f} GB"


def why_text(step: Step) -> str:
    """The kinds of a step's reasons; without any, the action."""
    kinds = ", ".join(dict.fromkeys(reason.kind.value for reason in step.reasons))
    return kinds or ("up to date" if step.action is Action.KEEP else step.action.word)


def facts_text(facts: TargetFacts) -> str:
    """Duration and size, as far as known."""
    duration = [] if facts.duration is None else [duration_text(facts.duration)]
    return " · ".join([*duration, *([] if facts.size is None else [size_text(facts.size)])])


def path_text(path: Sequence[TargetName], facts: FactsOf) -> str:
    """What the critical path adds up to."""
    known = [found for name in path if (found := facts.get(name, _NO_FACTS).duration) is not None]
    count = f"{len(path)} build{'s' if len(path) != 1 else ''}"
    if not known:
        return count
    return f"{count}, {'about' if len(known) == len(path) else 'at least'} {duration_text(sum(known))}"


def headline(plan: Plan) -> str:
    """The plan in a few words."""
    builds = sum(step.action.builds for step in plan.steps)
    count = len(plan.steps)
    if not plan.changed:
        return f"nothing to do: {count} target{'s' if count != 1 else ''}"
    return f"{builds} of {count} target{'s' if count != 1 else ''} to build"


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def _mono(text: str, size: float) -> float:
    return _cells(text) * size * 0.605


def _sans(text: str, size: float) -> float:
    """An upper bound for the usual sans-serif fonts."""
    em = sum(0.32 if c in "iljtfr.,:;'|! ()" else 0.95 if c in "mwMW" else 0.74 if c.isupper() else 0.61 for c in text)
    return size * (em + sum(0.4 for c in text if unicodedata.east_asian_width(c) in "WF"))


def _short(text: str, longest: int = _LONGEST) -> str:
    """Cut the middle: both ends of a path tell more."""
    return text if len(text) <= longest else f"{text[: longest // 2 - 1]}…{text[-(longest - longest // 2) :]}"


# ── colours

_CLASSES = {action: action.name.lower() for action in Action}
# class → (property, light, dark); plain classes, because not every renderer knows CSS variables
_PAINT: tuple[tuple[str, str, str, str], ...] = (
    (".bg", "fill", "#ffffff", "#0d1117"),
    (".name,.title", "fill", "#1f2328", "#e6edf3"),
    (".keep .name", "fill", "#59636e", "#9198a1"),
    (".small,.label", "fill", "#59636e", "#9ea7b3"),
    (".frame", "fill", "#f6f8fa", "#11161d"),
    (".frame", "stroke", "#d8dee4", "#2a313a"),
    (".line", "stroke", "#afb8c1", "#4b535d"),
    (".tip", "fill", "#8c959f", "#6b747e"),
    (".line.hot", "stroke", "#bf3989", "#f778ba"),
    (".tip.hot", "fill", "#bf3989", "#f778ba"),
    (".ring", "stroke", "#bf3989", "#f778ba"),
    (".glyph", "fill", "#ffffff", "#0d1117"),
    (".keep .glyph", "fill", "#6e7781", "#9198a1"),
    *(
        row
        for name, ink, fill, stroke, dark_ink, dark_fill, dark_stroke in (
            ("keep", "#e4e8ed", "#fbfcfd", "#d8dee4", "#262c34", "#12171e", "#30363d"),
            ("create", "#1a7f37", "#eefaf1", "#4ac26b", "#3fb950", "#0f2318", "#2ea043"),
            ("rebuild", "#9a6700", "#fff8e1", "#d4a72c", "#d29922", "#271e0d", "#9e6a03"),
            ("cascade", "#0969da", "#eef6ff", "#54aeff", "#58a6ff", "#0e1e35", "#1f6feb"),
            ("retag", "#8250df", "#f8f2ff", "#c297ff", "#a371f7", "#1f1735", "#8957e5"),
            ("forget", "#cf222e", "#fff1f0", "#ff8182", "#f85149", "#2a1315", "#da3633"),
        )
        for row in (
            (f".{name} .box", "fill", fill, dark_fill),
            (f".{name} .box", "stroke", stroke, dark_stroke),
            (f".{name} .badge", "fill", ink, dark_ink),
            *([(f".{name} .why", "fill", ink, dark_ink)] if name != "keep" else []),
        )
    ),
)
_SHAPE = """
text{font-size:11px;font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans",sans-serif}
.name,.glyph{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace}
.name{font-size:13px;font-weight:600}
.glyph{font-size:15px;font-weight:700;text-anchor:middle}
.title{font-size:16px;font-weight:600}
.label{font-size:12px}
.why{font-weight:600}
.keep .why{font-weight:400}
.keep .name{font-weight:400}
.end{text-anchor:end}
.box,.frame{stroke-width:1.2px}
.forget .box{stroke-dasharray:5 4}
.line{fill:none;stroke-width:1.4px}
.line.hot{stroke-width:3px}
.ring{fill:none;stroke-width:2px}
"""


def style(*, themed: bool) -> str:
    """The picture's CSS: light, dark where the reader's system is; `themed` lets data-theme on the root decide instead."""
    light = "".join(f"{name}{{{prop}:{colour}}}" for name, prop, colour, _ in _PAINT)
    guard = ":root:not([data-theme=light]) " if themed else ""
    media = "".join(f"{_each(guard, name)}{{{prop}:{dark}}}" for name, prop, _, dark in _PAINT)
    chosen = "".join(f"{_each(':root[data-theme=dark] ', name)}{{{prop}:{dark}}}" for name, prop, _, dark in _PAINT)
    css = f"{_SHAPE}{light}\n@media (prefers-color-scheme:dark){{{media}}}\n"
    return css + (f"{chosen}\n" if themed else "")


def _each(lead: str, names: str) -> str:
    return ",".join(f"{lead}{name}" for name in names.split(","))


# ── drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a picture shows, before it is text."""

    steps: Mapping[str, Step]
    links: Mapping[str, Sequence[str]]
    facts: FactsOf
    path: tuple[TargetName, ...]
    path_note: str
    title: str
    index: Mapping[str, int]  # target → its number, in build order


def make_scene(graph: Graph, plan: Plan, facts: FactsOf, options: PictureOptions) -> Scene:
    """Choose what is drawn.

    Raises:
        SelectionError: the focus is no target of the plan.
    """
    path = critical_path(graph, plan, facts)
    part, shown = narrow(graph, plan, options)
    links: dict[str, tuple[str, ...]] = {
        step.target: tuple(sorted(part.successors(step.target))) if step.target in part else () for step in shown.steps
    }
    title = f"{options.title}: {headline(plan)}" if options.title else headline(plan)
    if len(shown.steps) != len(plan.steps):
        asked = [f"around {_short(options.focus)}"] if options.focus else []
        asked += ["changed only"] if options.changed_only else []
        title += f" ({', '.join(asked)}: {len(shown.steps)} shown)"
    return Scene(
        steps={step.target: step for step in shown.steps},
        links=links if options.all_edges else reduced(links),
        facts=facts,
        path=path,
        path_note=path_text(path, facts),
        title=title,
        index={step.target: i for i, step in enumerate(shown.steps)},
    )


def picture_svg(graph: Graph, plan: Plan, facts: FactsOf, options: PictureOptions) -> str:
    """The plan as one SVG document that needs nothing from outside.

    Raises:
        SelectionError: the focus is no target of the plan.
    """
    return draw(make_scene(graph, plan, facts, options), linked=False)


def picture_png(graph: Graph, plan: Plan, facts: FactsOf, options: PictureOptions) -> bytes:
    """The SVG as a PNG, in light colours and twice the size where that is not too large; in one font, so that every machine
    draws the same.

    Raises:
        RefusedError: the renderer or its font is not installed.
        SelectionError: the focus is no target of the plan.
    """
    try:
        import font_roboto  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
        import resvg_py  # noqa: PLC0415 - an extra
    except ImportError as error:
        hints = ("pip install 'tasker-build[png]'", "an .svg or .html file needs nothing further")
        raise RefusedError(f"a PNG needs the Python package {error.name}, which is not installed", hints=hints) from error
    text = picture_svg(graph, plan, facts, options)
    # The font has no arrow.
    text = re.sub(r"font-family:[^};]+", "font-family:Roboto", text).replace("→", "-&gt;")
    size = re.match(r'<svg [^>]*?width="(\d+)" height="(\d+)"', text)
    width, height = (int(size[1]), int(size[2])) if size else (1, 1)
    zoom = min(2.0, (_MOST_PIXELS / (width * height)) ** 0.5, _LONGEST_SIDE / max(width, height))
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=text,
            width=max(1, int(width * zoom)),
            height=max(1, int(height * zoom)),
            skip_system_fonts=True,
            font_files=[str(Path(font_roboto.Roboto).with_name(f"Roboto-{weight}.ttf")) for weight in ("Regular", "Bold")],
        )
    )


def draw(scene: Scene, *, linked: bool) -> str:
    """Write a scene as SVG; `linked` makes every target a link to its row and lets scripts and themes find the parts."""
    placement = place(scene.links, {name: _box_size(scene, name) for name in scene.steps})
    width = max(placement.width, _NARROWEST)
    # A large picture is first seen from afar: its heading grows with it.
    scale = min(5.0, max(1.0, width / 1800))
    legend, legend_height = _legend(scene, width / scale, 0.0 if linked else 28.0)
    placement = placement.moved(_MARGIN, top := _MARGIN + scale * (44 + legend_height))
    full_width, full_height = round(width + 2 * _MARGIN), round(top + placement.height + _MARGIN)
    described = f"{scene.title}. " + ", ".join(f"{count} {action.word}" for action, count in _counts(scene))
    size = f'width="{full_width}" height="{full_height}" viewBox="0 0 {full_width} {full_height}"'
    role = "group" if linked else "img"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="{role}" aria-label="{escaped(described)}">',
            f"<style>{style(themed=linked)}</style>",
            f'<rect class="bg" width="{full_width}" height="{full_height}"/>',
            f'<g transform="translate({_number(_MARGIN)} {_number(_MARGIN)}) scale({_number(scale)})">',
            # A page has the title in its head.
            *([] if linked else [f'<text class="title" x="0" y="14">{escaped(scene.title)}</text>']),
            *legend,
            "</g>",
            *(_frame(frame) for frame in placement.frames),
            *_lines(scene, placement, linked=linked),
            *(_target(scene, name, placement.boxes[name], linked=linked) for name in scene.index),
            "</svg>",
        ]
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")  # noqa: PLR2004


def _counts(scene: Scene) -> list[tuple[Action, int]]:
    counted = [(action, sum(step.action is action for step in scene.steps.values())) for action in Action]
    return [(action, count) for action, count in counted if count]


def _legend(scene: Scene, width: float, y: float) -> tuple[list[str], float]:
    """The signs that occur with their counts, in as many rows as they need."""
    entries = [(action, f"{count} {action.word}") for action, count in _counts(scene)]
    labels = [text for _, text in entries]
    labels += [f"critical path: {scene.path_note}"] if scene.path else []
    x, parts = 0.0, []
    for i, label in enumerate(labels):
        room = 26 + _sans(label, 12) + 20
        if x and x + room - 20 > width:
            x, y = 0.0, y + 26
        if i < len(entries):
            parts.append(f'<g class="{_CLASSES[entries[i][0]]}">{_badge(entries[i][0], x, y)}</g>')
        else:
            parts.append(f'<path class="line hot" d="M{_number(x)} {_number(y + 10)}h20"/>')
        parts.append(f'<text class="label" x="{_number(x + 27)}" y="{_number(y + 14.5)}">{escaped(label)}</text>')
        x += room
    return parts, y - 2


def _badge(action: Action, x: float, y: float) -> str:
    glyph = {Action.FORGET: "\u2212", Action.CASCADE: "^"}.get(action, action.value)
    drop = 19.5 if action is Action.CASCADE else 15.3
    return (
        f'<rect class="badge" x="{_number(x)}" y="{_number(y)}" width="20" height="20" rx="5"/>'
        f'<text class="glyph" x="{_number(x + 10)}" y="{_number(y + drop)}">{escaped(glyph)}</text>'
    )


def _box_size(scene: Scene, name: str) -> tuple[float, float]:
    step, meta = scene.steps[name], facts_text(scene.facts.get(_typed(name), _NO_FACTS))
    bold = 1.0 if step.action is Action.KEEP else 1.14
    below = _sans(_short(why_text(step)), _SMALL) * bold + (_sans(meta, _SMALL) + 18 if meta else 0)
    return float(round(max(_mono(_short(name), _NAME_SIZE), below, 84.0) + _BADGE + 3 * _PAD)), _BOX_HEIGHT


def _target(scene: Scene, name: str, box: Box, *, linked: bool) -> str:
    step = scene.steps[name]
    meta = facts_text(scene.facts.get(_typed(name), _NO_FACTS))
    x, y, left = box.x, box.y, box.x + _BADGE + 2 * _PAD - 1
    reasons = [f"{reason.kind.value}: {evidence(reason)}" for reason in step.reasons]
    tooltip = "\n".join([f"{name}: {step.action.word}", *reasons, *([meta] if meta else [])])
    ring = f'<rect class="ring" {_rect(box, 3.5)} rx="11"/>' if name in scene.path else ""
    head = f'<g class="node {_CLASSES[step.action]}">'
    if linked:
        label = f"{name}, {step.action.word}, {why_text(step)}"
        head = (
            f'<a class="node {_CLASSES[step.action]}" data-i="{scene.index[name]}" href="#{escaped(anchor(name))}" '
            f'aria-label="{escaped(label)}">'
        )
    return "".join(
        [
            head,
            f"<title>{escaped(tooltip)}</title>" if not linked else "",
            ring,
            f'<rect class="box" {_rect(box)} rx="8"/>',
            _badge(step.action, x + _PAD, y + (box.h - _BADGE) / 2),
            f'<text class="name" x="{_number(left)}" y="{_number(y + 20.5)}">{escaped(_short(name))}</text>',
            f'<text class="small why" x="{_number(left)}" y="{_number(y + 37)}">{escaped(_short(why_text(step)))}</text>',
            f'<text class="small end" x="{_number(x + box.w - _PAD)}" y="{_number(y + 37)}">{escaped(meta)}</text>'
            if meta
            else "",
            "</a>" if linked else "</g>",
        ]
    )


def anchor(name: str) -> str:
    """Where a page has the row of a target."""
    from urllib.parse import quote  # noqa: PLC0415 - pages only

    return "step:" + quote(name.encode("utf-8", "surrogateescape"), safe="/")


def _rect(box: Box, grow: float = 0.0) -> str:
    x, y, w, h = (_number(v) for v in (box.x - grow, box.y - grow, box.w + 2 * grow, box.h + 2 * grow))
    return f'x="{x}" y="{y}" width="{w}" height="{h}"'


def _frame(box: Box) -> str:
    return f'<rect class="frame" {_rect(box)} rx="12"/>'


def _lines(scene: Scene, placement: Placement, *, linked: bool) -> Iterator[str]:
    hops = set(zip(scene.path, scene.path[1:], strict=False))

    def is_hot(line: Line) -> bool:
        return any(a in line.sources and b in line.targets for a, b in hops) if hops else False

    # The critical path is drawn last: on top.
    rows = [(is_hot(line), line) for line in placement.lines]
    for hot, line in sorted(rows, key=lambda row: (row[0], row[1].sources, row[1].targets)):
        kind = " hot" if hot else ""
        points = line.points
        if len(line.targets) == 1 and line.targets[0] in scene.path:
            points = (*points[:-1], points[-1]._replace(x=points[-1].x - 4))  # the ring's edge, not the box's
        path = f'<path class="line{kind}" d="{_path(points, 6 if hot else 5)}"/>{_tip(points[-1], kind)}'
        if linked:
            ends = f'data-a="{_numbers(scene, line.sources)}" data-b="{_numbers(scene, line.targets)}"'
            path = f'<g class="edge" {ends}>{path}</g>'
        yield path


def _numbers(scene: Scene, names: Iterable[str]) -> str:
    return " ".join(str(scene.index[name]) for name in names)


def _tip(end: Point, kind: str) -> str:
    long, wide = (9, 5) if kind else (7, 3.5)
    x, y = _number(end.x - long), _number(end.y)
    return f'<path class="tip{kind}" d="M{x} {_number(end.y - wide)}L{_number(end.x)} {y}L{x} {_number(end.y + wide)}z"/>'


def _path(points: Sequence[Point], short: float) -> str:
    """Straight runs, S-curves between columns, round corners at folds; ends short of the tip."""
    at = points[0]
    parts = [f"M{_number(at.x)} {_number(at.y)}"]
    for i, point in enumerate(points[1:], 1):
        x = point.x - (short if i == len(points) - 1 else 0)
        if point.bend == "curve" and abs(point.y - at.y) > 0.05:  # noqa: PLR2004
            pull = (x - at.x) * 0.55
            parts.append(
                f"C{_number(at.x + pull)} {_number(at.y)} {_number(x - pull)} {_number(point.y)} {_number(x)} {_number(point.y)}"
            )
        elif point.bend == "corner" and i + 1 < len(points):
            before, after = _towards(point, at, 9), _towards(point, points[i + 1], 9)
            parts.append(f"L{before}Q{_number(point.x)} {_number(point.y)} {after}")
        elif (x, point.y) != (at.x, at.y):
            parts.append(f"L{_number(x)} {_number(point.y)}")
        at = point
    return "".join(parts)


def _towards(start: Point, end: Point, far: float) -> str:
    dx, dy = end.x - start.x, end.y - start.y
    length = max(abs(dx) + abs(dy), 0.001)
    share = min(far, length / 2) / length
    return f"{_number(start.x + dx * share)} {_number(start.y + dy * share)}"
