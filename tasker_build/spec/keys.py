"""Digests of what the spec says, key by key, and where it says it: only to tell where a difference comes from.

No digest of a key is a fact of an image: what counts is what the keys came to in its Dockerfile, its context and its bases.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tasker_build.spec.model import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tasker_build.errors import Span
    from tasker_build.spec.model import Spec, Target
    from tasker_build.spec.names import TargetName


class SpecKeys:
    """The keys of one spec; those that targets have in common are digested once."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._common = {**_keys("vars", spec.vars), **_keys("toolchain", spec.toolchain)}
        self._tools = list(_tool_keys(spec))

    def of(self, target: Target, dockerfile: str, children: Iterable[TargetName]) -> Mapping[str, str]:
        """Return key → digest for everything that a target's Dockerfile is made from.

        Args:
            target: the target.
            dockerfile: its text, which names the tools it installs.
            children: the targets built from it; what they cook is in a builder's own Dockerfile.
        """
        found = {**self._common, **_keys(f"targets.{target.name}", target)}
        del found[f"targets.{target.name}.refresh"]  # says when to build, not what
        for name in target.from_.values():
            if name in self._spec.bases:
                # A pin that moved is a reason of its own.
                found |= _keys(f"bases.{name}", self._spec.bases[name].partition("@")[0])
        for words, keys in self._tools:
            if words.search(dockerfile):
                found |= keys
        for child in children:
            for ecosystem, selection in self._spec.targets[child].selections.items():
                found |= _keys(f"targets.{child}.{ecosystem}", selection)
        return found


def _tool_keys(spec: Spec) -> Iterator[tuple[re.Pattern[str], Mapping[str, str]]]:
    """For each tool: how a Dockerfile that installs it names it, and the tool's keys."""
    for name, reference in spec.all_tools.items():
        words = re.compile(rf"(?<![\w-]){re.escape(Tool.parse(reference).words)}(?![\w.])")
        yield words, _keys(f"tools.{name}", (reference, *spec.tool_digests.get(name, ())))


def places_of(spec: Spec) -> Mapping[str, Span]:
    """Where the spec says what, by key; a base also by its reference."""
    found = dict(spec.at)
    for name, target in spec.targets.items():
        found[f"targets.{name}"] = target.span
        found |= {f"targets.{name}.{key}": span for key, span in target.at.items()}
        for ecosystem, selection in target.selected.items():
            found |= {f"targets.{name}.{ecosystem}.{key}": span for key, span in selection.at.items()}
    bases = {f"bases.{reference.partition('@')[0]}": found.get(f"bases.{name}") for name, reference in spec.bases.items()}
    return found | {key: span for key, span in bases.items() if span is not None}


def _keys(start: str, value: object) -> Mapping[str, str]:
    """Every key of a part of the spec with a digest of its value; lists are values, and so is what is not given."""
    found: dict[str, str] = {}
    _add_leaves(found, start, value)
    return found


def _add_leaves(found: dict[str, str], key: str, value: object) -> None:
    if value is None or value == () or isinstance(value, str):
        found[key] = _word_digest(value)
    elif is_dataclass(value) and not isinstance(value, type):
        for attribute, name in _keys_of(type(value)):
            _add_leaves(found, f"{key}.{name}" if name else key, getattr(value, attribute))
    elif isinstance(value, Mapping):
        for name, part in value.items():
            _add_leaves(found, f"{key}.{name}", part)
    else:
        found[key] = _json_digest(_plain(value))


def _plain(value: object) -> object:
    """A part of the spec without the places of its keys."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, attribute)) for attribute, name in _keys_of(type(value))}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


@functools.cache
def _keys_of(kind: type[Any]) -> Sequence[tuple[str, str]]:
    """Attribute → key of the spec, for what counts in a record; "": what it holds stands as keys of the record itself."""
    return tuple(
        (item.name, "" if "opening" in item.metadata else item.name.rstrip("_")) for item in fields(kind) if item.compare
    )


def _json_digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


# Most keys of most targets are not given, or say what those of others say.
_word_digest = functools.cache(_json_digest)
