"""What the spec says of Cargo: the selection of a target, the tools that compile, and where compilers share results."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - dataclasses.fields reads the annotations
from dataclasses import dataclass, field

from tasker_build.errors import Span
from tasker_build.spec.fields import ENV_NAME, Boolean, Choice, Key, ListOf, MapOf, Record, Text, Value, key

NOWHERE = Span(file="", line=0, col=0)
VERSION = Text(r"[0-9]+\.[0-9]+\.[0-9]+", "an exact version")
_ENV = MapOf(Value(), ENV_NAME, "letters, digits and `_`, not starting with a digit", "environment variable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """What cargo builds for a target: one selection, used alike when dependencies are cooked and programs are built."""

    packages: tuple[str, ...] = key(ListOf(Text(r"[A-Za-z0-9_-]+", "a cargo package name")), "cargo packages, `-p` each")
    binaries: Mapping[str, str] = key(
        MapOf(Text(r"[A-Za-z0-9._-]+", "a file name"), r"[A-Za-z0-9_-]+", "a cargo binary name", "binary"),
        "cargo binary → its file name in the image",
        default_factory=dict,
    )
    libraries: Mapping[str, str] = key(
        MapOf(Text(r"[A-Za-z0-9._-]+", "a file name"), r"[A-Za-z0-9_]+", "a cargo library name", "library"),
        "shared library that a package makes (crate type cdylib) → its file name in the image",
        default_factory=dict,
    )
    features: tuple[str, ...] = key(ListOf(Text(r"[A-Za-z0-9_/+-]+", "a cargo feature")), "features to enable", default=())
    default_features: bool = key(Boolean(), "false adds --no-default-features", default=True)
    profile: str = key(Text(r"[a-z][a-z0-9_-]*", "a cargo profile name"), "cargo profile", default="release")
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A place where compilers on several machines share what they made."""

    env: Mapping[str, str]
    secrets: Mapping[str, str]  # secret id → the variable that sccache reads it from


STORES: Mapping[str, Store] = {
    "github": Store(
        env={"SCCACHE_GHA_ENABLED": "true", "ACTIONS_CACHE_SERVICE_V2": "on"},
        secrets={"actions_results_url": "ACTIONS_RESULTS_URL", "actions_runtime_token": "ACTIONS_RUNTIME_TOKEN"},
    ),
    "s3": Store(env={}, secrets={"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}),
    "redis": Store(env={}, secrets={"sccache_redis_endpoint": "SCCACHE_REDIS_ENDPOINT"}),
}

CARGO_JOBS = "cargo_jobs"
"""The build secret that limits cargo: a secret's value is not part of a step's cache key, so the limit rebuilds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sccache:
    """A cache of single compiler results, for what a changed dependency leaves as it was."""

    mode: str = key(
        Choice(("off", "local", "remote")),
        "off; local: a cache mount of the builder; remote: a store as well, which survives machines",
        default="off",
    )
    store: str | None = key(Choice(tuple(STORES)), "where `remote` keeps results", default=None)
    version: str = key(VERSION, "version of the wheel", default="0.16.0")
    sha256: tuple[str, ...] = key(
        ListOf(Text(r"[0-9a-f]{64}", "a sha256 in hex")),
        "digests of the wheel, one for each platform",
        default=(
            "0bc1d09991eec9f266f495920e669715906cf610a759d2685156e69f9fcde995",
            "c0c14429fa782987f36ea19dc643da204b4f318c3e4fd4c2222a1be78ff6680c",
        ),
    )
    size: str = key(Text(r"[0-9]+[KMGT]", "a size such as 2G"), "size of the cache mount", default="2G")
    env: Mapping[str, str] = key(_ENV, "further settings of the store: bucket, region, key prefix", default_factory=dict)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    @property
    def enabled(self) -> bool:
        """Whether compilers are wrapped at all."""
        return self.mode != "off"

    @property
    def settings(self) -> Mapping[str, str]:
        """The environment of the builder, complete or absent: a wrapper without its program breaks every cargo call."""
        if not self.enabled:
            return {}
        store = STORES[self.store].env if self.mode == "remote" and self.store else {}
        own = {
            "RUSTC_WRAPPER": "sccache",
            "SCCACHE_CACHE_SIZE": self.size,
            "SCCACHE_DIR": "/var/cache/sccache",
            # A socket of its own: with the host's network two builds would meet on one port.
            "SCCACHE_SERVER_UDS": "/tmp/sccache.sock",  # noqa: S108 - inside a build container
            "SCCACHE_IGNORE_SERVER_IO_ERROR": "1",
        }
        return {**own, **store, **self.env}

    @property
    def secrets(self) -> Mapping[str, str]:
        """Build secret → the variable that hands it to sccache."""
        return STORES[self.store].secrets if self.mode == "remote" and self.store else {}


SELECTION = Key(Record(Cargo, "a cargo selection"), "what cargo builds for this target")
"""The row of a target."""
SETTINGS = (
    ("cargo_chef", Key(VERSION, "cargo-chef's version", default="0.1.78")),
    ("sccache", Key(Record(Sccache, "the compiler cache", short="mode"), "compiler cache", default=Sccache())),
)
"""The rows of `toolchain`."""


def selection_flags(selection: Cargo) -> str:
    """What cook and build are both told, so that every cooked dependency fits: profile, packages, features."""
    words = ["--release" if selection.profile == "release" else f"--profile {selection.profile}"]
    words += [f"-p {package}" for package in selection.packages]
    if not selection.default_features:
        words.append("--no-default-features")
    if selection.features:
        words.append(f"--features {','.join(selection.features)}")
    return " ".join(words)
