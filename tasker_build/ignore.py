"""Ignore patterns by BuildKit's rules (those of .dockerignore, not git's): one matcher for what is hashed, sent and rendered.

A pattern is anchored at the root of the workspace, a matched folder takes everything below it along, the last match wins and
`!` takes paths back. Source: docs of the build context, "dockerignore file"; differential test in tests/e2e.
"""

from __future__ import annotations

import functools
import posixpath
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALWAYS = (
    "**/.git",
    "**/.tasker-build",
    "**/target",
    "**/node_modules",
    "**/__pycache__",
    "**/.venv",
    "**/.DS_Store",
    "**/*.swp",
    "**/*~",
    "**/*.rs.bk",
    "**/*.pyc",
    "**/.env",
    "**/.env.*",
)
"""Never part of a context: build outputs, editors' leftovers, and files where secrets live."""


@dataclass(frozen=True, slots=True)
class _Rule:
    regex: re.Pattern[str]
    negative: bool


class Ignore:
    """Decides which paths are left out."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the patterns, in order.

        Raises:
            ValueError: a pattern that BuildKit would refuse, such as an unclosed `[`.
        """
        self.patterns = tuple(patterns)
        self._rules = [rule for pattern in self.patterns if (rule := _compile(pattern))]
        self._has_exceptions = any(rule.negative for rule in self._rules)

    def matches(self, path: str) -> bool:
        """Whether the file `path` (relative, with `/`) is left out."""
        ignored = False
        for rule in self._rules:
            if rule.negative == ignored and _covers(rule.regex, path):
                ignored = not rule.negative
        return ignored

    def prunes(self, folder: str) -> bool:
        """Whether nothing below `folder` can count, so that it need not be read."""
        return not self._has_exceptions and self.matches(folder)


def _covers(regex: re.Pattern[str], path: str) -> bool:
    """Whether the rule names the path or a folder above it."""
    if regex.match(path):
        return True
    end = path.rfind("/")
    while end > 0:
        if regex.match(path, 0, end):
            return True
        end = path.rfind("/", 0, end)
    return False


@functools.cache
def _compile(pattern: str) -> _Rule | None:
    text = pattern.strip()
    negative = text.startswith("!")
    text = text[1:].strip() if negative else text
    if not text:
        return None
    text = posixpath.normpath(text).lstrip("/")
    if text == ".":
        return None
    try:
        return _Rule(re.compile(_regex(text) + r"\Z", re.DOTALL), negative)
    except re.error as error:
        raise ValueError(f"the ignore pattern {pattern!r} cannot be read: {error}") from error


def escape(path: str) -> str:
    """A path as a pattern that matches it and nothing else."""
    text = re.sub(r"([*?\[\\])", r"\\\1", path)
    # Blanks at the ends of a pattern are cut, `#` and `!` at its start have meanings.
    text = re.sub(r"^ | $", "[ ]", text)
    return "\\" + text if text[:1] in {"#", "!"} else text


def _regex(pattern: str) -> str:
    parts: list[str] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**", i):
            i += 2
            if pattern.startswith("/", i):
                i += 1
            parts.append(".*" if i >= len(pattern) else "(?:.*/)?")
            continue
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\" and i + 1 < len(pattern):
            i += 1
            parts.append(re.escape(pattern[i]))
        elif char == "[":
            end = pattern.find("]", i + 2)
            if end < 0:
                raise ValueError(f"unclosed `[` in the ignore pattern {pattern!r}")
            inner = pattern[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{inner}]")
            i = end
        else:
            parts.append(re.escape(char))
        i += 1
    return "".join(parts)


def below(paths: Sequence[str], root: str) -> Sequence[str]:
    """The part of the sorted `paths` that is `root` or below it."""
    exact = bisect_left(paths, root)
    start = bisect_left(paths, root + "/", exact)
    # "/" is followed by "0": every path below the folder sorts before that.
    end = bisect_left(paths, root + "0", start)
    found = paths[start:end]
    return [root, *found] if exact < len(paths) and paths[exact] == root else found


def within(path: str, roots: Sequence[str]) -> bool:
    """Whether `path` is one of `roots` or below one of them."""
    return any(path == root or path.startswith(root + "/") for root in roots)
