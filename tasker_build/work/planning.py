"""Plan a project: observe the engine, make the plan, save it, make a saved one again."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from tasker_build.errors import RefusedError, SelectionError
from tasker_build.plan.places import names_keys, with_places
from tasker_build.plan.planner import Observed, depends_on_engine, make_plan, records_needed
from tasker_build.spec.names import TargetName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasker_build.engine.api import Engine
    from tasker_build.plan.history import History
    from tasker_build.plan.saved import PlanRequest, SavedPlan
    from tasker_build.plan.wanted import Wanted
    from tasker_build.plan.words import Plan
    from tasker_build.project import Project

_MOST_MOVED = 60


def plan_project(project: Project, engine: Engine | None, selection: Sequence[str], forced: Sequence[str] = ()) -> Plan:
    """Plan a project; without an engine everything counts as new.

    Raises:
        SelectionError: a selection that matches nothing.
        EngineError: the engine does not answer.
    """
    project.wanted  # noqa: B018 - every mistake of the user's comes before the engine's
    if engine is None:
        return plan_observed(project, Observed(asked=False), selection, forced)
    observed = Observed(images=engine.images())
    plan = plan_observed(project, observed, selection, forced)
    if not depends_on_engine(plan):
        return plan
    # Records do not all speak of this engine. Only where it matters is it asked who it is: most plans have one question.
    return plan_observed(project, replace(observed, engine=engine.identity()), selection, forced)


def plan_observed(
    project: Project,
    observed: Observed,
    selection: Sequence[str] = (),
    forced: Sequence[str] = (),
) -> Plan:
    """Plan a project with what was seen of an engine: first read what the plan's reasons need, then make it of plain values.

    Raises:
        SelectionError: a selection that matches nothing.
    """
    wanted, history = read_for_plan(project, observed)
    selected = project.select(selection) if selection else frozenset(project.wanted)
    rebuild = project.select(forced) if forced else frozenset[TargetName]()
    plan = make_plan(
        project.head.project,
        wanted,
        observed,
        history=history,
        selected=selected | rebuild,
        forced=rebuild,
        now=time.time(),
    )
    return with_places(plan, project.places) if names_keys(plan) else plan


def read_for_plan(project: Project, observed: Observed) -> tuple[Sequence[Wanted], History]:
    """What the spec wants and what records know, with everything read that a plan's reasons need: nothing of what is kept."""
    wanted, history = tuple(project.wanted.values()), project.records.history()
    needed = frozenset(records_needed(project.head.project, wanted, observed, history.built)) & history.built.keys()
    if not needed:
        return wanted, history
    names = frozenset(name for name, _ in needed)
    builds = project.records.builds(names)
    compared = [replace(item, facts=item.facts.read()) if item.name in names else item for item in wanted]
    return compared, replace(history, records={key: builds[key] for key in needed if key in builds})


def plan_to_save(project: Project, engine: Engine, asked: PlanRequest) -> SavedPlan:
    """Plan a project, and collect everything the plan rests on.

    Raises:
        SelectionError: a selection that matches nothing.
        EngineError: the engine does not answer.
        RefusedError: a setting of this site names a secret's file that is not there.
    """
    from tasker_build.plan.installation import site_secrets  # noqa: PLC0415
    from tasker_build.plan.saved import SavedPlan, rests_on  # noqa: PLC0415

    observed = Observed(images=engine.images(), engine=engine.identity())
    plan = plan_observed(project, observed, asked.selection, asked.rebuild)
    ids = sorted({secret.id for target in project.spec.targets.values() for secret in target.secrets})
    rests = rests_on(
        plan,
        project.wanted,
        observed,
        spec_files=spec_files(project),
        secrets=dict.fromkeys(site_secrets(ids), True),
        endpoint=engine.endpoint,
        engine_id=observed.engine,
    )
    return SavedPlan(project=project.head.project, asked=asked, plan=plan, rests_on=rests)


def spec_files(project: Project) -> dict[str, str]:
    """Each spec file, named from the spec's folder, with its digest; and which folder is the workspace."""
    digests = {os.path.relpath(file, project.folder): sha256(file.read_bytes()).hexdigest() for file in project.files}
    return digests | {"workspace": os.path.relpath(project.root, project.folder)}


def write_plan(file: Path, text: str) -> None:
    """Write a plan to a file, over an earlier plan but over nothing else.

    Raises:
        RefusedError: something that is no plan has that name.
        BuildError: the disk said no.
    """
    from tasker_build.plan.saved import looks_saved  # noqa: PLC0415
    from tasker_build.workspace import write_file  # noqa: PLC0415

    if file.is_file() and (data := file.read_bytes()) and not looks_saved(data):
        raise RefusedError(f"{file} is there and is no saved plan", hints=("choose another name, or remove it",))
    write_file(file, text.encode(), 0o644)


def read_plan(file: Path) -> SavedPlan:
    """Read a saved plan.

    Raises:
        RefusedError: it cannot be read, is damaged, or is no saved plan.
    """
    from tasker_build.plan.saved import parse  # noqa: PLC0415

    try:
        data = file.read_bytes()
    except OSError as error:
        raise RefusedError(f"{file} cannot be read: {error.strerror}") from error
    return parse(data, str(file))


def plan_again(project: Project, engine: Engine, saved: SavedPlan, file: Path) -> Plan:
    """Compute a saved plan again; it may be applied when nothing it rests on has moved.

    Raises:
        RefusedError: something has, or the file was edited, or it is another project's.
    """
    from tasker_build.plan.saved import SavedPlan, moved  # noqa: PLC0415

    again = f"make it again: tasker-build plan --out {file}"
    if not saved.intact:
        raise RefusedError(f"{file} was edited or damaged: its checksum does not fit what it says", hints=(again,))
    if saved.project != project.head.project:
        raise RefusedError(f"{file} is a plan of project `{saved.project}`; this spec is of project `{project.head.project}`")
    try:
        now = plan_to_save(project, engine, saved.asked)
    except SelectionError:
        # What was selected is gone from the spec: then the spec has moved, and that is what to say.
        files = {"spec": spec_files(project)}
        now = SavedPlan(project=saved.project, asked=saved.asked, plan=saved.plan, rests_on={**saved.rests_on, **files})
    differences = moved(saved, now)
    if differences:
        shown = "\n".join(f"  {line}" for line in differences[:_MOST_MOVED])
        more = f"\n  and {len(differences) - _MOST_MOVED} more" if len(differences) > _MOST_MOVED else ""
        raise RefusedError(f"{file} is stale; what it rests on has moved since it was made:\n{shown}{more}", hints=(again,))
    return now.plan
