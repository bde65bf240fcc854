"""`stacks.lock`: the digests of bases and the checksums of tools. Text in, values and text out; asks nobody, opens no file.

The lock pins what a registry serves, so that everyone builds on the same bytes and a move is a reviewed change of one file. A pin
counts only for the very reference that the spec asks for; anything else is as if it were not there. Platforms are noted for
people and for checks; what an image depends on is the digest that its Dockerfile names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from tasker_build.errors import Span, SpecError
from tasker_build.spec.fields import BAD, Integer, MapOf, Reader, Record, Text, key
from tasker_build.spec.nodes import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tasker_build.errors import Problem
    from tasker_build.spec.model import Spec

SCHEMA = 1
HEADER = """\
# Digests of base images and checksums of tools. Commit this file: it decides what everyone builds on and with.
# Written by `tasker-build lock`, moved by `tasker-build lock --upgrade`; update bots may change the `image` lines (docs/lock.md).
"""
DIGEST = r"sha256:[0-9a-f]{64}"

_NOWHERE = Span(file="", line=0, col=0)
_DIGEST = Text(DIGEST, "sha256: and 64 hexadecimal digits")
_IMAGE = Text(rf"[^@\s\"\\]+@{DIGEST}", "a reference with its digest: name[:tag]@sha256:…")
_PLATFORMS = MapOf(_DIGEST, r"[a-z0-9]+(/[A-Za-z0-9_.-]+){1,2}", "os/architecture[/variant]", "platform")
_TOOL = Text(r"(crate|wheel):[^@\s\"\\]+@[^@\s\"\\]+", "a tool of one version: crate:NAME@VERSION or wheel:NAME@VERSION")
_CHECKSUMS = MapOf(_DIGEST, r"any|[a-z0-9]+(/[A-Za-z0-9_.-]+){1,2}", "any, or os/architecture", "platform")
_YAML_WORDS = {"on", "off", "y", "n", "yes", "no", "true", "false", "null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One base: the image it stands for, and what the registry has for each platform."""

    image: str = key(_IMAGE, "reference@digest")
    index: str = key(_DIGEST, "the digest whose platforms are listed; another one than the image's means: not known", default="")
    platforms: Mapping[str, str] = key(_PLATFORMS, "platform → digest", default_factory=dict)
    span: Span = field(compare=False, default=_NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    @property
    def reference(self) -> str:
        """The reference as the spec has it."""
        return self.image.partition("@")[0]

    @property
    def digest(self) -> str:
        """The digest it stands for."""
        return self.image.partition("@")[2]

    @property
    def complete(self) -> bool:
        """Whether its platforms are those of its digest; a bot moves the digest alone."""
        return bool(self.platforms) and self.index == self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPin:
    """One tool: what it is, and the checksum it has on each platform, or on `any`."""

    tool: str = key(_TOOL, "reference")
    digests: Mapping[str, str] = key(_CHECKSUMS, "platform → checksum")
    span: Span = field(compare=False, default=_NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """One word for all of its checksums."""
        digests = [self.digests[platform] for platform in sorted(self.digests)]
        return digests[0] if len(digests) == 1 else layers_digest(digests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Every pin, by the name of its base or tool."""

    version: int = key(Integer(SCHEMA, SCHEMA), f"version of the lock: {SCHEMA}", default=SCHEMA)
    bases: Mapping[str, Pin] = key(MapOf(Record(Pin, "a base")), "name of a base → its pin", default_factory=dict)
    tools: Mapping[str, ToolPin] = key(MapOf(Record(ToolPin, "a tool")), "name of a tool → its pin", default_factory=dict)
    span: Span = field(compare=False, default=_NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    def pin(self, name: str, reference: str) -> Pin | None:
        """The pin of a base, if it is one of this very reference."""
        found = self.bases.get(name)
        return found if found is not None and found.reference == reference else None

    def tool(self, name: str, reference: str) -> ToolPin | None:
        """The pin of a tool, if it is one of this very version."""
        found = self.tools.get(name)
        return found if found is not None and found.tool == reference else None


_LOCK = Record(Lock, "the lock")


def read_lock(data: bytes, file: str) -> Lock:
    """Read a lock; `file` is its name in messages.

    Raises:
        SpecError: every mistake in it, with its place.
    """
    reader = Reader()
    try:
        lock = _LOCK.read(parse(data, file), reader, "")
    except SpecError as error:
        raise _damaged(error.problems) from error
    if reader.problems or lock is BAD:
        raise _damaged(reader.problems)
    result: Lock = lock
    return result


def _damaged(problems: Iterable[Problem]) -> SpecError:
    hint = "correct it, restore it from version control, or remove it and run `tasker-build lock`"
    return SpecError(replace(problem, hints=(*problem.hints, hint)) for problem in problems)


def lock_text(lock: Lock) -> str:
    """Write a lock; equal locks give equal text."""
    return HEADER + "\n".join(_lines(lock)) + "\n"


def _lines(lock: Lock) -> Iterator[str]:
    yield f"version: {lock.version}"
    yield "bases:" if lock.bases else "bases: {}"
    for name, pin in sorted(lock.bases.items()):
        yield _name_line(name)
        yield f'    image: "{pin.image}"'
        if pin.index:
            yield f'    index: "{pin.index}"'
        if pin.platforms:
            yield "    platforms:"
            yield from (f'      {platform}: "{digest}"' for platform, digest in sorted(pin.platforms.items()))
    if lock.tools:
        yield "tools:"
    for name, tool in sorted(lock.tools.items()):
        yield _name_line(name)
        yield f'    tool: "{tool.tool}"'
        yield "    digests:"
        yield from (f'      {platform}: "{digest}"' for platform, digest in sorted(tool.digests.items()))


def _name_line(name: str) -> str:
    # A name such as `on` or `1` would be something else to other YAML readers.
    return f"  {name}:" if name[0].isalpha() and name not in _YAML_WORDS else f'  "{name}":'


def lockable(spec: Spec) -> Mapping[str, str]:
    """The bases that a lock can pin, by name: not those with a digest of their own, not targets of the graph itself."""
    own = {spec.image_reference(target) for target in spec.targets.values()}
    targets = {str(name) for name in spec.targets}
    return {
        name: reference
        for name, reference in sorted(spec.bases.items())
        if "@" not in reference and name not in targets and reference not in own
    }


def pinned(spec: Spec, lock: Lock) -> Spec:
    """The spec with every base that the lock pins named by its digest, and the checksums of every tool that it pins."""
    pins = {name: pin.image for name, reference in lockable(spec).items() if (pin := lock.pin(name, reference))}
    tools = {name: lock.tool(name, reference) for name, reference in spec.all_tools.items()}
    digests = {name: _hashes(pin) for name, pin in tools.items() if pin}
    return replace(spec, bases={**spec.bases, **pins}, tool_digests=digests) if pins or digests else spec


def _hashes(pin: ToolPin) -> tuple[str, ...]:
    """The checksums in hex, in the order of platforms, each once."""
    return tuple(dict.fromkeys(pin.digests[platform].removeprefix("sha256:") for platform in sorted(pin.digests)))


def with_pins(lock: Lock, pins: Mapping[str, Pin], tools: Mapping[str, ToolPin] | None = None) -> Lock:
    """The lock with further or other pins; those of bases and tools that another overlay has stay."""
    return replace(lock, bases={**lock.bases, **pins}, tools={**lock.tools, **(tools or {})})


def short(digest: str) -> str:
    """The part of a digest that people compare."""
    return digest.removeprefix("sha256:")[:12]


def layers_digest(layers: Sequence[str]) -> str:
    """One word for the layers of a local image: the same for the same file system, whatever its labels."""
    return "sha256:" + sha256("\n".join(layers).encode()).hexdigest()
