"""What keeps rendered Dockerfiles from being cached well or from being repeated exactly, with its price.

Values in, findings out; it asks no engine and reads no file.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from tasker_build.chain import STEPS, WHOLE, Chain, Place, context_words, is_manifest, is_remote, origin_of
from tasker_build.dockerfile import Instruction, declared_args, from_flags, json_words, split_flags
from tasker_build.errors import nearest
from tasker_build.finding import Finding, Level, Price, about, counted
from tasker_build.shell import commands, script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.chain import Source
    from tasker_build.dockerfile import Stage
    from tasker_build.shell import Command
    from tasker_build.spec.model import TargetName

SOURCES_FIRST = "sources-before-dependencies"
COPY_ALL = "copy-all"
EARLY_VALUE = "early-value"
CLOCK = "changing-result"
UNPINNED = "unpinned-download"
MOVING_BASE = "moving-base"
REPEATED = "repeated-step"
UNDECLARED = "undeclared-argument"
OLD_TIMES = "compared-times"
LEVELS = {
    SOURCES_FIRST: Level.WARNING,
    COPY_ALL: Level.WARNING,
    EARLY_VALUE: Level.ADVICE,
    CLOCK: Level.WARNING,
    UNPINNED: Level.WARNING,
    MOVING_BASE: Level.WARNING,
    REPEATED: Level.ADVICE,
    UNDECLARED: Level.WARNING,
    OLD_TIMES: Level.WARNING,
}
"""Every check of this module. None of them is sure to make an image wrong, so none fails `check` by itself."""

_SHOWN = 4
_WORTH_SAYING = 1.0
"""Seconds below which a measured cost is no news."""


def find(
    sources: Sequence[Source],
    references: Mapping[str, TargetName],
    seconds: Mapping[TargetName, Mapping[str, float]],
) -> tuple[Finding, ...]:
    """Look for everything that `LEVELS` names.

    Args:
        sources: every target, parents before children.
        references: image reference in FROM and --from → the target it names.
        seconds: target → recorded step (`[stage 2/5] RUN …`) → how long it takes when it runs; the newest first.

    Returns:
        The findings in the order of files and lines; one for each check and line, however many targets share the file.
    """
    chain = Chain(sources, references, seconds)
    keys = _Keys(chain).of
    # Builds at the same time share equal steps, and only one of them is told how long such a step took.
    known = {keys[place]: took for place, took in chain.seconds.items()}
    chain.seconds |= {place: known[key] for place, key in keys.items() if key in known and place not in chain.seconds}
    found = [
        *_sources_first(chain),
        *_copy_all(chain),
        *_early_values(chain),
        *_changing_results(chain),
        *_unpinned(chain),
        *_moving_bases(chain),
        *_repeated(chain, keys),
        *_undeclared(sources),
        *_compared_times(chain),
    ]
    first: dict[tuple[str, int, str, str], Finding] = {}
    for finding in found:
        first.setdefault((finding.path, finding.line, finding.checker, finding.message), finding)
    left = {key[:2] for key in first if key[2] == SOURCES_FIRST}
    rows = [finding for key, finding in first.items() if key[2] != COPY_ALL or key[:2] not in left]
    return tuple(sorted(rows, key=lambda row: (row.path, row.line, row.checker, row.message)))


# Sources before dependencies.

_INSTALLS: Mapping[str, Mapping[str, bool]] = {
    **{name: {"install": False} for name in ("apt", "apt-get", "aptitude", "dnf", "microdnf", "yum", "zypper", "gem")},
    "apk": {"add": False},
    "npm": {"ci": True, "install": True, "i": True},
    "pnpm": {"install": True, "i": True, "fetch": True},
    "yarn": {"": True, "install": True},
    "bundle": {"": True, "install": True},
    "poetry": {"install": True},
    "uv": {"sync": True},
    "go": {"mod download": True, "install": False},
    "cargo": {"fetch": True, "chef cook": True, "install": False},
    "rustup": {"target add": False, "component add": False, "toolchain install": False},
    "composer": {"install": True},
    "dotnet": {"restore": True},
    "mix": {"deps.get": True},
    "pip": {"install": False, "download": False},
}
"""Program → its words that install dependencies → whether they read what to install from files."""
_LOCAL = {"cargo": frozenset({"--path"})}
"""Program → flags with which it installs what lies there already."""
_CHOOSING = {("cargo", "install"): frozenset({"--version", "--vers", "--rev", "--tag"})}
"""Installations of programs whose newest version is taken unless a word has an `@`, or one of these flags is there."""
_LOCKING = {
    ("cargo", "install"): (
        "--locked",
        "`cargo install` without --locked takes newer dependencies than the program was released with",
    )
}
"""Installations that are repeatable with a flag only, and why."""
_PIP_VALUES = (
    *("-r", "--requirement", "-c", "--constraint", "-t", "--target", "-d", "--dest", "--prefix", "--root", "--root-user-action"),
    *("-i", "--index-url", "--extra-index-url", "--trusted-host", "--python-version", "--platform", "--progress-bar", "-e"),
)


def _reads_files(command: Command) -> bool | None:
    """Whether an installation reads files that were copied; None for a command that installs no dependencies."""
    verbs = command.operands("-o", "-t", "-c", "-C", "--prefix")
    known = _INSTALLS.get(command.program, {})
    reads = known.get(" ".join(verbs[:2]), known.get(verbs[0] if verbs else ""))
    if reads is None:
        return None
    if command.program == "pip":
        packages = command.operands(*_PIP_VALUES)[1:]
        if command.flags & {"--no-index", "-e", "--editable"} or any(_is_local(word) for word in packages):
            return None
        return bool(command.flags & {"-r", "--requirement"})
    if command.flags & _LOCAL.get(command.program, frozenset()):
        return None
    if command.program == "npm" and (command.flags & {"-g", "--global"} or len(verbs) > 1):
        return False
    return reads


def _is_local(word: str) -> bool:
    return word.startswith((".", "/")) or word.endswith((".whl", ".tar.gz", ".deb", ".rpm"))


@lru_cache(maxsize=1 << 12)
def _needs(step: Instruction, words: tuple[str, ...], copy: Instruction) -> bool:
    """Whether a RUN step names what was copied before it, other than as a place of manifests."""
    target = _file_target(copy) if copy.keyword != "RUN" else ""
    for path in _paths_in(step):
        file = path.rpartition("/")[2]
        if path == target:
            return True
        for word in words:
            if word not in WHOLE and (file == word.rpartition("/")[2] or (path.startswith(f"{word}/") and not is_manifest(path))):
                return True
    return False


def _paths_in(step: Instruction) -> frozenset[str]:
    text = re.sub(r"\bcd\s+\S+", "", script(step))
    return frozenset(re.sub(r"^(\./|/)+", "", word).rstrip("/") for word in re.split(r"[\s\"';&|()=<>]+", text)) - {""}


def _file_target(instruction: Instruction) -> str:
    """The name a single file is copied to; "" for a folder."""
    words = split_flags(instruction.value)[1].split()
    last = words[-1] if words else ""
    return "" if len(words) != 2 or last.endswith(("/", ".")) else re.sub(r"^(\./|/)+", "", last)  # noqa: PLR2004


_TOO_EARLY = (
    "copied before dependencies are installed ({}): move it below them (their manifests may stay above)",
    "mounted where dependencies are installed ({}): mount their manifests only",
)


def _sources_first(chain: Chain) -> Iterator[Finding]:
    late: dict[tuple[str, int], list[Place]] = {}  # place of a stage that copies → its copies
    steps: dict[tuple[str, int], list[Place]] = {}  # … → installations below them
    for name in chain.sources:
        for number, stage in chain.stages(name):
            for i, step in enumerate(stage.body):
                if step.keyword != "RUN" or not _installs(step):
                    continue
                here = Place(name, number, i)
                above = [place for place in chain.copies(name, number) if place[:2] != here[:2] or place.row < i]
                for place in [*above, here]:
                    if chain.taken(place) and not _needs(step, chain.taken(place), chain.instruction(place)):
                        source = chain.sources[place.target]
                        copying = (source.path, source.dockerfile.stages[place.stage].start.line)
                        late.setdefault(copying, []).append(place)
                        steps.setdefault(copying, []).append(here)
    for copying, places in late.items():
        first, below_it = min(places, key=lambda place: chain.instruction(place).line), list(dict.fromkeys(steps[copying]))
        words = tuple(dict.fromkeys(word for place in sorted(set(places)) for word in chain.taken(place)))
        why = _TOO_EARLY[chain.instruction(first).keyword == "RUN"].format(_where(chain, below_it, first))
        verb = "are" if len(words) > 1 and WHOLE.isdisjoint(words) else "is"
        message = f"{_paths(words)} {verb} {why}"
        what = f"an edit {_paths(words[:1], edit=True)}"
        found = chain.finding(SOURCES_FIRST, LEVELS[SOURCES_FIRST], first, message, what, below_it)
        same = any(chain.sources[place.target].path == found.path for place in below_it)
        # An image that is also a base of others holds its sources for a reason: that is for people to weigh.
        yield found if same else replace(found, level=Level.ADVICE)


def _installs(instruction: Instruction) -> bool:
    return any(_reads_files(command) is not None for command in commands(instruction))


def _paths(words: Sequence[str], *, edit: bool = False) -> str:
    if any(word in WHOLE for word in words):
        return "of any file of the context" if edit else "the whole context"
    shown = _listed([f"`{word}`" for word in words])
    return f"of {shown}" if edit else shown


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _where(chain: Chain, places: Sequence[Place], first: Place) -> str:
    home = chain.sources[first.target].path
    shown = [
        f"line {chain.instruction(place).line}"
        if chain.sources[place.target].path == home
        else f"{chain.sources[place.target].path}:{chain.instruction(place).line}"
        for place in places
    ]
    return _listed(tuple(dict.fromkeys(shown)))


def _copy_all(chain: Chain) -> Iterator[Finding]:
    for place, instruction in chain.everything():
        if instruction.keyword in {"COPY", "ADD"} and any(word in WHOLE for word in context_words(instruction)):
            yield chain.finding(
                COPY_ALL,
                LEVELS[COPY_ALL],
                place,
                "copies the whole context, so that any file of it counts here: name what this step needs",
                "an edit of any file of the context",
            )


# Values that are declared before they are used.

_MOVES = re.compile(r"(.*_)?(VERSION|REVISION|COMMIT|SHA|DATE|TIMESTAMP|BUILD_ID|BUILD_NUMBER)")
_FIXED = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)|(?i:(http|https|ftp|no|all)_proxy)|SOURCE_DATE_EPOCH|BUILDKIT_.*")


def _early_values(chain: Chain) -> Iterator[Finding]:
    for name in chain.sources:
        for number, stage in chain.stages(name):
            arguments: set[str] = set()
            for i, instruction in enumerate(stage.body):
                for variable, value in _assigned(instruction):
                    if instruction.keyword == "ARG":
                        arguments.add(variable)
                    elif not (_MOVES.fullmatch(variable) or any(_mentions(value, other) for other in arguments)):
                        continue
                    yield from _early_value(chain, Place(name, number, i), stage, variable)


def _assigned(instruction: Instruction) -> Iterator[tuple[str, str]]:
    if instruction.keyword not in {"ARG", "ENV"}:
        return
    try:
        words = shlex.split(instruction.value)
    except ValueError:
        return
    if instruction.keyword == "ENV" and words and "=" not in words[0]:
        words = [f"{words[0]}={' '.join(words[1:])}"]  # the old form: ENV NAME value
    for word in words:
        variable, _, value = word.partition("=")
        if not _FIXED.fullmatch(variable):
            yield variable, value


def _mentions(text: str, variable: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(variable)}(?!\w)", text))


def _early_value(chain: Chain, place: Place, stage: Stage, variable: str) -> Iterator[Finding]:
    declared = stage.body[place.row]
    used = next(
        (
            i
            for i in range(place.row + 1, len(stage.body))
            if _mentions(f"{stage.body[i].value}\n{stage.body[i].heredoc}", variable)
        ),
        None,
    )
    if used is None and declared.keyword == "ARG":
        return  # a program may read it without being told: DEBIAN_FRONTEND, for one
    end = len(stage.body) if used is None else used
    runs = [i for i in range(place.row + 1, end) if stage.body[i].keyword == "RUN"]
    if not runs:
        return
    between = [Place(place.target, place.stage, i) for i in range(runs[0], end) if stage.body[i].keyword in STEPS]
    price = chain.price(chain.same(between[0]), between)
    if price.avoidable is not None and price.avoidable < _WORTH_SAYING:
        return
    source = chain.sources[place.target]
    where = f"first used on line {stage.body[end].line}" if used is not None else "named by no step below"
    count = counted(len(between), "step")
    yield Finding(
        checker=EARLY_VALUE,
        level=LEVELS[EARLY_VALUE],
        path=source.path,
        line=declared.line,
        message=f"{declared.keyword} {variable} is {where}, but a new value repeats {count} before that: declare it later",
        origin=origin_of(source.origins, declared),
        cost=price.text(f"a new `{variable}`"),
        price=price,
    )


# Results that differ every time, and downloads that may.

_QUOTED_DATE = re.compile(r"\$\(\s*date\b(?![^)]*(-d|--date|-r|--reference))")
_RANDOM = re.compile(r"\$\{?(RANDOM|SRANDOM|EPOCHSECONDS|EPOCHREALTIME)\b")
_GIT_STATE = {"rev-parse", "describe", "log", "rev-list", "show"}


def _changing_results(chain: Chain) -> Iterator[Finding]:
    for place, instruction in chain.everything():
        if instruction.keyword == "RUN":
            for what in dict.fromkeys(_changing(instruction)):
                yield chain.finding(CLOCK, LEVELS[CLOCK], place, what, "each time it runs, it")


def _changing(instruction: Instruction) -> Iterator[str]:
    found = commands(instruction)
    text = script(instruction)
    clones = any(command.program == "git" and "clone" in command.words for command in found)
    advice = "pass it in as an ARG just before it is used, or make it a label"
    fixed = {"-d", "--date", "-r", "--reference"}
    if _QUOTED_DATE.search(text) or any(command.program == "date" and not command.flags & fixed for command in found):
        yield f"`date` says when this step was run, which is not when a cached image was built: {advice}"
    if not clones and any(command.program == "git" and _GIT_STATE & set(command.words[:3]) for command in found):
        yield f"`git` finds no repository here, because `.git` is in no context: {advice}"
    if match := _RANDOM.search(text):
        yield f"`{match[1]}` gives another result each time the step runs: {advice}"
    if any(command.program in {"uuidgen", "uuid"} for command in found):
        yield f"`uuidgen` gives another result each time the step runs: {advice}"


_VERIFIES = re.compile(r"\b(sha\d+sum|shasum|b2sum|gpgv?|cosign|minisign|sha(256|384|512))\b")
_LOCAL_URL = re.compile(r"(https?://)?(localhost|127\.0\.0\.1|\[::1\])([:/]|$)")
_CHOOSES = re.compile(r"\b(checkout|reset|switch)\b|--branch|--revision|\s-b\s")
_UPGRADES = {
    **{name: {"upgrade", "dist-upgrade", "full-upgrade"} for name in ("apt", "apt-get", "aptitude")},
    "apk": {"upgrade"},
    **{name: {"upgrade", "update", "distro-sync"} for name in ("dnf", "microdnf", "yum", "zypper")},
}


def _unpinned(chain: Chain) -> Iterator[Finding]:
    for place, instruction in chain.everything():
        problems = _loose_downloads(instruction) if instruction.keyword == "RUN" else _loose_adds(instruction)
        for problem in dict.fromkeys(problems):
            yield chain.finding(UNPINNED, LEVELS[UNPINNED], place, problem, "fetching it anew")


def _loose_adds(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword != "ADD":
        return
    flags, rest = split_flags(instruction.value)
    for word in filter(is_remote, (json_words(rest) or rest.split())[:-1]):
        if word.startswith("git@") or re.search(r"\.git($|[#?])", word):
            if not re.search(r"[#?]", word):
                yield f"{word} is whatever its main branch is: name a commit after `#`"
        elif "--checksum=" not in flags:
            yield f"{word} is taken without a checksum: add --checksum=sha256:…"


def _loose_downloads(instruction: Instruction) -> Iterator[str]:
    text = script(instruction)
    for command in commands(instruction):
        operands = command.operands()
        verb = operands[0] if operands else ""
        if command.program in {"curl", "wget"} and not _VERIFIES.search(text):
            if command.flags != {"--version"} and operands and not any(_LOCAL_URL.match(word) for word in operands):
                yield f"`{command.program}` fetches what nothing verifies: compare it with `sha256sum --check`, or ADD --checksum"
        elif verb in _UPGRADES.get(command.program, ()):
            yield f"`{command.program} {verb}` installs whatever is newest that day: move the pinned base instead"
        elif command.program == "pip":
            yield from _loose_pip(command, verb)
        elif (command.program, verb) in _CHOOSING:
            yield from _loose_programs(command, verb, operands[1:])
        elif command.program == "git" and verb == "clone" and not _CHOOSES.search(text):
            yield "`git clone` takes whatever the main branch is: name a commit"


def _loose_pip(command: Command, verb: str) -> Iterator[str]:
    if verb not in {"install", "download"} or command.flags & {"--no-index", "-c", "--constraint", "--require-hashes"}:
        return
    packages = [word for word in command.operands(*_PIP_VALUES)[1:] if not _is_local(word) and "$" not in word]
    if loose := [word for word in packages if "==" not in word and "@" not in word]:
        yield f"`pip {verb}` takes whatever version of {', '.join(loose)} is newest that day: name one with `==`"


def _loose_programs(command: Command, verb: str, packages: Sequence[str]) -> Iterator[str]:
    if command.flags & _LOCAL.get(command.program, frozenset()):
        return
    pinned = any("@" in word for word in packages) or command.flags & _CHOOSING[command.program, verb]
    if not pinned:
        yield f"`{command.program} {verb}` takes whatever version is newest that day: name one with `@`"
    flag, why = _LOCKING.get((command.program, verb), ("", ""))
    if flag and flag not in command.flags:
        yield why


def _moving_bases(chain: Chain) -> Iterator[Finding]:
    for name, source in chain.sources.items():
        yield from _moving_frontend(source)
        for number, stage in chain.stages(name):
            if chain.below_from(name, number) is None and (why := _moves(stage.image)):
                yield _base_finding(chain, source, stage.start, stage.image, why)
            for instruction in stage.body:
                for image in from_flags(instruction):
                    inside = any(image.lower() in {other.name, str(j)} for j, other in enumerate(source.dockerfile.stages))
                    if not inside and image not in chain.references and (why := _moves(image)):
                        yield _base_finding(chain, source, instruction, image, why)


def _moves(image: str) -> str:
    """Why an image is another one tomorrow; "" when its name says which one it is."""
    if image == "scratch" or "@" in image or "$" in image:
        return ""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "has no tag" if not tag else "is a tag that moves" if tag == "latest" else ""


def _base_finding(chain: Chain, source: Source, instruction: Instruction, image: str, why: str) -> Finding:
    price = chain.price(chain.twins[source.path, instruction.line])
    return Finding(
        checker=MOVING_BASE,
        level=LEVELS[MOVING_BASE],
        path=source.path,
        line=instruction.line,
        message=f"`{image}` {why}: name a version, or pin it with `tasker-build lock`",
        origin=origin_of(source.origins, instruction),
        cost=price.text("another image under that name"),
        price=price,
    )


_WHOLE_VERSION = re.compile(r":v?\d+\.\d+\.\d+[^:/]*$")


def _moving_frontend(source: Source) -> Iterator[Finding]:
    """A `# syntax=` image reads the file. No lock pins it and no fingerprint sees it move: its name has to say which it is."""
    image = source.dockerfile.directives.get("syntax", "")
    if not image or "@" in image or _WHOLE_VERSION.search(image):
        return
    line = list(source.dockerfile.directives).index("syntax") + 1
    why = f"`# syntax={image}` is whatever reads Dockerfiles under that name today"
    yield Finding(
        checker=MOVING_BASE,
        level=LEVELS[MOVING_BASE],
        path=source.path,
        line=line,
        message=f"{why}: name a whole version, or add its digest",
        origin=origin_of(source.origins, Instruction(keyword="#", value=image, line=line, raw=(f"# syntax={image}",))),
    )


# Arguments that reach nothing.

_UNASKED = re.compile(r"(?i:(http|https|ftp|no|all)_proxy)|SOURCE_DATE_EPOCH|BUILDKIT_.*")
"""What BuildKit reads without an ARG."""


def _undeclared(sources: Sequence[Source]) -> Iterator[Finding]:
    """Arguments of the spec that no ARG takes; what targets inherit from one place is right where one of them takes it."""
    useless: dict[tuple[str, str], list[Source]] = {}
    used: set[tuple[str, str]] = set()
    for source in sources:
        declared = declared_args(source.dockerfile) if source.args else frozenset()
        for name in source.args:
            key = (name, source.places.get(name, source.name))
            if name in declared or _UNASKED.fullmatch(name):
                used.add(key)
            else:
                useless.setdefault(key, []).append(source)
    for (name, place), found in useless.items():
        if (name, place) not in used:
            known = sorted({other for source in found for other in declared_args(source.dockerfile)})
            hint = "".join(f"; {near}" for near in nearest(name, known))
            targets = _listed([f"`{source.name}`" for source in found])
            yield Finding(
                checker=UNDECLARED,
                level=LEVELS[UNDECLARED],
                path=found[0].path,
                line=found[0].dockerfile.stages[0].start.line,
                message=f"no ARG declares `{name}`, which the spec gives {targets}: it reaches no step{hint}",
                origin=place,
            )


# Outputs that outlive their sources.

_BY_TIME: Mapping[str, frozenset[str]] = {
    "cargo": frozenset({"build", "b", "install", "test", "t", "check", "c", "clippy", "run", "r", "bench", "rustc", "doc"}),
    **dict.fromkeys(("make", "gmake", "ninja", "msbuild", "ant"), frozenset()),
    "cmake": frozenset({"--build"}),
    "meson": frozenset({"compile"}),
    "dotnet": frozenset({"build", "publish"}),
    "mvn": frozenset({"compile", "package", "install", "verify"}),
}
"""Program → its words that make only what is older than its sources; none: it always does."""
_NEWER = re.compile(r"(\[|\btest\b)[^\n;&|]*\s-[no]t\s|\bfind\b[^\n;|]*\s-newer")
_BY_CONTENT = re.compile(r"\b(\w*sum|cmp|touch)\b|--checksum|checksum-freshness")
_DOWNLOADS = re.compile(
    r"(^|/)(\.cache|\.npm|\.m2|\.gradle|\.nuget|\.cargo|cargo|registry|git|apt|lists|s?ccache|go-build|pkg/mod|mod)(/|$)"
)
"""Folders of caches that hold what was fetched, or what is found again by its content."""


def _compared_times(chain: Chain) -> Iterator[Finding]:
    for place, instruction in chain.everything():
        if instruction.keyword != "RUN" or not (kept := _kept_outputs(instruction)):
            continue
        text = script(instruction)
        programs = [c.program for c in commands(instruction) if _compares(c)] or (["-nt"] if _NEWER.search(text) else [])
        if not programs or _BY_CONTENT.search(text) or not any(chain.taken(at) for at in chain.copies(place.target, place.stage)):
            continue
        source = chain.sources[place.target]
        yield Finding(
            checker=OLD_TIMES,
            level=LEVELS[OLD_TIMES],
            path=source.path,
            line=instruction.line,
            message=(
                f"`{programs[0]}` compares times, and its outputs are kept in `{kept}`: after an edit that is taken back,"
                " a cached COPY brings the old file with its old time, which looks older than what was made of the edit."
                f" Compare content: touch what differs from a list that `sha256sum` left in `{kept}` (docs/check.md)"
            ),
            origin=origin_of(source.origins, instruction),
        )


def _kept_outputs(instruction: Instruction) -> str:
    """The folder of a cache mount that may hold outputs; "" if there is none."""
    for mount in re.findall(r"--mount=(\S+)", split_flags(instruction.value)[0]):
        options = dict(part.partition("=")[::2] for part in mount.split(","))
        target = options.get("target") or options.get("dst") or options.get("destination") or ""
        if options.get("type") == "cache" and not _DOWNLOADS.search(target):
            return target
    return ""


def _compares(command: Command) -> bool:
    verbs = _BY_TIME.get(command.program)
    return verbs is not None and (not verbs or bool(verbs.intersection(command.words)))


# The same work on different ground.


@dataclass(frozen=True, slots=True)
class _State:
    """What BuildKit would look a next step up by: equal states share one run of it."""

    key: int
    settings: tuple[str, ...] = ()


def _repeated(chain: Chain, keys: Mapping[Place, int]) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], dict[int, list[Place]]] = {}
    for place, instruction in chain.everything():
        if instruction.keyword == "RUN" and _stands_alone(instruction):
            source = chain.sources[place.target]
            group = (source.platform, chain.root(place.target, place.stage), instruction.canonical)
            groups.setdefault(group, {}).setdefault(keys[place], []).append(place)
    together: dict[tuple[str, frozenset[tuple[TargetName, int]]], list[list[Place]]] = {}
    for (_, root, _), runs in groups.items():
        if len(runs) > 1:
            firsts = [places[0] for places in runs.values()]
            together.setdefault((root, frozenset(place[:2] for place in firsts)), []).append(firsts)
    for (root, _), steps in together.items():
        yield from _repeated_finding(chain, root, steps)


def _repeated_finding(chain: Chain, root: str, steps: Sequence[Sequence[Place]]) -> Iterator[Finding]:
    first, *others = steps[0]
    times = [[chain.seconds[place] for place in places if place in chain.seconds] for places in steps]
    saved = round(sum(sum(row) - max(row) for row in times if len(row) > 1), 3)
    measured = any(len(row) > 1 for row in times)
    if measured and saved < _WORTH_SAYING:
        return
    names = tuple(dict.fromkeys(place.target for place in (first, *others)))
    source, count = chain.sources[first.target], len(steps[0])
    many = f"{len(steps)} steps from here are" if len(steps) > 1 else "this step is"
    home = f"a target on `{root}`" if len(names) > 1 else "a stage"
    gain = (
        f"saves {about(saved)} of every build that starts without a cache"
        if measured
        else f"saves {count - 1} of its {count} runs where there is no cache; no durations are recorded here"
    )
    where = _listed([f"{chain.sources[place.target].path}:{chain.instruction(place).line}" for place in others])
    yield Finding(
        checker=REPEATED,
        level=LEVELS[REPEATED],
        path=source.path,
        line=chain.instruction(first).line,
        message=f"{many} run {count} times, each after other steps, which no cache can share (also {where})",
        origin=origin_of(source.origins, chain.instruction(first)),
        cost=f"{home} that does it first, for all to start from, {gain}",
        price=Price(steps=len(steps) * (count - 1), targets=names, seconds=saved if measured else None),
    )


def _stands_alone(instruction: Instruction) -> bool:
    """Whether a RUN step installs something and needs nothing that was copied: it could stand on the bare base."""
    reads = [_reads_files(command) for command in commands(instruction)]
    return (
        False in reads
        and True not in reads
        and not context_words(instruction)
        and "from=" not in split_flags(instruction.value)[0]
    )


class _Keys:
    """The key of each step: what it does, and the keys of everything it stands on."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.ends: dict[tuple[TargetName, int], _State] = {}
        self.of: dict[Place, int] = {}
        for name, source in chain.sources.items():  # parents first, and in a file what is named is above what names it
            for number, stage in chain.stages(name):
                under = chain.below_from(name, number)
                state = self.ends[under] if under else _State(hash((source.platform, stage.image)))
                for i, instruction in enumerate(stage.body):
                    state = self._after(Place(name, number, i), instruction, state)
                self.ends[name, number] = state

    def _after(self, place: Place, instruction: Instruction, state: _State) -> _State:
        if instruction.keyword in {"ARG", "ENV", "USER", "SHELL"}:
            args = self.chain.sources[place.target].args
            named = _assigned(instruction) if instruction.keyword == "ARG" else ()
            given = [f"{name}={args[name]}" for name, _ in named if name in args]
            return _State(state.key, (*state.settings, instruction.canonical, *given))
        if instruction.keyword not in STEPS:
            return state
        used = []
        for image in from_flags(instruction):
            source = self.chain.source_of(place.target, place.stage, image)
            used.append(self.ends[source] if source else image)
        settings = state.settings if instruction.keyword == "RUN" else ()
        self.of[place] = key = hash((state.key, settings, instruction.canonical, *used))
        grown = (*state.settings, instruction.canonical) if instruction.keyword == "WORKDIR" else state.settings
        return _State(key, grown)
