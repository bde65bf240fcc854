"""What `check` can know of a Cargo workspace before anything is built: settings and sources that lead out of an image's reach."""

from __future__ import annotations

import posixpath
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from tasker_build.ecosystems.cargo.workspace import Package

TOOLCHAIN_FILES = ("rust-toolchain.toml", "rust-toolchain")
_RELEASE = re.compile(r"(?:^|/)rust:(\d+(?:\.\d+){0,2})(?=[-@]|$)")
_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
_INCLUDES = re.compile(r'\b(?:include_str|include_bytes|include)!\s*\(\s*"([^"]+)"|#\[path\s*=\s*"([^"]+)"\]')
_FROM_PACKAGE = re.compile(
    r'\bmigrate!\s*\(\s*"([^"]+)"|env!\(\s*"CARGO_MANIFEST_DIR"\s*\)\s*,\s*"/?([^"]+)"|"((?:\.\./)+[^"\s]+)"'
)
_LINKER = re.compile(r"-C\s*linker=([^\s\"',]+)|-fuse-ld=([a-z]+)")
_ALWAYS_THERE = frozenset({"cc", "gcc", "bfd", "gold", "ld"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing that will not work, or not as the workspace says."""

    name: str
    path: str
    line: int
    message: str


def toolchain_advice(paths: Collection[str], read: Callable[[str], bytes], bases: Iterable[str]) -> Iterator[Advice]:
    """Say where a toolchain file asks for another Rust than the one that images are built with.

    Args:
        paths: the files of the workspace.
        read: gives the content of one.
        bases: references of the images that builders stand on.
    """
    path = next((name for name in TOOLCHAIN_FILES if name in paths), None)
    if path is None:
        return
    text = read(path).decode(errors="replace")
    channel = _channel(text)
    for base in sorted(set(bases)):
        found = _RELEASE.search(base)
        if channel and found and not _fits(channel, found[1]):
            line = next((i for i, row in enumerate(text.split("\n"), 1) if channel in row), 1)
            message = (
                f"asks for Rust {channel}, but images are built with {base.partition('@')[0]}: this file reaches no builder; "
                f"name the base rust:{channel}… or correct the file"
            )
            yield Advice(name="toolchain-differs", path=path, line=line, message=message)


def _channel(text: str) -> str:
    try:
        value: Any = tomllib.loads(text).get("toolchain", {}).get("channel", "")
    except (tomllib.TOMLDecodeError, AttributeError):
        value = text.strip().split("\n")[0].strip()
    return value if isinstance(value, str) else ""


def _fits(channel: str, release: str) -> bool:
    """Whether a channel is served by a release: `stable` by each, `1.89` by 1.89.1."""
    if channel == "stable":
        return True
    asked, have = channel.split("."), release.split(".")
    common = min(len(asked), len(have))
    return asked[:common] == have[:common]


def config_advice(config_files: Iterable[str], read: Callable[[str], bytes], provided: str) -> Iterator[Advice]:
    """Say which settings of `.cargo/config.toml` an image cannot follow.

    Args:
        config_files: those that the workspace has.
        read: gives the content of one.
        provided: every word that says what builders install: packages, hooks, names of bases.
    """
    for path in config_files:
        text = read(path).decode(errors="replace")
        try:
            config = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        build = config.get("build", {})
        for key, folder in (("target", "target/TRIPLE"), ("target-dir", "another folder")):
            if isinstance(build, dict) and build.get(key):
                message = (
                    f"`build.{key}` sends what cargo makes to {folder}, where built-in kinds do not look for it: take it out, "
                    f"or override the block `compile` in a template of your own"
                )
                yield Advice(name="cargo-target", path=path, line=_line(text, key), message=message)
        for linker in sorted(set(_linkers(config))):
            name = posixpath.basename(linker)
            if name not in _ALWAYS_THERE and not re.search(rf"(?<![a-z0-9]){re.escape(name)}", provided):
                message = f"the linker `{linker}` is in no base and no package of the builder: add it to its `build_packages`"
                yield Advice(name="cargo-linker", path=path, line=_line(text, linker), message=message)


def _linkers(config: dict[str, Any]) -> Iterator[str]:
    tables = [("", config.get("build", {})), *config.get("target", {}).items()]
    for condition, table in tables:
        if isinstance(table, dict) and not re.search(r"windows|darwin|apple|wasm", condition):
            if isinstance(table.get("linker"), str):
                yield table["linker"]
            flags = table.get("rustflags", [])
            text = flags if isinstance(flags, str) else " ".join(map(str, flags))
            yield from (match[1] or match[2] for match in _LINKER.finditer(text))


def _line(text: str, word: str) -> int:
    return next((i for i, row in enumerate(text.split("\n"), 1) if word in row), 1)


def reading_advice(
    package: Package, sent: Collection[str], paths: Collection[str], read: Callable[[str], bytes]
) -> Iterator[Advice]:
    """Say which files a package's sources read that are in the workspace and are not sent.

    Args:
        package: a package that is compiled.
        sent: the files of the closure.
        paths: the files of the workspace.
        read: gives the content of one.
    """
    scripts = {path for path in package.compiled_files if posixpath.basename(path) == "build.rs"}
    for path in sorted(sent):
        if path.endswith(".rs") and (package.is_inside(path) or path in scripts):
            said = read(path).decode(errors="replace")
            text = _COMMENT.sub("", said)
            for word, start in _read_by(text, path, package, is_script=path in scripts):
                target = posixpath.normpath(posixpath.join(start, word))
                there = any(other == target or other.startswith(target + "/") for other in paths)
                if there and not any(other == target or other.startswith(target + "/") for other in sent):
                    message = (
                        f"reads `{target}`, which no image of `{package.name}` gets: name it in the spec: "
                        f"sources: {{packages: {{{package.name}: [{target}]}}}}"
                    )
                    yield Advice(name="unsent-source", path=path, line=_line(said, word), message=message)


def _read_by(text: str, path: str, package: Package, *, is_script: bool) -> Iterator[tuple[str, str]]:
    """What a source reads, and the folder that its path starts from."""
    for match in _INCLUDES.finditer(text):
        yield match[1] or match[2], posixpath.dirname(path)
    for match in _FROM_PACKAGE.finditer(text):
        if match[1] or match[2]:
            yield (match[1] or match[2]).lstrip("/"), package.folder
        elif is_script:
            yield match[3], package.folder
