"""What a spec value may look like: field types that read a node and describe themselves as JSON Schema.

The field table is the dataclasses of `model`: each of their fields carries a `Key`, and from it come the validator, the JSON
Schema and the reference page. Reading never stops at the first mistake; a value that could not be read is `BAD`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tasker_build.errors import Problem, Span, nearest
from tasker_build.spec.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BAD: Any = object()
"""Stands for a value whose mistake has been reported."""

_VAR = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)(?:\[([A-Za-z_][A-Za-z0-9_]*)\])?\s*\}\}")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_YAML11_BOOL = {"yes", "no", "on", "off", "y", "n"}
_YAML11_OTHER = re.compile(r"0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+")


@dataclass(slots=True)
class Reader:
    """Collects problems while a node tree is read; `variables` are the spec's `vars`, as text, and those that are tables."""

    variables: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, code: str, message: str, span: Span, *hints: str) -> None:
        """Report a mistake."""
        self.problems.append(Problem(code=code, message=message, span=span, hints=hints))

    def expected(self, what: str, node: Node, where: str) -> Any:
        """Report a wrong type and return BAD."""
        self.add("S010", f"{where} wants {what}, found {describe(node)}", node.span)
        return BAD

    def substitute(self, node: ScalarNode) -> str | None:
        """Put vars in: `{{ name }}`, and `{{ table[name] }}` for the row of a table that another var names.

        Returns:
            The text; None after reporting a name that is unknown.
        """
        found = [self._value(name, row, node) for name, row in _VAR.findall(node.text)]
        if None in found:
            return None
        values = iter(found)
        return _VAR.sub(lambda _: next(values) or "", node.text)

    def _value(self, name: str, row: str, node: ScalarNode) -> str | None:
        known: Mapping[str, Any] = self.tables if row else self.variables
        if name not in known or (row and row not in self.variables):
            wrong, known = (name, known) if name not in known else (row, self.variables)
            self.add("S013", f"unknown var `{wrong}`", node.span, *nearest(wrong, known))
            return None
        if not row:
            return self.variables[name]
        rows, wanted = self.tables[name], self.variables[row]
        if wanted not in rows:
            self.add(
                "S013", f"`{name}` has nothing for `{wanted}`, the value of `{row}`", node.span, f"it has: {', '.join(rows)}"
            )
        return rows.get(wanted)


def describe(node: Node) -> str:
    """Say what a node is, for a message."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if node.is_null:
        return "nothing"
    if node.plain and (node.text in _TRUE or node.text in _FALSE):
        return f"the boolean `{node.text}`"
    if node.plain and (_INT.fullmatch(node.text) or _FLOAT.fullmatch(node.text)):
        return f"the number `{node.text}`"
    return f"the text `{node.text}`" if len(node.text) <= 40 else "text"  # noqa: PLR2004


class FieldType(Protocol):
    """Reads one value; `where` names it in messages."""

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        """Return the value, or BAD after reporting why not."""

    def schema(self) -> dict[str, Any]:
        """Describe the value as JSON Schema (draft 7)."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text that must look like text: a number-like scalar without quotes is refused, `1.10` would read as 1.1."""

    pattern: str | None = None
    rule: str = ""
    multiline: bool = False

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if not isinstance(node, ScalarNode) or node.is_null:
            return reader.expected("text", node, where)
        if node.plain and describe(node).startswith(("the number", "the boolean")):
            reader.add("S012", f"{where} wants text, but {describe(node)} has no quotes", node.span, f'write "{node.text}"')
            return BAD
        return self.check(reader.substitute(node), node, reader, where)

    def check(self, text: str | None, node: Node, reader: Reader, where: str) -> Any:
        """Apply the rules that hold for any text of this field."""
        if text is None:
            return BAD
        if not self.multiline and "\n" in text:
            reader.add("S011", f"{where} must be a single line", node.span)
            return BAD
        if self.pattern and not re.fullmatch(self.pattern, text):
            reader.add("S011", f"{where} `{text}` is not valid: {self.rule or 'it must match ' + self.pattern}", node.span)
            return BAD
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"pattern": f"^(?:{self.pattern})$|\\{{\\{{"} if self.pattern else {})


@dataclass(frozen=True, slots=True)
class Value:
    """Any scalar, taken as the text that was written: environment values and build arguments."""

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if not isinstance(node, ScalarNode) or node.is_null:
            return reader.expected('a value (write "" for an empty one)', node, where)
        text = reader.substitute(node)
        return BAD if text is None else text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds, both included."""

    low: int
    high: int

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if not isinstance(node, ScalarNode) or node.is_null:
            return reader.expected("a whole number", node, where)
        text = reader.substitute(node)
        if text is None:
            return BAD
        if not _INT.fullmatch(text):
            return reader.expected("a whole number", node, where)
        if not self.low <= int(text) <= self.high:
            reader.add("S011", f"{where} is {text}; it must be from {self.low} to {self.high}", node.span)
            return BAD
        return int(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`; YAML 1.1's yes/no/on/off are refused, editors read them as text."""

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        text = reader.substitute(node) if isinstance(node, ScalarNode) else ""
        if text is None:
            return BAD
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text.lower() in _YAML11_BOOL:
            reader.add("S012", f"{where} is `{text}`, which YAML 1.2 reads as text", node.span, "write true or false")
            return BAD
        return reader.expected("true or false", node, where)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One word out of a closed set."""

    words: tuple[str, ...]

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if not isinstance(node, ScalarNode) or node.is_null:
            return reader.expected(f"one of {', '.join(self.words)}", node, where)
        text = reader.substitute(node)
        if text is None:
            return BAD
        if text not in self.words:
            hints = nearest(text, self.words) or (f"one of: {', '.join(self.words)}",)
            reader.add("S011", f"{where} `{text}` is not known", node.span, *hints)
            return BAD
        return text

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, read to a tuple; with `single`, one value alone stands for a list of one."""

    item: FieldType
    single: bool = False

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if isinstance(node, SequenceNode):
            values = [self.item.read(item, reader, f"{where}[{i}]") for i, item in enumerate(node.items)]
            return tuple(value for value in values if value is not BAD)
        if self.single and not (isinstance(node, ScalarNode) and node.is_null):
            value = self.item.read(node, reader, where)
            return () if value is BAD else (value,)
        return reader.expected("a list", node, where)

    def schema(self) -> dict[str, Any]:
        listed = {"type": "array", "items": self.item.schema()}
        return {"anyOf": [listed, self.item.schema()]} if self.single else listed


NAME = r"[a-z0-9]+([._-][a-z0-9]+)*"
PATH = Text(r"(?!/|~|\.\.(/|$))(?!.*(/\.\.)(/|$))[^\0\\]{1,255}", "a path below the workspace, with `/`, without `..`")
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping of free keys that follow one rule, read to a dict in the order of the file."""

    value: FieldType
    key_pattern: str = NAME
    key_rule: str = "lower case letters and digits, with single `-`, `_` or `.` between them"
    noun: str = "name"

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if not isinstance(node, MappingNode):
            return reader.expected("a mapping", node, where)
        values: dict[str, Any] = {}
        for key, item in node.entries:
            if not re.fullmatch(self.key_pattern, key.text) or len(key.text) > 128:  # noqa: PLR2004
                reader.add("S014", f"`{key.text}` is not a valid {self.noun} in {where}", key.span, f"allowed: {self.key_rule}")
            value = self.value.read(item, reader, f"{where}.{key.text}")
            if value is not BAD:
                values[key.text] = value
        return values

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.value.schema()}


@dataclass(frozen=True, slots=True)
class Raw:
    """Anything, as plain data by YAML 1.2's rules; what YAML 1.1 readers would take differently must be quoted."""

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if isinstance(node, MappingNode):
            return {key.text: self.read(value, reader, f"{where}.{key.text}") for key, value in node.entries}
        if isinstance(node, SequenceNode):
            return [self.read(item, reader, f"{where}[{i}]") for i, item in enumerate(node.items)]
        return self._scalar(node, reader, where)

    @staticmethod
    def _scalar(node: ScalarNode, reader: Reader, where: str) -> Any:
        text = reader.substitute(node)
        if text is None:
            return BAD
        if not node.plain or text != node.text:
            return text
        if node.is_null:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text.lower() in _YAML11_BOOL or _YAML11_OTHER.fullmatch(text):
            hint = f'write "{text}" for the text, or true, false or a decimal number'
            reader.add(
                "S012",
                f"{where}: `{text}` without quotes means different things to different YAML readers",
                node.span,
                hint,
            )
            return BAD
        if _INT.fullmatch(text):
            return int(text)
        # A number whose last zeros would be lost (`1.10`) is a version or the like: it stays text.
        is_number = re.fullmatch(r"[-+]?[0-9]+\.[0-9]+", text) and repr(float(text)) == text
        return float(text) if is_number else text

    def schema(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the field table."""

    type: FieldType
    doc: str
    default: Any = None  # of a row that stands in no class, see `opening`


def key(type_: FieldType, doc: str, **options: Any) -> Any:
    """Declare a dataclass field that is read from the spec; `options` go to `dataclasses.field` (default, default_factory)."""
    return field(metadata={"key": Key(type_, doc)}, **options)


def opening() -> Any:
    """Declare the one field of a dataclass that holds the rows which `Record.more` adds: key → value."""
    return field(default_factory=dict, metadata={"opening": True})


@functools.cache
def opening_of(cls: type) -> str | None:
    """The field of a record that is declared by `opening`."""
    return next((row.name for row in dataclasses.fields(cls) if "opening" in row.metadata), None)


@functools.cache
def table(cls: type) -> tuple[tuple[str, Key, bool], ...]:
    """(Spec key, its Key, whether it is required) for each row of a class; a trailing `_` avoids Python's own words."""
    return tuple(
        (spec_key(row.name), row.metadata["key"], row.default is row.default_factory is dataclasses.MISSING)
        for row in dataclasses.fields(cls)
        if "key" in row.metadata
    )


def spec_key(attribute: str) -> str:
    """Return the spec's spelling of a model attribute: `from_` → `from`."""
    return attribute.rstrip("_")


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys, read to the dataclass `cls`; `short` reads the short form (not a mapping) into one key."""

    cls: type
    noun: str
    short: str | None = None
    open_keys: bool = False  # x-* keys are free
    more: tuple[tuple[str, Key], ...] = ()  # rows that stand in no class: they fill the field that `opening` declares
    instead: tuple[tuple[str, FieldType], ...] = ()  # other types for rows of the class

    def rows(self) -> tuple[tuple[str, Key, bool], ...]:
        """As `table`, with the rows and types that are this record's own."""
        own = table(self.cls)
        if not self.more and not self.instead:
            return own
        types = dict(self.instead)
        rows = {name: (dataclasses.replace(row, type=types.get(name, row.type)), needed) for name, row, needed in own}
        found: list[tuple[str, Key, bool]] = []
        for item in dataclasses.fields(self.cls):
            if "opening" in item.metadata:
                found += [(name, row, False) for name, row in self.more]
            elif (name := spec_key(item.name)) in rows:
                found.append((name, *rows[name]))
        return tuple(found)

    def read(self, node: Node, reader: Reader, where: str) -> Any:
        if self.short and not isinstance(node, MappingNode):
            only = ScalarNode(text=self.short, plain=True, span=node.span)
            node = MappingNode(entries=((only, node),), span=node.span)
        if not isinstance(node, MappingNode):
            return reader.expected("a mapping", node, where)
        rows = {name: (row, required) for name, row, required in self.rows()}
        values, spans = self.read_keys(node, reader, where)
        missing = [name for name, (_, required) in rows.items() if required and node.get(name) is None]
        for lacking in missing:
            reader.add("S009", f"{where or self.noun} lacks `{lacking}`", node.span, rows[lacking][0].doc)
        # What could be read is kept, so that rules over the whole find their mistakes in the same run.
        optional = {name for name, (_, required) in rows.items() if not required}
        values = {name: value for name, value in values.items() if value is not BAD or name not in optional}
        if missing or any(value is BAD for value in values.values()):
            return BAD
        attributes = {row.name for row in dataclasses.fields(self.cls)}
        more = {name for name, _ in self.more}
        arguments: dict[str, Any] = {
            name if name in attributes else f"{name}_": value for name, value in values.items() if name not in more
        }
        if (where_more := opening_of(self.cls)) is not None:
            arguments[where_more] = {name: values.get(name, row.default) for name, row in self.more}
        return self.cls(**arguments, span=node.span, at=spans)

    def read_keys(self, node: MappingNode, reader: Reader, where: str) -> tuple[dict[str, Any], dict[str, Span]]:
        """Read what is there, BAD included, without asking whether it is complete."""
        rows = {name: row for name, row, _ in self.rows()}
        values: dict[str, Any] = {}
        spans: dict[str, Span] = {}
        for name, value in node.entries:
            if name.text in rows:
                values[name.text] = rows[name.text].type.read(value, reader, f"{where}.{name.text}" if where else name.text)
                spans.update(_spans(name.text, value))
            elif not (self.open_keys and name.text.startswith("x-")):
                hints = nearest(name.text, rows) or (f"known here: {', '.join(rows)}",)
                reader.add("S008", f"unknown key `{name.text}` in {where or self.noun}", name.span, *hints)
        return values, spans

    def schema(self) -> dict[str, Any]:
        rows = self.rows()
        described: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {**row.type.schema(), "description": row.doc} for name, row, _ in rows},
        }
        if self.open_keys:
            described["patternProperties"] = {"^x-": {}}
        if required := [name for name, _, needed in rows if needed]:
            described["required"] = required
        if self.short is None:
            return described
        short = next(row.type.schema() for name, row, _ in rows if name == self.short)
        return {"anyOf": [short, described]}


def _spans(name: str, node: Node) -> Iterator[tuple[str, Span]]:
    """Spans of a value and of what it holds directly: `from`, `from.builder`, `depends_on.0`."""
    yield name, node.span
    if isinstance(node, MappingNode):
        yield from ((f"{name}.{key.text}", value.span) for key, value in node.entries)
    elif isinstance(node, SequenceNode):
        yield from ((f"{name}.{i}", item.span) for i, item in enumerate(node.items))
