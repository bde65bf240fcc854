r"""Ignore patterns by BuildKit's rules (those of .dockerignore, not git's): one matcher for what is hashed, sent and rendered.

A pattern is anchored at the root of the workspace, a matched folder takes everything below it along, the last match wins and
`!` takes paths back. Where BuildKit's rules are odd, they are followed: tests/e2e/test_ignore_rules.py sends random folders with
random patterns through an engine and compares what arrives. Patterns to which BuildKit gives a meaning that their author cannot
have meant (`\d` is a digit there, `[a*]` no set of characters, `{a,b}*` no choice) are refused.
"""

from __future__ import annotations

import functools
import posixpath
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    "**/.env",
    "**/.env.local",
    "**/.env.*.local",
)
"""Part of a context only if somebody names it: build outputs, editors' leftovers, files where secrets live (docs/ignore.md)."""


@dataclass(frozen=True, slots=True)
class _Rule:
    regex: re.Pattern[str]
    negative: bool
    text: str  # the pattern, cleaned

    def may_match_below(self, folder: str) -> bool:
        """Whether it could match a path below `folder`; when in doubt, yes."""
        sign = _WILD.search(self.text)
        start = self.text[: sign.start()] if sign else self.text
        return start.startswith(f"{folder}/") or (sign is not None and f"{folder}/".startswith(start))


class Ignore:
    """Decides which paths are left out."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the patterns, in order.

        Raises:
            ValueError: a pattern that BuildKit would refuse, such as an unclosed `[`, or would misread.
        """
        self.patterns = tuple(patterns)
        self._rules = [rule for pattern in self.patterns if (rule := _compile(pattern))]
        self._exceptions = [rule for rule in self._rules if rule.negative]
        # Without exceptions it does not matter which rule takes a path, so all of them are asked at once.
        self._any = re.compile("|".join(f"(?:{rule.regex.pattern})" for rule in self._rules) or r"(?!)")
        self._folders: dict[str, tuple[bool, ...]] = {"": (False,) * len(self._rules)}
        self._left_out: dict[str, bool] = {"": False}  # folder → whether it is, without exceptions

    def matches(self, path: str) -> bool:
        """Whether the file `path` (relative, with `/`) is left out."""
        if self._exceptions:
            return self._look(path, self._above(path))[0]
        return self._is_left_out(path.rpartition("/")[0]) or self._any.match(path) is not None

    def _is_left_out(self, folder: str) -> bool:
        known = self._left_out.get(folder)
        if known is None:
            known = False
            for end in [*(match.start() for match in re.finditer("/", folder)), len(folder)]:
                part = folder[:end]
                if part not in self._left_out:
                    self._left_out[part] = known or self._any.match(part) is not None
                known = self._left_out[part]
        return known

    def prunes(self, folder: str) -> bool:
        """Whether nothing below `folder` can count, so that it need not be read."""
        return self.matches(folder) and not any(rule.may_match_below(folder) for rule in self._exceptions)

    def taken(self, path: str) -> tuple[bool, ...]:
        """Which rules took a path; everything below it is taken along."""
        return self._above(f"{path}/")

    def _above(self, path: str) -> tuple[bool, ...]:
        """Which rules took the folder of a path: they take the path, too."""
        folder = path.rpartition("/")[0]
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[""]
            for end in [*(match.start() for match in re.finditer("/", folder)), len(folder)]:
                part = folder[:end]
                if part not in self._folders:
                    self._folders[part] = self._look(part, known)[1]
                known = self._folders[part]
        return known

    def _look(self, path: str, above: Sequence[bool]) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path is left out, and which rules took it.

        A rule that could not change the outcome is not asked, as BuildKit does not ask it, and so takes nothing below: with
        `a`, `!a/b`, `a` the file `a/b` stays.
        """
        ignored = False
        took = []
        for rule, inherited in zip(self._rules, above, strict=True):
            hit = inherited or (rule.negative == ignored and rule.regex.match(path) is not None)
            took.append(hit)
            if hit:
                ignored = not rule.negative
        return ignored, tuple(took)


@functools.cache
def _compile(line: str) -> _Rule | None:
    negative, text = _clean(line)
    return _Rule(_regex(text), negative, text) if text not in {"", "."} else None


def _clean(line: str) -> tuple[bool, str]:
    """A line as BuildKit reads it: whether it takes back, and the pattern; "" for a line that says nothing."""
    if "\n" in line or "\0" in line:
        raise ValueError(f"the ignore pattern {line!r} is more than one line")
    if line.startswith("#"):
        return False, ""
    negative = False
    # Twice, as BuildKit does: when the file is read, and when its patterns are put to use.
    for _ in range(2):
        text = line.strip()
        negative = text.startswith("!")
        text = text[1:].strip() if negative else text
        if not text:
            if negative:
                raise ValueError(f"the ignore pattern {line!r} takes nothing back")
            return False, ""
        text = posixpath.normpath(text).lstrip("/")
        line = "!" * negative + text
    return negative, text


def escape(path: str) -> str:
    """A path as a pattern that matches it and nothing else."""
    text = re.sub(r"([*?\[\\^|{}])", r"\\\1", path)
    # Blanks at the ends of a pattern are cut, `#` and `!` at its start have meanings.
    text = re.sub(r"^ | $", "[ ]", text)
    return "\\" + text if text[:1] in {"#", "!"} else text


_ANYTHING = "(?s:.*)"
_WILD = re.compile(r"[*?\[\\^]")


def _regex(pattern: str) -> re.Pattern[str]:
    """A cleaned pattern as a regular expression for whole paths."""
    if not set(pattern) & set("*?[]\\"):
        return re.compile(re.escape(pattern) + r"\Z")
    rest = pattern.removeprefix("**")
    if rest != pattern and not set(rest) & set("*?[]\\"):
        # `**/x` is a path that ends so, `**x` and `**.x` a name that does.
        return re.compile(f"(?s:.*/)?{re.escape(rest[1:])}\\Z" if rest.startswith("/") else f"{_ANYTHING}{re.escape(rest)}\\Z")
    rest = pattern.removesuffix("**")
    if rest != pattern and not set(rest) & set("*?[]\\"):
        return re.compile(re.escape(rest) + _ANYTHING)
    try:
        return re.compile("".join(_parts(pattern)) + r"\Z")
    except re.error as error:
        raise ValueError(f"the ignore pattern {pattern!r} cannot be read: {error}") from error


def _parts(pattern: str) -> Iterator[str]:
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**", i):
            i += 3 if pattern.startswith("/", i + 2) else 2
            yield ".*" if i >= len(pattern) else "(?:.*/)?"
            continue
        if char == "*":
            yield "[^/]*"
        elif char == "?":
            yield "[^/]"
        elif char in "|{}":
            # It forgets to quote these, too: `a|b*` would be all that starts with `a`, `x{2}*` all that starts with `xx`.
            raise ValueError(
                f"`{char}` beside a wildcard in the ignore pattern {pattern!r} is not read as itself, write `\\{char}`"
            )
        elif char == "^":
            yield "^"  # BuildKit forgets to quote it: beside a wildcard it stands for the start of the path
        elif char == "\\":
            i, char = _escaped(pattern, i)
            yield re.escape(char)
        elif char == "[":
            i, text = _set(pattern, i)
            yield text
        else:
            yield re.escape(char)
        i += 1


def _escaped(pattern: str, i: int) -> tuple[int, str]:
    """Return the character that the backslash at `i` escapes, and its place."""
    if i + 1 == len(pattern):
        raise ValueError(f"the ignore pattern {pattern!r} ends with a `\\` that escapes nothing")
    char = pattern[i + 1]
    if char.isalnum() or not char.isascii():
        raise ValueError(f"`\\{char}` in the ignore pattern {pattern!r}: only signs are escaped, write `{char}`")
    return i + 1, char


def _set(pattern: str, start: int) -> tuple[int, str]:
    """The set of characters that opens at `start`, as BuildKit's check of it wants it, and the place where it ends."""
    broken = ValueError(f"unclosed or empty `[` in the ignore pattern {pattern!r}")
    i = start + 1
    negated = pattern.startswith("^", i)
    i += negated
    members: list[str] = []

    def member() -> str:
        nonlocal i
        if i >= len(pattern) or pattern[i] in "-]":
            raise broken
        if pattern[i] in "*?" or pattern.startswith("[:", i):
            raise ValueError(f"`{pattern[i]}` between `[` and `]` in the ignore pattern {pattern!r} is not read as itself")
        char = pattern[i]
        if char == "\\":
            i, char = _escaped(pattern, i)
        i += 1
        return re.escape(char)

    while not members or not pattern.startswith("]", i):
        low = member()
        if pattern.startswith("-", i):
            i += 1
            low += "-" + member()
        members.append(low)
    return i, f"[{'^' * negated}{''.join(members)}]"


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


def asked_back(paths: Iterable[str], output: str) -> Iterator[str]:
    """Exceptions for those of the paths that would always be ignored; what is ignored always still is below them."""
    rules = Ignore((*ALWAYS, output))
    for path in sorted(set(paths)):
        if rules.matches(path):
            yield f"!{escape(path)}"
            yield from (f"{escape(path)}/{pattern}" for pattern in ALWAYS)


def of_folder(lines: Iterable[str], folder: str) -> Iterator[str]:
    """The patterns of a folder's own .dockerignore as patterns of the workspace.

    Raises:
        ValueError: as for `Ignore`.
    """
    start = "" if folder == "." else f"{escape(folder)}/"
    for line in lines:
        negative, text = _clean(line)
        if text not in {"", ".", ".."} and not text.startswith("../"):
            Ignore([text])
            yield f"{'!' * negative}{start}{text}"


def confined(patterns: Sequence[str], roots: Iterable[str]) -> Iterator[str]:
    """Patterns as they count where nothing but `roots` is let in: an exception must let nothing in beside them."""
    rules = Ignore(patterns)
    # What took a folder above a root, or the root itself, takes all of the root; there its pattern need not match any more.
    taken = {root: iter(rules.taken(root)) for root in roots}
    for pattern in rules.patterns:
        negative, text = _clean(pattern)
        takes = {root: next(tooks) for root, tooks in taken.items()} if text not in {"", "."} else {}
        if not negative:
            yield pattern
            continue
        found: dict[str, None] = {}
        for root, took in takes.items():
            start = f"!{escape(root)}"
            found |= dict.fromkeys([start, f"{start}/**"] if took else ())
            found |= dict.fromkeys("/".join([start, *rest]) for rest in _rests(text.split("/"), root.split("/")) if rest)
        yield from found


def _rests(parts: Sequence[str], folders: Sequence[str]) -> Iterator[Sequence[str]]:
    """What is left of a pattern below a folder that its first parts match; nothing if they match it, or one above it."""
    if not folders or not parts:
        yield parts
    elif parts[0] == "**":
        yield parts
        for i in range(len(folders) + 1):
            yield from _rests(parts[1:], folders[i:])
    elif _regex(parts[0]).match(folders[0]):
        yield from _rests(parts[1:], folders[1:])
