"""What was rendered, as plain values: so that it can be kept, and read without what renders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.spec.names import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One rendered file."""

    text: str
    mode: int = 0o644
    template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Everything that was rendered."""

    files: Mapping[str, File]  # by path below the output folder
    dockerfiles: Mapping[TargetName, str]  # the text of each target's Dockerfile, its stamp included
    templates: Mapping[TargetName, Mapping[str, str]] = field(default_factory=dict)  # template → digest, per target
    included_by: Mapping[TargetName, Mapping[str, str]] = field(default_factory=dict)  # template → the one that asks for it
    asked: Mapping[TargetName, frozenset[str]] = field(default_factory=dict)
    """Keys of a target that Dockerfile templates asked for; known only to who rendered them."""

    def plain(self) -> tuple[Any, ...]:
        """The tree as tuples and dicts alone."""
        files = tuple((path, file.text, file.mode, file.template) for path, file in self.files.items())
        templates, included_by = ({name: dict(row) for name, row in of.items()} for of in (self.templates, self.included_by))
        return files, dict(self.dockerfiles), templates, included_by

    @classmethod
    def of_plain(cls, plain: tuple[Any, ...]) -> Tree:
        """The tree that `plain` gave."""
        files, dockerfiles, templates, included_by = plain
        return cls(
            files={path: File(text=text, mode=mode, template=template) for path, text, mode, template in files},
            dockerfiles=dockerfiles,
            templates=templates,
            included_by=included_by,
        )
