"""The ecosystems there are, by name; nothing of one is loaded before somebody asks for it.

Those from outside the package are found by the entry point group `tasker_build.ecosystems` of what is installed; nobody looks
for them before a spec or a kind names one that does not come with the tool.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.ecosystems.api import Ecosystem

_OURS = {"cargo": "tasker_build.ecosystems.cargo", "postgres": "tasker_build.ecosystems.postgres"}
"""Name → the module whose `ECOSYSTEM` it is."""
_REGISTERED: dict[str, Ecosystem] = {}


def built_in() -> Mapping[str, Ecosystem]:
    """The ecosystems that come with the tool."""
    return {name: import_module(module).ECOSYSTEM for name, module in _OURS.items()}


def register(ecosystem: Ecosystem) -> None:
    """Make an ecosystem known that is not installed: for tests, and for whoever embeds the tool."""
    _REGISTERED[ecosystem.name] = ecosystem


def find(name: str) -> Ecosystem | None:
    """An ecosystem from outside by its name.

    Raises:
        SpecError: it is installed and cannot be loaded.
    """
    from tasker_build.ecosystems.outside import installed  # noqa: PLC0415 - most specs name none

    return _REGISTERED.get(name) or installed(name)
