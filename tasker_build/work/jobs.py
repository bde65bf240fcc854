"""A plan → its jobs: which Dockerfiles each build is composed from, and all else that it needs."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from tasker_build import dockerfile
from tasker_build.build.job import Job
from tasker_build.dockerfile import compose
from tasker_build.engine.api import ImageLabel
from tasker_build.graph import ancestors
from tasker_build.plan.facts import SCHEMA, stated_secrets
from tasker_build.plan.words import ReasonKind, unique_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tasker_build.context import ContextPart
    from tasker_build.dockerfile import Composition, Piece
    from tasker_build.engine.api import Image
    from tasker_build.plan.words import Plan, Step
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
    return frozenset(
        parent
        for parent in ancestors(project.graph, name)
        if dockerfile.inherits_args(project.dockerfiles[parent], project.spec.targets[parent].stage)
    )


def jobs_for(project: Project, plan: Plan, images: Sequence[Image], secrets: Mapping[str, Path]) -> Mapping[TargetName, Job]:
    """Make the job of every target that a plan builds.

    Args:
        project: the plan's project.
        plan: the plan.
        images: what the engine has now.
        secrets: secret id → file, those the site has.

    Raises:
        RefusedError: a file changed since the plan was made.
    """
    building = [step for step in plan.steps if step.action.builds]
    redone = {name for image in images if image.label and image.label.redone for name in image.references}
    redone |= {step.unique_reference for step in building if _redoes(project, step)}
    maker = _Jobs(project, frozenset(redone), secrets)
    return {step.target: maker.job(step) for step in building}


def _redoes(project: Project, step: Step) -> bool:
    """Whether the target's own steps run even if BuildKit has them: nobody could say how old what it has is, and the value of
    a secret is no part of its key.
    """
    versioned = any(version for _, _, version in stated_secrets(project.spec.targets[step.target]))
    must = versioned or any(reason.kind in {ReasonKind.FORCED, ReasonKind.SECRET} for reason in step.reasons)
    return must or bool(project.wanted[step.target].refresh)


class _Jobs:
    def __init__(self, project: Project, redone: frozenset[str], secrets: Mapping[str, Path]) -> None:
        self.project, self.redone, self.secrets = project, redone, secrets
        # A parent's files are in the builds of all its children.
        self.part = functools.cache(project.context_part)

    def job(self, step: Step) -> Job:
        project, name = self.project, step.target
        wanted, target = project.wanted[name], project.spec.targets[name]
        tags = {parent: self.unique(parent) for parent in self.linked_by_tag(name)}
        composition, included = composition_of(project, name, tags)
        label = ImageLabel(
            schema=SCHEMA,
            project=project.spec.project,
            target=name,
            platform=wanted.platform,
            fingerprint=wanted.facts.fingerprint,
            groups=wanted.facts.groups,
            redone=_redoes(project, step),
        )
        job = Job(
            target=name,
            reasons=", ".join(dict.fromkeys(reason.kind.value for reason in step.reasons)),
            reference=step.unique_reference,
            names=tuple(f"{step.image}:{tag}" for tag in step.tags),
            composition=composition,
            **self.sent(included),
            label=label,
            built_on={parent: self.unique(parent) for parent in wanted.parents} | {base: base for base in wanted.bases},
            network=target.network,
            platform=target.platforms[0] if target.platforms else None,
            redo=label.redone,
            dated=bool(wanted.refresh),
            against=step.against,
        )
        if included == (name,):
            return job
        # One parent without its cache is enough to go on from images: the composition would build it again.
        alone, included = composition_of(project, name, {parent: self.unique(parent) for parent in project.parents(name)})
        return replace(job, relinked=replace(job, composition=alone, **self.sent(included)))

    def sent(self, included: Sequence[TargetName]) -> _Sent:
        """What goes along with the composition of some targets."""
        targets = [self.project.spec.targets[name] for name in included]
        used = {secret.id for target in targets for secret in target.secrets}
        return {
            "parts": tuple(self.part(name) for name in included),
            "dockerfiles": {target.name: f"{self.project.spec.output}/{target.dockerfile}" for target in targets},
            "secrets": {secret: path for secret, path in self.secrets.items() if secret in used},
        }

    def linked_by_tag(self, name: TargetName) -> frozenset[TargetName]:
        """Ancestors that only their image stands for: BuildKit would take a redone one's older result from its cache."""
        above = ancestors(self.project.graph, name)
        return must_link_by_tag(self.project, name) | {parent for parent in above if self.unique(parent) in self.redone}

    def unique(self, name: TargetName) -> str:
        wanted = self.project.wanted[name]
        return unique_reference(wanted.image, wanted.facts.fingerprint)


class _Sent(TypedDict):
    parts: tuple[ContextPart, ...]
    dockerfiles: Mapping[str, str]
    secrets: Mapping[str, Path]
