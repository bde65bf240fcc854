"""What an image depends on → facts → digest, and why two sets of facts differ: one walk, so that the two cannot disagree.

In: everything that can change the image. Out: everything that cannot (times, owners, the checkout folder, comments,
parallelism, tags, proxies). A parent counts by its fingerprint, so the whole plan is known before anything is built, and with
no engine.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasker_build.dockerfile import Dockerfile
    from tasker_build.files.entry import Entry
    from tasker_build.spec.model import Target
    from tasker_build.spec.names import TargetName

SCHEMA = 1
"""Raised on any change of the recipe below; every image is then rebuilt once, with the reason `schema`."""


class Group(StrEnum):
    """Kinds of facts; each has a digest of its own on the image, so that a difference has a name without any record."""

    SCHEMA = "schema"
    SPEC = "spec"  # target name, stage, platform, network
    DOCKERFILE = "dockerfile"
    CONTEXT = "context"
    ARG = "arg"
    BASE = "base"
    PARENT = "parent"
    SECRET = "secret"  # noqa: S105 - a kind of fact, not a secret


class Fact(NamedTuple):
    """One thing an image depends on, as a word."""

    group: Group
    label: str
    value: str


Row = tuple[Group, str, str]
"""A fact, before anybody asks for it by name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one target's image depends on."""

    fingerprint: str
    groups: Mapping[str, str]  # group → short digest
    _rows: Callable[[], Iterable[Row]] = field(compare=False, repr=False)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Facts:
        """Digest the facts, in sorted order."""
        known = tuple(sorted(rows))
        joined = dict.fromkeys(Group, b"")
        for group, some in groupby(known, itemgetter(0)):
            # Lengths, in bytes, keep a fact apart from every other.
            start = f"{len(group)}:{group}"
            words = [f"{start}{_length(label)}:{label}{_length(value)}:{value}" for _, label, value in some]
            joined[group] = "".join(words).encode("utf-8", "surrogateescape")
        # Facts are sorted by the names of their groups first.
        fingerprint = _digest(b"".join([joined[group] for group in sorted(joined)]))
        return cls(fingerprint, {group.value: _digest(joined[group])[:16] for group in joined}, lambda: known)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The facts by name, sorted; made when somebody asks, for most plans look at the fingerprint only."""
        return tuple(map(Fact._make, sorted(self._rows())))

    def read(self) -> Facts:
        """The same facts with every file read: asking for them by name reads no disk any more."""
        known = tuple(self._rows())
        return Facts(self.fingerprint, self.groups, lambda: known)

    @property
    def short(self) -> str:
        """The part of the fingerprint that stands in the image's unique tag."""
        return self.fingerprint[:12]


def _length(word: str) -> int:
    return len(word) if word.isascii() else len(word.encode("utf-8", "surrogateescape"))


def _digest(words: bytes) -> str:
    return sha256(b"tasker-build facts\n" + words).hexdigest()


def fixed_facts(target: Target, dockerfile: Dockerfile, *, references: Mapping[str, TargetName], platform: str) -> Iterator[Row]:
    """The facts that follow from the spec and the Dockerfile."""
    yield Group.SCHEMA, "schema", str(SCHEMA)
    yield Group.SPEC, "target", target.name
    yield Group.SPEC, "stage", target.stage or ""
    yield Group.SPEC, "platform", platform
    yield Group.SPEC, "network", target.network
    from tasker_build.dockerfile import declared_args, outside_images  # noqa: PLC0415 - a plan that knows its outlines parses nothing

    outside = [image for image in outside_images(dockerfile) if image not in references]
    pins = _pins(outside)
    for directive, value in dockerfile.directives.items():
        yield Group.DOCKERFILE, f"# {directive}", value
    for i, text in enumerate(_texts(dockerfile, pins)):
        yield Group.DOCKERFILE, f"{i:04}", text
    # One that no ARG declares reaches no step.
    for name in sorted(target.args.keys() & declared_args(dockerfile)):
        yield Group.ARG, name, target.args[name]
    for image in outside:
        reference = image.partition("@")[0]
        pinned = reference in pins
        yield Group.BASE, reference if pinned else image, pins[reference] if pinned else image


def stated_secrets(target: Target) -> tuple[tuple[str, bool, str], ...]:
    """The secrets that the spec asks for: of each its id, whether it is required, and its version.

    Those that this tool adds by itself are no facts: a newer one with more of them rebuilds nothing.
    """
    return tuple((secret.id, secret.required, secret.version) for secret in target.secrets if not secret.implied)


def moving_facts(
    context: Sequence[Entry],
    *,
    meanings: Mapping[str, str],
    parents: Mapping[TargetName, str],
    secrets: Iterable[tuple[str, bool, str, bool]],
) -> Iterator[Row]:
    """The facts that follow from contents of files, from other targets and from the site.

    Args:
        context: the files sent with the target.
        meanings: path → digest of meaning, for files whose layout does not count (manifests without their code).
        parents: parent target → its fingerprint.
        secrets: of each its id, whether it is required, its version, and whether the site has it.
    """
    for entry in context:
        path = entry.path
        yield Group.CONTEXT, path, f"meaning:{meanings[path]}" if path in meanings else entry.identity
    for name, fingerprint in parents.items():
        yield Group.PARENT, name, fingerprint
    for secret, required, version, there in secrets:
        # The site's CA bundle says whom to trust, not what to build: being there or not changes no byte of an image.
        yield Group.SECRET, secret, f"{there if required else 'optional'} {version}"


def folder_facts(folders: Iterable[Entry]) -> Iterator[Row]:
    """The facts of the folders that change an image by themselves: empty ones, and those with a mode of their own."""
    return ((Group.CONTEXT, f"{entry.path}/", entry.identity) for entry in folders)


def _pins(images: Sequence[str]) -> Mapping[str, str]:
    """Reference → digest, for those of the images that stand for one digest alone."""
    if not any("@" in image for image in images):
        return {}
    parts = [image.partition("@") for image in images]
    counts = Counter(reference for reference, _, _ in parts)
    return {reference: digest for reference, _, digest in parts if digest and counts[reference] == 1}


def _texts(dockerfile: Dockerfile, pins: Mapping[str, str]) -> Sequence[str]:
    """The instructions as they count: where images are chosen, a pinned digest is left out; it is a base fact of its own.

    Only where every mention of the reference there is pinned: then the facts still say exactly what was written.
    """
    texts = [instruction.canonical for instruction in dockerfile.instructions]
    if not pins:
        return texts
    first = next(i for i, instruction in enumerate(dockerfile.instructions) if instruction.keyword == "FROM")
    chosen = [i for i, instruction in enumerate(dockerfile.instructions) if i < first or instruction.keyword == "FROM"]
    for reference, digest in pins.items():
        mention = re.compile(rf"(?<![\w./:@-]){re.escape(reference)}(?![\w./:-])(@{re.escape(digest)}(?!\w))?")
        if all(match[1] for i in chosen for match in mention.finditer(texts[i])):
            for i in chosen:
                texts[i] = mention.sub(lambda _, reference=reference: reference, texts[i])  # type: ignore[misc]
    return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact that differs: its old and new value, None where there was or is none."""

    group: Group
    label: str
    old: str | None
    new: str | None

    @property
    def sign(self) -> str:
        """`+` added, `-` removed, `~` changed."""
        return "+" if self.old is None else "-" if self.new is None else "~"


def differences(old: Sequence[Fact], new: Sequence[Fact]) -> tuple[Difference, ...]:
    """What changed between two sets of facts, sorted."""
    before = {(fact.group, fact.label): fact.value for fact in old}
    after = {(fact.group, fact.label): fact.value for fact in new}
    return tuple(
        Difference(group=group, label=label, old=before.get((group, label)), new=after.get((group, label)))
        for group, label in sorted(before.keys() | after.keys())
        if before.get((group, label)) != after.get((group, label))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """Neighbouring instructions of a Dockerfile that went and came."""

    at: int  # number of the first that came, or of the one before which they went; directives are not counted
    went: tuple[str, ...]
    came: tuple[str, ...]


def hunks(old: Sequence[Fact], new: Sequence[Fact]) -> Iterator[Hunk]:
    """The instructions that went and came between two sets of facts.

    Facts number instructions; comparing them by number would show everything below an inserted one.
    """
    from difflib import SequenceMatcher  # noqa: PLC0415 - most plans have nothing to show

    before, after = (
        [
            f"{fact.label}={fact.value}" if fact.label.startswith("#") else fact.value
            for fact in facts
            if fact.group is Group.DOCKERFILE
        ]
        for facts in (old, new)
    )
    directives = sum(fact.group is Group.DOCKERFILE and fact.label.startswith("#") for fact in new)
    for tag, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Hunk(at=max(k - directives, 0), went=tuple(before[i:j]), came=tuple(after[k:m]))
