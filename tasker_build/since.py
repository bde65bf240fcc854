"""Which targets a Git range affects: the spec and workspace of then against those of now, fingerprint by fingerprint.

Not a list of file names with patterns: a change counts exactly when it changes what an image is made from, wherever it was made.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tasker_build.errors import Problem, ProblemsError, SelectionError
from tasker_build.project import Project
from tasker_build.selector import asks_for_state, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasker_build.spec.model import TargetName

    States = Callable[[], Mapping[TargetName, frozenset[str]]]


def affected_since(project: Project, revision: str) -> frozenset[TargetName]:
    """Return the targets whose fingerprint is not what it was at a Git revision; new ones count, those that are gone do not.

    Raises:
        SelectionError: there is no Git here, or it does not have the revision.
    """
    top = Path(_git(project.folder, "rev-parse", "--show-toplevel", problem="this is no Git checkout"))
    commit = _git(top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", problem=_missing(top, revision))
    with tempfile.TemporaryDirectory(prefix="tasker-build-since-") as folder:
        then = Path(folder)
        _extract(top, commit, then)
        files = [then / file.resolve().relative_to(top.resolve()) for file in project.files]
        override = project.workspace_override
        workspace = then / override.resolve().relative_to(top.resolve()) if override else None
        try:
            before = {name: wanted.facts.fingerprint for name, wanted in Project.open(files, workspace=workspace).wanted.items()}
        except ProblemsError:
            before = {}  # the spec was not there, or not one: everything is new
    return frozenset(name for name, wanted in project.wanted.items() if before.get(name) != wanted.facts.fingerprint)


def _git(folder: Path, *words: str, problem: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        hints = ("--since compares with a commit of this checkout",)
        raise SelectionError([Problem(code="S033", message=problem, hints=hints)]) from error
    return done.stdout.strip()


def _missing(top: Path, revision: str) -> str:
    shallow = (top / ".git" / "shallow").exists()
    why = "this is a shallow clone, which has only the newest commits: git fetch --unshallow" if shallow else "no such commit"
    return f"Git does not have `{revision}` here ({why})"


def _extract(top: Path, commit: str, folder: Path) -> None:
    """Put the files of a commit into a folder, straight from Git: nothing in the checkout moves."""
    process = subprocess.Popen(["git", "-C", str(top), "archive", "--format=tar", commit], stdout=subprocess.PIPE)
    stream: IO[bytes] | None = process.stdout
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            tar.extractall(folder, filter=_plain)  # noqa: S202 - what Git has itself, and the filter keeps it inside
    finally:
        if stream is not None:
            stream.close()
        process.wait()


def _plain(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Everything stays below the folder; links are kept as they are, because they count by their text."""
    return member if member.issym() else tarfile.data_filter(member, folder)


def chosen(
    project: Project,
    selection: Sequence[str],
    exclude: Sequence[str],
    since: str | None,
    states: States | None = None,
) -> tuple[str, ...]:
    """The words of a selection with `state:`, `--exclude` and `--since` worked in; the words themselves where there is none.

    Args:
        project: the project.
        selection: what was named.
        exclude: what is left out.
        since: a Git revision.
        states: asks what state each target is in; only called for a selection that wants to know. None: nobody may ask.

    Raises:
        SelectionError: nothing is left: selecting nothing is never what was meant.
    """
    wants_states = asks_for_state([*selection, *exclude])
    if not exclude and since is None and not wants_states:
        return tuple(selection)
    known = states() if wants_states and states else None
    names = select(selection, project.spec, project.graph, project.closures, known)
    if exclude:
        names -= select(exclude, project.spec, project.graph, project.closures, known, may_be_empty=True)
    names &= affected_since(project, since) if since is not None else names
    if not names:
        what = f"no selected target differs from `{since}`" if since is not None else "everything selected is excluded"
        raise SelectionError([Problem(code="S030", message=what, hints=("`tasker-build ls` lists the targets",))])
    return tuple(name for name in project.order if name in names)
