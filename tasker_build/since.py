"""Which targets a Git range affects: the spec and workspace of then against those of now, fingerprint by fingerprint.

Not a list of file names with patterns: a change counts exactly when it changes what an image is made from, wherever it was made.
Then is what a checkout of that revision would hold, submodules that are checked out here included; now is the folder as it is,
uncommitted and untracked files included. Of files that Git ignores no revision says anything, so they count as they are now.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, ProblemsError, SelectionError, nearest
from tasker_build.project import Project
from tasker_build.selector import ALL_STATES, asks_for_state, names_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tasker_build.spec.model import TargetName

    States = Callable[[], Mapping[TargetName, frozenset[str]]]

_SUBMODULE = "160000"
"""Mode of an entry of a Git tree that is a commit of another repository."""
_COMMIT = 40
"""Digits of a commit at least."""
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{7,63}")
_STEPS = re.compile(r"(.+?)((?:[~^]\d*)+)")
_RANGE = re.compile(r"(.*?)(\.\.\.?)(.*)")


def affected_since(project: Project, revision: str) -> frozenset[TargetName]:
    """Return the targets whose fingerprint is not what it was at a Git revision; new ones count, those that are gone do not.

    Args:
        project: the spec and workspace as they are now.
        revision: anything that Git takes for a commit; `REV...` is where the present commit left REV. A range that ends here
            (`REV..`, `REV..HEAD`, `REV...HEAD`) may be written, too.

    Raises:
        SelectionError: there is no Git here, or it does not have what is to be compared with.
    """
    top = _Checkout.around(project.folder)
    if not project.root.resolve().is_relative_to(top.folder):
        message = f"the workspace {project.root} is not in the Git checkout of the spec, {top.folder}"
        raise _problem(message, "--since compares one checkout with what it was")
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


@dataclass(frozen=True, slots=True)
class _Checkout:
    """A Git checkout, its top folder with links resolved."""

    folder: Path

    @classmethod
    def around(cls, folder: Path) -> _Checkout:
        """The checkout that a folder lies in.

        Raises:
            SelectionError: there is none, or no Git.
        """
        if shutil.which("git") is None:
            raise _problem("--since needs Git, which is not installed")
        done = _git(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            raise _problem("this is no Git checkout", "--since compares with a commit of this checkout", said=done.stderr)
        return cls(Path(done.stdout.removesuffix("\n")).resolve())

    def commit(self, revision: str) -> str:
        """The commit of a revision, or where the present one left it.

        Raises:
            SelectionError: Git does not have it here.
        """
        name, dots = _one_side(revision)
        done = self._resolve(name)
        if done.returncode:
            raise self._missing(name, dots)
        commit = done.stdout.strip()
        if dots != "...":
            return commit
        done = _git(self.folder, "merge-base", commit, "HEAD")
        if done.returncode:
            why = "the clone is shallow and ends before it" if self._is_shallow else "their histories have nothing in common"
            hints = self._how_to_get(name, dots) if self._is_shallow else (f"--since {name} compares with its newest commit",)
            raise _problem(f"Git does not know where this commit left `{name}`: {why}", *hints)
        return done.stdout.strip()

    def _resolve(self, name: str) -> subprocess.CompletedProcess[str]:
        return _git(self.folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def _missing(self, name: str, dots: str) -> SelectionError:
        refs = _git(self.folder, "for-each-ref", "--format=%(refname:short)").stdout.split()
        remote = [f"did you mean `{ref}{dots}`?" for ref in refs if ref.endswith(f"/{name}")]
        if self._is_shallow:
            why = "this is a shallow clone, which has only the newest commits"
            return _problem(f"Git does not have `{name}` here: {why}", *(remote[:1] or self._how_to_get(name, dots)))
        hints = tuple(remote[:1]) or nearest(name, refs)
        return _problem(f"Git does not have `{name}` here: no such commit", *hints, "`git fetch` gets what the remote has")

    @property
    def _is_shallow(self) -> bool:
        return _git(self.folder, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"

    def _how_to_get(self, name: str, dots: str) -> tuple[str, ...]:
        """What gets a revision into a shallow clone. A plain `git fetch origin main` does not: it names nothing `main` here."""
        on_github = "on GitHub: `fetch-depth: 0` for actions/checkout"
        if _FULL_ID.fullmatch(name) and not dots:
            return (f"git fetch --depth=1 origin {name}", on_github)
        found = _STEPS.fullmatch(name)
        base, steps = found.groups() if found else (name, "")
        if _SHORT_ID.fullmatch(base):
            return ("git fetch --unshallow", "or give all of its 40 digits: a commit alone can be fetched by them", on_github)
        if not self._resolve(base).returncode:  # the commit is there, those before it are not
            head = _git(self.folder, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip()
            count = sum(int(number or 1) if sign == "~" else 1 for sign, number in re.findall(r"([~^])(\d*)", steps))
            deepen = f", or only so many more commits: git fetch --deepen={count}"
            return ("git fetch --unshallow" + (deepen if count and head and base in {"HEAD", "@", head} else ""), on_github)
        branch = base.removeprefix("origin/")
        refs = f"{branch}:refs/remotes/origin/{branch}"
        if steps or dots:
            return (f"git fetch --unshallow origin {refs}, then --since origin/{branch}{steps}{dots}", on_github)
        return (
            f"a branch: git fetch --depth=1 origin {refs}, then --since origin/{branch}",
            f"a tag: git fetch --depth=1 origin tag {branch}, then --since {branch}",
            on_github,
        )

    def write(self, commit: str, into: Path) -> None:
        """Put the files of a commit into an empty folder as a checkout would; nothing in this checkout or its index moves.

        Not `git archive`, which leaves out and rewrites what .gitattributes marks for releases.

        Raises:
            SelectionError: a submodule that is checked out here does not have its commit of then.
        """
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tasker-build-index-") as folder:
            index = str(Path(folder, "index"))
            read, write = ("read-tree", "--no-sparse-checkout", commit), ("checkout-index", "--all", f"--prefix={into}/")
            for words in (read, write):
                done = _git(self.folder, *words, GIT_INDEX_FILE=index)
                if done.returncode:
                    raise _problem(f"Git cannot write the files of {commit[:12]}", said=done.stderr)
        for path, inner in _modules(_git(self.folder, "ls-tree", "-r", "-z", "--full-tree", commit).stdout):
            # One that is not checked out is an empty folder here, and was one then.
            if module := self._module(path):
                done = _git(module.folder, "rev-parse", "--verify", "--quiet", f"{inner}^{{commit}}")
                if done.returncode:
                    message = f"the submodule `{path}` does not have commit {inner[:12]}, which it was at then"
                    raise _problem(message, f"git -C {path} fetch origin {inner}")
                module.write(inner, into / path)

    def _module(self, path: str) -> _Checkout | None:
        """A submodule that is checked out here."""
        return _Checkout((self.folder / path).resolve()) if (self.folder / path / ".git").exists() else None

    def ignored(self, paths: Sequence[str]) -> Iterator[str]:
        """Those of the paths, from the top, that Git ignores.

        Raises:
            SelectionError: Git cannot say.
        """
        own = list(paths)
        for folder, _ in _modules(_git(self.folder, "ls-files", "--stage", "-z").stdout):
            inside = [path for path in own if path.startswith(f"{folder}/")]
            own = [path for path in own if not path.startswith(f"{folder}/")]
            if inside and (module := self._module(folder)):
                yield from (f"{folder}/{path}" for path in module.ignored([path[len(folder) + 1 :] for path in inside]))
        done = _git(self.folder, "check-ignore", "-z", "--stdin", text="".join(f"{path}\0" for path in own))
        if done.returncode not in {0, 1}:
            raise _problem("Git cannot say which files it ignores", said=done.stderr)
        yield from filter(None, done.stdout.split("\0"))


def _one_side(revision: str) -> tuple[str, str]:
    """The revision to compare with, and its dots: the other side of a range can only be what is here.

    Raises:
        SelectionError: the range ends elsewhere, or nothing was named.
    """
    match = _RANGE.fullmatch(revision)
    name, dots, other = match.groups() if match else (revision, "", "")
    if not name or other not in {"", "HEAD", "@"}:
        what = f"`{revision}` is not one revision" if revision else "--since names no revision"
        raise _problem(
            what,
            "give one revision, such as `HEAD~3` or `origin/main...`; the other side is always the files as they are now",
        )
    return name, dots


def _modules(listed: str) -> Iterator[tuple[str, str]]:
    """Path and commit of each submodule in what `ls-tree` or `ls-files --stage` lists."""
    for row in filter(None, listed.split("\0")):
        head, _, path = row.partition("\t")
        mode, *words = head.split()
        if mode == _SUBMODULE:
            yield path, next(word for word in words if len(word) >= _COMMIT)


def _carry_ignored(project: Project, top: _Checkout, then: Path) -> None:
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


def _git(folder: Path, *words: str, text: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run Git on a folder, and on no other that the environment names: hooks set such variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | settings
    return subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        input=text,
        env=environment,
        check=False,
    )


def _problem(message: str, *hints: str, said: str = "") -> SelectionError:
    notes = tuple(line for line in said.strip().splitlines() if line)[:4]
    return SelectionError([Problem(code="S033", message=message, hints=hints, notes=notes)])


def check_words(project: Project, *selections: Sequence[str]) -> None:
    """Read selections as if every target were in every state: what could never match is a mistake whatever an engine says.

    Raises:
        SelectionError: there is such a word.
    """
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

    None where nothing differs from a revision: that is an answer. Words that select nothing are a mistake.

    Args:
        project: the project.
        selection: what was named.
        exclude: what is left out.
        since: a Git revision.
        states: asks what state each target is in; only called for a selection that wants to know. None: nobody may ask.

    None where nothing differs from a revision: that is an answer. Words that select nothing are a mistake.

    Raises:
        SelectionError: nothing is selected, or everything is excluded.
    """
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
    names &= affected_since(project, since) if since is not None else names
    return tuple(name for name in project.order if name in names) or None
