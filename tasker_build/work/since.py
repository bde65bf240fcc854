"""Which targets a Git range affects: the spec and workspace of then against those of now, fingerprint by fingerprint.

Not a list of file names with patterns: a change counts exactly when it changes what an image is made from, wherever it was made.
Then is what a checkout of that revision would hold, submodules that are checked out here included; now is the folder as it is,
uncommitted and untracked files included. Of files that Git ignores no revision says anything, so they count as they are now.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.errors import ProblemsError
from tasker_build.files.git import Checkout, problem
from tasker_build.project import Project

if TYPE_CHECKING:
    from tasker_build.spec.names import TargetName


def affected_since(project: Project, revision: str) -> frozenset[TargetName]:
    """Return the targets whose fingerprint is not what it was at a Git revision; new ones count, those that are gone do not.

    Args:
        project: the spec and workspace as they are now.
        revision: anything that Git takes for a commit; `REV...` is where the present commit left REV. A range that ends here
            (`REV..`, `REV..HEAD`, `REV...HEAD`) may be written, too.

    Raises:
        SelectionError: there is no Git here, or it does not have what is to be compared with.
    """
    top = Checkout.around(project.folder)
    if not project.root.resolve().is_relative_to(top.folder):
        message = f"the workspace {project.root} is not in the Git checkout of the spec, {top.folder}"
        raise problem(message, "--since compares one checkout with what it was")
    commit = top.commit(revision)
    with tempfile.TemporaryDirectory(prefix="tasker-build-since-") as folder:
        then = Path(folder).resolve()
        top.write(commit, then)
        _carry_ignored(project, top, then)
        try:
            before = {name: item.facts.fingerprint for name, item in _as_it_was(project, top.folder, then).wanted.items()}
        except ProblemsError:
            before = {}  # the spec was not there, or not one that can be read today: everything is new
    return frozenset(name for name, item in project.wanted.items() if before.get(name) != item.facts.fingerprint)


def _as_it_was(project: Project, top: Path, then: Path) -> Project:
    """The project in the folder of then; spec files from outside the checkout have no past."""

    def moved(path: Path) -> Path:
        real = path.resolve()
        return then / real.relative_to(top) if real.is_relative_to(top) else path

    base, *overlays = (moved(file) for file in project.files)
    override = project.workspace_override
    # An overlay that was not there then is a change like any other.
    files = [base, *(file for file in overlays if file.exists())]
    return Project.open(files, workspace=moved(override) if override else None)


def _carry_ignored(project: Project, top: Checkout, then: Path) -> None:
    """Give then the ignored files of now: whatever they were, it is not the history that changed them."""
    prefix = project.root.resolve().relative_to(top.folder)
    files = {path for closure in project.closures.values() for path in closure.files(project.workspace.paths)}
    wanted = {(prefix / path).as_posix() for path in files}
    for file in map(Path.resolve, project.files):
        wanted |= {file.relative_to(top.folder).as_posix()} if file.is_relative_to(top.folder) else set()
    for path in top.ignored(sorted(wanted)):
        place = then / path
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top.folder / path, place, follow_symlinks=False)
