"""An engine that really builds, in memory: it interprets FROM, COPY, ARG, ENV and RUN over the bytes it is sent.

It imports nothing of how fingerprints are made: what it makes of the same Dockerfiles, built clean and one by one, is the oracle.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from tasker_build.context import DOCKERFILE
from tasker_build.engine.api import BuildRequest, ImageLabel
from tasker_build.engine.memory import MemoryEngine
from tasker_build.errors import BuildError

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
    local: dict[str, str] = {}  # an argument that has no value is not in it: unset is not empty
    folder = "/"
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        keyword, rest = line.split(" ", 1)
        if keyword == "ARG":
            for word in rest.split():
                name, equals, default = word.partition("=")
                value = args.get(name, default.strip('"') if equals else values.get(name))
                if value is not None:
                    (local if stages else values)[name] = value
        elif keyword == "FROM":
            image, _, name = rest.partition(" AS ")
            image = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], image)
            current = (stages.get(image) or images[image]).copy()
            stages[name or f"#{len(stages)}"] = current
            local, folder = {}, "/"
        elif keyword == "WORKDIR":
            folder = rest
        elif keyword == "ENV":
            name, _, value = rest.partition("=")
            current.env[name] = value
        elif keyword == "COPY":
            _copy(rest, folder, context, stages, current)
        elif keyword == "RUN":
            seen = sha256(repr((rest, sorted(local.items()), current.digest)).encode()).hexdigest()
            current.files[f"{folder}/run-{len(current.files)}"] = seen.encode()
    return stages[stage] if stage else current


def _copy(rest: str, folder: str, context: Mapping[str, bytes], stages: Mapping[str, Layers], current: Layers) -> None:
    words = rest.split()
    files: Mapping[str, bytes] = context
    if words[0].startswith("--from="):
        files = {path.lstrip("/"): data for path, data in stages[words.pop(0).removeprefix("--from=")].files.items()}
    target = posixpath.normpath(posixpath.join(folder, words[-1]))
    for source in words[:-1]:
        source = source.strip("/")  # noqa: PLW2901
        if not any(path == source or path.startswith(source + "/") for path in files):
            raise BuildError(f"{source}: not found")
        for path, data in files.items():
            if path == source and data[:1] not in {b"d", b"D"}:
                place = f"{target}/{path.rsplit('/', 1)[-1]}" if words[-1].endswith("/") else target
                current.files[place] = data
            elif path.startswith(source + "/"):
                current.files[f"{target}/{path[len(source) + 1 :]}"] = data


class InterpretingEngine(MemoryEngine):
    """Builds what it interprets."""

    def __init__(self) -> None:
        super().__init__(self.interpret)
        self.layers: dict[str, Layers] = {}

    def store(self, layers: Layers, references: Sequence[str], label: ImageLabel | None) -> str:
        text = label.dump() if label else ""
        image_id = "sha256:" + sha256((layers.digest + text).encode()).hexdigest()
        self.layers[image_id] = layers
        self.put(image_id, references, label, created=len(self.stored))
        return image_id

    def named(self) -> Mapping[str, Layers]:
        return {reference: self.layers[image_id] for reference, image_id in self.names.items()}

    def interpret(self, request: BuildRequest) -> bytes:
        with tarfile.open(request.context) as tar:
            context = {member.name: _entry(tar, member) for member in tar.getmembers()}
        text = context.pop(DOCKERFILE)[1:].decode()
        label = ImageLabel.parse(request.label)
        self.store(interpret(text, context, self.named(), {}, request.stage), [request.tag], label)
        return b""


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """An entry as it counts: a link by where it leads, a folder by its mode, a file by its mode and its bytes."""
    if member.issym():
        return b"l" + member.linkname.encode()
    if member.isdir():
        return mark(member.mode, is_folder=True)
    found = tar.extractfile(member)
    assert found is not None, f"{member.name} is neither a file nor a link"
    return mark(member.mode) + found.read()


def mark(mode: int, *, is_folder: bool = False) -> bytes:
    """What stands before the bytes of a file, or for a folder: one sign, and the mode where somebody chose it."""
    usual = {0o755: b"d"} if is_folder else {0o644: b"-", 0o755: b"x"}
    return usual.get(mode) or (b"D" if is_folder else b"m") + f"{mode:04o}".encode()
