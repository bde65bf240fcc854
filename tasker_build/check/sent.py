"""What Dockerfiles copy, held against what is there: the files that are sent, and the stages that exist.

Says only what is sure. A word that holds variables, quotes or escapes is BuildKit's to read; a path below a file may lead through
a link.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from tasker_build.chain import WHOLE, context_words, origin_of
from tasker_build.dockerfile import from_flags
from tasker_build.errors import Problem, Span, nearest
from tasker_build.ignore import below

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tasker_build.chain import Origin
    from tasker_build.dockerfile import Dockerfile, Instruction

_OPEN = re.compile(r"[$\\\"'`]")
_GLOB = re.compile(r"[*?\[]")
_SIGNS = {"*": ".*", "?": "."}
_NEAR = 0.75


class Miss(NamedTuple):
    """A path that an instruction takes from the context, where nothing that is sent has it."""

    instruction: Instruction
    path: str
    is_glob: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a build gets of the workspace, and what the workspace has."""

    files: Sequence[str]  # sorted
    folders: Sequence[str] = ()  # that are sent without any file
    workspace: Sequence[str] = field(default=(), repr=False)  # all of its files, sorted

    def has(self, path: str) -> bool:
        """Whether a file or folder is sent, or may be: what lies below a file may be reached through a link."""
        if below(self.files, path) or below(self.folders, path):
            return True
        above = path
        while above := posixpath.dirname(above):
            if above in self.files:
                return True
        return False

    def matches(self, pattern: str) -> bool:
        """Whether a pattern stands for any file or folder that is sent."""
        parts = pattern.split("/")
        known = {"/".join(path.split("/")[: len(parts)]) for path in (*self.files, *self.folders)}
        return any(_fits(parts, path.split("/")) for path in known)


def misses(dockerfile: Dockerfile, sent: Sent) -> Iterator[Miss]:
    """Everything that the stages of a file take from the context and do not find there."""
    for stage in dockerfile.stages:
        for instruction in stage.body:
            for word in context_words(instruction):
                path = posixpath.normpath(f"/{word}").lstrip("/")
                if path in WHOLE or _OPEN.search(word):
                    continue
                is_glob = bool(_GLOB.search(path))
                if not (sent.matches(path) if is_glob else sent.has(path)):
                    yield Miss(instruction, path, is_glob)


def problems(
    dockerfile: Dockerfile, file: str, sent: Sent, origins: Sequence[Origin], images: Collection[str]
) -> Iterator[Problem]:
    """What of a file fails whenever it is built.

    Args:
        dockerfile: the stages that are built.
        file: what the rendered file is called.
        sent: the context.
        origins: the texts that the file was made from.
        images: images from outside that the spec names.
    """
    for miss in misses(dockerfile, sent):
        if not miss.is_glob:
            message = f"{miss.instruction.keyword} takes `{miss.path}`, which the context does not have"
            yield _problem("T011", message, miss.instruction, file, origins, _cures(miss.path, sent))
    stages = [stage.name for stage in dockerfile.stages]
    for number, stage in enumerate(dockerfile.stages):
        for instruction in stage.body:
            for name in from_flags(instruction):
                if why := _is_no_stage(name, stages, number, images):
                    hints = nearest(name, filter(None, stages[:number])) or ("name an earlier stage or an image",)
                    yield _problem("T012", f"--from={name} {why}", instruction, file, origins, hints)


def _problem(
    code: str, message: str, instruction: Instruction, file: str, origins: Sequence[Origin], hints: tuple[str, ...]
) -> Problem:
    text = instruction.raw[0]
    span = Span(file=file, line=instruction.line, col=1, length=len(text.rstrip()), text=text)
    origin = origin_of(origins, instruction)
    return Problem(code=code, message=message, span=span, notes=(f"from: {origin}",) if origin else (), hints=hints)


def _cures(path: str, sent: Sent) -> tuple[str, ...]:
    if below(sent.workspace, path):
        return (f"the workspace has it: add it to the target's `context`: [{path}]",)
    near = get_close_matches(path, sent.files, n=3, cutoff=_NEAR)
    if near:
        return (f"did you mean {' or '.join(f'`{name}`' for name in near)}?",)
    return ("paths start at the workspace folder; what `sources.ignore` matches is never sent",)


def _is_no_stage(name: str, stages: Sequence[str], number: int, images: Collection[str]) -> str:
    """Why a name can be no earlier stage of a file and no image either; "" when it may be one."""
    word = name.lower()
    # BuildKit refuses a wrong number before its first step, and of a file that targets share not all stages are known here.
    if word in stages[:number] or name in images or _OPEN.search(name) or set("/:@") & set(name) or name.isdecimal():
        return ""
    if word in stages[number:]:
        return "is no earlier stage: stages are built from the top"
    near = get_close_matches(word, [stage for stage in stages[:number] if stage], n=1, cutoff=_NEAR)
    return "is no stage of this file" if near else ""


def _fits(pattern: Sequence[str], path: Sequence[str]) -> bool:
    return len(path) == len(pattern) and all(_regex(part).fullmatch(name) for part, name in zip(pattern, path, strict=True))


def _regex(part: str) -> re.Pattern[str]:
    """One part of a pattern as Go's `filepath.Match` reads it."""
    words = re.split(r"(\*|\?|\[\^?[^\]]+\])", part)
    return re.compile(
        "".join(_SIGNS.get(word) or (word if word.startswith("[") else re.escape(word)) for word in words), re.DOTALL
    )
