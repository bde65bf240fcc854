"""Random Cargo workspaces of path dependencies: everything that cargo's manifests can say of who needs whom."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONDITIONS = [
    "cfg(unix)",
    "cfg(windows)",
    'cfg(target_os = "linux")',
    'cfg(target_os = "macos")',
    'cfg(all(unix, not(target_os = "macos")))',
    'cfg(any(windows, target_arch = "wasm32"))',
    'cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))',
    'cfg(target_pointer_width = "64")',
    "cfg(all())",
    "cfg(any())",
    "x86_64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
]


@dataclass(slots=True)
class Crate:
    """One package of a random workspace."""

    name: str
    folder: str
    library: bool = True
    macro: bool = False
    edition: str = "2021"
    binary: str = ""  # path of its program, "" for none
    build: str = ""  # path of its build script
    nested: bool = False  # it belongs to a workspace of its own
    excluded: bool = False
    rows: list[tuple[str, str, str]] = field(default_factory=list)  # table, key, TOML value
    features: dict[str, list[str]] = field(default_factory=dict)
    uses: list[str] = field(default_factory=list)  # crates that its code names, whatever is switched on


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A workspace, and what is asked of it."""

    files: dict[str, str]
    packages: tuple[str, ...]
    features: tuple[str, ...]
    default_features: bool

    @property
    def flags(self) -> list[str]:
        """What cargo is told."""
        flags = [word for package in self.packages for word in ("-p", package)]
        flags += ["--features", ",".join(self.features)] if self.features else []
        return flags + ([] if self.default_features else ["--no-default-features"])


class Maker:
    """Makes one random workspace from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it makes samples
        self.crates: list[Crate] = []
        self.shared: dict[str, str] = {}
        self.resolver = self.random.choice(["1", "2", "2", "2", "3"])
        self.vendored = self.random.random() < 0.3
        self.patches = self.vendored and self.random.random() < 0.5

    def make(self) -> Sample:
        pick = self.random
        count = pick.randint(2, 8)
        for number in range(count):
            self.crates.append(self._crate(number))
        for number, crate in enumerate(self.crates):
            self._connect(crate, self.crates[number + 1 :])
        members = [crate for crate in self.crates if not crate.excluded and not crate.nested]
        asked = pick.sample(members, k=min(len(members), pick.choice([1, 1, 1, 2])))
        names = [feature for crate in asked for feature in crate.features if feature != "default"]
        features = pick.sample(names, k=min(len(names), pick.choice([0, 0, 1, 2])))
        if len(asked) > 1 and features:
            owner = {feature: crate.name for crate in asked for feature in crate.features}
            features = [f"{owner[feature]}/{feature}" for feature in features]
        return Sample(
            files=dict(self._files()),
            packages=tuple(crate.name for crate in asked),
            features=tuple(features),
            default_features=pick.random() < 0.75 or len(asked) > 1,
        )

    def _crate(self, number: int) -> Crate:
        pick = self.random
        name = f"c{number}{pick.choice(['', '-x', '_y'])}"
        edition = pick.choice(["2018", "2021", "2021", "2024"])
        where = pick.choice(["", "libs/", "libs/", "a/b/"])
        crate = Crate(name=name, folder=f"{where}{name}", edition=edition)
        if number:
            # The first one is always a member: something has to be asked for.
            kind = pick.random()
            if kind < 0.1:
                crate.folder, crate.excluded = f"out/{name}", True
            elif kind < 0.18:
                crate.folder, crate.nested = f"inner/{name}", True
            crate.macro = pick.random() < 0.12
        if not crate.macro and pick.random() < 0.4:
            crate.binary = pick.choice(
                ["src/main.rs", "src/bin/prog/main.rs", "examples/prog.rs", "tests/bin/prog.rs", "cmd/prog.rs"]
            )
        if pick.random() < 0.25:
            crate.build = pick.choice(["build.rs", "scripts/build.rs", "../shared-build.rs"])
        return crate

    def _connect(self, crate: Crate, others: list[Crate]) -> None:
        pick = self.random
        for other in others:
            if pick.random() < 0.5:
                self._depend(crate, other)
        if self.vendored and pick.random() < 0.4:
            crate.rows.append(("dependencies", "ext", '"1"'))
        for number in range(pick.choice([0, 0, 1, 2])):
            values = [f"f{other}" for other in range(number)]
            for table, key, value in crate.rows:
                optional = "optional = true" in value
                if pick.random() < 0.4 and "dev" not in table and key != "ext":
                    forms = [f"{key}/f0"] if not optional else [f"dep:{key}", f"{key}/f0", f"{key}?/f0"]
                    values.append(pick.choice(forms))
            crate.features[f"f{number}"] = values
        if crate.features and pick.random() < 0.4:
            crate.features["default"] = [pick.choice(sorted(crate.features))]

    def _depend(self, crate: Crate, other: Crate) -> None:
        pick = self.random
        kind = pick.choice(["dependencies"] * 5 + ["build-dependencies", "dev-dependencies"])
        if crate.edition != "2024" and kind != "dependencies" and pick.random() < 0.3:
            kind = kind.replace("-", "_")
        condition = pick.choice(CONDITIONS) if pick.random() < 0.3 else ""
        key = pick.choice([other.name, other.name, f"r{len(crate.rows)}"])
        path = "/".join([".."] * (crate.folder.count("/") + 1) + [other.folder])
        inherits = pick.random() < 0.25 and not crate.nested and not crate.excluded
        words: list[str] = []
        if inherits:
            key = f"w-{other.name}"
            default = pick.choice(["", ", default-features = false"])
            self.shared[key] = f'{{ path = "{other.folder}", package = "{other.name}"{default} }}'
            words.append("workspace = true")
        else:
            words.append(f'path = "{path}"')
            words += [f'package = "{other.name}"'] if key != other.name else []
            words += ["default-features = false"] if pick.random() < 0.3 else []
        if pick.random() < 0.3 and "dev" not in kind:
            words.append("optional = true")
        if pick.random() < 0.3:
            # Whether the other one has it is settled when all are connected.
            words.append('features = ["f0"]')
        table = f"target.'{condition}'.{kind}" if condition else kind
        crate.rows.append((table, key, "{ " + ", ".join(words) + " }"))

    def _files(self) -> Iterator[tuple[str, str]]:
        # Features that others ask for must be there.
        for crate in self.crates:
            crate.features.setdefault("f0", [])
        members = [crate.folder for crate in self.crates if not crate.excluded and not crate.nested]
        globs = sorted({f"{folder.rpartition('/')[0]}/*" for folder in members if "/" in folder})
        named = [*globs, *(folder for folder in members if "/" not in folder)] if self.random.random() < 0.5 else members
        lines = ["[workspace]", f'resolver = "{self.resolver}"', f"members = {json.dumps(named)}"]
        lines.append('exclude = ["out", "inner"]')
        lines += ["[workspace.package]", 'version = "1.2.3"']
        lines += ["[workspace.dependencies]", *(f"{key} = {value}" for key, value in sorted(self.shared.items()))]
        lines += ["[patch.crates-io]", 'ext = { path = "own/ext" }'] if self.patches else []
        yield "Cargo.toml", "\n".join(lines) + "\n"
        if any(crate.nested for crate in self.crates):
            inner = [crate.name for crate in self.crates if crate.nested]
            yield (
                "inner/Cargo.toml",
                f'[workspace]\nresolver = "2"\nmembers = {json.dumps(inner)}\n[workspace.package]\nversion = "4.5.6"\n',
            )
        yield from self._outside()
        for crate in self.crates:
            yield from self._crate_files(crate)

    def _outside(self) -> Iterator[tuple[str, str]]:
        """A crate from a registry that a folder stands for, and perhaps one of one's own in its place."""
        if not self.vendored:
            return
        manifest = '[package]\nname = "ext"\nversion = "1.0.0"\nedition = "2021"\n'
        yield ".cargo/config.toml", ('[source.crates-io]\nreplace-with = "here"\n[source.here]\ndirectory = "third/party"\n')
        yield "third/party/ext/Cargo.toml", manifest
        yield "third/party/ext/src/lib.rs", "pub fn ext() {}\n"
        yield "third/party/ext/.cargo-checksum.json", json.dumps({"files": {}, "package": "0" * 64})
        if self.patches:
            needs = self.crates[-1]
            path = f"../../{needs.folder}"
            more = (
                f'[dependencies]\n{needs.name} = {{ path = "{path}" }}\n'
                if not any(row[1] == "ext" for row in needs.rows)
                else ""
            )
            yield "own/ext/Cargo.toml", manifest + more
            yield "own/ext/src/lib.rs", "pub fn ext() {}\n"

    def _crate_files(self, crate: Crate) -> Iterator[tuple[str, str]]:
        version = "0.1.0" if crate.excluded else None
        lines = ["[package]", f'name = "{crate.name}"', f'edition = "{crate.edition}"']
        lines.append(f'version = "{version}"' if version else "version.workspace = true")
        if crate.build and crate.build != "build.rs":
            lines.append(f'build = "{crate.build}"')
        lines += ["[lib]", "proc-macro = true"] if crate.macro else []
        if crate.binary and not crate.binary.startswith("src/"):
            lines += ["[[bin]]", 'name = "prog"', f'path = "{crate.binary}"']
        tables: dict[str, list[str]] = {}
        for table, key, value in crate.rows:
            tables.setdefault(table, []).append(f"{key} = {value}")
        for table, rows in sorted(tables.items()):
            lines += [f"[{table}]", *rows]
        if crate.features:
            lines.append("[features]")
            lines += [f"{name} = {json.dumps(values)}" for name, values in sorted(crate.features.items())]
        yield f"{crate.folder}/Cargo.toml", "\n".join(lines) + "\n"
        yield f"{crate.folder}/src/lib.rs", "" if crate.macro else "mod part;\npub use part::*;\n"
        if not crate.macro:
            yield f"{crate.folder}/src/part.rs", "pub fn there() {}\n"
        if crate.binary:
            yield f"{crate.folder}/{crate.binary}", "mod helper;\nfn main() { helper::help(); }\n"
            yield f"{crate.folder}/{crate.binary.rpartition('/')[0]}/helper.rs", "pub fn help() {}\n"
        yield f"{crate.folder}/tests/it.rs", "#[test]\nfn it() {}\n"
        if crate.build:
            where = crate.folder.rpartition("/")[0] if crate.build.startswith("../") else crate.folder
            path = f"{where}/{crate.build.removeprefix('../')}".removeprefix("/")
            yield path, "fn main() {}\n"


def make(seed: int) -> Sample:
    """One random workspace."""
    return Maker(seed).make()
