"""An engine of plain dictionaries, for tests. It builds with what it is given for that; `put` stands for a build that worked."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tasker_build.engine.api import Image
from tasker_build.errors import BuildError

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence

    from tasker_build.engine.api import BuildRequest, ImageLabel

    Builder = Callable[[BuildRequest], bytes]


class MemoryEngine:
    """Images by id, names by reference."""

    def __init__(self, build: Builder | None = None) -> None:
        """Make an engine without images.

        Args:
            build: puts the image of a request here and returns what it says meanwhile, as rawjson; BuildError: it failed.
        """
        self.build = build
        self.pushed: list[str] = []
        self.endpoint = "memory"
        self.stored: dict[str, Image] = {}
        self.names: dict[str, str] = {}

    def put(
        self,
        image_id: str,
        references: Sequence[str],
        label: ImageLabel | None,
        created: int = 0,
        digests: Sequence[str] = (),
    ) -> None:
        """Store an image under names, which other images then lose."""
        self.names.update(dict.fromkeys(references, image_id))
        self.stored[image_id] = Image(id=image_id, references=(), label=label, created=created, digests=tuple(sorted(digests)))

    def remove(self, reference: str) -> None:
        """Take a name away."""
        del self.names[reference]

    def images(self) -> Sequence[Image]:
        named = map(self._named, self.stored.values())
        return [image for image in named if image.references or image.digests or image.label]

    def _references(self, image_id: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, owner in self.names.items() if owner == image_id))

    def _named(self, image: Image) -> Image:
        return replace(image, references=self._references(image.id))

    def image(self, reference: str) -> Image | None:
        return self._named(self.stored[self.names[reference]]) if reference in self.names else None

    def identity(self) -> str:
        return "memory"

    def tag(self, image_id: str, reference: str) -> None:
        self.names[reference] = image_id

    def push(self, reference: str) -> None:
        if reference not in self.names:
            raise BuildError(f"{reference} cannot be pushed: it is not here")
        self.pushed.append(reference)

    def environment(self) -> Mapping[str, str]:
        return {}

    def check_builder(self) -> None:
        """Nothing is missing: what cannot build says so when it starts."""

    def start(self, request: BuildRequest) -> Over:
        if self.build is None:
            raise OSError("this engine cannot build")
        try:
            return Over(self.build(request), 0)
        except BuildError as error:
            return Over(f"ERROR: {error.message}\n".encode(), 1)


class Over:
    """A build that was over as soon as it began; what it said waits in a pipe."""

    def __init__(self, said: bytes, code: int) -> None:
        self.said, self.code = said, code
        self.end, other = os.pipe()
        os.close(other)

    def fileno(self) -> int:
        return self.end

    def read(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def poll(self) -> int:
        return self.code

    def send(self, number: signal.Signals) -> None:
        """Nothing is left that could hear it."""

    def close(self) -> int:
        if self.end >= 0:
            os.close(self.end)
            self.end = -1
        return self.code
