"""YAML text → a tree of located nodes. Knows PyYAML's event stream; knows no field of ours.

PyYAML's own constructor is not used: it keeps the last of duplicate keys, turns `22:22` into 1342 and `no` into False, recurses
on deep nesting and raises bare ValueErrors. Here scalars stay the text that was written; `fields` decides what they mean.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import yaml

from tasker_build.errors import Problem, Span, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 100_000
"""Nodes after aliases are expanded: generous for people, far below what an alias bomb asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode:
    """One scalar: `text` as written (quotes and escapes resolved), `plain` when it stood there without quotes."""

    text: str
    plain: bool
    span: Span = field(compare=False)

    @property
    def is_null(self) -> bool:
        """Whether this is YAML's null: nothing at all, `~` or `null` without quotes."""
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceNode:
    """A list of nodes."""

    items: tuple[Node, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingNode:
    """A mapping in the order of the file; keys are scalars and unique."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    span: Span = field(compare=False)

    def get(self, key: str) -> Node | None:
        """Return the value under `key`, or None."""
        return next((value for name, value in self.entries if name.text == key), None)

    def keep(self, keys: Iterable[str]) -> MappingNode:
        """Return a mapping of only the named keys."""
        wanted = set(keys)
        return replace(self, entries=tuple(entry for entry in self.entries if entry[0].text in wanted))

    def drop(self, *keys: str) -> MappingNode:
        """Return the mapping without the named keys."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry[0].text not in keys))


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


def merge(low: Node, high: Node) -> Node:
    """Lay `high` over `low`: mappings merge key by key, anything else is replaced, a null in `high` takes a key away."""
    if not (isinstance(low, MappingNode) and isinstance(high, MappingNode)):
        return high
    over = {key.text: (key, value) for key, value in high.entries}
    entries: list[tuple[ScalarNode, Node]] = []
    for key, value in low.entries:
        new = over.pop(key.text, None)
        if new is None:
            entries.append((key, value))
        elif not (isinstance(new[1], ScalarNode) and new[1].is_null):
            entries.append((new[0], merge(value, new[1])))
    entries.extend(over.values())
    return MappingNode(entries=tuple(entries), span=high.span)


def parse(data: bytes, file: str) -> Node:
    """Parse one YAML document; `file` is the name used in messages.

    Raises:
        SpecError: what is wrong with it as YAML, every duplicate key and unusable character included.
    """
    return _Composer(_decode(data, file), file).compose()


def _decode(data: bytes, file: str) -> str:
    def fail(message: str, hint: str, span: Span | None = None) -> SpecError:
        return SpecError([Problem(code="S001", message=message, span=span or _top(file), hints=(hint,))])

    if len(data) > MAX_BYTES:
        raise fail(f"the file has {len(data)} bytes; {MAX_BYTES} is the limit", "split it into overlays (-f a.yaml -f b.yaml)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        col = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise fail("the file is not UTF-8", "save it as UTF-8", Span(file=file, line=line, col=col)) from error
    return text.replace("\r\n", "\n")


def _top(file: str) -> Span:
    return Span(file=file, line=1, col=1)


@dataclass(slots=True)
class _Frame:
    """A collection that is still open."""

    event: Any
    anchor: str | None
    items: list[Node] = field(default_factory=list)


_BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Where YAML ends a line, which decides what its line numbers mean."""
_UNSAFE = {"Cc", "Cs", "Co", "Cn"}
_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


class _Composer:
    """Builds the node tree from the event stream with a stack of its own, so that depth is a number and not a crash."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.lines = _BREAKS.split(text)
        self.file = file
        self.anchors: dict[str, Node] = {}
        self.open_anchors: set[str] = set()
        self.sizes: dict[int, int] = {}
        self.problems: list[Problem] = []

    def compose(self) -> Node:
        root = self._guarded()
        if root is None and not self.problems:
            self._add("S002", "the file is empty: expected a mapping", _top(self.file))
        if self.problems or root is None:
            raise SpecError(self.problems)
        return root

    def _guarded(self) -> Node | None:
        try:
            return self._run()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            span = self._span(mark, mark) if mark else _top(self.file)
            if "nesting depth" in (error.problem or ""):
                # libyaml reads ahead, and has a limit of its own where it looks for the end of a key.
                self._add("S003", f"nested deeper than {MAX_DEPTH} levels", span)
                return None
            hints = ["indent with spaces, not tabs"] if span.text[span.col - 1 : span.col] == "\t" else []
            message = f"not valid YAML: {error.problem or error.context}"
            if error.context and error.problem:
                message += f" ({error.context})"
            self._add("S001", message, span, *hints)
        except yaml.YAMLError as error:
            # ReaderError: a character YAML does not allow at all.
            position = getattr(error, "position", 0)
            line = self.text.count("\n", 0, position)
            col = position - (self.text.rfind("\n", 0, position) + 1)
            message = f"not valid YAML: {getattr(error, 'reason', error)}"
            self._add("S001", message, Span(file=self.file, line=line + 1, col=col + 1))
        except (ValueError, OverflowError) as error:
            # PyYAML's Python parser lets some of its own conversions fail bare.
            self._add("S001", f"not valid YAML: {error}", _top(self.file))
        return None

    def _events(self) -> Iterator[Any]:
        loader = getattr(yaml, "CLoader", yaml.Loader)
        yield from yaml.parse(self.text, Loader=loader)

    def _run(self) -> Node | None:
        frames: list[_Frame] = []
        root: Node | None = None
        for event in self._events():
            node: Node | None = None
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                self._fail("S002", "a second document in one file", self._at(event), "one spec is one document")
            elif isinstance(event, yaml.ScalarEvent):
                node = self._scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                node = self._alias(event)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self._open(frames, event)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                node = self._close(frames.pop(), event)
            if node is None:
                continue
            if frames:
                frames[-1].items.append(node)
            else:
                root = node
        return root

    def _open(self, frames: list[_Frame], event: Any) -> None:
        if len(frames) >= MAX_DEPTH:
            self._fail("S003", f"nested deeper than {MAX_DEPTH} levels", self._at(event))
        self._reject_tag(event)
        if event.anchor:
            self.open_anchors.add(event.anchor)
        frames.append(_Frame(event, event.anchor))

    def _close(self, frame: _Frame, event: Any) -> Node:
        span = self._span(frame.event.start_mark, event.end_mark)
        size = 1 + sum(self.sizes.get(id(item), 1) for item in frame.items)
        if size > MAX_NODES:
            self._fail("S003", f"aliases expand to more than {MAX_NODES} values", span)
        node: Node
        if isinstance(frame.event, yaml.SequenceStartEvent):
            node = SequenceNode(items=tuple(frame.items), span=span)
        else:
            node = self._mapping(frame.items, span)
        self.sizes[id(node)] = size
        self._remember(frame.anchor, node)
        return node

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = node

    def _scalar(self, event: Any) -> ScalarNode:
        self._reject_tag(event)
        node = ScalarNode(text=event.value, plain=event.style in (None, ""), span=self._at(event))
        # Printable ASCII is nearly everything, and quickly told from the rest.
        plain = node.text.isascii() and node.text.isprintable()
        bad = None if plain else next((c for c in node.text if _is_unsafe(c)), None)
        if bad is not None:
            self._add("S004", f"the character U+{ord(bad):04X} is not allowed in a value", node.span)
        self._remember(event.anchor, node)
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor in self.open_anchors:
            self._fail("S006", f"alias `*{event.anchor}` refers to itself", self._at(event))
        if event.anchor not in self.anchors:
            self._fail("S006", f"unknown alias `*{event.anchor}`", self._at(event))
        return self.anchors[event.anchor]

    def _mapping(self, items: list[Node], span: Span) -> MappingNode:
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        merged: list[Node] = []
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._fail("S002", "a key must be plain text", key.span)
            elif key.text == "<<" and key.plain:
                merged.extend(value.items if isinstance(value, SequenceNode) else [value])
            elif key.text in entries:
                first = entries[key.text][0].span
                self._add("S005", f"duplicate key `{key.text}`, first given on line {first.line}", key.span)
            else:
                entries[key.text] = (key, value)
        for source in merged:
            if not isinstance(source, MappingNode):
                self._fail("S002", "`<<` takes a mapping or a list of mappings", source.span)
            else:
                for name, value in source.entries:
                    entries.setdefault(name.text, (name, value))
        return MappingNode(entries=tuple(entries.values()), span=span)

    def _reject_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in {"!", "tag:yaml.org,2002:str"}:
            self._add("S007", f"the tag `{event.tag}` is not supported", self._at(event), "write the value without a tag")

    def _at(self, event: Any) -> Span:
        return self._span(event.start_mark, event.end_mark)

    def _span(self, start: Any, end: Any) -> Span:
        text = self.lines[start.line] if start.line < len(self.lines) else ""
        length = end.column - start.column if end.line == start.line else len(text) - start.column
        return Span(file=self.file, line=start.line + 1, col=start.column + 1, length=max(1, length), text=text)

    def _add(self, code: str, message: str, span: Span, *hints: str) -> None:
        self.problems.append(Problem(code=code, message=message, span=span, hints=hints))

    def _fail(self, code: str, message: str, span: Span, *hints: str) -> NoReturn:
        """Stop here: going on would cost too much or mean nothing."""
        self._add(code, message, span, *hints)
        raise SpecError(self.problems)


def _is_unsafe(char: str) -> bool:
    return char not in "\n\t" and (unicodedata.category(char) in _UNSAFE or char in _BIDI)
