"""The ecosystems there are, by name; nothing of one is loaded before somebody asks for it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.ecosystems.api import Ecosystem

_OURS = {"cargo": "tasker_build.ecosystems.cargo"}
"""Name → the module whose `ECOSYSTEM` it is."""


def built_in() -> Mapping[str, Ecosystem]:
    """The ecosystems that come with the tool."""
    found = {name: import_module(module).ECOSYSTEM for name, module in _OURS.items()}
    return dict(found)
