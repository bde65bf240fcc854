"""Filters that put a value into another language: one per output language, so that no value can become syntax.

Raw interpolation is for identifiers that the spec's own rules have checked; what a person may write freely goes through here.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import yaml

from tasker_build import dockerfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _Dumper(yaml.SafeDumper):
    """Block style with indented lists, as people write compose files."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


class Flow(list[Any]):
    """A list written on one line, as exec-form commands are."""


_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML quotes what YAML 1.1 would misread; compose reads YAML 1.2, which knows more numbers.
    style = "'" if _NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Flow, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True))


def to_yaml(value: Any, indent: int = 0) -> str:
    """Write plain data as YAML lines, `indent` spaces deep, without a final line break."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20, default_flow_style=False)
    text = text.removesuffix("\n...\n").rstrip("\n")
    return "\n".join(" " * indent + line if line else line for line in text.split("\n"))


def to_json(value: Any) -> str:
    """Write data as one line of JSON: exec-form commands."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def to_shell(value: Any) -> str:
    """Quote one word for a POSIX shell.

    Raises:
        ValueError: NUL, which no argument can hold.
    """
    text = str(value)
    if "\0" in text:
        raise ValueError("a shell word cannot hold NUL")
    return shlex.quote(text)


def to_shell_text(value: Any) -> str:
    """Put a text between double quotes of a shell; `${NAME}` forms in it stay alive, nothing else does."""
    text = re.sub(r'([\\"`]|\$(?!\{[A-Za-z_][A-Za-z0-9_]*(:?[-+=?][^}`$"\\]*)?\}))', r"\\\1", str(value))
    return f'"{text}"'


def to_comment(value: Any) -> str:
    """Keep a text inside a one-line comment."""
    return " ".join(str(value).split())


FILTERS: Mapping[str, Callable[..., str]] = {
    "dockerfile": dockerfile.quote,
    "json": to_json,
    "sh": to_shell,
    "shtext": to_shell_text,
    "yaml": to_yaml,
    "comment": to_comment,
}
