"""The selection language → target names: `x`, `+x`, `x+`, `2+x`, `x+1`, `@x`, globs, `tag:`, `kind:`, `file:`, `state:`.

Commas intersect, repeats unite. States are what a plan says of each target; whoever has one hands them in.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import networkx as nx

from tasker_build.errors import Problem, SelectionError, nearest
from tasker_build.ignore import Ignore
from tasker_build.plan.words import ReasonKind
from tasker_build.spec.names import at_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tasker_build.ecosystems.closure import Closure
    from tasker_build.graph import Graph
    from tasker_build.spec.model import Spec, TargetName

# A path may have the signs that stand around a name elsewhere.
_TERM = re.compile(r"(?P<at>@)?(?:(?P<up>\d*)\+)?(?P<core>file:.+?|[^+@]+?)(?:\+(?P<down>\d*))?")
_FORMS = "forms: x  +x  x+  2+x  x+1  @x  glob*  tag:x  kind:x  file:x  state:x; a comma between two intersects them"
METHODS = ("tag", "kind", "file", "state")
STATES = ("new", "missing", "modified", "parent", "stale", "retag", "unmodified")
"""States by name; `modified.REASON` is one, too."""
ALL_STATES = frozenset({*STATES, *(f"modified.{kind.value}" for kind in ReasonKind)})


def asks_for_state(words: Sequence[str]) -> bool:
    """Whether a selection cannot be read without a plan."""
    return _uses("state", words)


def names_files(words: Sequence[str]) -> bool:
    """Whether what a selection means depends on the folder it is read in."""
    return _uses("file", words)


def _uses(method: str, words: Sequence[str]) -> bool:
    matches = (_TERM.fullmatch(part) for word in words for part in word.split(","))
    return any(match is not None and match["core"].startswith(f"{method}:") for match in matches)


def select(
    words: Sequence[str],
    spec: Spec,
    graph: Graph,
    closures: Mapping[TargetName, Closure],
    states: Mapping[TargetName, frozenset[str]] | None = None,
    *,
    may_be_empty: bool = False,
    version: str = "latest",
    located: Callable[[str], str] = posixpath.normpath,
) -> frozenset[TargetName]:
    """Return the targets that any of the words names; all of them when there are no words.

    Args:
        words: the selection.
        spec: the spec.
        graph: its targets.
        closures: what each target reads.
        states: what state each target is in; None: nobody asked the engine.
        may_be_empty: that no target is in a state is fine; a word that could never match is not.
        version: what `{version}` in tags stands for.
        located: path as typed → path of the workspace, for those that are none as they stand.

    Raises:
        SelectionError: a word that cannot be read or matches nothing: selecting nothing is never what was meant.
    """
    if not words:
        return frozenset(graph)
    reader = _Reader(spec, graph, closures, states, version, located)
    chosen = {name for word in words for name in reader.word(word)}
    problems = reader.problems + ([] if chosen or may_be_empty else reader.nothing)
    if problems:
        raise SelectionError(problems)
    return frozenset(chosen)


@dataclass(slots=True)
class _Reader:
    """Reads one word after the other and gathers what is wrong with them."""

    spec: Spec
    graph: Graph
    closures: Mapping[TargetName, Closure]
    states: Mapping[TargetName, frozenset[str]] | None
    version: str
    located: Callable[[str], str]
    problems: list[Problem] = field(default_factory=list)
    nothing: list[Problem] = field(default_factory=list)
    """Words that are right and find nothing today: only a mistake when nothing else is found."""

    def word(self, word: str) -> set[TargetName]:
        """What all parts of a word have in common."""
        parts = [self._term(part, word) for part in word.split(",")]
        found = set.intersection(*parts)
        if not found and all(parts):
            missed = self.nothing if asks_for_state([word]) else self.problems
            missed.append(Problem(code="S030", message=f"nothing matches all of `{word}`"))
        return found

    def _term(self, text: str, word: str) -> set[TargetName]:
        match = _TERM.fullmatch(text)
        if match is None:
            self._wrong(f"`{word}` is not a selection", _FORMS, code="S035")
            return set()
        found = core = self._core(match["core"])
        for name in core:
            if match["at"]:
                below = nx.descendants(self.graph, name) | {name}
                found = found | below | {ancestor for child in below for ancestor in nx.ancestors(self.graph, child)}
            if match["up"] is not None:
                found = found | _within(self.graph.reverse(copy=False), name, match["up"])
            if match["down"] is not None:
                found = found | _within(self.graph, name, match["down"])
        return found

    def _core(self, core: str) -> set[TargetName]:
        method, colon, value = core.partition(":")
        if not colon:
            return self._named(core)
        if method == "state":
            return self._in_state(value)
        if method == "kind":
            kinds = {name: [self.spec.targets[name].kind or ""] for name in self.graph}
            return self._matching(core, kinds, lambda kind: kind == value)
        if method == "tag":
            tags = {name: self.spec.targets[name].tags for name in self.graph}
            both = {name: [*rows, *at_version(rows, self.version)] for name, rows in tags.items()}
            return self._matching(core, both, lambda tag: fnmatchcase(tag, value))
        if method == "file":
            return self._reading(value)
        known = f"ways to select: {', '.join(f'{known}:' for known in METHODS)}, or a target's name"
        near = f"did you mean `{method.lower()}:{value}`?" if method.lower() in METHODS else known
        self._wrong(f"`{core}`: targets are not selected by `{method}:`", near, code="S035")
        return set()

    def _named(self, pattern: str) -> set[TargetName]:
        found = {name for name in self.graph if name == pattern or fnmatchcase(name, pattern)}
        if not found:
            hints = nearest(pattern, self.graph) or ("`tasker-build ls` lists the targets",)
            if pattern.endswith((".yaml", ".yml")):
                hints = (f"a spec is named before the command: tasker-build -f {pattern} …",)
            self._wrong(f"no target matches `{pattern}`", *hints)
        return found

    def _matching(self, core: str, values: Mapping[TargetName, Iterable[str]], fits: Callable[[str], bool]) -> set[TargetName]:
        found = {name for name, own in values.items() if any(map(fits, own))}
        if not found:
            method, _, value = core.partition(":")
            known = sorted({value for own in values.values() for value in own if value})
            hints = nearest(value, known) or (f"{method}s here: {', '.join(known) or 'none'}",)
            self._wrong(f"no target matches `{core}`", *hints)
        return found

    def _reading(self, path: str) -> set[TargetName]:
        ignore = Ignore(self.spec.ignored)
        for place in dict.fromkeys((posixpath.normpath(path), self.located(path))):
            if ignore.matches(place):
                continue
            if found := {name for name in self.graph if self.closures[name].files([place])}:
                return found
        hint = "no target reads that; paths start at the workspace or at the current folder"
        self._wrong(f"no target matches `file:{path}`", hint)
        return set()

    def _in_state(self, state: str) -> set[TargetName]:
        if state not in ALL_STATES:
            hints = nearest(state, sorted(ALL_STATES)) or (f"states: {', '.join(STATES)}, modified.REASON",)
            if state.startswith("modified."):
                hints = (*nearest(state, sorted(ALL_STATES)), f"reasons: {', '.join(kind.value for kind in ReasonKind)}")
            self.problems.append(Problem(code="S034", message=f"`state:{state}` is no state", hints=hints))
            return set()
        if self.states is None:
            message = f"only an engine can say what is `state:{state}`"
            self.problems.append(Problem(code="S034", message=message, hints=("leave --offline out",)))
            return set()
        found = {name for name in self.graph if state in self.states[name]}
        if not found:
            hints = ("`tasker-build plan --all` shows what each target is",)
            self.nothing.append(Problem(code="S030", message=f"no target is `state:{state}`", hints=hints))
        return found

    def _wrong(self, message: str, *hints: str, code: str = "S030") -> None:
        self.problems.append(Problem(code=code, message=message, hints=hints))


def _within(graph: Graph, name: TargetName, depth: str) -> set[TargetName]:
    cutoff = int(depth) if depth else None
    return set(nx.single_source_shortest_path_length(graph, name, cutoff))
