"""The commands of a RUN step, well enough to see what is installed and fetched. Nothing is expanded, run or looked up."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tasker_build.dockerfile import json_words, split_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.dockerfile import Instruction

_BREAKS = ";&|()\n`"
_OPENERS = {"then", "do", "else", "if", "elif", "while", "until", "!", "{", "$", "time", "exec", "sudo", "env", "command", "nice"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SHELLS = re.compile(r"#!.*\b(sh|bash|ash|dash)\b")
_ONLY_HEREDOCS = re.compile(r"(<<\S+\s*)+")
_MODULE = re.compile(r"python[0-9.]*")
_PIP = re.compile(r"pip[0-9.]*")


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: the program's bare name, and its words."""

    program: str
    words: tuple[str, ...]

    @property
    def flags(self) -> frozenset[str]:
        """Words that start with a dash, without their values."""
        return frozenset(word.partition("=")[0] for word in self.words if word.startswith("-"))

    def operands(self, *with_value: str) -> tuple[str, ...]:
        """Words that are no flags and no values of the flags `with_value`."""
        found: list[str] = []
        skip = False
        for word in self.words:
            if skip:
                skip = False
            elif word in with_value:
                skip = True
            elif not word.startswith("-") and not re.match(r"\d*[<>]", word):
                found.append(word)
        return tuple(found)


def script(instruction: Instruction) -> str:
    """The shell text of a RUN step; "" for one that another program reads."""
    text = split_flags(instruction.value)[1]
    if not instruction.heredoc:
        return text
    body = instruction.heredoc
    if _ONLY_HEREDOCS.fullmatch(text) and (not body.startswith("#!") or _SHELLS.match(body)):
        return "\n".join(line for line in body.split("\n")[:-1] if not line.lstrip().startswith("#"))
    return text


@lru_cache(maxsize=1 << 12)  # targets that share a template share most of their steps
def commands(instruction: Instruction) -> tuple[Command, ...]:
    """The simple commands of a RUN step in their order; none where the text cannot be split into words."""
    words = json_words(split_flags(instruction.value)[1])
    if words is not None:
        return tuple(_command(words))
    lexer = shlex.shlex(script(instruction).replace("\\\n", " "), posix=True, punctuation_chars=_BREAKS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    found: list[Command] = []
    words = []
    try:
        for token in lexer:
            if set(token) <= set(_BREAKS):
                found += _command(words)
                words = []
            else:
                words.append(token)
    except ValueError:  # an open quote: the builder's shell will say so
        return ()
    return (*found, *_command(words))


def _command(words: Sequence[str]) -> Iterator[Command]:
    start = 0
    while start < len(words) and (words[start] in _OPENERS or _ASSIGNMENT.match(words[start])):
        start += 1
    if start == len(words):
        return
    program, rest = words[start].rpartition("/")[2], tuple(words[start + 1 :])
    if _MODULE.fullmatch(program) and rest[:1] == ("-m",) and len(rest) > 1:
        program, rest = rest[1], rest[2:]
    yield Command("pip" if _PIP.fullmatch(program) else program, rest)
