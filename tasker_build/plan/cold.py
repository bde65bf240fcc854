"""Spec → closures → tree → graph → Dockerfiles → outlines: what a plan needs that knows of no earlier one.

Plain values in and out. It remembers nothing between runs and opens no file but through the workspace it is given. Whatever
reads specs, renders and parses is imported here and nowhere on the way of a plan that knows its outlines: importing takes
longer than such a plan.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasker_build import dockerfile
from tasker_build.chain import Origin
from tasker_build.check.sent import Sent, problems
from tasker_build.compiled import TemplateCache
from tasker_build.ecosystems.closure import make_closures, meanings_of, scan_all
from tasker_build.errors import TemplateError
from tasker_build.graph import build_graph, build_order
from tasker_build.outline import Outline, runs
from tasker_build.plan import facts
from tasker_build.render import TemplateText, render
from tasker_build.spec.keys import SpecKeys, places_of
from tasker_build.spec.load import load
from tasker_build.spec.lock import Lock, pinned, read_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tasker_build.dockerfile import Dockerfile
    from tasker_build.ecosystems.closure import Closure
    from tasker_build.errors import Problem, Span
    from tasker_build.graph import Graph
    from tasker_build.rendered import Tree
    from tasker_build.spec.language import KindFiles
    from tasker_build.spec.model import Spec, Target
    from tasker_build.spec.names import TargetName
    from tasker_build.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A spec and its lock."""

    written: Spec
    """The spec as it was written."""
    lock: Lock
    spec: Spec
    """The spec with its bases and tools pinned."""


def load_pinned(sources: Sequence[tuple[str, bytes]], lock_data: bytes | None, lock_file: str, kind_files: KindFiles) -> Loaded:
    """Load a spec and pin its bases and tools.

    Raises:
        SpecError: mistakes in the spec or its lock.
    """
    written = load(sources, kind_files)
    lock = Lock() if lock_data is None else read_lock(lock_data, lock_file)
    return Loaded(written=written, lock=lock, spec=pinned(written, lock))


@dataclass(frozen=True)
class Cold:
    """All that follows from a spec, its templates and its workspace; each step is made once, when asked for."""

    spec: Spec
    template_texts: Callable[[], Mapping[str, tuple[str, str]]]
    workspace: Workspace
    host: str
    """The platform of targets that name none."""

    @functools.cached_property
    def templates(self) -> Mapping[str, TemplateText]:
        """Every template by name."""
        return {name: TemplateText(text=text, file=shown) for name, (text, shown) in self.template_texts().items()}

    @functools.cached_property
    def models(self) -> Mapping[str, Any]:
        """Ecosystem → what its manifests in the workspace say."""
        return scan_all(self.spec.ecosystems, self.workspace.paths, self.workspace.read)

    @functools.cached_property
    def closures(self) -> Mapping[TargetName, Closure]:
        """What each target needs of the workspace."""
        return make_closures(self.spec, self.models, self.workspace.paths, self.workspace.folders, self.workspace.read)

    @functools.cached_property
    def tree(self) -> Tree:
        """Every rendered file."""
        return self._render(everything=True)

    @functools.cached_property
    def images_tree(self) -> Tree:
        """The rendered files that images are built from: all that outlines need."""
        return self._render(everything=False)

    def _render(self, *, everything: bool) -> Tree:
        models, paths = self.models, self.workspace.paths
        cache = TemplateCache()
        return render(self.spec, self.templates, self.closures, models, paths, everything=everything, cache=cache)

    @functools.cached_property
    def graph(self) -> Graph:
        """The graph of enabled targets."""
        return build_graph(self.spec)

    @functools.cached_property
    def order(self) -> tuple[TargetName, ...]:
        """Enabled targets, parents before children."""
        return build_order(self.graph)

    @functools.cached_property
    def references(self) -> Mapping[str, TargetName]:
        """Image reference in rendered files → the target it names."""
        return {self.spec.image_reference(self.spec.targets[name]): name for name in self.order}

    @functools.cached_property
    def dockerfiles(self) -> Mapping[TargetName, Dockerfile]:
        """Each target's Dockerfile, parsed; of one that several targets share, only what leads to the target's stage."""
        return parsed(self.spec, self.images_tree, self.host)

    @functools.cached_property
    def outlines(self) -> tuple[Outline, ...]:
        """Every enabled target as it is known before contents of files are, in build order.

        Raises:
            TemplateError: a Dockerfile takes what is not sent, or from a stage that is not there.
        """
        if wrong := [problem for name in self.order for problem in self._missing(name)]:
            raise TemplateError(wrong)
        places = {path: i for i, path in enumerate(self.workspace.paths)}
        keys = SpecKeys(self.spec)
        return tuple(self._outline(self.spec.targets[name], places, keys) for name in self.order)

    def sent(self, name: TargetName) -> Sent:
        """What the build of a target gets of the workspace."""
        closure, paths = self.closures[name], self.workspace.paths
        folders = closure.folders(tuple(entry.path for entry in self.workspace.walk.marked))
        return Sent(files=closure.files(paths), folders=folders, workspace=paths)

    def origins(self, name: TargetName) -> tuple[Origin, ...]:
        """The texts that a target's Dockerfile is made from: its template, those it takes parts from, and its hooks."""
        target = self.spec.targets[name]
        own = target.template_name
        names = (own, *sorted(set(self.images_tree.templates[name]) - {own}))
        templates = [Origin(self.templates[name].file, self.templates[name].text) for name in names]
        places = {hook: target.at.get(f"hooks.{hook}", target.span) for hook in target.hooks}
        hooks = [Origin(f"hook `{hook}`, {places[hook]}", lines, numbered=False) for hook, lines in target.hooks.items()]
        return (*templates, *hooks)

    def _missing(self, name: TargetName) -> Iterator[Problem]:
        target = self.spec.targets[name]
        file = dockerfile.reaching(self.dockerfiles[name], target.stage)
        images = {*self.references, *self.spec.bases.values()}
        yield from problems(file, f"{self.spec.output}/{target.dockerfile}", self.sent(name), self.origins(name), images)

    def _outline(self, target: Target, places: Mapping[str, int], keys: SpecKeys) -> Outline:
        name = target.name
        file, closure, tree = self.dockerfiles[name], self.closures[name], self.images_tree
        context = closure.files(self.workspace.paths)
        platform = target.platforms[0] if target.platforms else self.host
        fixed = facts.fixed_facts(target, file, references=self.references, platform=platform)
        marked = {entry.path: entry for entry in self.workspace.walk.marked}
        folders = facts.folder_facts(marked[path] for path in closure.folders(tuple(marked)))
        manifests = [path for path in context if closure.is_manifest_only(path)]
        return Outline(
            name=name,
            image=self.spec.image_name(target),
            tags=target.tags,
            platform=platform,
            refresh=target.refresh or "",
            parents=self.parents(name),
            bases=tuple(image for image in dockerfile.outside_images(file) if image not in self.references),
            templates=dict(tree.templates[name]),
            included_by=dict(tree.included_by[name]),
            spec=keys.of(target, tree.dockerfiles[name], self.graph.successors(name)),
            facts=tuple((group.value, label, value) for group, label, value in (*fixed, *folders)),
            files=runs(places[path] for path in context),
            meanings=meanings_of(self.spec, target, manifests, self.workspace.read),
            secrets=facts.stated_secrets(target),
            named=tuple(path for path in closure.runtime if path in places),
        )

    @property
    def places(self) -> Mapping[str, Span]:
        """Where the spec says what."""
        return places_of(self.spec)

    def parents(self, name: TargetName) -> tuple[TargetName, ...]:
        """The targets a target is built from, sorted."""
        return tuple(sorted(self.graph.predecessors(name)))


def parsed(spec: Spec, tree: Tree, host: str) -> Mapping[TargetName, Dockerfile]:
    """Parse each target's Dockerfile, one that is shared once for equal arguments."""
    files: dict[tuple[str, ...], Dockerfile] = {}
    result: dict[TargetName, Dockerfile] = {}
    users = Counter(target.dockerfile for target in spec.targets.values() if target.enabled)
    for name, text in tree.dockerfiles.items():
        target = spec.targets[name]
        path = target.dockerfile
        args = {**dockerfile.platform_args(target.platforms[0] if target.platforms else host), **target.args}
        key = (path, *(f"{argument}={value}" for argument, value in sorted(args.items())))
        if key not in files:
            files[key] = dockerfile.parse(text, f"{spec.output}/{path}", args)
        result[name] = dockerfile.reaching(files[key], target.stage) if users[path] > 1 else files[key]
    return result
