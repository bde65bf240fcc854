"""Outlines → what is wanted: all that a plan needs when nothing of the spec has changed. Imports nothing that reads specs."""

from __future__ import annotations

import functools
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Problem, SpecError
from tasker_build.ignore import below
from tasker_build.plan.facts import Facts
from tasker_build.spec.names import at_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasker_build.files.entry import Entry
    from tasker_build.outline import Outline
    from tasker_build.plan.facts import Row
    from tasker_build.plan.memo import Memo, Read
    from tasker_build.plan.wanted import Wanted
    from tasker_build.spec.names import TargetName
    from tasker_build.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """What is wanted of every outlined target; fingerprints of an earlier run count while nothing is different."""

    outlines: tuple[Outline, ...]
    read: Read
    """The files that the outlines follow from, with what they said."""
    workspace: Workspace
    secrets: tuple[str, ...]
    """Those that the site has."""
    version: str

    def wanted(self, memo: Memo, name: str) -> Mapping[TargetName, Wanted]:
        """Return what is wanted, in build order; `name` is what the fingerprints are kept under."""
        made: dict[TargetName, Facts] = {}
        _, prints = memo.get(name, functools.partial(self._digested, made), self._is_current)
        result: dict[TargetName, Wanted] = {}
        for outline in self.outlines:
            facts = made.get(outline.name)
            if facts is None:
                fingerprint, groups = prints[outline.name]
                facts = Facts(fingerprint, groups, functools.partial(self._rows, outline, result))
            result[outline.name] = self._filled(outline, facts)
        self.workspace.remember()
        return result

    def _digested(self, made: dict[TargetName, Facts]) -> tuple[Any, Any]:
        """Digest the facts of every target into `made`."""
        paths = self.workspace.paths
        self.workspace.hash_all(dict.fromkeys(path for outline in self.outlines for path in outline.paths(paths)))
        so_far: dict[TargetName, Wanted] = {}
        for outline in self.outlines:
            made[outline.name] = Facts.of(self._rows(outline, so_far))
            so_far[outline.name] = self._filled(outline, made[outline.name])
        self.workspace.remember()
        return self._basis, {name: (facts.fingerprint, facts.groups) for name, facts in made.items()}

    @property
    def _basis(self) -> tuple[Read, str, tuple[str, ...]]:
        """Everything that fingerprints follow from, beside what the outlines' own key says."""
        return self.read, self.workspace.content, self.secrets

    def _is_current(self, kept: tuple[Any, Any]) -> bool:
        return bool(self.workspace.content) and kept[0] == self._basis

    def _rows(self, outline: Outline, parents: Mapping[TargetName, Wanted]) -> Iterator[Row]:
        entries = self.workspace.entries(outline.paths(self.workspace.paths))
        _refuse_loose_links(outline.name, entries, outline.named)
        return outline.rows(entries, parents, self.secrets)

    def _filled(self, outline: Outline, facts: Facts) -> Wanted:
        return outline.wanted(facts, at_version(outline.tags, self.version))


def _refuse_loose_links(name: TargetName, entries: Sequence[Entry], named: Sequence[str]) -> None:
    """A link that lands outside the closure would dangle in the image."""
    links = [(entry.path, entry.link) for entry in entries if entry.link is not None]
    if not links:
        return
    paths = sorted(entry.path for entry in entries)
    problems: list[Problem] = []
    for path, link in links:
        landing = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        there = below(paths, landing)
        if not there:
            message = f"the link `{path}` leads out of the closure of `{name}`: to {link}"
            hint = f"add `{landing}` to the target's `context` (for a package, to its `sources.packages`), or ignore the link"
            problems.append(Problem(code="W012", message=message, hints=(hint,)))
        elif path in named and landing not in there:
            message = f"`context` of `{name}` names the link `{path}`; COPY follows it and spreads what is in `{landing}`"
            hint = f"name `{landing}` instead, or a folder that holds the link: in a folder it stays a link"
            problems.append(Problem(code="W021", message=message, hints=(hint,)))
    if problems:
        raise SpecError(problems)
