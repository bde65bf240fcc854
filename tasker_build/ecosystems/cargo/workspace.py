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

from tasker_build.ecosystems.cargo.features import Asked, compiled
from tasker_build.errors import Problem, Span, SpecError, nearest
from tasker_build.ignore import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CONFIG_FILES = (".cargo/config.toml", ".cargo/config")
NOT_COMPILED = ("tests", "benches", "examples")
"""Folders of a package that `cargo build` never compiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One path dependency of a package, as one of its tables has it."""

    key: str  # its name in the table
    folder: str
    kind: str  # normal, build or dev
    optional: bool = False
    features: tuple[str, ...] = ()
    default_features: bool = True
    condition: str = ""  # the platform of its table: a triple or cfg(…)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package with a manifest inside the workspace folder."""

    name: str
    folder: str  # "" for the root
    version: str
    dependencies: tuple[Dependency, ...]
    crates: tuple[str, ...]  # names of what it needs from elsewhere, of every kind and platform
    features: Mapping[str, tuple[str, ...]]
    is_macro: bool
    binaries: tuple[str, ...]
    libraries: tuple[str, ...]  # shared ones, which other languages load
    target_files: tuple[str, ...]  # lib, bins, tests, examples, benches, build script: paths from the workspace root
    compiled_files: tuple[str, ...]  # those of them that `cargo build` compiles
    home: str | None  # folder of the workspace it belongs to; None: of none

    @property
    def manifest(self) -> str:
        """Path of its Cargo.toml from the workspace root."""
        return posixpath.join(self.folder, "Cargo.toml")

    def is_inside(self, path: str) -> bool:
        """Whether a path lies in the package's folder."""
        return not self.folder or path.startswith(self.folder + "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class CargoWorkspace:
    """A scanned workspace: packages by folder, and the files cargo reads besides them."""

    packages: Mapping[str, Package]
    patched: tuple[str, ...]  # folders that `[patch]` puts in place of crates
    config_files: tuple[str, ...]
    root_files: tuple[str, ...]  # Cargo.toml, Cargo.lock
    reached: tuple[str, ...] = ()  # those of them that crates from elsewhere may need, with any feature
    resolver: str = "1"
    homes: tuple[str, ...] = ()  # manifests of further workspaces, which packages inherit from
    vendored: tuple[str, ...] = ()  # folders that stand for registries
    lock: Lock | None = None

    def by_name(self) -> dict[str, Package]:
        """Packages by their cargo name; of several, the one in this workspace."""
        foreign = [package for package in self.packages.values() if package.home != ""]
        own = [package for package in self.packages.values() if package.home == ""]
        return {package.name: package for package in (*foreign, *own)}

    def manifests(self) -> tuple[str, ...]:
        """Every manifest, the root's included."""
        return tuple(sorted({"Cargo.toml", *self.homes, *(package.manifest for package in self.packages.values())}))

    def target_files(self) -> tuple[str, ...]:
        """Every target file of every package: what a skeleton of the workspace must have for cargo to load it."""
        return tuple(sorted({path for package in self.packages.values() for path in package.target_files}))

    @property
    def whole(self) -> tuple[Package, ...]:
        """Packages that cargo-chef makes no skeleton of: patched ones, and those of no or of another workspace."""
        return tuple(package for package in self.packages.values() if package.folder in self.patched or package.home != "")

    def closure(
        self,
        names: Iterable[str],
        *,
        features: Sequence[str] = (),
        default_features: bool = True,
        platform: str = "",
    ) -> tuple[Package, ...]:
        """Packages that compiling `names` needs, themselves included, sorted by folder.

        Args:
            names: packages as cargo names them.
            features: what `--features` says.
            default_features: False: `--no-default-features`.
            platform: os/architecture that is built for; "" for any.

        Raises:
            KeyError: a name that is no package here; check with `by_name` first.
        """
        known = self.by_name()
        asked = Asked(
            packages=tuple(known[name].folder for name in names),
            features=tuple(features),
            default_features=default_features,
            platform=platform,
            everything=tuple(folder for folder in self.reached if folder in self.packages),
        )
        return tuple(self.packages[folder] for folder in sorted(compiled(self.packages, asked, resolver=self.resolver)))

    def sources(self, package: Package, paths: Sequence[str]) -> tuple[str, ...]:
        """What to copy for compiling a package: its folder, or for the root package what lies in cargo's own places; and what
        of it lies elsewhere.
        """
        outside = [path for path in package.compiled_files if not package.is_inside(path)]
        # Modules stand beside a library's or a program's file; a build script is alone.
        elsewhere = {path if path.endswith("build.rs") else posixpath.dirname(path) or path for path in outside}
        if package.folder:
            return tuple(sorted({package.folder, *elsewhere}))
        files = [path for path in package.target_files if "/" not in path]
        used = {path.split("/", 1)[0] for path in package.compiled_files if "/" in path}
        folders = {path.split("/", 1)[0] for path in package.target_files if "/" in path} - (set(NOT_COMPILED) - used)
        present = {folder for folder in folders if any(path.startswith(folder + "/") for path in paths)}
        return tuple(sorted({*files, *present, *elsewhere}))

    def not_compiled(self, package: Package) -> tuple[str, ...]:
        """Ignore patterns for what lies in a package's folder and is no part of building it: tests, and packages inside it."""
        if not package.folder:
            return ()
        prefix = package.folder + "/"
        nested = [other for other in self.packages if other != package.folder and other.startswith(prefix)]
        unused = [name for name in NOT_COMPILED if not any(p.startswith(f"{prefix}{name}/") for p in package.compiled_files)]
        return tuple(prefix + name for name in unused) + tuple(sorted(nested))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What Cargo.lock has: names → versions."""

    versions: Mapping[str, frozenset[str]]


def scan(paths: Sequence[str], read: Callable[[str], bytes]) -> CargoWorkspace | None:
    """Scan the workspace whose files are `paths` (sorted, relative); None when there is no Cargo.toml at its root.

    Raises:
        SpecError: a manifest that is no TOML, a member or path dependency that is not there or leaves the workspace.
    """
    if "Cargo.toml" not in paths:
        return None
    return _Scanner(paths, read).scan()


class _Scanner:
    """Reads manifests as cargo does, following members and path dependencies."""

    def __init__(self, paths: Sequence[str], read: Callable[[str], bytes]) -> None:
        self.paths = frozenset(paths)
        self.read = read
        self.problems: list[Problem] = []
        self.root: dict[str, Any] = {}
        self.packages: dict[str, Package] = {}
        self.current = "Cargo.toml"
        self.parsed: dict[str, dict[str, Any]] = {}
        self.patched: dict[str, str] = {}  # crate → the folder that stands for it

    def scan(self) -> CargoWorkspace:
        try:
            return self._scan()
        except (AttributeError, TypeError) as error:
            self._problem(f"a value of this manifest has a type that cargo does not know: {error}", self.current)
            raise SpecError(self.problems) from error

    def _scan(self) -> CargoWorkspace:
        self.root = self._manifest("Cargo.toml")
        config_files = tuple(path for path in CONFIG_FILES if path in self.paths)
        # Cargo reads the file without an ending where both are there.
        config = self._manifest(config_files[-1]) if config_files else {}
        todo = list(self._member_folders())
        self.patched = dict((*self._patched(self.root), *self._patched(config)))
        todo += self.patched.values()
        homes: set[str] = set()
        while todo:
            folder = todo.pop()
            if folder in self.packages:
                continue
            manifest_path = posixpath.join(folder, "Cargo.toml")
            if manifest_path not in self.paths:
                link = f"; `{folder}` is a link or a file: name the folder itself" if folder in self.paths else ""
                self._problem(f"`{folder}` has no Cargo.toml{link}", "Cargo.toml")
                continue
            manifest = self._manifest(manifest_path)
            home = self._home(folder, manifest)
            package = self._package(folder, manifest, home)
            if package:
                self.packages[folder] = package
                todo += [dependency.folder for dependency in package.dependencies]
                if home:
                    homes.add(posixpath.join(home, "Cargo.toml"))
                    # Its root must load, too; what else belongs to that workspace does not count.
                    todo += [home] if "package" in self._manifest(posixpath.join(home, "Cargo.toml")) else []
        if self.problems:
            raise SpecError(self.problems)
        return CargoWorkspace(
            packages=dict(sorted(self.packages.items())),
            patched=tuple(sorted(set(self.patched.values()))),
            reached=tuple(sorted(self._reached())),
            config_files=config_files,
            root_files=tuple(path for path in ("Cargo.toml", "Cargo.lock") if path in self.paths),
            resolver=self._resolver(),
            homes=tuple(sorted(homes)),
            vendored=tuple(self._vendored(config)),
            lock=self._lock(),
        )

    def _problem(self, message: str, file: str, line: int = 1, col: int = 1) -> None:
        self.problems.append(Problem(code="W001", message=message, span=Span(file=file, line=line, col=col)))

    def _manifest(self, path: str) -> dict[str, Any]:
        self.current = path
        if path not in self.parsed:
            self.parsed[path] = self._parse(path)
        return self.parsed[path]

    def _parse(self, path: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self.read(path).decode("utf-8-sig"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            place = re.search(r"line (\d+), column (\d+)", str(error))
            line, col = (int(place[1]), int(place[2])) if place else (1, 1)
            self._problem(f"not a valid manifest: {error}", path, line, col)
            return {}

    def _lock(self) -> Lock | None:
        if "Cargo.lock" not in self.paths:
            return None
        versions: dict[str, set[str]] = {}
        for row in self._manifest("Cargo.lock").get("package", []):
            versions.setdefault(str(row.get("name")), set()).add(str(row.get("version")))
        return Lock(versions={name: frozenset(found) for name, found in versions.items()})

    def _resolver(self) -> str:
        workspace, package = self.root.get("workspace", {}), self.root.get("package", {})
        said = workspace.get("resolver") or package.get("resolver")
        if said:
            return str(said)
        edition = package.get("edition", "2015")
        if isinstance(edition, dict):
            edition = workspace.get("package", {}).get("edition", "2015")
        return "1" if str(edition) < "2021" else "2"

    def _member_folders(self) -> Iterator[str]:
        if "package" in self.root:
            yield ""
        workspace = self.root.get("workspace", {})
        folders = sorted(posixpath.dirname(path) for path in self.paths if posixpath.basename(path) == "Cargo.toml")
        for pattern in workspace.get("members", []):
            wanted = re.compile(_glob(posixpath.normpath(pattern)))
            matched = [folder for folder in folders if wanted.fullmatch(folder or ".")]
            is_pattern = bool(re.search(r"[*?\[]", pattern))
            if not matched and not is_pattern:
                folder = posixpath.normpath(pattern)
                link = f": `{folder}` is a link; name the folder that it leads to" if folder in self.paths else ""
                self._problem(f"workspace member `{pattern}` has no Cargo.toml{link}", "Cargo.toml")
            # Whom the manifest names is a member, even below a folder that it excludes.
            yield from ("" if folder == "." else folder for folder in matched if not _is_excluded(workspace, folder))

    def _home(self, folder: str, manifest: dict[str, Any]) -> str | None:
        """The folder of the workspace that a package belongs to."""
        named = manifest.get("package", {}).get("workspace")
        if isinstance(named, str):
            home = posixpath.normpath(posixpath.join(folder, named))
            return "" if home == "." else home
        at = folder
        while True:
            path = posixpath.join(at, "Cargo.toml")
            found = self._manifest(path).get("workspace") if path in self.paths else None
            if found is not None and (at == folder or not _is_excluded(found, posixpath.relpath(folder, at or "."))):
                return at
            if not at:
                # Without [workspace] the root is a package of its own, and what it depends on is all there is.
                return "" if "workspace" not in self.root else None
            at = posixpath.dirname(at)

    def _patched(self, source: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Crates from elsewhere that a folder of the workspace stands for."""
        for table in (*source.get("patch", {}).values(), source.get("replace", {})):
            for name, dependency in table.items():
                if isinstance(dependency, dict) and "path" in dependency:
                    folder = self._folder("", dependency["path"], name, "Cargo.toml")
                    if folder is not None:
                        yield str(dependency.get("package", name)).partition(":")[0], folder
        for path in source.get("paths", []):
            folder = self._folder("", path, "paths", "Cargo.toml")
            manifest = self._manifest(posixpath.join(folder, "Cargo.toml")) if folder is not None else {}
            if folder is not None and "package" in manifest:
                yield str(manifest["package"].get("name")), folder

    def _reached(self) -> Iterator[str]:
        """Folders of patched crates that crates from elsewhere need, for all that is known here."""
        rows = self._manifest("Cargo.lock").get("package", []) if "Cargo.lock" in self.paths else None
        needed = {str(word).split()[0] for row in rows or () if row.get("source") for word in row.get("dependencies", ())}
        for name, folder in self.patched.items():
            if rows is None or name in needed:
                yield folder

    def _vendored(self, config: dict[str, Any]) -> Iterator[str]:
        for source in config.get("source", {}).values():
            for key in ("directory", "local-registry"):
                if isinstance(source.get(key), str):
                    folder = posixpath.normpath(source[key])
                    if not folder.startswith(("/", "..")):
                        yield folder

    def _folder(self, start: str, path: str, name: str, manifest: str) -> str | None:
        folder = posixpath.normpath(posixpath.join(start, path))
        if folder.startswith(("../", "/")) or folder == "..":
            self._problem(f"path dependency `{name}` leaves the workspace: {path}", manifest)
            return None
        return "" if folder == "." else folder

    def _package(self, folder: str, manifest: dict[str, Any], home: str | None) -> Package | None:
        about = manifest.get("package")
        manifest_path = posixpath.join(folder, "Cargo.toml")
        if not isinstance(about, dict) or not isinstance(about.get("name"), str):
            if folder or "workspace" not in manifest:
                self._problem("a manifest without [package] name", manifest_path)
            return None
        shared = self._manifest(posixpath.join(home, "Cargo.toml")).get("workspace", {}) if home is not None else {}
        version = about.get("version", "0.0.0")
        if isinstance(version, dict):
            version = shared.get("package", {}).get("version", "")
        library = manifest.get("lib", {})
        compiled_files, others = self._target_files(folder, manifest)
        self.crates: set[str] = set()
        dependencies = tuple(self._dependencies(folder, manifest, shared, home or ""))
        return Package(
            name=about["name"],
            folder=folder,
            version=str(version),
            dependencies=dependencies,
            crates=tuple(sorted(self.crates)),
            features={name: tuple(map(str, values)) for name, values in manifest.get("features", {}).items()},
            is_macro=bool(library.get("proc-macro", library.get("proc_macro", False))),
            binaries=tuple(sorted(self._binaries(folder, manifest))),
            libraries=self._libraries(manifest),
            target_files=tuple(sorted(compiled_files | others)),
            compiled_files=tuple(sorted(compiled_files)),
            home=home,
        )

    def _dependencies(self, folder: str, manifest: dict[str, Any], shared: dict[str, Any], home: str) -> Iterator[Dependency]:
        tables = [("", manifest), *manifest.get("target", {}).items()]
        for condition, table in tables:
            for kind, names in _TABLES.items():
                for name, row in ((name, row) for table_name in names for name, row in table.get(table_name, {}).items()):
                    if isinstance(row, dict | str):
                        row = row if isinstance(row, dict) else {}  # noqa: PLW2901 - a version alone
                        yield from self._dependency(folder, name, row, shared.get("dependencies", {}), home, kind, condition)

    def _dependency(
        self, folder: str, name: str, row: dict[str, Any], shared: dict[str, Any], home: str, kind: str, condition: str
    ) -> Iterator[Dependency]:
        inherited = shared.get(name, {}) if row.get("workspace") else row
        inherited = inherited if isinstance(inherited, dict) else {}
        start = home if row.get("workspace") else folder
        if "path" in inherited:
            found = self._folder(start, inherited["path"], name, posixpath.join(folder, "Cargo.toml"))
        else:
            crate = str(inherited.get("package", name))
            self.crates.add(crate)
            found = self.patched.get(crate)
        if found is None:
            return
        default = _default_features(inherited)
        if row is not inherited and "default-features" in row:
            # A member can add the default features, and never take them away.
            default = default or bool(row["default-features"])
        features = [*inherited.get("features", []), *(row.get("features", []) if row is not inherited else [])]
        yield Dependency(
            key=name,
            folder=found,
            kind=kind,
            optional=bool(row.get("optional", False)),
            features=tuple(map(str, features)),
            default_features=default,
            condition=condition,
        )

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

    def _target_files(self, folder: str, manifest: dict[str, Any]) -> tuple[set[str], set[str]]:
        """Files that cargo compiles for a build, and those that it only must see."""
        built = {entry["path"] for entry in manifest.get("bin", []) if "path" in entry}
        built |= {manifest.get("lib", {}).get("path", "src/lib.rs"), "src/main.rs"}
        build = manifest["package"].get("build", "build.rs")
        built |= {build} if isinstance(build, str) else set()
        built |= set(self._matching(folder, r"src/bin/([^/]+\.rs|[^/]+/main\.rs)"))
        seen = {entry["path"] for kind in ("test", "example", "bench") for entry in manifest.get(kind, []) if "path" in entry}
        seen |= set(self._matching(folder, r"(tests|examples|benches)/([^/]+\.rs|[^/]+/main\.rs)"))
        return self._present(folder, built), self._present(folder, seen - built)

    def _present(self, folder: str, paths: Iterable[str]) -> set[str]:
        joined = {posixpath.normpath(posixpath.join(folder, path)) for path in paths}
        return {path for path in joined if path in self.paths}

    def _has(self, folder: str, path: str) -> bool:
        return posixpath.join(folder, path) in self.paths

    def _matching(self, folder: str, pattern: str) -> Iterator[str]:
        prefix = folder + "/" if folder else ""
        wanted = re.compile(pattern)
        return (path[len(prefix) :] for path in self.paths if path.startswith(prefix) and wanted.fullmatch(path[len(prefix) :]))


_TABLES = {
    "normal": ("dependencies",),
    "build": ("build-dependencies", "build_dependencies"),
    "dev": ("dev-dependencies", "dev_dependencies"),
}
"""Kind of a dependency → the tables that hold it; those with `_` count before edition 2024."""


def _default_features(row: dict[str, Any]) -> bool:
    return bool(row.get("default-features", row.get("default_features", True)))


def _is_excluded(workspace: dict[str, Any], folder: str) -> bool:
    """Whether a workspace leaves a folder out; what its members name with no wildcard is in."""
    named = [posixpath.normpath(path) for path in workspace.get("members", [])]
    return within(folder, [posixpath.normpath(path) for path in workspace.get("exclude", [])]) and not within(folder, named)


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
