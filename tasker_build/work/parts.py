"""What one target brings to a build that others are part of: its Dockerfile and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_build.context import ContextPart, entries_of
from tasker_build.dockerfile import Piece
from tasker_build.spec.names import slug

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.project import Project
    from tasker_build.spec.names import TargetName


def piece(project: Project, name: TargetName, inlined: Mapping[str, TargetName], references: Mapping[str, str]) -> Piece:
    """One target as a part of a composition."""
    target = project.spec.targets[name]
    return Piece(
        name=name,
        dockerfile=project.dockerfiles[name],
        stage=target.stage,
        args=target.args,
        prefix=slug(name),
        parents=inlined,
        references=references,
    )


def context_part(project: Project, name: TargetName) -> ContextPart:
    """One target's files below a prefix of their own."""
    paths = project.closures[name].files(project.workspace.paths)
    return ContextPart(prefix=slug(name), entries=entries_of(project.workspace, paths))
