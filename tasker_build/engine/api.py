"""All we ever ask of an engine, and the label that is our memory on its images."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LABEL = "tasker-build.image"
"""The one label of ours: one, so that a child image cannot inherit half of its parent's."""
UNIQUE_TAG = "tb-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLabel:
    """What an image says of itself."""

    schema: int
    project: str
    target: str
    platform: str
    fingerprint: str
    groups: Mapping[str, str]
    built_on: Mapping[str, str] = field(default_factory=dict)  # parent target or base reference → image id
    built: int = 0  # seconds since 1970, where `refresh` asks for it: an image without steps of its own has the time of its base
    redone: bool = False  # its steps were run again although BuildKit had them: only the image itself stands for it

    def dump(self) -> str:
        """Write the label; equal values give equal text."""
        value = {
            "v": self.schema,
            "project": self.project,
            "target": self.target,
            "platform": self.platform,
            "fp": self.fingerprint,
            "groups": dict(self.groups),
            "on": dict(self.built_on),
        }
        value |= ({"redone": True} if self.redone else {}) | ({"built": self.built} if self.built else {})
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> ImageLabel | None:
        """Read a label; None when it is none of ours, whatever is wrong with it."""
        try:
            value: Any = json.loads(text)
            return cls(
                schema=int(value["v"]),
                project=str(value["project"]),
                target=str(value["target"]),
                platform=str(value["platform"]),
                fingerprint=str(value["fp"]),
                groups={str(k): str(v) for k, v in value["groups"].items()},
                built_on={str(k): str(v) for k, v in value["on"].items()},
                redone=bool(value.get("redone", False)),
                built=int(value.get("built", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of the engine."""

    id: str
    references: tuple[str, ...]  # name:tag, sorted
    label: ImageLabel | None
    created: int = 0  # seconds since 1970
    digests: tuple[str, ...] = ()  # name@sha256:…: what registries call it
    content: str = ""  # digest of its layers and settings without our label; only of one that was asked for by its name


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One image to build."""

    context: Path  # a finished tar
    stage: str
    tag: str
    label: str
    secrets: Mapping[str, Path]
    metadata: Path
    network: str = "default"
    platform: str | None = None
    no_cache_stages: Sequence[str] = ()


class Process(Protocol):
    """A build that an engine began. It reports as rawjson, on one stream."""

    def fileno(self) -> int:
        """The descriptor that is readable when it says something, and at the end of its stream."""

    def read(self) -> bytes | None:
        """What it said since the last time; None: nothing yet, empty: its stream ended."""

    def poll(self) -> int | None:
        """Its exit code; None while it goes on."""

    def send(self, number: signal.Signals) -> None:
        """Signal it and everything that it started."""

    def close(self) -> int:
        """Wait for its end, let go of its stream, and return its exit code; may be called twice."""


class Engine(Protocol):
    """Where images live and are made."""

    endpoint: str
    """Where it is reached."""

    def images(self) -> Sequence[Image]:
        """Every image that has a name, a registry's digest or our label: one round trip."""

    def image(self, reference: str) -> Image | None:
        """The image of that name or id with its label, or None."""

    def identity(self) -> str:
        """Its own id, the same whatever endpoint it is reached by: a round trip of its own."""

    def tag(self, image_id: str, reference: str) -> None:
        """Give an image a further name."""

    def push(self, reference: str) -> None:
        """Push an image to the registry that its name says.

        Raises:
            BuildError: it did not arrive there.
        """

    def environment(self) -> Mapping[str, str]:
        """The environment of programs that are to speak with it."""

    def check_builder(self) -> None:
        """See whether it can build.

        Raises:
            EngineError: a program is missing.
        """

    def start(self, request: BuildRequest) -> Process:
        """Begin a build.

        Raises:
            OSError: its program cannot be started.
        """
