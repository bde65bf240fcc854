"""Which Dockerfiles a build is composed from: a target's own and those of its parents that are no finished images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_build import dockerfile
from tasker_build.dockerfile import compose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.dockerfile import Composition, Piece
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName


def composition_of(
    project: Project, name: TargetName, tags: Mapping[TargetName, str]
) -> tuple[Composition, tuple[TargetName, ...]]:
    """Compose a target's file with those of its parents, and say whose contexts it needs.

    A parent named in `tags` is used as the finished image of that reference instead; so is one whose last stage declares ARGs,
    because stages built from it would inherit them while images do not.

    Returns:
        The composition and the targets in it, parents first.
    """
    pieces: dict[TargetName, Piece] = {}

    def add(target: TargetName) -> None:
        inlined: dict[str, TargetName] = {}
        references: dict[str, str] = {}
        for parent in project.parents(target):
            reference = project.spec.image_reference(project.spec.targets[parent])
            if parent in tags:
                references[reference] = tags[parent]
            else:
                inlined[reference] = parent
                if parent not in pieces:
                    add(parent)
        pieces[target] = project.piece(target, inlined, references)

    add(name)
    return compose(list(pieces.values())), tuple(pieces)


def must_link_by_tag(project: Project, name: TargetName) -> frozenset[TargetName]:
    """Ancestors that cannot be stages of a composition without changing what their children see."""
    from tasker_build.graph import ancestors  # noqa: PLC0415

    return frozenset(
        parent
        for parent in ancestors(project.graph, name)
        if dockerfile.inherits_args(project.dockerfiles[parent], project.spec.targets[parent].stage)
    )
