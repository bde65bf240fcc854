"""Whether a dependency of one platform counts on another: cargo's `[target.'cfg(…)']`, in three values.

Source: the Rust reference, "Conditional compilation"; the Cargo book, "Platform specific dependencies".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ARCHITECTURES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_WORDS = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*|"[^"]*"|[(),=])')
_FALSE = frozenset({"windows", "test", "miri", "doc", "doctest"})
# Which C library a base has is not known here.
_MAYBE = frozenset({"target_env", "target_feature", "target_abi"})


def may_count(condition: str, platform: str) -> bool:
    """Whether a dependency under `[target.CONDITION]` may be compiled on a platform; True where that cannot be said.

    Args:
        condition: a target triple or `cfg(…)`.
        platform: os/architecture as images have it; `linux` where only that is known, "" for any.
    """
    if not platform.startswith("linux"):
        return True
    architecture = ARCHITECTURES.get(platform, "")
    if not condition.startswith("cfg("):
        words = condition.split("-")
        return architecture in {"", words[0]} and "linux" in words
    words_of = iter(_split(condition))
    try:
        return _Reader(words_of, _values(architecture)).expression() is not False
    except (StopIteration, ValueError):
        return True


def _values(architecture: str) -> Mapping[str, str]:
    return {
        "target_os": "linux",
        "target_family": "unix",
        "target_arch": architecture,
        "target_vendor": "unknown",
        "target_endian": "little",
        "target_pointer_width": "64" if architecture else "",
    }


def _split(text: str) -> Iterator[str]:
    at = 0
    while match := _WORDS.match(text, at):
        yield match[1]
        at = match.end()


class _Reader:
    """Reads one condition; None stands for "cannot be said"."""

    def __init__(self, words: Iterator[str], values: Mapping[str, str]) -> None:
        self.words, self.values = words, values
        self.next = next(words, "")

    def take(self) -> str:
        word, self.next = self.next, next(self.words, "")
        return word

    def expression(self) -> bool | None:
        name = self.take()
        if self.next == "(":
            return self._call(name)
        if self.next == "=":
            self.take()
            return self._equals(name, self.take().strip('"'))
        if name in {"true", "unix"}:
            return True
        if name in _FALSE or name == "false":
            return False
        return None

    def _call(self, name: str) -> bool | None:
        self.take()
        parts: list[bool | None] = []
        while self.next and self.next != ")":
            parts.append(self.expression())
            if self.next == ",":
                self.take()
        self.take()
        if name == "not":
            return None if parts[:1] in ([], [None]) else not parts[0]
        if name == "any":
            return True if True in parts else None if None in parts else False
        if name in {"all", "cfg"}:
            return False if False in parts else None if None in parts else True
        return None

    def _equals(self, name: str, value: str) -> bool | None:
        known = self.values.get(name)
        return None if known in {None, ""} or name in _MAYBE else known == value
