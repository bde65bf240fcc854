"""`tasker-build why`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from tasker_build.cli.answer import format_option, say_document
from tasker_build.errors import Exit, Problem, SelectionError, nearest
from tasker_build.plan.words import unique_reference
from tasker_build.selector import asks_for_state
from tasker_build.work.asking import chosen, states_of
from tasker_build.work.planning import plan_observed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tasker_build.cli import Settings
    from tasker_build.engine.docker import DockerEngine
    from tasker_build.plan.origin import Base
    from tasker_build.plan.situation import Situation
    from tasker_build.project import Project
    from tasker_build.spec.model import TargetName


@click.command("why")
@click.argument("what", metavar="TARGET | BASE | A B | IMAGE | state:STATE", nargs=-1)
@click.option(
    "--steps",
    is_flag=True,
    help="Set the last run's prediction beside what BuildKit did; of everything it built, or of one target.",
)
@format_option("text", "json")
@click.option("--version", "version", default="latest", help="Version for image tags.")
@click.pass_obj
def command(settings: Settings, what: tuple[str, ...], steps: bool, form: str, version: str) -> int:  # noqa: FBT001
    from tasker_build.view import why  # noqa: PLC0415

    by_state = asks_for_state(what) and not steps
    if not by_state and (len(what) > 2 or (steps and len(what) > 1) or not (steps or what)):  # noqa: PLR2004
        raise click.UsageError("name one target, base or image, or two of them; --steps goes with one target or none")
    project = settings.project(version)
    if by_state:
        _explain_all(project, settings.engine(), chosen(project, what, (), None, states_of(project, settings.engine)) or (), form)
        return Exit.OK
    if len(what) == 2:  # noqa: PLR2004
        one, other = (_source(project, word) or _target(project, word) for word in what)
        path, roles = _path(project, one, other)
        _say(form, why.path_text(path, one, other, roles), why.path_data(path, one, other, roles))
        return Exit.OK
    if not what:
        return _run(project, form)
    name = next((name for name in project.order if name == what[0]), None)
    base = _source(project, what[0]) if name is None and not steps and "@" not in what[0] else None  # a digest is an image's
    if base is not None and base in project.spec.bases:
        found_base = _base(project, base)
        _say(form, why.base_text(found_base), why.base_data(found_base))
        return Exit.OK
    if steps:
        return _steps(project, name or _target(project, what[0]), form)
    if name is None and not _may_be_image(project, what[0]):
        _target(project, what[0])
    situation = _situation(project, settings.engine(), [name] if name else project.order)
    if name is not None:
        from tasker_build.plan.why import explain  # noqa: PLC0415

        explanation = explain(name, situation)
        _say(form, why.explanation_text(explanation), why.explanation_data(explanation))
    else:
        from tasker_build.plan.origin import find_image, origin  # noqa: PLC0415

        found = origin(find_image(what[0], situation.observed.images), situation)
        files = [str(file) for file in project.files]
        _say(form, why.origin_text(found, files), why.origin_data(found, files))
    return Exit.OK


def _say(form: str, text: str, data: dict[str, Any]) -> None:
    if form == "json":
        say_document(data)
    else:
        click.echo(text)


def _explain_all(project: Project, engine: DockerEngine, names: Sequence[str], form: str) -> None:
    from tasker_build.plan.why import explain  # noqa: PLC0415
    from tasker_build.view import why  # noqa: PLC0415

    situation = _situation(project, engine, names)
    found = [explain(name, situation) for name in project.order if name in names]
    _say(form, "\n\n".join(map(why.explanation_text, found)), why.explanations_data(found))


def _target(project: Project, word: str) -> TargetName:
    """The enabled target of that name.

    Raises:
        SelectionError: there is none.
    """
    for name in project.order:
        if name == word:
            return name
    hints = nearest(word, [*project.order, *project.spec.bases]) or (
        "`tasker-build ls` lists the targets; an image is named `name:tag` or by its id",
    )
    raise SelectionError([Problem(code="S038", message=f"no target is called `{word}`", hints=hints)])


def _source(project: Project, word: str) -> str | None:
    """The target or base that a word names, by its name or by that of its image; None: neither."""
    spec = project.spec
    if word in project.order or word in spec.bases:
        return word
    reference = word if ":" in word.rpartition("/")[2] else f"{word}:latest"
    for name, item in project.wanted.items():
        if reference in {f"{item.image}:{tag}" for tag in item.tags} or reference == unique_reference(
            item.image, item.facts.fingerprint
        ):
            return name
    return next((name for name, image in spec.bases.items() if word in {image, image.partition("@")[0]}), None)


def _may_be_image(project: Project, word: str) -> bool:
    """Whether a word that is no target is worth asking the engine about; a misspelt target needs no engine to say so."""
    from tasker_build.plan.origin import looks_like_id  # noqa: PLC0415

    return ":" in word or looks_like_id(word) or word in map(project.spec.image_name, project.spec.targets.values())


def _situation(project: Project, engine: DockerEngine, names: Iterable[str]) -> Situation:
    """Everything that explanations of these targets draw on: reasons are followed to what they are built from, and no further."""
    from tasker_build.graph import ancestors  # noqa: PLC0415
    from tasker_build.plan.planner import Observed  # noqa: PLC0415
    from tasker_build.plan.situation import Situation  # noqa: PLC0415

    wanted = project.wanted
    observed = Observed(images=engine.images(), engine=engine.identity())
    plan = plan_observed(project, observed)
    asked = [name for name in project.order if name in names]
    followed = {target for name in asked for target in (name, *ancestors(project.graph, name))}
    records = project.records.builds(followed)
    lines = {
        name: (
            f"{project.spec.output}/{project.spec.targets[name].dockerfile}",
            [instruction.line for instruction in dockerfile.instructions],
        )
        for name, dockerfile in project.dockerfiles.items()
    }
    return Situation(
        spec=project.spec,
        wanted=wanted,
        observed=observed,
        records=records,
        plan=plan,
        places=project.places,
        lines=lines,
    )


def _path(project: Project, one: str, other: str) -> tuple[tuple[str, ...], dict[tuple[str, str], tuple[str, str]]]:
    from tasker_build.graph import dependency_path, path_to_any  # noqa: PLC0415

    targets = {str(name): name for name in project.order}
    if one in targets and other in targets:
        path: tuple[str, ...] = dependency_path(project.graph, targets[one], targets[other])
    elif one in targets or other in targets:
        target, base = (one, other) if one in targets else (other, one)
        found = path_to_any(project.graph, targets[target], _standing_on(project, base))
        path = (*found, base) if found else ()
    else:
        path = (one,) if one == other else ()
    return path, {(child, parent): _role(project, child, parent) for child, parent in pairwise(path)}


def _role(project: Project, child: str, parent: str) -> tuple[str, str]:
    """What a target takes a parent or base for, and where the spec says so."""
    target = next(target for name, target in project.spec.targets.items() if name == child)
    role = next(role for role, source in target.from_.items() if source == parent)
    return role, str(target.at.get(f"from.{role}", target.span))


def _standing_on(project: Project, base: str) -> list[TargetName]:
    return [name for name in project.order if base in project.spec.targets[name].from_.values()]


def _base(project: Project, name: str) -> Base:
    from tasker_build.graph import descendants  # noqa: PLC0415
    from tasker_build.plan.origin import Base  # noqa: PLC0415

    reference, _, digest = project.spec.bases[name].partition("@")
    direct = _standing_on(project, name)
    below = {child for target in direct for child in descendants(project.graph, target)} - set(direct)
    return Base(
        name=name,
        reference=reference,
        place=str(project.spec.at.get(f"bases.{name}", project.spec.span)),
        digest=digest,
        is_locked=project.lock.pin(name, reference) is not None,
        direct=tuple((target, *_role(project, target, name)) for target in direct),
        through=tuple(target for target in project.order if target in below),
    )


def _run(project: Project, form: str) -> Exit:
    """Judge the last run; a wrong guess is a failure, so that a script can tell."""
    from tasker_build.plan.judge import judge_run, wrong_guesses  # noqa: PLC0415
    from tasker_build.view.why import run_data, run_text  # noqa: PLC0415

    reports = judge_run(project.records.summaries())
    _say(form, run_text(reports), run_data(reports))
    return Exit.FAILED if wrong_guesses(reports) else Exit.OK


def _steps(project: Project, name: TargetName, form: str) -> Exit:
    from tasker_build.plan.judge import judge_steps  # noqa: PLC0415
    from tasker_build.view.why import no_steps_data, steps_data, steps_text  # noqa: PLC0415

    report = judge_steps(name, project.records.summaries())
    if report is None:
        _say(form, f"no run recorded here built {name}", no_steps_data(name))
        return Exit.OK
    _say(form, steps_text(report), steps_data(report))
    return Exit.FAILED if report.wrong else Exit.OK
