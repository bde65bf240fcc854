"""Closure provider for Cargo workspaces: which files a selection of packages really needs, from the manifests alone.

Knows cargo's rules for members, path dependencies and target files; runs no cargo and reads files only through the mapping it
is given. What it cannot see (a file read by a macro or a build script) is declared in the spec under `sources.packages`; until
then the build fails loudly, because members outside the closure are stubs that refuse to compile.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Problem, Span, SpecError, nearest
from tasker_build.ignore import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CONFIG_FILES = (".cargo/config.toml", ".cargo/config")
NOT_COMPILED = ("tests", "benches", "examples")
"""Folders of a package that `cargo build` never compiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package with a manifest inside the workspace folder."""

    name: str
    folder: str  # "" for the root
    needs: tuple[str, ...]  # folders of the path dependencies that compiling it needs
    dev_needs: tuple[str, ...]
    binaries: tuple[str, ...]
    libraries: tuple[str, ...]  # shared ones, which other languages load
    target_files: tuple[str, ...]  # lib, bins, tests, examples, benches, build script: paths from the workspace root

    @property
    def manifest(self) -> str:
        """Path of its Cargo.toml from the workspace root."""
        return posixpath.join(self.folder, "Cargo.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class CargoWorkspace:
    """A scanned workspace: packages by folder, and the files cargo reads besides them."""

    packages: Mapping[str, Package]
    patched: tuple[str, ...]  # folders that `[patch]` puts in place of crates; any crate may reach them
    config_files: tuple[str, ...]
    root_files: tuple[str, ...]  # Cargo.toml, Cargo.lock

    def by_name(self) -> dict[str, Package]:
        """Packages by their cargo name."""
        return {package.name: package for package in self.packages.values()}

    def manifests(self) -> tuple[str, ...]:
        """Every manifest, the root's included."""
        return tuple(sorted({"Cargo.toml", *(package.manifest for package in self.packages.values())}))

    def target_files(self) -> tuple[str, ...]:
        """Every target file of every package: what a skeleton of the workspace must have for cargo to load it."""
        return tuple(sorted({path for package in self.packages.values() for path in package.target_files}))

    def closure(self, names: Iterable[str]) -> tuple[Package, ...]:
        """Packages that compiling `names` needs, themselves included, sorted by folder.

        Raises:
            KeyError: a name that is no package here; check with `by_name` first.
        """
        known = self.by_name()
        todo = [known[name].folder for name in names] + list(self.patched)
        found: set[str] = set()
        while todo:
            folder = todo.pop()
            if folder not in found:
                found.add(folder)
                todo.extend(self.packages[folder].needs)
        return tuple(self.packages[folder] for folder in sorted(found))

    def sources(self, package: Package, paths: Sequence[str]) -> tuple[str, ...]:
        """What to copy for compiling a package: its folder, or for the root package what lies in cargo's own places."""
        if package.folder:
            return (package.folder,)
        build_scripts = [path for path in package.target_files if "/" not in path]
        folders = {path.split("/", 1)[0] for path in package.target_files if "/" in path} - set(NOT_COMPILED)
        present = {folder for folder in folders if any(path.startswith(folder + "/") for path in paths)}
        return tuple(sorted([*build_scripts, *present]))

    def not_compiled(self, package: Package) -> tuple[str, ...]:
        """Ignore patterns for what lies in a package's folder and is no part of building it: tests, and packages inside it."""
        prefix = package.folder + "/" if package.folder else ""
        nested = [other for other in self.packages if other != package.folder and other.startswith(prefix)] if prefix else []
        return tuple(prefix + name for name in NOT_COMPILED) + tuple(sorted(nested)) if prefix else ()


def scan(paths: Sequence[str], read: Callable[[str], bytes]) -> CargoWorkspace | None:
    """Scan the workspace whose files are `paths` (sorted, relative); None when there is no Cargo.toml at its root.

    Raises:
        SpecError: a manifest that is no TOML, a member or path dependency that is not there or leaves the workspace.
    """
    if "Cargo.toml" not in paths:
        return None
    scanner = _Scanner(paths, read)
    return scanner.scan()


class _Scanner:
    def __init__(self, paths: Sequence[str], read: Callable[[str], bytes]) -> None:
        self.paths = frozenset(paths)
        self.read = read
        self.problems: list[Problem] = []
        self.root: dict[str, Any] = {}
        self.packages: dict[str, Package] = {}
        self.current = "Cargo.toml"

    def scan(self) -> CargoWorkspace:
        try:
            return self._scan()
        except (AttributeError, TypeError) as error:
            self._problem(f"a value of this manifest has a type that cargo does not know: {error}", self.current)
            raise SpecError(self.problems) from error

    def _scan(self) -> CargoWorkspace:
        self.root = self._manifest("Cargo.toml")
        todo = list(self._member_folders())
        patched = list(self._patched())
        todo += patched
        while todo:
            folder = todo.pop()
            if folder in self.packages:
                continue
            manifest_path = posixpath.join(folder, "Cargo.toml")
            if manifest_path not in self.paths:
                self._problem(f"`{folder}` has no Cargo.toml", "Cargo.toml")
                continue
            manifest = self._manifest(manifest_path)
            package = self._package(folder, manifest)
            if package:
                self.packages[folder] = package
                todo += [*package.needs, *package.dev_needs]
        if self.problems:
            raise SpecError(self.problems)
        return CargoWorkspace(
            packages=dict(sorted(self.packages.items())),
            patched=tuple(sorted(set(patched))),
            config_files=tuple(path for path in CONFIG_FILES if path in self.paths),
            root_files=tuple(path for path in ("Cargo.toml", "Cargo.lock") if path in self.paths),
        )

    def _problem(self, message: str, file: str, line: int = 1, col: int = 1) -> None:
        self.problems.append(Problem(code="W001", message=message, span=Span(file=file, line=line, col=col)))

    def _manifest(self, path: str) -> dict[str, Any]:
        self.current = path
        try:
            return tomllib.loads(self.read(path).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            place = re.search(r"line (\d+), column (\d+)", str(error))
            line, col = (int(place[1]), int(place[2])) if place else (1, 1)
            self._problem(f"not a valid manifest: {error}", path, line, col)
            return {}

    def _member_folders(self) -> Iterator[str]:
        if "package" in self.root:
            yield ""
        workspace = self.root.get("workspace", {})
        excluded = [posixpath.normpath(path) for path in workspace.get("exclude", [])]
        folders = sorted(posixpath.dirname(path) for path in self.paths if posixpath.basename(path) == "Cargo.toml")
        for pattern in workspace.get("members", []):
            wanted = re.compile(_glob(posixpath.normpath(pattern)))
            matched = [folder for folder in folders if wanted.fullmatch(folder or ".")]
            if not matched and not re.search(r"[*?\[]", pattern):
                self._problem(f"workspace member `{pattern}` has no Cargo.toml", "Cargo.toml")
            yield from ("" if folder == "." else folder for folder in matched if not within(folder, excluded))

    def _patched(self) -> Iterator[str]:
        for source in self.root.get("patch", {}).values():
            for name, dependency in source.items():
                if isinstance(dependency, dict) and "path" in dependency:
                    folder = self._folder("", dependency["path"], name, "Cargo.toml")
                    if folder is not None:
                        yield folder

    def _folder(self, start: str, path: str, name: str, manifest: str) -> str | None:
        folder = posixpath.normpath(posixpath.join(start, path))
        if folder.startswith(("../", "/")) or folder == "..":
            self._problem(f"path dependency `{name}` leaves the workspace: {path}", manifest)
            return None
        return "" if folder == "." else folder

    def _package(self, folder: str, manifest: dict[str, Any]) -> Package | None:
        about = manifest.get("package")
        manifest_path = posixpath.join(folder, "Cargo.toml")
        if not isinstance(about, dict) or not isinstance(about.get("name"), str):
            if folder or "workspace" not in manifest:
                self._problem("a manifest without [package] name", manifest_path)
            return None
        tables = [manifest, *manifest.get("target", {}).values()]
        needs = [self._needs(folder, table.get(kind, {})) for table in tables for kind in ("dependencies", "build-dependencies")]
        dev = [self._needs(folder, table.get("dev-dependencies", {})) for table in tables]
        return Package(
            name=about["name"],
            folder=folder,
            needs=tuple(sorted({path for paths in needs for path in paths})),
            dev_needs=tuple(sorted({path for paths in dev for path in paths})),
            binaries=tuple(sorted(self._binaries(folder, manifest))),
            libraries=self._libraries(manifest),
            target_files=tuple(sorted(self._target_files(folder, manifest))),
        )

    def _needs(self, folder: str, dependencies: dict[str, Any]) -> Iterator[str]:
        shared = self.root.get("workspace", {}).get("dependencies", {})
        manifest = posixpath.join(folder, "Cargo.toml")
        for name, dependency in dependencies.items():
            if not isinstance(dependency, dict):
                continue
            start = folder
            if dependency.get("workspace"):
                start, dependency = "", shared.get(name, {})  # noqa: PLW2901 - the inherited entry speaks from here on
            if isinstance(dependency, dict) and "path" in dependency:
                found = self._folder(start, dependency["path"], name, manifest)
                if found is not None:
                    yield found

    def _binaries(self, folder: str, manifest: dict[str, Any]) -> set[str]:
        names = {entry["name"] for entry in manifest.get("bin", []) if "name" in entry}
        explicit = {posixpath.normpath(entry["path"]) for entry in manifest.get("bin", []) if "path" in entry}
        if manifest["package"].get("autobins", True):
            if self._has(folder, "src/main.rs") and "src/main.rs" not in explicit:
                names.add(manifest["package"]["name"])
            for path in self._matching(folder, r"src/bin/([^/]+)\.rs|src/bin/([^/]+)/main\.rs"):
                if path not in explicit:
                    names.add(posixpath.basename(path.removesuffix("/main.rs").removesuffix(".rs")))
        return names

    @staticmethod
    def _libraries(manifest: dict[str, Any]) -> tuple[str, ...]:
        library = manifest.get("lib", {})
        if "cdylib" not in library.get("crate-type", library.get("crate_type", [])):
            return ()
        return (library.get("name", manifest["package"]["name"].replace("-", "_")),)

    def _target_files(self, folder: str, manifest: dict[str, Any]) -> set[str]:
        found = {
            entry["path"] for kind in ("bin", "test", "example", "bench") for entry in manifest.get(kind, []) if "path" in entry
        }
        found |= {manifest.get("lib", {}).get("path", "src/lib.rs"), "src/main.rs"}
        build = manifest["package"].get("build", "build.rs")
        found |= {build} if isinstance(build, str) else set()
        found |= set(self._matching(folder, r"(src/bin|tests|examples|benches)/([^/]+\.rs|[^/]+/main\.rs)"))
        joined = {posixpath.normpath(posixpath.join(folder, path)) for path in found}
        return {path for path in joined if path in self.paths}

    def _has(self, folder: str, path: str) -> bool:
        return posixpath.join(folder, path) in self.paths

    def _matching(self, folder: str, pattern: str) -> Iterator[str]:
        prefix = folder + "/" if folder else ""
        wanted = re.compile(pattern)
        return (path[len(prefix) :] for path in self.paths if path.startswith(prefix) and wanted.fullmatch(path[len(prefix) :]))


def _glob(pattern: str) -> str:
    """Cargo's member globs: `*`, `?` and `[ab]` stay within one folder, `**` does not."""
    words = re.findall(r"\*\*/?|\[[^\]/]+\]|.", pattern, re.DOTALL)
    meanings = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(meanings.get(word) or (word if len(word) > 1 else re.escape(word)) for word in words)


def unknown_package(name: str, workspace: CargoWorkspace, span: Span) -> Problem:
    """The mistake of naming a package that is not there."""
    known = workspace.by_name()
    hints = nearest(name, known) or (f"packages here: {', '.join(sorted(known))}",)
    return Problem(code="W002", message=f"unknown cargo package `{name}`", span=span, hints=hints)


def unknown_binary(name: str, packages: Iterable[Package], span: Span) -> Problem:
    """The mistake of naming a binary that none of the packages has."""
    binaries = sorted({binary for package in packages for binary in package.binaries})
    hints = nearest(name, binaries) or (f"binaries here: {', '.join(binaries) or 'none'}",)
    return Problem(code="W003", message=f"no selected package has a binary `{name}`", span=span, hints=hints)


def unknown_library(name: str, packages: Iterable[Package], span: Span) -> Problem:
    """The mistake of naming a shared library that none of the packages makes."""
    libraries = sorted({library for package in packages for library in package.libraries})
    hints = nearest(name, libraries) or (f"crate types cdylib here: {', '.join(libraries) or 'none'}",)
    return Problem(code="W006", message=f"no selected package makes a shared library `{name}`", span=span, hints=hints)
