"""What `plan --graph` knows besides the plan, and the file it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_build.plan.facts import Group
from tasker_build.view import picture
from tasker_build.view.page import picture_html
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tasker_build.engine.docker import DockerEngine
    from tasker_build.plan.facts import Facts
    from tasker_build.plan.words import Plan
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName


def write_picture(path: Path, project: Project, plan: Plan, options: picture.PictureOptions, engine: DockerEngine | None) -> None:
    """Draw the plan in the form that the file's ending names.

    Raises:
        RefusedError: a PNG without its renderer, or a file that cannot be written.
        SelectionError: the focus is no target of the plan.
    """
    facts = _facts(project, engine)
    if path.suffix.lower() == ".png":
        data = picture.picture_png(project.graph, plan, facts, options)
    elif path.suffix.lower() == ".html":
        data = picture_html(project.graph, plan, facts, options).encode()
    else:
        data = picture.picture_svg(project.graph, plan, facts, options).encode() + b"\n"
    write_file(path, data, 0o644)


def _facts(project: Project, engine: DockerEngine | None) -> Mapping[TargetName, picture.TargetFacts]:
    from tasker_build.records.durations import durations  # noqa: PLC0415

    seconds, sizes = durations(project.records), _sizes(project, engine) if engine else {}
    return {
        name: picture.TargetFacts(
            duration=seconds.get(name), size=sizes.get(name), inputs=tuple(_inputs(project.wanted[name].facts))
        )
        for name in project.order
    }


def _inputs(facts: Facts) -> Iterator[str]:
    """Bases, arguments and secrets by name, then the files of the context."""
    for group in (Group.BASE, Group.ARG, Group.SECRET):
        yield from (f"{group.value} {fact.label}" for fact in facts.facts if fact.group is group)
    yield from (fact.label for fact in facts.facts if fact.group is Group.CONTEXT)


def _sizes(project: Project, engine: DockerEngine) -> Mapping[TargetName, int]:
    """Target → bytes of its newest image; a picture without sizes is a picture still, so nothing here is an error."""
    newest: dict[TargetName, tuple[int, str]] = {}
    for image in engine.images():
        if image.label and image.label.project == project.spec.project and image.references:
            for name in project.order:
                if name == image.label.target:
                    newest[name] = max(newest.get(name, (0, "")), (image.created, image.id))
    found = {image_id: engine.details(image_id) or {} for _, image_id in newest.values()}
    return {name: int(found[image_id]["Size"]) for name, (_, image_id) in newest.items() if "Size" in found[image_id]}
