"""An engine of plain dictionaries: tests and rehearsals. It cannot build; `put` stands for a build that worked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasker_build.engine.api import BuildRequest, Image, ImageLabel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MemoryEngine:
    """Images by id, names by reference."""

    def __init__(self) -> None:
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

    def build_command(self, request: BuildRequest) -> Sequence[str]:
        raise NotImplementedError(f"an engine in memory cannot build {request.tag}")

    def environment(self) -> Mapping[str, str]:
        return {}
