"""Which targets a command means: its words with `state:`, `file:`, `--exclude` and `--since` worked in."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, SelectionError
from tasker_build.plan.planner import states
from tasker_build.work.planning import plan_project

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasker_build.engine.api import Engine
    from tasker_build.project import Project
    from tasker_build.spec.names import TargetName

    States = Callable[[], Mapping[TargetName, frozenset[str]]]


def states_of(project: Project, engine: Callable[[], Engine]) -> States:
    """A way to ask what state each target is in, for `state:` in a selection: everything is planned, once, and only if asked.

    Args:
        project: the project.
        engine: opens the engine; only called if a state is asked for.

    Raises:
        EngineError: on asking: the engine does not answer.
    """
    return functools.cache(lambda: states(plan_project(project, engine(), ())))


def check_words(project: Project, *selections: Sequence[str]) -> None:
    """Read selections as if every target were in every state: what could never match is a mistake whatever an engine says.

    Raises:
        SelectionError: there is such a word.
    """
    if not any(selections):
        return
    from tasker_build.selector import ALL_STATES  # noqa: PLC0415 - networkx: most plans select nothing, here and below

    anything = dict.fromkeys(project.graph, ALL_STATES)
    for words in selections:
        project.select(words, anything)


def chosen(
    project: Project,
    selection: Sequence[str],
    exclude: Sequence[str],
    since: str | None,
    states: States | None = None,
) -> tuple[str, ...] | None:
    """The words of a selection with `state:`, `file:`, `--exclude` and `--since` worked in; the words themselves without these.

    None: nothing differs from that revision. That is an answer; words that select nothing are a mistake.

    Args:
        project: the project.
        selection: what was named.
        exclude: what is left out.
        since: a Git revision.
        states: asks what state each target is in; only called for a selection that wants to know. None: nobody may ask.

    Raises:
        SelectionError: nothing is selected, or everything is excluded.
    """
    if not selection and not exclude and since is None:
        return ()
    from tasker_build.selector import asks_for_state, names_files  # noqa: PLC0415

    wants_states = asks_for_state([*selection, *exclude])
    if not exclude and since is None and not wants_states and not names_files(selection):
        return tuple(selection)
    known = None
    if wants_states and states:
        check_words(project, selection, exclude)
        known = states()
    names = project.select(selection, known)
    if exclude:
        names -= project.select(exclude, known, may_be_empty=True)
    if not names:
        hints = ("`tasker-build ls` lists the targets",)
        raise SelectionError([Problem(code="S030", message="everything selected is excluded", hints=hints)])
    if since is not None:
        from tasker_build.work.since import affected_since  # noqa: PLC0415 - Git

        names &= affected_since(project, since)
    return tuple(name for name in project.order if name in names) or None
