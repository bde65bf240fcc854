"""Dockerfiles as values: parse one into instructions, and compose a target with its parents into one file.

Why compose: BuildKit keys the steps after `FROM parent-stage` and after `FROM parent:tag` differently, and compose links parents
as stages. Building the composition shares one cache with `docker compose build` of the same rendered files (docs/adr/0001).
Parsing follows the Dockerfile reference: comments, continuation lines, heredocs, flags; instructions are not interpreted.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, Span, TemplateError
from tasker_build.expansion import ExpansionError, expand, names_in, split_words
from tasker_build.spec.names import slug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_WORDS_ONLY = {"FROM", "COPY", "ADD", "EXPOSE"}
"""Instructions that are lists of words. A RUN's blanks are part of what its shell reads, and of BuildKit's key."""
_QUOTES = re.compile(r"[\\\"'\[]")
_BLANKS = re.compile(r"[ \t\v\f\r]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: `value` is everything after the keyword, continuation lines joined as BuildKit joins them."""

    keyword: str
    value: str
    line: int = field(compare=False)  # of its first line, from 1
    raw: tuple[str, ...] = field(compare=False)  # its lines as written, comments inside included
    heredoc: str = ""

    @property
    def canonical(self) -> str:
        """The instruction as it counts for the image: no comments, no line breaks but those of a heredoc."""
        value = self.value
        if self.keyword in _WORDS_ONLY and not _QUOTES.search(value):
            value = _BLANKS.sub(" ", value)
        return f"{self.keyword} {value}" + (f"\n{self.heredoc}" if self.heredoc else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A build stage: its FROM, its name ("" when it has none) and its instructions."""

    image: str
    written: str  # the image as written, before arguments were filled in
    name: str
    platform: str
    start: Instruction
    body: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A parsed file: the ARGs before the first FROM, and its stages."""

    instructions: tuple[Instruction, ...]
    directives: Mapping[str, str]  # `# syntax=…` and its like, by name
    globals: Mapping[str, str | None]
    stages: tuple[Stage, ...]

    def stage(self, name: str | None) -> Stage:
        """Return the named stage, or the last one.

        Raises:
            KeyError: no stage has that name.
        """
        if name is None:
            return self.stages[-1]
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)


_HEREDOC = re.compile(r"(?<!\S)\d*<<(-?)(['\"]?)([^\s<>|;&()'\"\\$`]+)\2(?=[\s>|;&)]|$)")
_QUOTED = re.compile(r"(?<!<<)(?<!<<-)(\"(?:\\.|[^\"\\])*\"|'[^']*')")
_CONTINUED = re.compile(r"(?:(?<=[^\\])|^)\\[ \t]*$")
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(.+?)\s*$", re.IGNORECASE)


PREDEFINED = ("TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT")
"""Arguments that BuildKit gives each file; those of the building machine are only known there."""


def platform_args(platform: str) -> Mapping[str, str]:
    """The values of `PREDEFINED` for a platform: os/architecture[/variant]."""
    system, architecture, variant = [*platform.split("/"), "", ""][:3]
    return dict(zip(PREDEFINED, (platform, system, architecture, variant), strict=True))


def parse(text: str, file: str = "Dockerfile", args: Mapping[str, str] | None = None) -> Dockerfile:
    """Parse a Dockerfile.

    Args:
        text: the file.
        file: its name in messages.
        args: build arguments, for what the images of its stages are; predefined ones count without being declared.

    Raises:
        TemplateError: it has no stage, an unfinished heredoc, or an escape directive we do not follow.
    """
    given = args or {}
    predefined = {name: value for name, value in given.items() if name in PREDEFINED}
    directives, below = _directives(text, file)
    instructions = tuple(_instructions(text, file, below))
    globals_: dict[str, str | None] = {}
    stages: list[Stage] = []
    bodies: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            stages.append(_stage(instruction, {**predefined, **globals_}, file))
            bodies.append([])
        elif stages:
            bodies[-1].append(instruction)
        elif instruction.keyword == "ARG":
            for name, value in _args(instruction, file):
                globals_[name] = given.get(name, _expanded(value, {**predefined, **globals_}, file, instruction.line))
        else:
            raise _broken(f"{instruction.keyword} before the first FROM", file, instruction.line)
    if not stages:
        raise _broken("no FROM: a Dockerfile needs a stage", file, 1)
    whole = tuple(replace(stage, body=tuple(body)) for stage, body in zip(stages, bodies, strict=True))
    return Dockerfile(instructions=instructions, directives=directives, globals=globals_, stages=whole)


def _broken(message: str, file: str, line: int) -> TemplateError:
    return TemplateError([Problem(code="T010", message=message, span=Span(file=file, line=line, col=1))])


def _directives(text: str, file: str) -> tuple[dict[str, str], int]:
    """The directives at the top, and the number of their lines."""
    found: dict[str, str] = {}
    for i, line in enumerate(text.split("\n")):
        directive = _DIRECTIVE.match(line)
        if directive is None:
            return found, i
        if directive[1].lower() == "escape" and directive[2] != "\\":
            raise _broken("the escape directive is not supported", file, i + 1)
        found[directive[1].lower()] = directive[2]
    return found, 0


def _instructions(text: str, file: str, below: int) -> Iterator[Instruction]:
    lines = text.split("\n")
    i = below
    while i < len(lines):
        stripped = lines[i].strip()
        if not stripped or stripped.startswith("#"):
            i += 1
            continue
        start, logical = i, ""
        while i < len(lines):
            line = lines[i]
            i += 1
            if line.strip().startswith("#") or (logical and not line.strip()):
                continue
            match = _CONTINUED.search(line)
            logical += line[: match.start()] if match else line
            if not match:
                break
        keyword, value = [*logical.split(maxsplit=1), ""][:2]
        heredoc = ""
        if keyword.upper() in {"RUN", "COPY", "ADD"}:
            for mark in _HEREDOC.finditer(_QUOTED.sub(lambda quoted: "x" * len(quoted[0]), value)):
                end = i
                while end < len(lines) and (lines[end].lstrip("\t") if mark[1] else lines[end]) != mark[3]:
                    end += 1
                if end == len(lines):
                    raise _broken(f"heredoc `{mark[3]}` is not closed", file, start + 1)
                heredoc += "\n".join(lines[i : end + 1]) + "\n"
                i = end + 1
        yield Instruction(
            keyword=keyword.upper(),
            value=value.strip(),
            line=start + 1,
            raw=tuple(lines[start:i]),
            heredoc=heredoc.rstrip("\n"),
        )


def _args(instruction: Instruction, file: str = "Dockerfile") -> Sequence[tuple[str, str | None]]:
    """Split `ARG A=1 B` into names and defaults."""
    try:
        return _arg_words(instruction.value)
    except ValueError as error:
        raise _broken(f"ARG cannot be read: {str(error).lower()}", file, instruction.line) from error


@functools.cache
def _arg_words(value: str) -> Sequence[tuple[str, str | None]]:
    """Names and defaults, these as they are written."""
    words = [word.partition("=") for word in split_words(value)]
    return tuple((expand(name, {}), default if equals else None) for name, equals, default in words)


def _expanded(value: str | None, values: Mapping[str, str | None], file: str, line: int) -> str | None:
    try:
        return None if value is None else expand(value, values)
    except ExpansionError as error:
        raise _broken(f"`{value}` cannot be expanded: {error}", file, line) from error


def declared_args(dockerfile: Dockerfile) -> frozenset[str]:
    """The names of every ARG of the file: a build argument without one has no effect."""
    found = (instruction for instruction in dockerfile.instructions if instruction.keyword == "ARG")
    return frozenset(name for instruction in found for name, _ in _args(instruction))


def _stage(instruction: Instruction, globals_: Mapping[str, str | None], file: str) -> Stage:
    words = instruction.value.split()
    platform = ""
    while words and words[0].startswith("--"):
        flag = words.pop(0)
        platform = flag.removeprefix("--platform=") if flag.startswith("--platform=") else platform
    if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):  # noqa: PLR2004
        raise _broken("FROM takes an image, or `image AS name`", file, instruction.line)
    image = _expanded(words[0], globals_, file, instruction.line)
    if platform and names_in(platform) and names_in(platform) <= globals_.keys() - set(PREDEFINED):
        # Arguments of the file's own are gone in a composition; BuildKit's are not.
        platform = _expanded(platform, globals_, file, instruction.line) or ""
    name = words[2].lower() if len(words) == 3 else ""  # noqa: PLR2004
    if not image:
        raise _broken(f"FROM {words[0]} names no image: the argument has no value", file, instruction.line)
    return Stage(image=image, written=words[0], name=name, platform=platform, start=instruction, body=())


def outside_images(dockerfile: Dockerfile) -> tuple[str, ...]:
    """Every image that comes from outside the file: FROM, COPY --from and RUN --mount from=, sorted, `scratch` left out."""
    names = {stage.name for stage in dockerfile.stages if stage.name} | {str(i) for i in range(len(dockerfile.stages))}
    found = {dockerfile.directives["syntax"]} if "syntax" in dockerfile.directives else set()
    earlier: set[str] = set()
    for stage in dockerfile.stages:
        if stage.image.lower() not in earlier:
            found.add(stage.image)
        earlier |= {stage.name} if stage.name else set()
        for instruction in stage.body:
            found |= {source for source in from_flags(instruction) if source.lower() not in names}
    return tuple(sorted(found - {"scratch"}))


def from_flags(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword in {"COPY", "ADD"}:
        yield from re.findall(r"--from=(\S+)", split_flags(instruction.value)[0])
    elif instruction.keyword == "RUN":
        for mount in re.findall(r"--mount=(\S+)", split_flags(instruction.value)[0]):
            yield from (part.removeprefix("from=") for part in mount.split(",") if part.startswith("from="))


def reaching(dockerfile: Dockerfile, stage_name: str | None) -> Dockerfile:
    """The file without the stages that the named one (or the last one) does not stand on: what a builder would run for it.

    Raises:
        KeyError: no stage has that name.
    """
    places = {stage.name: i for i, stage in enumerate(dockerfile.stages) if stage.name}
    places |= {str(i): i for i in range(len(dockerfile.stages))}
    needed: set[int] = set()
    todo = [dockerfile.stages.index(dockerfile.stage(stage_name))]
    while todo:
        i = todo.pop()
        if i in needed:
            continue
        needed.add(i)
        stage = dockerfile.stages[i]
        named = {stage.image.lower(), *(source.lower() for step in stage.body for source in from_flags(step))}
        todo += [places[name] for name in named if name in places]
    stages = tuple(stage for i, stage in enumerate(dockerfile.stages) if i in needed)
    kept = {id(step) for stage in stages for step in (stage.start, *stage.body)}
    dropped = {id(step) for stage in dockerfile.stages for step in (stage.start, *stage.body)} - kept
    instructions = tuple(step for step in dockerfile.instructions if id(step) not in dropped)
    return replace(dockerfile, instructions=instructions, stages=stages)


def split_flags(value: str) -> tuple[str, str]:
    """Split an instruction's value into its leading flags and the rest."""
    match = re.match(r"(?:--\S+\s+)*", value)
    end = match.end() if match else 0
    return value[:end], value[end:]


def inherits_args(dockerfile: Dockerfile, stage_name: str | None) -> bool:
    """Whether a stage hands ARGs on to stages built from it, which an image of that stage would not do."""
    hands_on: dict[str, bool] = {}
    wanted = dockerfile.stage(stage_name)
    for stage in dockerfile.stages:
        own = any(instruction.keyword == "ARG" for instruction in stage.body)
        # Only an earlier stage can be meant: `FROM debian AS debian` starts from the image.
        inherited = own or hands_on.get(stage.image.lower(), False)
        if stage is wanted:
            return inherited
        hands_on[stage.name] = inherited
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One target's file in a composition."""

    name: str
    dockerfile: Dockerfile
    stage: str | None
    args: Mapping[str, str]
    prefix: str  # folder of this target's context in the common context
    parents: Mapping[str, str]  # image reference in FROM or --from → name of an inlined piece, which comes earlier
    references: Mapping[str, str] = field(default_factory=dict)  # image reference → the reference to use instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A composed file: its text, the stage to build, and for each of its lines (from 1) the target and line it came from."""

    text: str
    stage: str
    origin: Mapping[int, tuple[str, int]]
    stages: Mapping[str, str]  # stage name → the target it belongs to


STAGE_MARK = "__"
"""Between a target's slug and its own stage's name; target names never hold two of `_` in a row."""


def compose(pieces: Sequence[Piece]) -> Composition:
    """Put the pieces, parents first, into one file whose last stage is that of the last piece."""
    writer = _Writer()
    if "syntax" in pieces[-1].dockerfile.directives:
        writer.lines.append(f"# syntax={pieces[-1].dockerfile.directives['syntax']}")
    for piece in pieces:
        writer.add(piece)
    last = pieces[-1]
    return Composition(
        text="\n".join(writer.lines) + "\n", stage=writer.final[last.name], origin=writer.origin, stages=writer.owner
    )


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origin: dict[int, tuple[str, int]] = {}
        self.final: dict[str, str] = {}
        self.owner: dict[str, str] = {}

    def add(self, piece: Piece) -> None:
        names = {stage.name: self._stage_name(piece, i) for i, stage in enumerate(piece.dockerfile.stages) if stage.name}
        names |= {str(i): self._stage_name(piece, i) for i in range(len(piece.dockerfile.stages))}
        globals_ = piece.dockerfile.globals
        earlier: set[str] = set()
        for i, stage in enumerate(piece.dockerfile.stages):
            image = names[stage.image.lower()] if stage.image.lower() in earlier else self._image(piece, stage.image)
            platform = f"--platform={stage.platform} " if stage.platform else ""
            self._emit(piece, stage.start.line, [f"FROM {platform}{image} AS {self._stage_name(piece, i)}"])
            self.owner[self._stage_name(piece, i)] = piece.name
            earlier |= {stage.name} if stage.name else set()
            for instruction in stage.body:
                self._instruction(piece, instruction, names, globals_)
        wanted = piece.dockerfile.stage(piece.stage)
        self.final[piece.name] = self._stage_name(piece, piece.dockerfile.stages.index(wanted))

    @staticmethod
    def _stage_name(piece: Piece, index: int) -> str:
        return f"{slug(piece.name)}{STAGE_MARK}{piece.dockerfile.stages[index].name or f'stage-{index}'}"

    def _image(self, piece: Piece, image: str) -> str:
        if image in piece.parents:
            return self.final[piece.parents[image]]
        return piece.references.get(image, image)

    def _emit(self, piece: Piece, line: int, lines: Sequence[str]) -> None:
        for offset, text in enumerate(lines):
            self.lines.append(text)
            self.origin[len(self.lines)] = (piece.name, line + offset)

    def _instruction(
        self, piece: Piece, instruction: Instruction, names: Mapping[str, str], globals_: Mapping[str, str | None]
    ) -> None:
        lines: Sequence[str] = instruction.raw
        if instruction.keyword == "ARG":
            lines = [self._arg(piece, instruction, globals_)]
        elif instruction.keyword in {"COPY", "ADD"}:
            lines = [self._copy(piece, instruction, names), *_heredoc_lines(instruction)]
        elif instruction.keyword == "RUN" and "--mount=" in split_flags(instruction.value)[0]:
            flags, rest = split_flags(instruction.value)
            flags = re.sub(r"--mount=(\S+)", lambda match: "--mount=" + self._mount(piece, match[1], names), flags)
            lines = [f"RUN {flags}{rest}", *_heredoc_lines(instruction)]
        self._emit(piece, instruction.line, lines)

    @staticmethod
    def _arg(piece: Piece, instruction: Instruction, globals_: Mapping[str, str | None]) -> str:
        """An ARG as written, but for what a build argument or an ARG above the first FROM says."""
        words = []
        for raw, (name, default) in zip(split_words(instruction.value), _args(instruction), strict=True):
            value = piece.args.get(name, globals_.get(name) if default is None else None)
            words.append(raw if value is None else f"{name}={quote(value)}")
        return "ARG " + " ".join(words)

    def _source(self, piece: Piece, source: str, names: Mapping[str, str]) -> str:
        return names.get(source.lower()) or self._image(piece, source)

    def _copy(self, piece: Piece, instruction: Instruction, names: Mapping[str, str]) -> str:
        flags, rest = split_flags(instruction.value)
        if "--from=" in flags:
            flags = re.sub(r"--from=(\S+)", lambda match: f"--from={self._source(piece, match[1], names)}", flags)
            return f"{instruction.keyword} {flags}{rest}"
        words = json_words(rest) or rest.split()
        pivot = "./" if "--parents" in flags.split() else ""
        sources = [self._prefixed(piece, instruction.keyword, word, pivot) for word in words[:-1]]
        text = json.dumps([*sources, words[-1]]) if json_words(rest) else " ".join([*sources, words[-1]])
        return f"{instruction.keyword} {flags}{text}"

    @staticmethod
    def _prefixed(piece: Piece, keyword: str, source: str, pivot: str) -> str:
        if source.startswith("<<") or (keyword == "ADD" and re.match(r"[a-z+]+://|git@", source)):
            return source
        # With --parents the part after `/./` is what arrives, so the prefix stays outside.
        return f"{piece.prefix}/{pivot}{source.lstrip('/').removeprefix('./')}"

    def _mount(self, piece: Piece, mount: str, names: Mapping[str, str]) -> str:
        parts = mount.split(",")
        if any(part.startswith("from=") for part in parts):
            return ",".join(
                f"from={self._source(piece, part[5:], names)}" if part.startswith("from=") else part for part in parts
            )
        if "type=bind" not in parts and any(part.startswith("type=") for part in parts):
            return mount
        if not any(part.split("=")[0] in {"source", "src"} for part in parts):
            return ",".join([*parts, f"source={piece.prefix}"])
        return ",".join(
            f"source={piece.prefix}/{part.split('=', 1)[1].lstrip('/')}" if part.split("=")[0] in {"source", "src"} else part
            for part in parts
        )


def json_words(text: str) -> list[str] | None:
    """The words of the JSON form; None when it is not that, `[ab].txt` for one."""
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _heredoc_lines(instruction: Instruction) -> list[str]:
    return instruction.heredoc.split("\n") if instruction.heredoc else []


def quote(value: str) -> str:
    """Quote a value for ENV, ARG and LABEL so that the frontend reads back exactly `value`.

    Raises:
        ValueError: a line break or NUL, which no Dockerfile word can hold.
    """
    if any(char in value for char in "\n\r\0"):
        raise ValueError("a Dockerfile value cannot hold a line break or NUL")
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'
