"""The Git revision that a build is of: only said, never a reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasker_build.plan.words import UNCOMMITTED

if TYPE_CHECKING:
    from pathlib import Path


_GIT_TIMEOUT = 30


_COMMIT = "# branch.oid "


def git_revision(folder: Path) -> str:
    """The commit a folder's Git checkout stands on, and whether that is all of it.

    Returns:
        The commit, followed by UNCOMMITTED where a file of the checkout was edited, added or removed since, new files that Git
        does not ignore included; "" where there is no Git, no repository or no commit, or Git does not say.
    """
    import subprocess  # noqa: PLC0415 - only a build asks for it

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # nobody's `git commit` has to wait for a question
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=normal"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    commit = next((line.removeprefix(_COMMIT) for line in lines if line.startswith(_COMMIT)), "")
    if not commit or commit == "(initial)":
        return ""
    return commit + (UNCOMMITTED if any(not line.startswith("#") for line in lines) else "")
