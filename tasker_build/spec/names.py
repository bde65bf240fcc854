"""How things are called: for who speaks of targets, tags, secrets and files without knowing what a spec is made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from collections.abc import Iterable

TargetName = NewType("TargetName", str)

VERSION_TAG = "{version}"
KINDS_FILE = "kinds.yaml"
"""In a folder of templates: the kinds of targets that its templates are for."""


def at_version(tags: Iterable[str], version: str) -> tuple[str, ...]:
    """Tags for people, at one version."""
    return tuple(tag.replace(VERSION_TAG, version) for tag in tags)


def secret_variable(secret_id: str) -> str:
    """The environment variable that holds the path of a build secret's file on this machine."""
    return "TASKER_BUILD_" + re.sub(r"[^A-Z0-9]+", "_", secret_id.upper())


def slug(name: str) -> str:
    """A target's name as part of a stage, folder or file name; different names never give the same one."""
    return name.replace("-", "--").replace("/", "-")


def lock_name(spec_file: str) -> str:
    """The name of a spec's lock: `stacks.yaml` → `stacks.lock`."""
    stem, _, ending = spec_file.rpartition(".")
    return f"{stem if stem and ending in {'yaml', 'yml'} else spec_file}.lock"
