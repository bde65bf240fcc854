"""Where the boxes and lines of a picture go: a layered layout from left to right. Knows boxes and links, not plans.

Layers by longest path, crossings reduced by barycenter sweeps, heights by isotonic regression (the exact answer to "as near to
the neighbours as the order allows"), long lines led through free lanes. Three things keep large graphs readable: targets that
hang on the same parents share a frame with one line to it, small families below one parent are packed into such a frame, and
what is far wider than high is folded like text. No recursion over the graph: only frames within frames recurse, a few levels.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise
from math import log, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Links = Mapping[str, Sequence[str]]  # parent → its children, every name a key, children sorted

ROW_GAP, FRAME_GAP, LANE_GAP = 14.0, 26.0, 9.0
CELL_GAP, FAMILY_GAP, COLUMN_GAP, FRAME_PAD = 10.0, 28.0, 48.0, 16.0
BAND_GAP = 66.0
_MIN_GAP, _MAX_GAP = 60.0, 240.0
_FEW = 24  # up to here every box gets lines of its own
_CROWD = 5  # so many of a kind share a frame
_FAMILY = 40  # a family packed into a frame is at most so large
_MAX_LANES = 20_000
_WIDE = 5000.0
_NEARLY = 8.0
_LOOK = 1.6  # width to height of a screen


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    w: float
    h: float

    def moved(self, dx: float, dy: float) -> Box:
        """The same rectangle elsewhere."""
        return Box(self.x + dx, self.y + dy, self.w, self.h)


class Point(NamedTuple):
    """A stop of a line; `bend` says how the line comes there: straight, by a curve, or round a corner that follows."""

    x: float
    y: float
    bend: str = "line"  # line, curve, corner


@dataclass(frozen=True, slots=True)
class Line:
    """A line from one or several boxes to one or several others: every source is a parent of every target."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """A finished layout, its corner at 0, 0."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    frames: tuple[Box, ...] = ()
    lines: tuple[Line, ...] = ()

    def moved(self, dx: float, dy: float) -> Placement:
        """The same layout elsewhere."""
        return replace(
            self,
            boxes={name: box.moved(dx, dy) for name, box in self.boxes.items()},
            frames=tuple(box.moved(dx, dy) for box in self.frames),
            lines=tuple(
                Line(line.sources, line.targets, tuple(Point(p.x + dx, p.y + dy, p.bend) for p in line.points))
                for line in self.lines
            ),
        )


def place(links: Links, sizes: Mapping[str, tuple[float, float]]) -> Placement:
    """Lay out an acyclic graph; equal graphs give equal layouts."""
    parts = [_place_connected({name: links[name] for name in part}, sizes) for part in _components(links)]
    if len(parts) == 1:
        return parts[0]
    parts.sort(key=lambda part: (-len(part.boxes), min(part.boxes)))
    area = sum((part.width + FRAME_GAP) * (part.height + FRAME_GAP) for part in parts)
    return _pack(parts, max([sqrt(area * _LOOK), *(part.width for part in parts)]), FRAME_GAP)


def reduced(links: Links) -> dict[str, tuple[str, ...]]:
    """Leave out every link that a longer way already says. Sets are bits of whole numbers: 1000 targets take milliseconds."""
    order = topological(links)
    place_of = {name: i for i, name in enumerate(order)}
    below = [0] * len(order)
    result: dict[str, tuple[str, ...]] = {}
    for name in reversed(order):
        reach, kept = 0, []
        for child in sorted(links[name], key=place_of.__getitem__):
            if not reach >> place_of[child] & 1:
                kept.append(child)
                reach |= below[place_of[child]] | 1 << place_of[child]
        below[place_of[name]] = reach
        result[name] = tuple(sorted(kept))
    return result


def topological(links: Links) -> list[str]:
    """Every name, parents first, the smallest name first where there is a choice."""
    waiting = dict.fromkeys(links, 0)
    for children in links.values():
        for child in children:
            waiting[child] += 1
    ready = [name for name, count in waiting.items() if not count]
    heapify(ready)
    order = []
    while ready:
        order.append(name := heappop(ready))
        for child in links[name]:
            waiting[child] -= 1
            if not waiting[child]:
                heappush(ready, child)
    return order


def inverse(links: Links) -> dict[str, list[str]]:
    """Child → its parents."""
    result: dict[str, list[str]] = {name: [] for name in links}
    for name in sorted(links):
        for child in links[name]:
            result[child].append(name)
    return result


def _components(links: Links) -> Iterator[list[str]]:
    parents = inverse(links)
    seen: set[str] = set()
    for first in sorted(links):
        if first not in seen:
            seen.add(first)
            part, todo = [], [first]
            while todo:
                part.append(name := todo.pop())
                new = [other for other in (*links[name], *parents[name]) if other not in seen]
                seen.update(new)
                todo += dict.fromkeys(new)
            yield sorted(part)


def _pack(parts: Sequence[Placement], width: float, gap: float) -> Placement:
    """Set layouts in rows, left to right, like words."""
    boxes: dict[str, Box] = {}
    frames: list[Box] = []
    lines: list[Line] = []
    x = y = row = right = 0.0
    for part in parts:
        if x and x + part.width > width + 0.5:
            x, y, row = 0.0, y + row + gap, 0.0
        there = part.moved(x, y)
        boxes |= there.boxes
        frames += there.frames
        lines += there.lines
        right, row, x = max(right, x + part.width), max(row, part.height), x + part.width + gap
    return Placement(right, y + row, boxes, tuple(frames), tuple(lines))


def _stack(parts: Sequence[Placement], aspect: float) -> Placement:
    """Set layouts in columns, top to bottom, so that the whole is about `aspect` times as wide as high.

    Columns and not rows: families beside each other in a row would read as one long chain.
    """
    gap, below = (COLUMN_GAP, FAMILY_GAP) if any(part.lines for part in parts) else (CELL_GAP, CELL_GAP)
    wide, high = max(part.width for part in parts) + gap, sum(part.height + below for part in parts)
    count = min(len(parts), max(1, round(sqrt(high * aspect / wide))))
    boxes: dict[str, Box] = {}
    frames: list[Box] = []
    lines: list[Line] = []
    x = y = right = bottom = 0.0
    filled = column = 0.0
    for part in parts:
        if y and (filled + part.height / 2 > high * (column + 1) / count):
            x, y, column = right + gap, 0.0, column + 1
        there = part.moved(x, y)
        boxes |= there.boxes
        frames += there.frames
        lines += there.lines
        right, bottom = max(right, x + part.width), max(bottom, y + part.height)
        y += part.height + below
        filled += part.height + below
    return Placement(right, bottom, boxes, tuple(frames), tuple(lines))


# ── one connected graph: units, layers, order, heights, lines


@dataclass(slots=True)
class _Unit:
    """What takes part in the layout: a box, a frame of several layouts, or a lane for a long line."""

    names: tuple[str, ...] = ()
    parts: tuple[Placement, ...] = ()
    w: float = 0.0
    h: float = 0.0
    x: float = 0.0
    y: float = 0.0  # of its middle
    layer: int = 0
    inner: Placement | None = None
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    @property
    def is_lane(self) -> bool:
        return not self.names

    def gap_to(self, other: _Unit) -> float:
        if self.is_lane or other.is_lane:
            return LANE_GAP
        return FRAME_GAP if self.parts or other.parts else ROW_GAP

    def pack(self, aspect: float) -> None:
        """Set a frame's content so that it is about `aspect` times as wide as high."""
        if self.parts:
            self.inner = _stack(self.parts, aspect)
            self.w, self.h = self.inner.width + 2 * FRAME_PAD, self.inner.height + 2 * FRAME_PAD


def _place_connected(links: Links, sizes: Mapping[str, tuple[float, float]]) -> Placement:
    if len(links) == 1:
        ((name, _),) = links.items()
        w, h = sizes[name]
        return Placement(w, h, {name: Box(0, 0, w, h)})
    units = _make_units(links, sizes)
    home = {name: i for i, unit in enumerate(units) for name in unit.names}
    wires: dict[tuple[int, int], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for name, children in links.items():
        for child in children:
            if home[name] != home[child]:
                ends = wires[home[name], home[child]]
                ends[0].add(name)
                ends[1].add(child)
    layers = _make_layers(units, wires)
    _choose_aspect(units, layers)
    routes = _lead_long_lines(units, layers, sorted(wires))
    _order(units, layers)
    _set_heights(units, layers)
    bands = _set_columns(units, layers)
    return _finish(
        units, layers, bands, [(sorted(wires[wire][0]), sorted(wires[wire][1]), routes[wire]) for wire in sorted(wires)]
    )


def _make_units(links: Links, sizes: Mapping[str, tuple[float, float]]) -> list[_Unit]:
    parents = inverse(links)
    taken: set[str] = set()
    units: list[_Unit] = []
    if len(links) > _FEW:
        for name in topological(links):
            if name not in taken and len(links[name]) >= _CROWD:
                families = [family for family in _families(links, parents, name) if not taken & set(family)]
                if len(families) >= _CROWD:
                    taken.update(*families)
                    units.append(_frame([{n: links[n] for n in family} for family in families], sizes))
        twins: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
        for name in sorted(links.keys() - taken):
            twins[tuple(parents[name]), tuple(links[name])].append(name)
        for names in twins.values():
            if len(names) >= _CROWD:
                taken.update(names)
                units.append(_frame([{name: ()} for name in names], sizes))
    units += [_Unit((name,), (), *sizes[name]) for name in sorted(links.keys() - taken)]
    return units


def _families(links: Links, parents: Mapping[str, Sequence[str]], head: str) -> Iterator[list[str]]:
    """Small groups below `head` that no other line enters or leaves, and that `head` enters at their sources only."""
    seen: set[str] = set()
    for child in links[head]:
        if child in seen:
            continue
        family, todo = {child}, [child]
        while todo and len(family) <= _FAMILY:
            name = todo.pop()
            new = {*links[name], *parents[name]} - family - {head}
            family |= new
            todo += sorted(new)
        seen |= family
        entered = all((parents[name] == [head]) if head in parents[name] else parents[name] for name in family)
        if len(family) <= _FAMILY and entered:
            yield sorted(family)


def _frame(families: Sequence[Links], sizes: Mapping[str, tuple[float, float]]) -> _Unit:
    # Boxes of one width stand in straight columns.
    width = max(sizes[name][0] for family in families for name in family)
    even = {name: (width, sizes[name][1]) for family in families for name in family}
    parts = [place(family, even) for family in families]
    parts.sort(key=lambda part: (-part.height, min(part.boxes)))
    return _Unit(tuple(name for family in families for name in family), tuple(parts))


def _make_layers(units: list[_Unit], wires: Iterable[tuple[int, int]]) -> list[list[int]]:
    for a, b in sorted(wires):
        units[a].after.append(b)
        units[b].before.append(a)
    waiting = [len(unit.before) for unit in units]
    order = [i for i, count in enumerate(waiting) if not count]
    for i in order:  # grows while it is walked
        for child in units[i].after:
            units[child].layer = max(units[child].layer, units[i].layer + 1)
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    for i in reversed(order):
        # A box with more lines out than in stands nearer to its children: shorter lines.
        if len(units[i].after) > len(units[i].before):
            units[i].layer = min(units[child].layer for child in units[i].after) - 1
    layers: list[list[int]] = [[] for _ in range(1 + max(unit.layer for unit in units))]
    for i in sorted(order, key=lambda i: units[i].names):
        layers[units[i].layer].append(i)
    return layers


def _choose_aspect(units: list[_Unit], layers: Sequence[Sequence[int]]) -> None:
    """Shape the frames so that the whole comes nearest to a screen."""
    if not any(unit.parts for unit in units):
        return

    def distance(aspect: float) -> float:
        for unit in units:
            unit.pack(aspect)
        width = sum(max(units[i].w for i in layer) + _MIN_GAP for layer in layers)
        height = max(sum(units[i].h + ROW_GAP for i in layer) for layer in layers)
        return abs(log(width / height / _LOOK))

    best = min((0.4, 0.7, 1.2, 2.0, 3.5, 6.0, 10.0, 18.0, 32.0), key=lambda aspect: (distance(aspect), aspect))
    for unit in units:
        unit.pack(best)


def _lead_long_lines(
    units: list[_Unit], layers: list[list[int]], wires: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[int]]:
    """Give lines that skip layers a lane in each; lines of one source share theirs. Returns the units along each line."""
    for unit in units:
        unit.before, unit.after = [], []
    reach: dict[int, int] = defaultdict(int)
    for a, b in wires:
        reach[a] = max(reach[a], units[b].layer)
    led = sum(max(0, last - units[a].layer - 1) for a, last in reach.items()) <= _MAX_LANES
    lanes: dict[tuple[int, int], int] = {}
    routes: dict[tuple[int, int], list[int]] = {}
    for a, b in wires:
        route = [a]
        for layer in range(units[a].layer + 1, units[b].layer) if led else ():
            if (a, layer) not in lanes:
                lanes[a, layer] = len(units)
                layers[layer].append(len(units))
                units.append(_Unit(layer=layer))
                _join(units, route[-1], lanes[a, layer])
            route.append(lanes[a, layer])
        if units[route[-1]].layer + 1 == units[b].layer:
            _join(units, route[-1], b)
        routes[a, b] = [*route, b]
    return routes


def _join(units: list[_Unit], a: int, b: int) -> None:
    units[a].after.append(b)
    units[b].before.append(a)


def _order(units: list[_Unit], layers: list[list[int]]) -> None:
    """Sort every layer so that few lines cross; the best of several sweeps wins."""
    size = sum(len(unit.after) for unit in units)
    rank = {i: float(at) for layer in layers for at, i in enumerate(layer)}

    def settle(layer: list[int], side: str) -> None:
        def wish(i: int) -> float:
            near = units[i].before if side == "before" else units[i].after
            return sum(rank[j] for j in near) / len(near) if near else rank[i]

        layer.sort(key=lambda i: (wish(i), rank[i]))
        rank.update((i, float(at)) for at, i in enumerate(layer))

    best, fewest = [list(layer) for layer in layers], _crossings(units, layers, rank)
    for sweep in range(max(4, min(24, 80_000 // (size + 1)))):
        for layer in layers[1:] if sweep % 2 == 0 else reversed(layers[:-1]):
            settle(layer, "before" if sweep % 2 == 0 else "after")
        if size <= 2000:  # noqa: PLR2004 - swapping neighbours pays in small pictures only
            _swap_neighbours(units, layers, rank)
        if (found := _crossings(units, layers, rank)) < fewest:
            best, fewest = [list(layer) for layer in layers], found
        if not fewest:
            break
    layers[:] = best


def _swap_neighbours(units: list[_Unit], layers: list[list[int]], rank: dict[int, float]) -> None:
    def crossed(a: Sequence[int], b: Sequence[int]) -> int:
        right = sorted(rank[j] for j in b)
        return sum(_below(right, rank[i]) for i in a)

    for layer in layers:
        for at in range(len(layer) - 1):
            a, b = units[layer[at]], units[layer[at + 1]]
            now = crossed(a.before, b.before) + crossed(a.after, b.after)
            if now and crossed(b.before, a.before) + crossed(b.after, a.after) < now:
                layer[at], layer[at + 1] = layer[at + 1], layer[at]
                rank[layer[at]], rank[layer[at + 1]] = float(at), float(at + 1)


def _below(ranks: Sequence[float], rank: float) -> int:
    return bisect_right(ranks, rank - 0.5)


def _crossings(units: list[_Unit], layers: Sequence[Sequence[int]], rank: Mapping[int, float]) -> int:
    total = 0
    for layer, following in pairwise(layers):
        ends = [int(end) for i in layer for end in sorted(rank[j] for j in units[i].after)]
        tree = [0] * (len(following) + 1)  # Fenwick: how many ends so far lie at or above a place
        for seen, end in enumerate(ends):
            at, above = end + 1, 0
            while at:
                above += tree[at]
                at &= at - 1
            total += seen - above
            at = end + 1
            while at < len(tree):
                tree[at] += 1
                at += at & -at
    return total


def _set_heights(units: list[_Unit], layers: Sequence[Sequence[int]]) -> None:
    for layer in layers:
        y = 0.0
        for at, i in enumerate(layer):
            y += (units[i].h + units[layer[at - 1]].h) / 2 + units[layer[at - 1]].gap_to(units[i]) if at else 0.0
            units[i].y = y
        for i in layer:
            units[i].y -= y / 2
    rounds = 12 if len(units) < 3000 else 6  # noqa: PLR2004
    for turn in range(rounds):
        for layer in layers:
            _settle(units, layer, before=1.0, after=0.0 if turn < rounds // 2 else 1.0)
        for layer in reversed(layers):
            _settle(units, layer, before=0.0 if turn < rounds // 2 else 1.0, after=1.0)


def _settle(units: list[_Unit], layer: Sequence[int], *, before: float, after: float) -> None:
    """Move a layer's units as near to their neighbours as order and distances allow: isotonic regression by pooling."""
    pools: list[tuple[float, float, int]] = []  # value, weight, count
    offsets: list[float] = []
    for at, i in enumerate(layer):
        unit = units[i]
        above = units[layer[at - 1]]
        offsets.append(offsets[-1] + (above.h + unit.h) / 2 + above.gap_to(unit) if at else 0.0)
        wish, weight = _wish(units, unit, before, after)
        value, count = wish - offsets[-1], 1
        while pools and pools[-1][0] >= value:
            other, mass, many = pools.pop()
            value, weight, count = (value * weight + other * mass) / (weight + mass), weight + mass, count + many
        pools.append((value, weight, count))
    at = 0
    for value, _, count in pools:
        for _ in range(count):
            units[layer[at]].y = value + offsets[at]
            at += 1


def _wish(units: list[_Unit], unit: _Unit, before: float, after: float) -> tuple[float, float]:
    total = mass = 0.0
    for near, share in ((unit.before, before), (unit.after, after)):
        for j in near if share else ():
            other = units[j]
            # Long lines are kept straight first, then chains.
            pull = 8.0 if unit.is_lane and other.is_lane else 2.0 if unit.is_lane or other.is_lane or len(near) == 1 else 1.0
            pull *= share / sqrt(len(near))
            total += other.y * pull
            mass += pull
    return (total / mass, mass) if mass else (unit.y, 0.05)


def _set_columns(units: list[_Unit], layers: Sequence[Sequence[int]]) -> list[int]:
    """Give every layer its x; returns the band each layer is in (all 0 unless folded)."""
    widths = []
    for layer in layers:
        boxes = [units[i] for i in layer if not units[i].is_lane and not units[i].parts]
        even = max((unit.w for unit in boxes), default=0.0)
        for unit in boxes:
            unit.w = even
        widths.append(max((units[i].w for i in layer), default=0.0))
    gaps = []
    for layer in layers:
        climb = max((abs(units[i].y - units[j].y) for i in layer for j in units[i].after), default=0.0)
        gaps.append(min(_MAX_GAP, _MIN_GAP + climb * 0.1))
    top = min(units[i].y - units[i].h / 2 for layer in layers for i in layer)
    bottom = max(units[i].y + units[i].h / 2 for layer in layers for i in layer)
    total, height = sum(widths) + sum(gaps), bottom - top
    folds = total > _WIDE and total > 6 * height
    if folds:
        # Rows below each other look like a table: boxes of one width.
        widest = max(widths)
        total = sum(gaps) + widest * len(widths)
        widths = [widest] * len(widths)
        for layer in layers:
            for i in layer:
                units[i].w = units[i].w if units[i].parts else widest
    limit = sqrt(total * (height + BAND_GAP) * _LOOK) if folds else float("inf")
    bands, x, band = [], 0.0, 0
    for at, layer in enumerate(layers):
        if x and x + widths[at] > limit:
            x, band = 0.0, band + 1
        for i in layer:
            units[i].x = x
        bands.append(band)
        x += widths[at] + gaps[at]
    for at, layer in enumerate(layers):
        for i in layer:
            units[i].y += bands[at] * (height + BAND_GAP) - top
            if units[i].is_lane:
                units[i].w = widths[at]
    return bands


def _finish(
    units: list[_Unit],
    layers: Sequence[Sequence[int]],
    bands: Sequence[int],
    wires: Sequence[tuple[Sequence[str], Sequence[str], Sequence[int]]],
) -> Placement:
    boxes: dict[str, Box] = {}
    frames: list[Box] = []
    lines: list[Line] = []
    for unit in units:
        if unit.inner is not None:
            inner = unit.inner.moved(unit.x + FRAME_PAD, unit.y - unit.h / 2 + FRAME_PAD)
            frames += [Box(unit.x, unit.y - unit.h / 2, unit.w, unit.h), *inner.frames]
            boxes |= inner.boxes
            lines += inner.lines
        elif unit.names:
            boxes[unit.names[0]] = Box(unit.x, unit.y - unit.h / 2, unit.w, unit.h)
    right = max(units[i].x + units[i].w for layer in layers for i in layer)
    ends = {layer: max(units[i].x + units[i].w for i in members) for layer, members in enumerate(layers)}
    floors = [
        max(units[i].y + units[i].h / 2 for layer, members in enumerate(layers) if bands[layer] == band for i in members)
        for band in range(bands[-1] + 1)
    ]
    ports = _ports(units, [route for _, _, route in wires])
    turns: dict[int, dict[int, int]] = defaultdict(dict)  # band → unit → lane of its way to the next band
    for sources, targets, route in wires:
        points = [Point(units[route[0]].x + units[route[0]].w, units[route[0]].y)]
        for a, b in pairwise(route):
            here, there = units[a], units[b]
            y = there.y + ports.get((a, b), 0.0)
            if not there.is_lane and len(there.before) == 1 and abs(points[-1].y - y) <= _NEARLY:
                y = points[-1].y  # a level line, not a slightly tilted one
            end = ends[here.layer]
            if bands[here.layer] != bands[there.layer]:
                turn = turns[bands[here.layer]]
                shift = 6.0 * (turn.setdefault(a, len(turn)) % 4)
                low = floors[bands[here.layer]] + BAND_GAP / 2 - 9 + shift
                corners = ((right + 24 + shift, points[-1].y), (right + 24 + shift, low), (-24 - shift, low), (-24 - shift, y))
                points += [Point(x, at, "corner") for x, at in corners]
                points.append(Point(there.x, y))
            else:
                points.append(Point(end, points[-1].y))
                points.append(Point(there.x - (0 if there.is_lane else 8), y, "curve"))
                points.append(Point(there.x, y))
            if there.is_lane:
                points.append(Point(there.x + there.w, y))
        lines.append(Line(tuple(sources), tuple(targets), tuple(points)))
    margin = 48.0 if bands[-1] else 0.0
    return Placement(right + 2 * margin, max(floors), boxes, tuple(frames), tuple(lines)).moved(margin, 0.0)


def _ports(units: list[_Unit], routes: Sequence[Sequence[int]]) -> dict[tuple[int, int], float]:
    """Where on its left side a unit is entered: several lines come in one below the other, in the order of their origins."""
    entering: dict[int, set[int]] = defaultdict(set)
    for route in routes:
        entering[route[-1]].add(route[-2])
    ports = {}
    for b, origins in entering.items():
        room = min(9.0, (units[b].h - 20) / max(1, len(origins) - 1))
        for at, a in enumerate(sorted(origins, key=lambda a: (units[a].y, a))):
            ports[a, b] = (at - (len(origins) - 1) / 2) * room
    return ports
