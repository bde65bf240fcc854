"""What a target needs of the workspace: its closure. From it come the copy list, the ignore file, the context and its facts."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Problem, RefusedError, Span, SpecError, nearest
from tasker_build.ignore import ALWAYS, Ignore, below, confined, escape, of_folder
from tasker_build.spec.model import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tasker_build.ecosystems.api import Ecosystem
    from tasker_build.spec.model import Service, Spec, TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Paths of the workspace (relative, sorted) that one target may read."""

    manifests: tuple[str, ...] = ()
    """Files whose meaning counts and whose layout and comments do not: manifests of packages whose code is not here."""
    sources: tuple[str, ...] = ()
    """Files and folders that builder stages copy."""
    runtime: tuple[str, ...] = ()
    """Files and folders that the image itself holds."""
    ignore: tuple[str, ...] = ()
    """Patterns for what never counts in any closure of this workspace: its paths are known without what they match."""
    hidden: tuple[str, ...] = ()
    """Patterns for what lies in a folder above and is no part of this closure; they come after `ignore`."""
    is_alone: bool = True
    """Whether the workspace holds nothing that another target alone asked back."""
    packages: tuple[Any, ...] = ()
    """What of the ecosystem's own parts it is made of."""

    @property
    def roots(self) -> tuple[str, ...]:
        """Every path the closure names, sorted."""
        return tuple(sorted({*self.manifests, *self.sources, *self.runtime}))

    def files(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The files of the closure out of all `paths` of the workspace that `ignore` leaves, both sorted."""
        named = sorted({path for root in self.roots for path in below(paths, root)})
        if not self.hidden and self.is_alone:
            return tuple(named)
        rules = Ignore((*self.ignore, *self.hidden))
        return tuple(path for path in named if not rules.matches(path))

    def folders(self, folders: Sequence[str]) -> tuple[str, ...]:
        """The folders of the closure, and those above it, out of all `folders` of the workspace; both sorted."""
        above = {root[:i] for root in self.roots for i, char in enumerate(root) if char == "/"}
        return tuple(sorted({*self.files(folders), *above.intersection(folders)}))

    def is_manifest_only(self, path: str) -> bool:
        """Whether only the meaning of this file counts."""
        return path in self.manifests

    def ignore_file(self) -> str:
        """The closure in the words of a .dockerignore: everything out, the closure in, what never counts out again."""
        keep = [f"!{escape(path)}" for path in self.roots]
        rest = confined((*self.ignore, *self.hidden), self.roots)
        return "\n".join(["# Nothing enters the build but what the closure of this target names.", "*", *keep, *rest, ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an ecosystem may look at when it says what a target needs."""

    spec: Spec
    target: Target
    model: Any  # what its scan of the workspace found
    paths: Sequence[str]  # all files of the workspace, sorted
    plain: Closure  # what the target itself names under `context`


def scan_all(ecosystems: Mapping[str, Ecosystem], paths: Sequence[str], read: Callable[[str], bytes]) -> Mapping[str, Any]:
    """Ecosystem → what its scan of the workspace found, where it found anything.

    Raises:
        SpecError: manifests with mistakes.
    """
    found = {name: one.scan(paths, read) for name, one in ecosystems.items()}
    return {name: model for name, model in found.items() if model is not None}


def make_closures(
    spec: Spec,
    models: Mapping[str, Any],
    paths: Sequence[str],
    folders: Collection[str] = (),
    read: Callable[[str], bytes] = lambda _: b"",
) -> Mapping[TargetName, Closure]:
    """Compute the closure of every enabled target.

    Args:
        spec: the spec.
        models: ecosystem → what its scan found.
        paths: all files of the workspace, sorted.
        folders: its folders; an empty one may be named, too.
        read: gives the content of a file.

    Raises:
        SpecError: packages, binaries or context paths that the workspace does not have.
    """
    problems: list[Problem] = []
    closures: dict[TargetName, Closure] = {}
    is_alone = spec.ignored_too(spec.targets.values()) == spec.sources.ignore
    for name, target in spec.targets.items():
        if target.enabled:
            ignore = (*ALWAYS, spec.output, *spec.ignored_too([target]))
            closure = _closure(spec, target, models, paths, folders, ignore, problems)
            own = tuple(_own_rules(target, read, closure.ignore, problems))
            closures[name] = replace(closure, hidden=(*closure.hidden, *own), is_alone=is_alone)
    _check_values(spec, paths, problems)
    if problems:
        raise SpecError(problems)
    return closures


def meanings_of(spec: Spec, target: Target, manifests: Iterable[str], read: Callable[[str], bytes]) -> Mapping[str, str]:
    """Manifest → digest of what it says, for those of a target's closure of which only that counts."""
    found: dict[str, str] = {}
    for path in manifests:
        said = (spec.ecosystems[name].meaning(path, read(path)) for name in target.ecosystems)
        meaning = next((meaning for meaning in said if meaning is not None), None)
        if meaning is not None:
            found[path] = meaning
    return found


def _check_values(spec: Spec, paths: Sequence[str], problems: list[Problem]) -> None:
    """Variables that choose a folder of the workspace must choose one that is there."""
    users: list[Target | Service] = [target for target in spec.targets.values() if target.enabled]
    users += [service for stack in spec.stacks.values() if stack.enabled for service in stack.services.values()]
    for variable, folder in spec.sources.values.items():
        known = sorted({path.removeprefix(f"{folder}/").split("/")[0] for path in paths if path.startswith(f"{folder}/")})
        for user in users:
            key, values = ("env", user.env) if isinstance(user, Target) else ("environment", user.environment)
            value = values.get(variable)
            if value is not None and "$" not in value and value not in known:
                place = user.at.get(f"{key}.{variable}", user.span)
                hints = nearest(value, known) or (f"in {folder}: {', '.join(known) or 'nothing'}",)
                message = f"{variable} is `{value}`, but there is no {folder}/{value}"
                problems.append(Problem(code="W007", message=message, span=place, hints=hints))


def _own_rules(target: Target, read: Callable[[str], bytes], ignore: Sequence[str], problems: list[Problem]) -> Iterator[str]:
    """The patterns of the .dockerignore files that a target wants to count."""
    for i, folder in enumerate(target.dockerignore):
        path = posixpath.normpath(posixpath.join(folder, ".dockerignore"))
        place = target.at.get(f"dockerignore.{i}", target.span)
        try:
            text = read(path).decode("utf-8-sig", "surrogateescape")
        except (SpecError, RefusedError) as error:
            hint = "`dockerignore` names folders of the workspace that hold such a file"
            problems.append(Problem(code="W020", message=error.message, span=place, hints=(hint,)))
            continue
        taken_back = False
        for number, line in enumerate(text.split("\n"), 1):
            try:
                for pattern in of_folder([line.removesuffix("\r")], posixpath.normpath(folder)):
                    taken_back |= pattern.startswith("!")
                    yield pattern
            except ValueError as error:
                span = Span(file=path, line=number, col=1, length=len(line), text=line)
                problems.append(Problem(code="W020", message=str(error), span=span))
        if taken_back:
            yield from ignore


def _closure(
    spec: Spec,
    target: Target,
    models: Mapping[str, Any],
    paths: Sequence[str],
    folders: Collection[str],
    ignore: tuple[str, ...],
    problems: list[Problem],
) -> Closure:
    context = [posixpath.normpath(path) for path in target.context]
    for i, path in enumerate(context):
        # Git keeps no empty folders: beside submodules, one is what a clone has of a submodule that was not checked out.
        is_submodule = path in folders and ".gitmodules" in paths
        if not below(paths, path) and (path not in folders or is_submodule):
            place = target.at.get(f"context.{i}", target.span)
            hint = "paths start at the workspace folder; what `sources.ignore` matches does not count"
            hint = f"a submodule? run: git submodule update --init {path}" if is_submodule else hint
            problems.append(Problem(code="W004", message=f"nothing in the workspace at `{path}`", span=place, hints=(hint,)))
    plain = Closure(runtime=tuple(sorted(context)), ignore=ignore)
    if not target.ecosystems:
        return plain
    name = target.ecosystems[0]
    asked = Asked(spec=spec, target=target, model=models.get(name), paths=paths, plain=plain)
    return spec.ecosystems[name].closure(asked, problems)
