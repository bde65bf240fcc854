"""Words of a Dockerfile as BuildKit reads them: quotes, escapes and every expansion of arguments.

Source: the Dockerfile reference, "Environment replacement" and "ARG"; what BuildKit's frontend does with them.
"""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_]\w*|[0-9]+|[@*#?$!-]")
_WORD = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\]|\\$)+""", re.DOTALL)


class ExpansionError(ValueError):
    """An expansion that cannot be read, or whose argument has to have a value and has none."""


def split_words(text: str) -> tuple[str, ...]:
    """Split at blanks outside of quotes; quotes and escapes stay as written.

    Raises:
        ExpansionError: a quote is not closed.
    """
    found = tuple(_WORD.findall(text))
    if "".join(found) != "".join(_rest_of(text)):
        raise ExpansionError("no closing quotation")
    return found


def _rest_of(text: str) -> list[str]:
    """Everything that is not a blank between words, whether or not a word could be read there."""
    return re.findall(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|\S)""", text, re.DOTALL)


@functools.lru_cache(maxsize=4096)
def _is_plain(text: str) -> bool:
    return not re.search(r"""[$'"\\]""", text)


def expand(text: str, values: Mapping[str, str | None]) -> str:
    """The text without its quotes and escapes, and with its arguments filled in; one without a value is empty.

    Raises:
        ExpansionError: it cannot be read, or `${NAME?message}` asks for a value that is not there.
    """
    return text if _is_plain(text) else _Reader(text, values).until("")


def names_in(text: str) -> frozenset[str]:
    """Names of the arguments that a text asks for."""
    asked: set[str] = set()

    class Asked(dict[str, "str | None"]):
        def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
            asked.add(name)
            return default

    with suppress(ExpansionError):
        expand(text, Asked())
    return frozenset(asked)


class _Reader:
    def __init__(self, text: str, values: Mapping[str, str | None]) -> None:
        self.text, self.values, self.at = text, values, 0

    def _next(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def until(self, stop: str, *, keeps_escapes: bool = False) -> str:
        """Read up to the sign `stop`, which is taken along; "" is the end of the text."""
        found: list[str] = []
        while char := self._next():
            if char == stop:
                return "".join(found)
            if char == "'":
                found.append(self._single())
            elif char == '"':
                found.append(self._double())
            elif char == "$":
                found.append(self._dollar())
            elif char == "\\":
                found.append(("\\" if keeps_escapes else "") + self._next())
            else:
                found.append(char)
        if stop:
            raise ExpansionError(f"`{stop}` is missing")
        return "".join(found)

    def _single(self) -> str:
        end = self.text.find("'", self.at)
        if end < 0:
            raise ExpansionError("no closing quotation")
        found, self.at = self.text[self.at : end], end + 1
        return found

    def _double(self) -> str:
        found: list[str] = []
        while char := self._next():
            if char == '"':
                return "".join(found)
            if char == "$":
                found.append(self._dollar())
            elif char == "\\" and self._peek() in {'"', "$", "\\"}:
                found.append(self._next())
            else:
                found.append(char)
        raise ExpansionError("no closing quotation")

    def _name(self) -> str:
        match = _NAME.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match[0] if match else ""

    def _dollar(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return (self.values.get(name) or "") if name else "$"
        self.at += 1
        name = self._name()
        sign = self._next()
        if not name:
            raise ExpansionError("`${` without a name")
        if sign == "}":
            return self.values.get(name) or ""
        if sign in {"#", "%"}:
            return self._trimmed(self.values.get(name) or "", sign)
        if sign == "/":
            return self._replaced(self.values.get(name) or "")
        return self._chosen(name, sign)

    def _chosen(self, name: str, sign: str) -> str:
        value = self.values.get(name)
        is_there = value is not None
        if sign == ":":
            sign, is_there = self._next(), bool(value)
        word = self.until("}")
        if sign == "-":
            return (value or "") if is_there else word
        if sign == "+":
            return word if is_there else ""
        if sign == "?":
            if not is_there:
                raise ExpansionError(f"{name}: {word or 'has no value'}")
            return value or ""
        raise ExpansionError(f"`{sign}` is no modifier of an argument")

    def _trimmed(self, value: str, sign: str) -> str:
        greedy = self._peek() == sign
        self.at += greedy
        pattern = _glob(self.until("}", keeps_escapes=True))
        lengths = range(len(value) + 1)
        for length in reversed(lengths) if greedy else lengths:
            part = value[:length] if sign == "#" else value[len(value) - length :]
            if re.fullmatch(pattern, part, re.DOTALL):
                return value[length:] if sign == "#" else value[: len(value) - length]
        return value

    def _replaced(self, value: str) -> str:
        everywhere = self._peek() == "/"
        self.at += everywhere
        pattern = _glob(self.until("/", keeps_escapes=True))
        other = self.until("}")
        found, end = [], 0
        for match in re.finditer(pattern, value, re.DOTALL):
            # As Go has it: nothing is no match right after a match.
            if not match[0] and match.start() == end and end:
                continue
            found += [value[end : match.start()], other]
            end = match.end()
            if not everywhere:
                break
        return "".join(found) + value[end:]


def _glob(pattern: str) -> str:
    """A shell pattern as a regular expression."""
    words = re.findall(r"\\.|.", pattern, re.DOTALL)
    meanings = {"*": ".*", "?": "."}
    return "".join(meanings.get(word) or re.escape(word[1:] if len(word) > 1 else word) for word in words)
