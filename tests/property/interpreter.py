"""An engine that really builds, in memory: it interprets FROM, COPY, ARG, ENV and RUN over the bytes it is sent.

It imports nothing of how fingerprints are made: what it makes of the same Dockerfiles, built clean and one by one, is the oracle.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from tasker_build.context import DOCKERFILE
from tasker_build.engine.api import BuildRequest, ImageLabel
from tasker_build.engine.memory import MemoryEngine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Layers:
    """What an image holds: files, and the environment its steps see."""

    files: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Layers:
        return Layers(dict(self.files), dict(self.env))

    @property
    def digest(self) -> str:
        return sha256(repr((sorted(self.files.items()), sorted(self.env.items()))).encode()).hexdigest()


def interpret(
    text: str, context: Mapping[str, bytes], images: Mapping[str, Layers], args: Mapping[str, str], stage: str | None
) -> Layers:
    """Build one Dockerfile; the subset the tests' templates use."""
    stages: dict[str, Layers] = {}
    values: dict[str, str] = {}
    current = Layers()
    local: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        keyword, rest = line.split(" ", 1)
        if keyword == "ARG":
            for word in rest.split():
                name, _, default = word.partition("=")
                default = default.strip('"')
                (local if stages else values)[name] = args.get(name, default or values.get(name, ""))
        elif keyword == "FROM":
            image, _, name = rest.partition(" AS ")
            image = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], image)
            current = (stages.get(image) or images[image]).copy()
            stages[name or f"#{len(stages)}"] = current
            local = {}
        elif keyword == "ENV":
            name, _, value = rest.partition("=")
            current.env[name] = value
        elif keyword == "COPY":
            _copy(rest, context, stages, current)
        elif keyword == "RUN":
            seen = sha256(repr((rest, sorted(local.items()), current.digest)).encode()).hexdigest()
            current.files[f"/run/{len(current.files)}"] = seen.encode()
    return stages[stage] if stage else current


def _copy(rest: str, context: Mapping[str, bytes], stages: Mapping[str, Layers], current: Layers) -> None:
    words = rest.split()
    files: Mapping[str, bytes] = context
    if words[0].startswith("--from="):
        files = {path.lstrip("/"): data for path, data in stages[words.pop(0).removeprefix("--from=")].files.items()}
    target = words[-1]
    for source in words[:-1]:
        source = source.strip("/")  # noqa: PLW2901
        for path, data in files.items():
            if path == source:
                current.files[target.rstrip("/") + "/" + path.rsplit("/", 1)[-1] if target.endswith("/") else target] = data
            elif path.startswith(source + "/"):
                current.files[target.rstrip("/") + "/" + path[len(source) + 1 :]] = data


class InterpretingEngine(MemoryEngine):
    """Builds when it is asked for the command that builds."""

    def __init__(self, bases: Mapping[str, bytes]) -> None:
        super().__init__()
        self.layers: dict[str, Layers] = {}
        self.builds: list[str] = []
        for reference, data in bases.items():
            self.set_base(reference, data)

    def set_base(self, reference: str, data: bytes) -> None:
        """A base from outside, or another one under its name."""
        self.store(Layers({"/base": data}), [reference], None)

    def store(self, layers: Layers, references: Sequence[str], label: ImageLabel | None) -> str:
        text = label.dump() if label else ""
        image_id = "sha256:" + sha256((layers.digest + text).encode()).hexdigest()
        self.layers[image_id] = layers
        self.put(image_id, references, label, created=len(self.stored))
        return image_id

    def named(self) -> Mapping[str, Layers]:
        return {reference: self.layers[image_id] for reference, image_id in self.names.items()}

    def build_command(self, request: BuildRequest) -> Sequence[str]:
        with tarfile.open(request.context) as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            context = {member.name: _mode(member.mode) + (tar.extractfile(member) or tar).read() for member in members}  # type: ignore[union-attr]
        text = context.pop(DOCKERFILE)[1:].decode()
        label = ImageLabel.parse(request.label)
        assert label is not None
        self.builds.append(label.target)
        self.store(interpret(text, context, self.named(), {}, request.stage), [request.tag], label)
        return ("true",)

    def environment(self) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin"}


def _mode(mode: int) -> bytes:
    """The exec bit is part of a file, other bits are not."""
    return b"x" if mode & 0o100 else b"-"
