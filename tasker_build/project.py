"""The way all commands walk: spec → workspace → closures → rendered tree → facts. Each stops where it has what it needs."""

from __future__ import annotations

import functools
import json
import os
import platform as machine
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasker_build import __version__
from tasker_build.cache import Cache
from tasker_build.errors import Problem, RefusedError, SpecError, TemplateError
from tasker_build.ignore import below
from tasker_build.outline import Head, Outline, runs
from tasker_build.plan.facts import Facts
from tasker_build.records.records import FOLDER, Records
from tasker_build.spec.names import at_version, lock_name, secret_variable, slug
from tasker_build.workspace import Entry, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from tasker_build.context import ContextPart
    from tasker_build.dockerfile import Dockerfile, Piece
    from tasker_build.ecosystems.closure import Closure
    from tasker_build.errors import Span
    from tasker_build.graph import Graph
    from tasker_build.lock import Lock
    from tasker_build.plan.facts import Row
    from tasker_build.plan.wanted import Wanted
    from tasker_build.render import TemplateText, Tree
    from tasker_build.spec.model import Spec, Target
    from tasker_build.spec.names import TargetName

# What a plan needs when nothing of a spec has changed is imported above; everything that reads specs, renders and parses is
# imported where it is used: that takes longer than such a plan.

DEFAULT_SPEC = "stacks.yaml"

Read = Mapping[str, str]
"""Files of the workspace that say how it is built → the digest of what they said."""


def read_sources(files: Sequence[Path]) -> tuple[tuple[str, bytes], ...]:
    """Read spec files: the name of each for messages, and its content.

    Raises:
        SpecError: a file that cannot be read.
    """
    sources: list[tuple[str, bytes]] = []
    for file in files:
        try:
            if file.exists() and not file.is_file():
                raise _unreadable(file, "is not a file")
            sources.append((str(file), file.read_bytes()))
        except OSError as error:
            raise _unreadable(file, str(error.strerror).lower()) from error
    return tuple(sources)


def _read_lock_beside(spec_file: Path) -> bytes | None:
    """Read the lock of a spec; without one nothing is pinned."""
    file = lock_beside(spec_file)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SpecError([Problem(code="S000", message=f"{file}: {str(error.strerror).lower()}")]) from error


def lock_beside(spec_file: Path) -> Path:
    """Where the lock of a spec is: `stacks.lock` beside `stacks.yaml`."""
    return spec_file.with_name(lock_name(spec_file.name))


def _unreadable(file: Path, why: str) -> SpecError:
    hint = f"name the spec with -f, or run where {DEFAULT_SPEC} is"
    return SpecError([Problem(code="S000", message=f"{file}: {why}", hints=(hint,))])


def template_folders(templates: str | None, spec_folder: Path) -> tuple[Path, ...]:
    """Where templates are looked for: the project's own folder first, then the built-in ones."""
    inside = Path(__file__).parent / "templates"
    builtin = inside if inside.is_dir() else Path(__file__).parent.parent / "templates"
    return ((spec_folder / templates,) if templates else ()) + (builtin,)


def read_templates(folders: Sequence[Path]) -> Mapping[str, tuple[str, str]]:
    """Read every template: name → its text and the path people know it by; an earlier folder's hides a later one's.

    Raises:
        TemplateError: a template that is not UTF-8, or a link that leaves its folder.
    """
    texts: dict[str, tuple[str, str]] = {}
    for folder in reversed(folders):
        for place, name in sorted(_templates_in(os.fspath(folder))):
            shown = f"templates/{name}" if folder == folders[-1] else os.path.relpath(place)
            if os.path.islink(place) and not Path(place).resolve().is_relative_to(folder.resolve()):
                raise TemplateError([Problem(code="T004", message=f"the template {shown} is a link out of its folder")])
            try:
                with open(place, encoding="utf-8") as file:
                    texts[name] = (file.read(), shown)
            except UnicodeDecodeError as error:
                raise TemplateError([Problem(code="T004", message=f"the template {shown} is not UTF-8")]) from error
    return texts


def _templates_in(folder: str) -> Iterator[tuple[str, str]]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".j2"):
                path = os.path.join(place, name)
                yield path, os.path.relpath(path, folder).replace(os.sep, "/")


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


class _Lazily(Mapping[str, "Span"]):
    """A mapping that is made when somebody looks into it: a plan that has nothing to explain reads no spec for it."""

    def __init__(self, make: Callable[[], Mapping[str, Span]]) -> None:
        self._make = make

    def __getitem__(self, key: str) -> Span:
        return self._make()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


@dataclass(frozen=True)
class Project:
    """A spec with its workspace; everything derived is computed once, when asked for, and kept where that is worth it."""

    files: tuple[Path, ...]
    sources: tuple[tuple[str, bytes], ...]
    lock_data: bytes | None = None
    version: str = "latest"
    workspace_override: Path | None = None
    spec_instead: Spec | None = None

    @classmethod
    def open(cls, files: Sequence[Path], *, version: str = "latest", workspace: Path | None = None) -> Project:
        """Read the spec files and find the workspace.

        Raises:
            SpecError: mistakes in the spec or its lock, or no folder where the workspace should be.
        """
        project = cls(tuple(files), read_sources(files), _read_lock_beside(files[0]), version, workspace)
        if not project.root.is_dir():
            message = f"the workspace {project.root} is not a folder"
            raise SpecError([Problem(code="S000", message=message, span=project.spec.at.get("workspace"))])
        return project

    def with_spec(self, spec: Spec) -> Project:
        """The same project with another spec."""
        return replace(self, spec_instead=spec)

    @functools.cached_property
    def lock(self) -> Lock:
        """What the spec's bases stand for."""
        from tasker_build.lock import Lock, read_lock  # noqa: PLC0415

        return Lock() if self.lock_data is None else read_lock(self.lock_data, str(lock_beside(self.files[0])))

    @functools.cached_property
    def spec(self) -> Spec:
        """The spec, its bases pinned."""
        from tasker_build.lock import pinned  # noqa: PLC0415
        from tasker_build.spec.load import load  # noqa: PLC0415

        return self.spec_instead or pinned(load(self.sources), self.lock)

    @functools.cached_property
    def _cache(self) -> Cache:
        return Cache("outlines")

    @functools.cached_property
    def _key(self) -> str:
        """Digest of the spec, of its lock, and of the tool that reads them."""
        words = [_tool(), *(data for _, data in self.sources), b"no lock" if self.lock_data is None else b"+" + self.lock_data]
        return _digest_of(words)

    @functools.cached_property
    def _scene(self) -> str:
        """Digest of everything that files are rendered from, but for what they read in the workspace."""
        texts = [f"{name}\0{text}" for name, (text, _) in sorted(self._template_texts.items())]
        words = [self._key, host_platform(), *texts, "\0".join(self.workspace.paths)]
        return _digest_of(word.encode("utf-8", "surrogateescape") for word in words)

    @functools.cached_property
    def head(self) -> Head:
        """What the spec says of the whole."""
        kept = None if self.spec_instead else self._cache.load(f"head-{self._key}")
        if kept is not None:
            return Head(*kept)
        spec = self.spec
        head = Head(spec.project, spec.workspace, spec.output, spec.templates, spec.sources.ignore)
        if not self.spec_instead:
            self._cache.save(f"head-{self._key}", tuple(head))
        return head

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
        return Workspace(self.root, self.head.ignore, self.head.output, remembers=True, tool=_digest_of([_tool()]))

    @functools.cached_property
    def models(self) -> Mapping[str, Any]:
        """Ecosystem → what its manifests in the workspace say."""
        from tasker_build.ecosystems.closure import scan_all  # noqa: PLC0415

        return scan_all(self.spec.ecosystems, self.workspace.paths, self.workspace.read)

    @functools.cached_property
    def closures(self) -> Mapping[TargetName, Closure]:
        """What each target needs of the workspace."""
        from tasker_build.ecosystems.closure import make_closures  # noqa: PLC0415

        return make_closures(self.spec, self.models, self.workspace.paths)

    @functools.cached_property
    def _template_texts(self) -> Mapping[str, tuple[str, str]]:
        return read_templates(template_folders(self.head.templates, self.folder))

    @functools.cached_property
    def templates(self) -> Mapping[str, TemplateText]:
        """Every template by name."""
        from tasker_build.render import TemplateText  # noqa: PLC0415

        return {name: TemplateText(text=text, file=shown) for name, (text, shown) in self._template_texts.items()}

    @functools.cached_property
    def tree(self) -> Tree:
        """Every rendered file."""
        from tasker_build.render import File, Tree  # noqa: PLC0415

        kept = self._kept("tree")
        self.workspace.remember()
        if kept is not None:
            files, dockerfiles, templates, included_by = kept[1]
            rendered = {path: File(text=text, mode=mode, template=template) for path, text, mode, template in files}
            return Tree(files=rendered, dockerfiles=dockerfiles, templates=templates, included_by=included_by)
        tree = self._render(everything=True)
        files = tuple((path, file.text, file.mode, file.template) for path, file in tree.files.items())
        templates, included_by = ({name: dict(row) for name, row in of.items()} for of in (tree.templates, tree.included_by))
        self._keep("tree", (files, dict(tree.dockerfiles), templates, included_by))
        return tree

    @functools.cached_property
    def images_tree(self) -> Tree:
        """The rendered files that images are built from; the whole tree where it is there already."""
        if "tree" in self.__dict__:
            return self.tree
        return self._render(everything=False)

    def _render(self, *, everything: bool) -> Tree:
        from tasker_build.compiled import TemplateCache  # noqa: PLC0415
        from tasker_build.render import render  # noqa: PLC0415

        return render(
            self.spec,
            self.templates,
            self.closures,
            self.models,
            self.workspace.paths,
            everything=everything,
            cache=TemplateCache(),
        )

    @functools.cached_property
    def graph(self) -> Graph:
        """The graph of enabled targets."""
        from tasker_build import graph  # noqa: PLC0415

        return graph.build_graph(self.spec)

    @functools.cached_property
    def order(self) -> tuple[TargetName, ...]:
        """Enabled targets, parents before children."""
        if "_outlined" in self.__dict__:
            return tuple(outline.name for outline in self.outlines)
        from tasker_build import graph  # noqa: PLC0415

        return graph.build_order(self.graph)

    @functools.cached_property
    def dockerfiles(self) -> Mapping[TargetName, Dockerfile]:
        """Each target's Dockerfile, parsed; of one that several targets share, only what leads to the target's stage."""
        from tasker_build import dockerfile  # noqa: PLC0415

        parsed: dict[str, Dockerfile] = {}
        result: dict[TargetName, Dockerfile] = {}
        users = Counter(target.dockerfile for target in self.spec.targets.values() if target.enabled)
        for name, text in self.images_tree.dockerfiles.items():
            target = self.spec.targets[name]
            path = target.dockerfile
            if path not in parsed:
                parsed[path] = dockerfile.parse(text, f"{self.spec.output}/{path}")
            part = dockerfile.reaching(parsed[path], target.stage) if users[path] > 1 else parsed[path]
            result[name] = dockerfile.with_args(part, target.args)
        return result

    @functools.cached_property
    def references(self) -> Mapping[str, TargetName]:
        """Image reference in rendered files → the target it names."""
        return {self.spec.image_reference(self.spec.targets[name]): name for name in self.order}

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

    def parents(self, name: TargetName) -> tuple[TargetName, ...]:
        """The targets a target is built from, sorted."""
        return tuple(sorted(self.graph.predecessors(name)))

    def platform(self, target: Target) -> str:
        """The platform a target is built for."""
        return target.platforms[0] if target.platforms else host_platform()

    def _kept(self, what: str) -> tuple[Read, Any] | None:
        """What was kept of this very scene, if the files that it follows from say what they said then; and what they said."""
        kept = None if self.spec_instead else self._cache.load(f"{what}-{self._scene}")
        if kept is None or any(self.workspace.digest(path) != digest for path, digest in kept[0].items()):
            return None
        return kept  # type: ignore[no-any-return]

    def _keep(self, what: str, value: Any) -> Read:
        read = {path: self.workspace.digest(path) for path in self.workspace.was_read}
        if not self.spec_instead:
            self._cache.save(f"{what}-{self._scene}", (read, value))
        return read

    @property
    def outlines(self) -> tuple[Outline, ...]:
        """Every enabled target as it is known before contents of files are, in build order."""
        return self._outlined[1]

    @functools.cached_property
    def _outlined(self) -> tuple[Read, tuple[Outline, ...]]:
        kept = self._kept("outlines")
        if kept is not None:
            read, rows = kept
            return read, tuple(Outline(*row) for row in rows)
        outlines = tuple(self._outlines())
        return self._keep("outlines", tuple(map(tuple, outlines))), outlines

    def _outlines(self) -> Iterator[Outline]:
        from tasker_build import dockerfile  # noqa: PLC0415
        from tasker_build.ecosystems.closure import meanings_of  # noqa: PLC0415
        from tasker_build.plan import facts as plan_facts  # noqa: PLC0415

        paths = self.workspace.paths
        places = {path: i for i, path in enumerate(paths)}
        for name in self.order:
            target, parsed, closure = self.spec.targets[name], self.dockerfiles[name], self.closures[name]
            context = closure.files(paths)
            platform = self.platform(target)
            facts = plan_facts.fixed_facts(target, parsed, references=self.references, platform=platform)
            manifests = [path for path in context if closure.is_manifest_only(path)]
            yield Outline(
                name=name,
                image=self.spec.image_name(target),
                tags=target.tags,
                platform=platform,
                refresh=target.refresh or "",
                parents=self.parents(name),
                bases=tuple(image for image in dockerfile.outside_images(parsed) if image not in self.references),
                templates=dict(self.images_tree.templates[name]),
                included_by=dict(self.images_tree.included_by[name]),
                spec=self._spec_keys(target),
                facts=tuple((group.value, label, value) for group, label, value in facts),
                files=runs(places[path] for path in context),
                meanings=meanings_of(self.spec, target, manifests, self.workspace.read),
                secrets=plan_facts.stated_secrets(target),
            )

    @functools.cached_property
    def wanted(self) -> Mapping[TargetName, Wanted]:
        """What the spec asks of each target, in build order: facts and fingerprint, with no engine and no registry."""
        places = _Lazily(lambda: self._places)
        secrets = tuple(site_secrets(sorted({secret for outline in self.outlines for secret, _, _ in outline.secrets})))
        prints = self._prints(secrets)
        if not prints:
            paths = self.workspace.paths
            self.workspace.hash_all(dict.fromkeys(path for outline in self.outlines for path in outline.paths(paths)))
        result: dict[TargetName, Wanted] = {}
        for outline in self.outlines:
            rows = functools.partial(self._rows, outline, result, secrets)
            facts = Facts(*prints[outline.name], rows) if prints else Facts.of(rows())
            result[outline.name] = outline.wanted(facts, at_version(outline.tags, self.version), places)
        self.workspace.remember()
        if not prints and self.workspace.content and not self.spec_instead:
            found = {name: (wanted.facts.fingerprint, wanted.facts.groups) for name, wanted in result.items()}
            self._cache.save(f"prints-{self._scene}", (self._all(secrets), found))
        return result

    def _rows(self, outline: Outline, parents: Mapping[TargetName, Wanted], secrets: Collection[str]) -> Iterator[Row]:
        entries = self.workspace.entries(outline.paths(self.workspace.paths))
        _refuse_loose_links(outline.name, entries)
        return outline.rows(entries, parents, secrets)

    def _prints(self, secrets: tuple[str, ...]) -> Mapping[TargetName, tuple[str, Mapping[str, str]]] | None:
        """The fingerprints and groups of an earlier run, if nothing is different now."""
        kept = self._cache.load(f"prints-{self._scene}") if self.workspace.content and not self.spec_instead else None
        return kept[1] if kept is not None and kept[0] == self._all(secrets) else None

    def _all(self, secrets: tuple[str, ...]) -> tuple[Any, ...]:
        """All that fingerprints follow from, beside the scene."""
        return self._outlined[0], self.workspace.content, secrets

    def _spec_keys(self, target: Target) -> Mapping[str, str]:
        """Digests of what the spec says that a target's Dockerfile is made from; only to tell where a difference comes from."""
        found = {**self._common_keys, **_keys(f"targets.{target.name}", target)}
        del found[f"targets.{target.name}.refresh"]  # says when to build, not what
        for name in target.from_.values():
            if name in self.spec.bases:
                # A pin that moved is a reason of its own.
                found |= _keys(f"bases.{name}", self.spec.bases[name].partition("@")[0])
        for words, keys in self._tool_keys:
            if words.search(self.images_tree.dockerfiles[target.name]):
                found |= keys
        for child in self.graph.successors(target.name):
            # What its children cook is in a builder's own Dockerfile.
            for ecosystem, selection in self.spec.targets[child].selections.items():
                found |= _keys(f"targets.{child}.{ecosystem}", selection)
        return found

    @functools.cached_property
    def _tool_keys(self) -> Sequence[tuple[re.Pattern[str], Mapping[str, str]]]:
        """Of every tool how a Dockerfile that installs it names it, and its keys."""
        from tasker_build.spec.model import Tool  # noqa: PLC0415

        return [
            (
                re.compile(rf"(?<![\w-]){re.escape(Tool.parse(reference).words)}(?![\w.])"),
                _keys(f"tools.{name}", (reference, *self.spec.tool_digests.get(name, ()))),
            )
            for name, reference in self.spec.all_tools.items()
        ]

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
            for ecosystem, selection in target.selected.items():
                found |= {f"targets.{name}.{ecosystem}.{key}": span for key, span in selection.at.items()}
        bases = {
            f"bases.{reference.partition('@')[0]}": found.get(f"bases.{name}") for name, reference in self.spec.bases.items()
        }
        return found | {key: span for key, span in bases.items() if span is not None}

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

        paths = self.closures[name].files(self.workspace.paths)
        return ContextPart(prefix=slug(name), entries=entries_of(self.workspace, paths))


def _refuse_loose_links(name: TargetName, entries: Sequence[Entry]) -> None:
    """A link that lands outside the closure would dangle in the image."""
    links = [(entry.path, entry.link) for entry in entries if entry.link is not None]
    if not links:
        return
    paths = sorted(entry.path for entry in entries)
    problems = [
        Problem(
            code="W012",
            message=f"the link `{path}` leads out of the closure of `{name}`: to {link}",
            hints=("add what it leads to to the target's context, or replace the link by a file",),
        )
        for path, link in links
        if not below(paths, posixpath.normpath(posixpath.join(posixpath.dirname(path), link)))
    ]
    if problems:
        raise SpecError(problems)


def _keys(start: str, value: object) -> Mapping[str, str]:
    """Every key of a part of the spec with a digest of its value; lists are values, and so is what is not given."""
    found: dict[str, str] = {}
    _add_leaves(found, start, value)
    return found


def _add_leaves(found: dict[str, str], key: str, value: object) -> None:
    if value is None or value == () or isinstance(value, str):
        found[key] = _word_digest(value)
    elif is_dataclass(value) and not isinstance(value, type):
        for attribute, name in _keys_of(type(value)):
            _add_leaves(found, f"{key}.{name}" if name else key, getattr(value, attribute))
    elif isinstance(value, Mapping):
        for name, part in value.items():
            _add_leaves(found, f"{key}.{name}", part)
    else:
        found[key] = _json_digest(_plain(value))


def _plain(value: object) -> object:
    """A part of the spec without the places of its keys."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, attribute)) for attribute, name in _keys_of(type(value))}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


@functools.cache
def _keys_of(kind: type[Any]) -> tuple[tuple[str, str], ...]:
    """Attribute → key of the spec, for what counts in a record; "": what it holds stands as keys of the record itself."""
    return tuple(
        (item.name, "" if "opening" in item.metadata else item.name.rstrip("_")) for item in fields(kind) if item.compare
    )


def _json_digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


# Most keys of most targets are not given, or say what those of others say.
_word_digest = functools.cache(_json_digest)


def _digest_of(words: Iterable[bytes]) -> str:
    hasher = sha256()
    for word in words:
        hasher.update(b"%d:" % len(word))
        hasher.update(word)
    return hasher.hexdigest()


@functools.cache
def _tool() -> bytes:
    """What tells this installation from one that might read a spec otherwise: its files and those of what it reads with."""
    rows: list[tuple[str, int, int, int, int]] = []
    for module in ("tasker_build", "jinja2", "yaml"):
        found = find_spec(module)
        for folder in found.submodule_search_locations or () if found else ():
            for place, _, names in os.walk(folder):
                for name in sorted(names):
                    if name.endswith((".py", ".so")):
                        status = os.stat(path := os.path.join(place, name))
                        rows.append((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return repr((__version__, sys.version, sorted(rows))).encode()
