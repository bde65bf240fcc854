"""All Dockerfiles as one chain: which step stands on which, across stages, files and targets, and what it costs to repeat some.

A step counts as BuildKit counts: RUN, COPY, ADD and WORKDIR make one. The edges of the graph, seen from here, are every FROM and
--from that names a target; recorded builds say how long steps take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from tasker_build.dockerfile import from_flags, json_words, reaching, split_flags
from tasker_build.finding import Finding, Level, Price
from tasker_build.ignore import below

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tasker_build.dockerfile import Dockerfile, Instruction, Stage
    from tasker_build.spec.model import TargetName

STEPS = {"RUN", "COPY", "ADD", "WORKDIR"}


class Origin(NamedTuple):
    """A text that lines of a rendered file come from: a template, or a hook in the spec, whose place holds for all its lines."""

    shown: str
    text: str
    numbered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One target's rendered Dockerfile and what the analysis has to know around it."""

    name: TargetName
    path: str  # below the output folder
    dockerfile: Dockerfile
    stage: str | None = None
    platform: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)  # argument → where the spec gives it
    files: tuple[str, ...] = ()  # of the context, sorted
    origins: tuple[Origin, ...] = ()  # the template that was named first


class Place(NamedTuple):
    """An instruction: its target, the number of its stage, its number in the stage's body."""

    target: TargetName
    stage: int
    row: int


class Chain:
    """All Dockerfiles as one: which step stands on which, across stages, files and targets."""

    def __init__(
        self,
        sources: Sequence[Source],
        references: Mapping[str, TargetName],
        seconds: Mapping[TargetName, Mapping[str, float]],
    ) -> None:
        self.sources = {source.name: source for source in sources}
        self.order = {source.name: i for i, source in enumerate(sources)}
        self.references = references
        self._taken: dict[Place, tuple[str, ...]] = {}
        self._copies: dict[tuple[TargetName, int], tuple[Place, ...]] = {}
        self.needed = {source.name: _needed(source) for source in sources}
        self.seconds: dict[Place, float] = {}
        for name in self.sources:
            self._measure(name, seconds.get(name, {}))
        self.users: dict[tuple[TargetName, int], list[Place]] = {}
        self._link()
        self.twins: dict[tuple[str, int], list[Place]] = {}
        for source in sources:
            for number, stage in self.stages(source.name):
                for i, instruction in enumerate((stage.start, *stage.body)):
                    # All of a stage follows its FROM.
                    self.twins.setdefault((source.path, instruction.line), []).append(Place(source.name, number, max(i - 1, 0)))

    def _measure(self, name: TargetName, recorded: Mapping[str, float]) -> None:
        for number, stage in self.stages(name):
            steps = [i for i, instruction in enumerate(stage.body) if instruction.keyword in STEPS]
            alone = len(self.sources[name].dockerfile.stages) == 1
            # BuildKit leaves the name of an only stage out.
            names = {stage.name or f"stage-{number}", "" if alone else stage.name}
            for text, took in recorded.items():
                for i in _recorded_steps(text, names, stage.body, steps):
                    self.seconds.setdefault(Place(name, number, i), took)

    def stages(self, name: TargetName) -> Iterator[tuple[int, Stage]]:
        """The stages that are built for a target, with their numbers."""
        return ((i, stage) for i, stage in enumerate(self.sources[name].dockerfile.stages) if i in self.needed[name])

    def everything(self) -> Iterator[tuple[Place, Instruction]]:
        """Every instruction below a FROM that is built."""
        for name in self.sources:
            for number, stage in self.stages(name):
                for i, instruction in enumerate(stage.body):
                    yield Place(name, number, i), instruction

    def instruction(self, place: Place) -> Instruction:
        return self.sources[place.target].dockerfile.stages[place.stage].body[place.row]

    def below_from(self, name: TargetName, number: int) -> tuple[TargetName, int] | None:
        """The stage that a stage starts from: an earlier one of its file, or a parent's last; None for an image from outside."""
        source = self.sources[name]
        image = source.dockerfile.stages[number].image
        for earlier in range(number - 1, -1, -1):
            if source.dockerfile.stages[earlier].name == image.lower():
                return name, earlier
        parent = self.references.get(image)
        return (parent, self.last(parent)) if parent in self.sources else None

    def last(self, name: TargetName) -> int:
        """The number of the stage that is a target's image."""
        source = self.sources[name]
        return source.dockerfile.stages.index(source.dockerfile.stage(source.stage))

    def root(self, name: TargetName, number: int) -> str:
        """The image from outside that a stage stands on in the end."""
        while (under := self.below_from(name, number)) is not None:
            name, number = under
        return self.sources[name].dockerfile.stages[number].image

    def copies(self, name: TargetName, number: int) -> Iterator[Place]:
        """What a stage stands on that brings sources from the context, from itself up."""
        under: tuple[TargetName, int] | None = (name, number)
        while under is not None:
            if under not in self._copies:
                self._copies[under] = tuple(self._copies_of(*under))
            yield from self._copies[under]
            under = self.below_from(*under)

    def _copies_of(self, name: TargetName, number: int) -> Iterator[Place]:
        for i, instruction in enumerate(self.sources[name].dockerfile.stages[number].body):
            place = Place(name, number, i)
            if instruction.keyword in {"COPY", "ADD"} and self.taken(place):
                yield place

    def again(self, starts: Iterable[Place]) -> tuple[Place, ...]:
        """Where each stage begins to be done again when these instructions are, in build order; all below that follows."""
        first: dict[tuple[TargetName, int], int] = {}
        todo = list(starts)
        while todo:
            name, number, row = todo.pop()
            if number not in self.needed[name] or first.get((name, number), row + 1) <= row:
                continue
            first[name, number] = row
            todo += self.users.get((name, number), ())
        ordered = sorted(first, key=lambda stage: (self.order[stage[0]], stage[1]))
        return tuple(Place(*stage, first[stage]) for stage in ordered)

    def _link(self) -> None:
        """Note for each stage which instructions stand on it: all of a stage that starts from it, and all below a --from."""
        for name in self.sources:
            for number, stage in self.stages(name):
                if (under := self.below_from(name, number)) is not None:
                    self.users.setdefault(under, []).append(Place(name, number, 0))
                for i, instruction in enumerate(stage.body):
                    for image in from_flags(instruction):
                        if (source := self.source_of(name, number, image)) is not None:
                            self.users.setdefault(source, []).append(Place(name, number, i))

    def source_of(self, name: TargetName, number: int, image: str) -> tuple[TargetName, int] | None:
        """The stage that `--from` names."""
        stages = self.sources[name].dockerfile.stages
        for earlier in range(number - 1, -1, -1):
            if image.lower() == stages[earlier].name or image == str(earlier):
                return name, earlier
        parent = self.references.get(image)
        return (parent, self.last(parent)) if parent in self.sources else None

    def taken(self, place: Place) -> tuple[str, ...]:
        """The sources that an instruction takes from the context; nothing when it takes manifests only."""
        if place not in self._taken:
            words = context_words(self.instruction(place))
            self._taken[place] = _source_words(words, self.sources[place.target].files) if words else ()
        return self._taken[place]

    def same(self, place: Place) -> Sequence[Place]:
        """An instruction in every target that has it from the same file."""
        return self.twins[self.sources[place.target].path, self.instruction(place).line]

    def price(self, starts: Sequence[Place], avoidable: Iterable[Place] = ()) -> Price:
        """What it costs when instructions of a file have to be done again; `avoidable`: steps that better order would spare."""
        again = self.again(starts)
        steps = self._once(
            Place(name, number, i)
            for name, number, row in again
            for i, instruction in enumerate(self.sources[name].dockerfile.stages[number].body)
            if i >= row and instruction.keyword in STEPS
        )
        here = {place.target for place in starts}
        # The time is in RUN steps; where none of them is measured, that copies are quick says nothing.
        runs = [place for place in steps if self.instruction(place).keyword == "RUN"]
        told = not runs or any(place in self.seconds for place in runs)
        known = [self.seconds[place] for place in steps if place in self.seconds and told]
        spared = [self.seconds[place] for place in self._once(avoidable) if place in self.seconds]
        return Price(
            steps=sum(place.target in here for place in steps),
            targets=tuple(dict.fromkeys(place.target for place in again if place.target not in here)),
            seconds=round(sum(known), 3) if known else None,
            avoidable=round(sum(spared), 3) if spared else None,
            unmeasured=sum(place not in self.seconds for place in runs) if known else 0,
        )

    def _once(self, places: Iterable[Place]) -> tuple[Place, ...]:
        """Each step of a file once: targets that share a file share its steps, too. The measured ones stand for the others."""
        found: dict[tuple[str, int], Place] = {}
        for place in places:
            key = (self.sources[place.target].path, self.instruction(place).line)
            if key not in found or found[key] not in self.seconds:
                found[key] = place
        return tuple(found.values())

    def finding(
        self, check: str, level: Level, place: Place, message: str, what: str = "", avoidable: Iterable[Place] = ()
    ) -> Finding:
        """A finding at an instruction with its price."""
        source, instruction = self.sources[place.target], self.instruction(place)
        price = self.price(self.same(place), avoidable)
        return Finding(
            checker=check,
            level=level,
            path=source.path,
            line=instruction.line,
            message=message,
            origin=origin_of(source.origins, instruction),
            cost=price.text(what),
            price=price,
        )


def _needed(source: Source) -> frozenset[int]:
    """The stages that the image of a target stands on."""
    kept = {stage.start.line for stage in reaching(source.dockerfile, source.stage).stages}
    return frozenset(i for i, stage in enumerate(source.dockerfile.stages) if stage.start.line in kept)


_RECORDED = re.compile(r"\[(?:(\S+)\s+)?\s*(\d+)/(\d+)\]\s+([A-Z]+)\s*(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{[^}]*\}|\w+)")


def _recorded_steps(text: str, names: Collection[str], body: Sequence[Instruction], steps: Sequence[int]) -> Iterator[int]:
    """The instructions that a recorded step stands for: a RUN by what it says, anything else by its place in the stage."""
    match = _RECORDED.match(text)
    if match is None or (match[1] or "") not in names:
        return
    if match[4] == "RUN":
        yield from (i for i in steps if body[i].keyword == "RUN" and _says(body[i], match[5]))
        return
    # BuildKit counts FROM as the first step, but not where it names another stage.
    more = int(match[3]) - len(steps)
    place = int(match[2]) - 1 - more
    if more in {0, 1} and 0 <= place < len(steps) and body[steps[place]].keyword == match[4]:
        yield steps[place]


def _says(instruction: Instruction, recorded: str) -> bool:
    """Whether a RUN step is what was recorded, where variables are filled in and mounts belong to a composition."""
    now, then = (" ".join(split_flags(text)[1].split()) for text in (instruction.value, recorded))
    if instruction.heredoc:
        return then.startswith(now)  # its first words follow
    first, *others = _VARIABLE.split(now)
    if not others:
        return now == then
    at = len(first) if then.startswith(first) else -1
    for part in others:
        found = then.find(part, at) if at >= 0 else -1
        at = found + len(part) if found >= 0 else -1
    return at >= 0 and then.endswith(others[-1])


def origin_of(origins: Sequence[Origin], instruction: Instruction) -> str:
    """Where a line of a rendered file comes from: the one line that says the same, else the template that was named."""
    wanted = instruction.raw[0].strip()
    found = [
        f"{origin.shown}:{number}" if origin.numbered else origin.shown
        for origin in origins
        for number, line in enumerate(origin.text.split("\n"), 1)
        if line.strip() == wanted
    ]
    return found[0] if len(found) == 1 else origins[0].shown if origins else ""


# What a step takes from the context.

_MANIFEST = re.compile(
    r"(Cargo\.(toml|lock)|rust-toolchain.*|recipe\.json|package.*\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-.*\.yaml|\.npmrc|\.yarnrc.*"
    r"|pyproject\.toml|.*requirements.*\.(txt|in)|constraints.*\.txt|poetry\.lock|uv\.lock|Pipfile.*|setup\.(py|cfg)|pip\.conf"
    r"|Gemfile.*|.*\.gemspec|go\.(mod|sum|work)|composer\..*|pom\.xml|.*\.gradle(\.kts)?|gradle\.properties|.*\.csproj|.*\.sln"
    r"|nuget\.config|mix\.(exs|lock)|\.tool-versions|\.(python|ruby|node)-version|\.nvmrc|.*\.(list|sources|gpg|asc|crt|pem))",
    re.IGNORECASE,
)
"""Files that say what the dependencies are, where they come from, and whom to trust about it."""
_CARRIED = {".cargo", ".yarn", ".mvn", ".bundle", "gradle", "patches", "requirements", "vendor"}
"""Folders that hold such files."""
WHOLE = {"", ".", "*"}


def is_manifest(path: str) -> bool:
    *folders, name = path.split("/")
    return bool(_MANIFEST.fullmatch(name)) or not _CARRIED.isdisjoint(folders)


def context_words(instruction: Instruction) -> tuple[str, ...]:
    """What an instruction takes from the context, as paths below it; "" is all of it."""
    flags, rest = split_flags(instruction.value)
    words: list[str] = []
    if instruction.keyword == "RUN":
        for mount in re.findall(r"--mount=(\S+)", flags):
            options = dict(part.partition("=")[::2] for part in mount.split(","))
            if options.get("type", "bind") == "bind" and "from" not in options:
                words.append(options.get("source") or options.get("src") or "")
    elif instruction.keyword in {"COPY", "ADD"} and "--from=" not in flags:
        words = [word for word in (json_words(rest) or rest.split())[:-1] if not word.startswith("<<") and not is_remote(word)]
    return tuple(re.sub(r"^(\./|/)+", "", word).rstrip("/") for word in words)


def is_remote(word: str) -> bool:
    return bool(re.match(r"[a-z+]+://|git@", word))


def _source_words(words: Iterable[str], files: Sequence[str]) -> tuple[str, ...]:
    """Those of the words that bring in more than manifests; a word that matches no file counts by its name."""

    def brings(word: str) -> bool:
        if word in WHOLE:
            return any(not is_manifest(path) for path in files)
        if any(char in word for char in "*?["):
            matched: Sequence[str] = [path for path in files if fnmatchcase(path, word)]
        else:
            matched = below(files, word)
        return any(not is_manifest(path) for path in matched) if matched else not is_manifest(word)

    return tuple(word for word in words if brings(word))
