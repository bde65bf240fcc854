"""Where an image comes from: which target it is of, whether it is ours, and what it was made from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from tasker_build.engine.api import UNIQUE_TAG
from tasker_build.errors import Problem, SelectionError
from tasker_build.plan.situation import built_on, record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.engine.api import Image
    from tasker_build.plan.history import BuildRecord
    from tasker_build.plan.situation import BuiltOn, Situation


class Verdict(Enum):
    """Whose an image is, as far as can be told."""

    UNLABELLED = auto()
    UNTAGGED = auto()  # our label without the unique tag that goes with it
    REPLACED = auto()  # the image that was built here under its unique tag was another
    OTHER_PROJECT = auto()
    GONE_TARGET = auto()  # ours, of a target that the spec no longer has
    OURS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an image comes from."""

    image: Image
    ours: bool
    verdict: Verdict
    current: bool  # it is what the spec asks for now
    stands_on: tuple[BuiltOn, ...]
    record: BuildRecord | None
    base: str | None = None  # the base that it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An image from outside, and what stands on it."""

    name: str
    reference: str  # without a digest
    place: str  # file:line:column of the spec
    digest: str  # "" where nothing pins it
    is_locked: bool  # it is the lock that pins it, not the spec
    direct: tuple[tuple[str, str, str], ...]  # target, its role there, place
    through: tuple[str, ...]  # targets that stand on it through these


def find_image(text: str, images: Sequence[Image]) -> Image:
    """Return the image of a reference, or of an id or a registry's digest or the beginning of one.

    Raises:
        SelectionError: there is none, or more than one.
    """
    for reference in (text, f"{text}:latest"):
        if found := next((image for image in images if reference in image.references), None):
            return found
    name, _, digest = text.partition("@")
    if digest:
        # A tag beside a digest says nothing: the digest decides.
        wanted = f"{familiar(name)}@{digest}"
        matches = [image for image in images if wanted in map(_familiar_digest, image.digests)]
    else:
        matches = [image for image in images if looks_like_id(text) and _begins(image, text.removeprefix("sha256:"))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise SelectionError(
            [Problem(code="S037", message=f"{len(matches)} images have an id or digest that begins with `{text}`")]
        )
    message = f"`{text}` is neither a target nor an image that is here"
    raise SelectionError([Problem(code="S038", message=message, hints=("`tasker-build ls` lists the targets",))])


def looks_like_id(text: str) -> bool:
    """Whether a word can be an image id or the beginning of one."""
    digits = text.removeprefix("sha256:")
    return 4 <= len(digits) <= 64 and not set(digits) - set("0123456789abcdef")  # noqa: PLR2004 - sha256 in hex


def _begins(image: Image, start: str) -> bool:
    """Whether an image's id or one of its digests begins so, algorithms left out."""
    names = (image.id, *(digest.partition("@")[2] for digest in image.digests))
    return any(name.removeprefix("sha256:").startswith(start) for name in names)


def familiar(name: str) -> str:
    """An image's name as engines list it: without the hub's host and folder, and without a tag."""
    slash = name.rfind("/")
    name = name[:slash] + name[slash:].partition(":")[0] if slash >= 0 else name.partition(":")[0]
    return name.removeprefix("docker.io/").removeprefix("library/")


def _familiar_digest(text: str) -> str:
    name, _, digest = text.partition("@")
    return f"{familiar(name)}@{digest}"


def _is_called(image: Image, reference: str) -> bool:
    """Whether a reference, with a digest or without, is a name of an image."""
    name, _, digest = reference.partition("@")
    return f"{familiar(name)}@{digest}" in map(_familiar_digest, image.digests) if digest else reference in image.references


def origin(image: Image, situation: Situation) -> Origin:
    """Say which target an image is of, whether it is ours, and what it was made from."""
    label = image.label
    if label is None:
        base = next((name for name, reference in situation.spec.bases.items() if _is_called(image, reference)), None)
        return Origin(image=image, ours=False, verdict=Verdict.UNLABELLED, current=False, stands_on=(), record=None, base=base)
    unique = f"{UNIQUE_TAG}{label.fingerprint[:12]}"
    name = next((name for name in situation.wanted if name == label.target), None)
    item = situation.wanted[name] if name is not None else None
    mine = label.project == situation.spec.project
    here = [reference for reference in image.references if reference.rpartition(":")[2] == unique]
    agrees = f"{item.image}:{unique}" in here if item and mine else bool(here)
    if not agrees:
        verdict = Verdict.UNTAGGED
    elif not mine:
        verdict = Verdict.OTHER_PROJECT
    else:
        verdict = Verdict.OURS if item else Verdict.GONE_TARGET
    record = record_of(situation, name, image) if name is not None and mine else None
    noted = situation.records.get((name, label.fingerprint)) if name is not None and mine and record is None else None
    if agrees and noted is not None and not situation.observed.is_another_engine(noted.engine):
        agrees, verdict = False, Verdict.REPLACED
    return Origin(
        image=image,
        ours=agrees and mine,
        verdict=verdict,
        current=bool(item and mine and agrees and item.facts.fingerprint == label.fingerprint),
        stands_on=built_on(image, situation),
        record=record,
    )
