"""Ecosystems that other packages bring: what is installed beside the tool, never what lies in a workspace."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tasker_build.ecosystems.api import Ecosystem

GROUP = "tasker_build.ecosystems"


def installed(name: str) -> Ecosystem | None:
    """The ecosystem that an installed package brings under this name.

    Raises:
        SpecError: it cannot be loaded, or is called otherwise.
    """
    # `python -m` looks for modules in the current folder, too: that is a workspace, whose code is never run.
    here = os.path.realpath(os.curdir)
    folders = [folder for folder in sys.path if folder and os.path.realpath(folder) != here]
    for package in importlib.metadata.distributions(path=folders):
        for point in package.entry_points:
            if point.group == GROUP and point.name == name:
                return _loaded(point)
    return None


def _loaded(point: importlib.metadata.EntryPoint) -> Ecosystem:
    try:
        found: Ecosystem = point.load()
        called = found.name
    except Exception as error:
        message = f"the installed ecosystem `{point.name}` cannot be loaded from {point.value}: {error}"
        raise SpecError([Problem(code="S011", message=message)]) from error
    if called != point.name:
        raise SpecError([Problem(code="S011", message=f"{point.value} is the ecosystem `{called}`, not `{point.name}`")])
    return found


def files_of(ecosystems: Mapping[str, Ecosystem]) -> tuple[str, ...]:
    """Files of ecosystems that do not come with the tool: when one changes, nothing that is remembered counts."""
    modules = {type(one).__module__ for one in ecosystems.values()}
    return tuple(sorted(set(_files(name for name in modules if not name.startswith("tasker_build.")))))


def _files(modules: Iterable[str]) -> Iterator[str]:
    """Of each module's package every file of code; of a module alone its own."""
    for name in modules:
        package = sys.modules.get(name.partition(".")[0])
        folders = list(getattr(package, "__path__", ()))
        own = getattr(sys.modules.get(name), "__file__", None)
        if own is not None:
            yield own
        for folder in folders:
            for place, _, names in os.walk(folder):
                yield from (os.path.join(place, file) for file in names if file.endswith(".py"))
