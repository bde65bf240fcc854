"""Git: a checkout, its revisions and their files, and the one way in which we run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, SelectionError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SUBMODULE = "160000"
"""Mode of an entry of a Git tree that is a commit of another repository."""
_COMMIT = 40
"""Digits of a commit at least."""
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{7,63}")
_STEPS = re.compile(r"(.+?)((?:[~^]\d*)+)")
_RANGE = re.compile(r"(.*?)(\.\.\.?)(.*)")


def git(folder: Path, *words: str, text: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
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


def problem(message: str, *hints: str, said: str = "") -> SelectionError:
    notes = tuple(line for line in said.strip().splitlines() if line)[:4]
    return SelectionError([Problem(code="S033", message=message, hints=hints, notes=notes)])


@dataclass(frozen=True, slots=True)
class Checkout:
    """A Git checkout, its top folder with links resolved."""

    folder: Path

    @classmethod
    def around(cls, folder: Path) -> Checkout:
        """The checkout that a folder lies in.

        Raises:
            SelectionError: there is none, or no Git.
        """
        if shutil.which("git") is None:
            raise problem("--since needs Git, which is not installed")
        done = git(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            raise problem("this is no Git checkout", "--since compares with a commit of this checkout", said=done.stderr)
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
        done = git(self.folder, "merge-base", commit, "HEAD")
        if done.returncode:
            why = "the clone is shallow and ends before it" if self._is_shallow else "their histories have nothing in common"
            hints = self._how_to_get(name, dots) if self._is_shallow else (f"--since {name} compares with its newest commit",)
            raise problem(f"Git does not know where this commit left `{name}`: {why}", *hints)
        return done.stdout.strip()

    def _resolve(self, name: str) -> subprocess.CompletedProcess[str]:
        return git(self.folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def _missing(self, name: str, dots: str) -> SelectionError:
        refs = git(self.folder, "for-each-ref", "--format=%(refname:short)").stdout.split()
        remote = [f"did you mean `{ref}{dots}`?" for ref in refs if ref.endswith(f"/{name}")]
        if self._is_shallow:
            why = "this is a shallow clone, which has only the newest commits"
            return problem(f"Git does not have `{name}` here: {why}", *(remote[:1] or self._how_to_get(name, dots)))
        hints = tuple(remote[:1]) or nearest(name, refs)
        return problem(f"Git does not have `{name}` here: no such commit", *hints, "`git fetch` gets what the remote has")

    @property
    def _is_shallow(self) -> bool:
        return git(self.folder, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"

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
            head = git(self.folder, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip()
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
                done = git(self.folder, *words, GIT_INDEX_FILE=index)
                if done.returncode:
                    raise problem(f"Git cannot write the files of {commit[:12]}", said=done.stderr)
        for path, inner in _modules(git(self.folder, "ls-tree", "-r", "-z", "--full-tree", commit).stdout):
            # One that is not checked out is an empty folder here, and was one then.
            if module := self._module(path):
                done = git(module.folder, "rev-parse", "--verify", "--quiet", f"{inner}^{{commit}}")
                if done.returncode:
                    message = f"the submodule `{path}` does not have commit {inner[:12]}, which it was at then"
                    raise problem(message, f"git -C {path} fetch origin {inner}")
                module.write(inner, into / path)

    def _module(self, path: str) -> Checkout | None:
        """A submodule that is checked out here."""
        return Checkout((self.folder / path).resolve()) if (self.folder / path / ".git").exists() else None

    def ignored(self, paths: Sequence[str]) -> Iterator[str]:
        """Those of the paths, from the top, that Git ignores.

        Raises:
            SelectionError: Git cannot say.
        """
        own = list(paths)
        for folder, _ in _modules(git(self.folder, "ls-files", "--stage", "-z").stdout):
            inside = [path for path in own if path.startswith(f"{folder}/")]
            own = [path for path in own if not path.startswith(f"{folder}/")]
            if inside and (module := self._module(folder)):
                yield from (f"{folder}/{path}" for path in module.ignored([path[len(folder) + 1 :] for path in inside]))
        done = git(self.folder, "check-ignore", "-z", "--stdin", text="".join(f"{path}\0" for path in own))
        if done.returncode not in {0, 1}:
            raise problem("Git cannot say which files it ignores", said=done.stderr)
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
        raise problem(
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
