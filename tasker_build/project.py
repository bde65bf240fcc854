"""The way all commands walk: spec → workspace → closures → rendered tree → facts. Each stops where it has what it needs."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Problem, SpecError
from tasker_build.outline import Head, Outline
from tasker_build.plan.installation import file_rows, host_platform, installation, site_secrets
from tasker_build.plan.memo import Memo, key_of
from tasker_build.plan.warm import Warm
from tasker_build.records.records import FOLDER, Records
from tasker_build.rendered import Tree
from tasker_build.spec.names import slug
from tasker_build.spec.read import kind_files, lock_beside, read_lock_beside, read_sources, read_templates, template_folders
from tasker_build.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tasker_build.chain import Origin
    from tasker_build.context import ContextPart
    from tasker_build.dockerfile import Dockerfile, Piece
    from tasker_build.ecosystems.closure import Closure
    from tasker_build.errors import Span
    from tasker_build.graph import Graph
    from tasker_build.plan.cold import Cold, Loaded
    from tasker_build.plan.memo import Read
    from tasker_build.plan.wanted import Wanted
    from tasker_build.render import TemplateText
    from tasker_build.spec.lock import Lock
    from tasker_build.spec.model import Spec
    from tasker_build.spec.names import TargetName


@dataclass(frozen=True)
class Project:
    """A spec with its workspace; everything derived is computed once, when asked for, and kept where that is worth it."""

    files: tuple[Path, ...]
    sources: tuple[tuple[str, bytes], ...]
    lock_data: bytes | None = None
    version: str = "latest"
    workspace_override: Path | None = None

    @classmethod
    def open(cls, files: Sequence[Path], *, version: str = "latest", workspace: Path | None = None) -> Project:
        """Read the spec files and find the workspace.

        Raises:
            SpecError: mistakes in the spec or its lock, or no folder where the workspace should be.
        """
        project = cls(tuple(files), read_sources(files), read_lock_beside(files[0]), version, workspace)
        if not project.root.is_dir():
            message = f"the workspace {project.root} is not a folder"
            raise SpecError([Problem(code="W014", message=message, span=project.spec.at.get("workspace"))])
        return project

    def with_lock(self, text: str) -> Project:
        """The same project with another lock."""
        return replace(self, lock_data=text.encode())

    # What is written.

    @functools.cached_property
    def _loaded(self) -> Loaded:
        from tasker_build.plan.cold import load_pinned  # noqa: PLC0415 - a plan that knows its outlines reads no spec

        return load_pinned(self.sources, self.lock_data, str(lock_beside(self.files[0])), self._kind_files)

    def _kind_files(self, templates: str | None) -> tuple[tuple[str, bytes], ...]:
        return kind_files(template_folders(templates, self.folder))

    @property
    def written(self) -> Spec:
        """The spec without its lock."""
        return self._loaded.written

    @property
    def lock(self) -> Lock:
        """What the spec's bases stand for."""
        return self._loaded.lock

    @property
    def spec(self) -> Spec:
        """The spec, its bases pinned."""
        return self._loaded.spec

    @functools.cached_property
    def head(self) -> Head:
        """What the spec says of the whole."""
        return Head(*self._memo.get(f"head-{self._key}", lambda: tuple(Head.of(self.spec))))

    # Where it is.

    @property
    def folder(self) -> Path:
        """The folder of the spec."""
        return self.files[0].parent

    @property
    def root(self) -> Path:
        """The workspace folder."""
        return self.workspace_override or self.folder / self.head.workspace

    @property
    def output(self) -> Path:
        """Where rendered files go."""
        return self.root / self.head.output

    @functools.cached_property
    def records(self) -> Records:
        """The record folder beside the spec."""
        return Records(self.folder / FOLDER)

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The workspace, ignoring what never counts."""
        return Workspace(self.root, self.head.ignore, self.head.output, remembers=True, tool=key_of([installation()]))

    # What earlier runs found out, and under which keys.

    @functools.cached_property
    def _memo(self) -> Memo:
        return Memo()

    @functools.cached_property
    def _key(self) -> str:
        """Digest of the spec, of its lock, and of the tool that reads them."""
        lock = b"no lock" if self.lock_data is None else b"+" + self.lock_data
        return key_of([installation(), *(data for _, data in self.sources), lock])

    @functools.cached_property
    def _scene(self) -> str:
        """Digest of everything that files are rendered from, but for what they read in the workspace."""
        texts = [f"{name}\0{text}" for name, (text, _) in sorted(self._template_texts.items())]
        texts += [text.decode("utf-8", "surrogateescape") for _, text in self._kind_files(self.head.templates)]
        walk = self.workspace.walk
        folders = [f"{entry.path}/{entry.identity}" for entry in walk.marked]
        words = [self._key, host_platform(), *texts, "\0".join(walk.paths), "\0".join(folders), f"{walk.umask:o}"]
        scene = key_of(word.encode("utf-8", "surrogateescape") for word in words)
        outside = self._memo.get(f"outside-{scene}", self._outside)
        return key_of([scene.encode(), repr(file_rows(outside)).encode()]) if outside else scene

    def _outside(self) -> tuple[str, ...]:
        """The code of ecosystems that do not come with the tool."""
        from tasker_build.ecosystems.outside import files_of  # noqa: PLC0415 - a plan that knows its outlines loads none

        return files_of(self.spec.ecosystems)

    @functools.cached_property
    def _template_texts(self) -> Mapping[str, tuple[str, str]]:
        return read_templates(template_folders(self.head.templates, self.folder))

    # What follows from it, for those who need more than a plan does.

    @functools.cached_property
    def _cold(self) -> Cold:
        from tasker_build.plan.cold import Cold  # noqa: PLC0415 - likewise

        return Cold(self.spec, lambda: self._template_texts, self.workspace, host_platform())

    @property
    def templates(self) -> Mapping[str, TemplateText]:
        """Every template by name."""
        return self._cold.templates

    @property
    def models(self) -> Mapping[str, Any]:
        """Ecosystem → what its manifests in the workspace say."""
        return self._cold.models

    @property
    def closures(self) -> Mapping[TargetName, Closure]:
        """What each target needs of the workspace."""
        return self._cold.closures

    @property
    def images_tree(self) -> Tree:
        """The rendered files that images are built from."""
        return self._cold.images_tree

    @property
    def graph(self) -> Graph:
        """The graph of enabled targets."""
        return self._cold.graph

    @property
    def order(self) -> tuple[TargetName, ...]:
        """Enabled targets, parents before children."""
        return self._cold.order

    @property
    def dockerfiles(self) -> Mapping[TargetName, Dockerfile]:
        """Each target's Dockerfile, parsed."""
        return self._cold.dockerfiles

    @property
    def references(self) -> Mapping[str, TargetName]:
        """Image reference in rendered files → the target it names."""
        return self._cold.references

    def origins(self, name: TargetName) -> tuple[Origin, ...]:
        """The texts that a target's Dockerfile is made from."""
        return self._cold.origins(name)

    def parents(self, name: TargetName) -> tuple[TargetName, ...]:
        """The targets a target is built from, sorted."""
        return self._cold.parents(name)

    @functools.cached_property
    def tree(self) -> Tree:
        """Every rendered file."""
        _, plain = self._memo.follow(f"tree-{self._scene}", self.workspace, lambda: Tree.plain(self._cold.tree))
        self.workspace.remember()
        return Tree.of_plain(plain)

    # What a plan compares with the engine.

    @functools.cached_property
    def _outlined(self) -> tuple[Read, tuple[Outline, ...]]:
        """Every enabled target as it is known before contents of files are, in build order; and what that follows from."""
        read, rows = self._memo.follow(f"outlines-{self._scene}", self.workspace, lambda: tuple(map(tuple, self._cold.outlines)))
        return read, tuple(Outline(*row) for row in rows)

    @functools.cached_property
    def wanted(self) -> Mapping[TargetName, Wanted]:
        """What the spec asks of each target, in build order: facts and fingerprint, with no engine and no registry."""
        read, outlines = self._outlined
        warm = Warm(
            outlines=outlines,
            read=read,
            workspace=self.workspace,
            secrets=tuple(site_secrets(sorted({secret for outline in outlines for secret, _, _ in outline.secrets}))),
            version=self.version,
        )
        return warm.wanted(self._memo, f"prints-{self._scene}")

    @property
    def places(self) -> Mapping[str, Span]:
        """Where the spec says what: looked up for reasons that name a key of it."""
        return self._cold.places

    def select(
        self, words: Sequence[str], states: Mapping[TargetName, frozenset[str]] | None = None, *, may_be_empty: bool = False
    ) -> frozenset[TargetName]:
        """The targets that words name; paths among them may be typed from the current folder.

        Raises:
            SelectionError: a word that cannot be read or matches nothing.
        """
        from tasker_build.selector import select  # noqa: PLC0415 - a plan of everything needs no graph

        return select(
            words,
            self.spec,
            self.graph,
            self.closures,
            states,
            may_be_empty=may_be_empty,
            version=self.version,
            located=lambda path: os.path.relpath(path, self.root.resolve()),
        )

    def piece(self, name: TargetName, inlined: Mapping[str, TargetName], references: Mapping[str, str]) -> Piece:
        """One target as a part of a composition."""
        from tasker_build.dockerfile import Piece  # noqa: PLC0415

        target = self.spec.targets[name]
        return Piece(
            name=name,
            dockerfile=self.dockerfiles[name],
            stage=target.stage,
            args=target.args,
            prefix=slug(name),
            parents=inlined,
            references=references,
        )

    def context_part(self, name: TargetName) -> ContextPart:
        """One target's files below a prefix of their own."""
        from tasker_build.context import ContextPart, entries_of  # noqa: PLC0415

        closure, workspace = self.closures[name], self.workspace
        entries = entries_of(workspace, closure.files(workspace.paths), closure.folders(tuple(workspace.folders)))
        return ContextPart(prefix=slug(name), entries=entries)
