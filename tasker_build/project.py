"""The way all commands walk: spec → workspace → closures → rendered tree → facts. Each stops where it has what it needs."""

from __future__ import annotations

import functools
import json
import os
import platform as machine
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build import dockerfile, fingerprint, graph
from tasker_build.cargo import scan
from tasker_build.closure import make_closures
from tasker_build.compose import secret_variable
from tasker_build.context import ContextPart, entries_of
from tasker_build.dockerfile import Piece, slug
from tasker_build.errors import Problem, RefusedError, SpecError, TemplateError
from tasker_build.ignore import below
from tasker_build.lock import Lock, lock_name, pinned, read_lock
from tasker_build.plan import Wanted
from tasker_build.record import FOLDER, Records, TemplateCache
from tasker_build.render import TemplateText, Tree, render
from tasker_build.spec.load import load
from tasker_build.spec.model import human_tags
from tasker_build.workspace import Entry, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasker_build.cargo import CargoWorkspace
    from tasker_build.closure import Closure
    from tasker_build.dockerfile import Dockerfile
    from tasker_build.errors import Span
    from tasker_build.graph import Graph
    from tasker_build.spec.model import Spec, Target, TargetName

DEFAULT_SPEC = "stacks.yaml"


def read_spec(files: Sequence[Path]) -> Spec:
    """Read and load spec files.

    Raises:
        SpecError: a file that cannot be read, and everything `load` finds.
    """
    sources: list[tuple[str, bytes]] = []
    for file in files:
        try:
            if file.exists() and not file.is_file():
                raise _unreadable(file, "is not a file")
            sources.append((str(file), file.read_bytes()))
        except OSError as error:
            raise _unreadable(file, str(error.strerror).lower()) from error
    return load(sources)


def read_lock_beside(spec_file: Path) -> Lock:
    """Read the lock of a spec; without one nothing is pinned.

    Raises:
        SpecError: a lock that cannot be read, or is damaged.
    """
    file = lock_beside(spec_file)
    try:
        return read_lock(file.read_bytes(), str(file))
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise SpecError([Problem(code="S000", message=f"{file}: {str(error.strerror).lower()}")]) from error


def lock_beside(spec_file: Path) -> Path:
    """Where the lock of a spec is: `stacks.lock` beside `stacks.yaml`."""
    return spec_file.with_name(lock_name(spec_file.name))


def _unreadable(file: Path, why: str) -> SpecError:
    hint = f"name the spec with -f, or run where {DEFAULT_SPEC} is"
    return SpecError([Problem(code="S000", message=f"{file}: {why}", hints=(hint,))])


def template_folders(spec: Spec, spec_folder: Path) -> tuple[Path, ...]:
    """Where templates are looked for: the project's own folder first, then the built-in ones."""
    inside = Path(__file__).parent / "templates"
    builtin = inside if inside.is_dir() else Path(__file__).parent.parent / "templates"
    return ((spec_folder / spec.templates,) if spec.templates else ()) + (builtin,)


def read_templates(folders: Sequence[Path]) -> Mapping[str, TemplateText]:
    """Read every template; one in an earlier folder hides its namesake in a later one.

    Raises:
        TemplateError: a template that is not UTF-8, or a link that leaves its folder.
    """
    texts: dict[str, TemplateText] = {}
    for folder in reversed(folders):
        for path in sorted(folder.rglob("*.j2")):
            name = path.relative_to(folder).as_posix()
            shown = f"templates/{name}" if folder == folders[-1] else os.path.relpath(path)
            if not path.resolve().is_relative_to(folder.resolve()):
                raise TemplateError([Problem(code="T004", message=f"the template {shown} is a link out of its folder")])
            try:
                texts[name] = TemplateText(text=path.read_text(encoding="utf-8"), file=shown)
            except UnicodeDecodeError as error:
                raise TemplateError([Problem(code="T004", message=f"the template {shown} is not UTF-8")]) from error
    return texts


def host_platform() -> str:
    """The platform of this machine in the words of images."""
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return f"linux/{arch.get(machine.machine().lower(), machine.machine().lower())}"


def site_secrets(ids: Sequence[str]) -> Mapping[str, Path]:
    """Secret id → file, for those of the secrets that this site has.

    Raises:
        RefusedError: a variable names a file that is not there.
    """
    found: dict[str, Path] = {}
    for secret in ids:
        variable = secret_variable(secret)
        if value := os.environ.get(variable):
            path = Path(value)
            if not path.is_file():
                raise RefusedError(f"{variable} names {value}, which is no file", hints=(f"unset {variable} or correct it",))
            found[secret] = path
    return found


@dataclass(frozen=True)
class Project:
    """A loaded spec with its workspace; everything derived is computed once, when asked for."""

    spec: Spec
    files: tuple[Path, ...]
    version: str = "latest"
    workspace_override: Path | None = None
    lock: Lock = field(default_factory=Lock)

    @classmethod
    def open(cls, files: Sequence[Path], *, version: str = "latest", workspace: Path | None = None) -> Project:
        """Read the spec files and find the workspace.

        Raises:
            SpecError: mistakes in the spec or its lock, or no folder where the workspace should be.
        """
        spec = pinned(read_spec(files), lock := read_lock_beside(files[0]))
        project = cls(spec, tuple(files), version, workspace, lock)
        if not project.root.is_dir():
            message = f"the workspace {project.root} is not a folder"
            raise SpecError([Problem(code="S000", message=message, span=spec.at.get("workspace"))])
        return project

    @property
    def folder(self) -> Path:
        """The folder of the spec."""
        return self.files[0].parent

    @property
    def root(self) -> Path:
        """The workspace folder."""
        return self.workspace_override or self.folder / self.spec.workspace

    @property
    def output(self) -> Path:
        """Where rendered files go."""
        return self.root / self.spec.output

    @functools.cached_property
    def records(self) -> Records:
        """The record folder beside the spec."""
        return Records(self.folder / FOLDER)

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The workspace, ignoring what never counts."""
        return Workspace(self.root, self.spec.sources.ignore, self.spec.output)

    @functools.cached_property
    def cargo(self) -> CargoWorkspace | None:
        """The Cargo workspace, where there is one."""
        return scan(self.workspace.paths, self.workspace.read)

    @functools.cached_property
    def closures(self) -> Mapping[TargetName, Closure]:
        """What each target needs of the workspace."""
        return make_closures(self.spec, self.cargo, self.workspace.paths)

    @functools.cached_property
    def templates(self) -> Mapping[str, TemplateText]:
        """Every template by name."""
        return read_templates(template_folders(self.spec, self.folder))

    @functools.cached_property
    def tree(self) -> Tree:
        """Every rendered file."""
        return self._render(everything=True)

    @functools.cached_property
    def images_tree(self) -> Tree:
        """The rendered files that images are built from; the whole tree where it is there already."""
        if "tree" in self.__dict__:
            return self.tree
        return self._render(everything=False)

    def _render(self, *, everything: bool) -> Tree:
        return render(
            self.spec,
            self.templates,
            self.closures,
            self.cargo,
            self.workspace.paths,
            everything=everything,
            cache=TemplateCache(),
        )

    @functools.cached_property
    def graph(self) -> Graph:
        """The graph of enabled targets."""
        return graph.build_graph(self.spec)

    @functools.cached_property
    def order(self) -> tuple[TargetName, ...]:
        """Enabled targets, parents before children."""
        return graph.build_order(self.graph)

    @functools.cached_property
    def dockerfiles(self) -> Mapping[TargetName, Dockerfile]:
        """Each target's Dockerfile, parsed; of one that several targets share, only what leads to the target's stage."""
        parsed: dict[str, Dockerfile] = {}
        result: dict[TargetName, Dockerfile] = {}
        for name, text in self.images_tree.dockerfiles.items():
            target = self.spec.targets[name]
            if target.dockerfile in parsed:
                whole = parsed[target.dockerfile]
            else:
                whole = parsed[target.dockerfile] = dockerfile.parse(text, f"{self.spec.output}/{target.dockerfile}")
            shared = sum(other.enabled and other.dockerfile == target.dockerfile for other in self.spec.targets.values()) > 1
            part = dockerfile.reaching(whole, target.stage) if shared else whole
            result[name] = dockerfile.with_args(part, target.args)
        return result

    @functools.cached_property
    def references(self) -> Mapping[str, TargetName]:
        """Image reference in rendered files → the target it names."""
        return {self.spec.image_reference(self.spec.targets[name]): name for name in self.order}

    def parents(self, name: TargetName) -> tuple[TargetName, ...]:
        """The targets a target is built from, sorted."""
        return tuple(sorted(self.graph.predecessors(name)))

    def platform(self, target: Target) -> str:
        """The platform a target is built for."""
        return target.platforms[0] if target.platforms else host_platform()

    @functools.cached_property
    def wanted(self) -> Mapping[TargetName, Wanted]:
        """What the spec asks of each target, in build order: facts and fingerprint, with no engine and no registry."""
        result: dict[TargetName, Wanted] = {}
        for name in self.order:
            target = self.spec.targets[name]
            closure = self.closures[name]
            entries = entries_of(self.workspace, closure.files(self.workspace.paths))
            _refuse_loose_links(name, entries)
            manifests = [entry.path for entry in entries if closure.is_manifest_only(entry.path)]
            meanings = {path: fingerprint.manifest_meaning(self.workspace.read(path)) for path in manifests}
            parents = self.parents(name)
            facts = fingerprint.collect(
                target,
                self.dockerfiles[name],
                entries,
                meanings=meanings,
                references=self.references,
                parents={parent: result[parent].facts.fingerprint for parent in parents},
                platform=self.platform(target),
                secrets=dict.fromkeys(site_secrets([secret.id for secret in target.secrets]), True),
            )
            outside = dockerfile.outside_images(self.dockerfiles[name])
            result[name] = Wanted(
                name=name,
                facts=facts,
                image=self.spec.image_name(target),
                tags=human_tags(target, self.version),
                platform=self.platform(target),
                parents=parents,
                bases=tuple(image for image in outside if image not in self.references),
                templates=self.images_tree.templates[name],
                included_by=self.images_tree.included_by[name],
                spec=self._spec_keys(target),
                places=self._places,
            )
        return result

    def _spec_keys(self, target: Target) -> Mapping[str, str]:
        """Digests of what the spec says that a target's Dockerfile is made from; only to tell where a difference comes from."""
        found = {**self._common_keys, **_keys(f"targets.{target.name}", target)}
        for name in target.from_.values():
            if name in self.spec.bases:
                # A pin that moved is a reason of its own.
                found |= _keys(f"bases.{name}", self.spec.bases[name].partition("@")[0])
        for child in self.graph.successors(target.name):
            # What its children cook is in a builder's own Dockerfile.
            found |= _keys(f"targets.{child}.cargo", self.spec.targets[child].cargo)
        return found

    @functools.cached_property
    def _common_keys(self) -> Mapping[str, str]:
        return {**_keys("vars", self.spec.vars), **_keys("toolchain", self.spec.toolchain)}

    @functools.cached_property
    def _places(self) -> Mapping[str, Span]:
        """Where the spec says what; a base also by its reference."""
        found = dict(self.spec.at)
        for name, target in self.spec.targets.items():
            found[f"targets.{name}"] = target.span
            found |= {f"targets.{name}.{key}": span for key, span in target.at.items()}
            if target.cargo is not None:
                found |= {f"targets.{name}.cargo.{key}": span for key, span in target.cargo.at.items()}
        bases = {
            f"bases.{reference.partition('@')[0]}": found.get(f"bases.{name}") for name, reference in self.spec.bases.items()
        }
        return found | {key: span for key, span in bases.items() if span is not None}

    def piece(self, name: TargetName, inlined: Mapping[str, TargetName], references: Mapping[str, str]) -> Piece:
        """One target as a part of a composition."""
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
        paths = self.closures[name].files(self.workspace.paths)
        return ContextPart(prefix=slug(name), entries=entries_of(self.workspace, paths))


def _refuse_loose_links(name: TargetName, entries: Sequence[Entry]) -> None:
    """A link that lands outside the closure would dangle in the image."""
    paths = sorted(entry.path for entry in entries)
    problems = [
        Problem(
            code="W012",
            message=f"the link `{entry.path}` leads out of the closure of `{name}`: to {entry.link}",
            hints=("add what it leads to to the target's context, or replace the link by a file",),
        )
        for entry in entries
        if entry.link is not None
        and not below(paths, posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.link)))
    ]
    if problems:
        raise SpecError(problems)


def _keys(start: str, value: object) -> Mapping[str, str]:
    """Every key of a part of the spec with a digest of its value; lists are values, and so is what is not given."""
    return {key: sha256(text.encode()).hexdigest()[:16] for key, text in _leaves(start, _plain(value))}


def _plain(value: object) -> object:
    """A part of the spec without the places of its keys."""
    if is_dataclass(value):
        return {item.name.rstrip("_"): _plain(getattr(value, item.name)) for item in fields(value) if item.compare}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _leaves(key: str, value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield key, json.dumps(value, sort_keys=True, default=str)
        return
    for name, part in value.items():
        yield from _leaves(f"{key}.{name}", part)
