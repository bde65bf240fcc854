"""The spec as frozen values, and at the same time the field table: every `key(...)` below is one row of it.

Validator (`fields`), JSON Schema (`tasker-build schema`) and reference page (docs/reference.md) all come from these classes.
`span` is where a record stands, `at` the places of its keys; both are for messages only and never count in comparisons.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping  # noqa: TC003 - dataclasses.fields reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Span
from tasker_build.ignore import ALWAYS, asked_back
from tasker_build.spec.fields import (
    ENV_NAME,
    NAME,
    PATH,
    Boolean,
    Choice,
    Integer,
    ListOf,
    MapOf,
    Raw,
    Record,
    Text,
    Value,
    key,
    opening,
)
from tasker_build.spec.names import VERSION_TAG, at_version
from tasker_build.spec.names import TargetName as TargetName  # noqa: PLC0414 - the names of what stands here

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasker_build.ecosystems.api import Ecosystem
    from tasker_build.spec.kinds import Kind

NOWHERE = Span(file="", line=0, col=0)

_REFERENCE = Text(
    r"[a-z0-9]+([._:/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    "an image reference: name[:tag][@sha256:…], the name in lower case",
)
_REPOSITORY = Text(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", "an image repository in lower case, without a tag")
_PREFIX = Text(
    r"([a-z0-9]+([.-]+[a-z0-9]+)*(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[0-9]{1,5})?",
    "a registry or the first part of image names, in lower case, without a tag",
)
_DURATION = Text(r"([0-9]+(ns|us|ms|s|m|h))+", "a duration such as 15s or 1m30s")
_AGE = Text(r"[1-9][0-9]{0,3}[hdw]", "an age such as 12h, 7d or 4w: hours, days or weeks")
_TARGET_PATTERN = rf"{NAME}(/{NAME})*"
_TARGET_RULE = "lower case path such as `deploy/workers/rust`"
_TAG = Text(r"[A-Za-z0-9_{][A-Za-z0-9_.{}-]{0,127}", "an image tag; `{version}` stands for the version being built")
_ENV = MapOf(Value(), ENV_NAME, "letters, digits and `_`, not starting with a digit", "environment variable")
_ANY = MapOf(Raw(), r"[A-Za-z_][A-Za-z0-9_.-]*", "letters, digits, `_`, `.` and `-`")
_LINES = Text(multiline=True)

_TOOL = Text(
    r"(crate|wheel):[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?@[0-9][A-Za-z0-9.+-]*",
    "a program of one exact version: crate:NAME@VERSION or wheel:NAME@VERSION",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The account an image runs as."""

    name: str = key(Text(r"[a-z_][a-z0-9_-]{0,31}", "a Linux account name"), "account name")
    uid: int = key(Integer(1, 65534), "numeric user id, never 0")
    gid: int | None = key(Integer(1, 65534), "numeric group id; the same as uid where it is not given", default=None)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    @property
    def owner(self) -> str:
        """`uid:gid`, the form that needs no account database."""
        return f"{self.uid}:{self.gid or self.uid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """A container health check; the command is always the exec form."""

    command: tuple[str, ...] = key(ListOf(Text()), "program and arguments; `CMD-SHELL` first for a shell line", default=())
    interval: str = key(_DURATION, "time between checks", default="30s")
    timeout: str = key(_DURATION, "a check that takes longer has failed", default="5s")
    start_period: str = key(_DURATION, "failures do not count so long after the start", default="30s")
    start_interval: str | None = key(_DURATION, "time between checks during the start period", default=None)
    retries: int = key(Integer(1, 100), "failures in a row that make it unhealthy", default=3)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A build secret: its id and whether the build needs it. Its value comes from the site, never from the spec."""

    id: str = key(Text(r"[A-Za-z0-9_.-]+", "letters, digits, `_`, `.`, `-`"), "id under which RUN steps mount it")
    required: bool = key(Boolean(), "a missing required secret stops the run before it starts", default=False)
    version: str = key(
        Text(),
        "change it when its value should rebuild the target, whose own steps then all run whenever it is built",
        default="",
    )
    implied: bool = False  # nobody wrote it: it goes with how a target is built
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One image the spec can build: a node of the graph."""

    name: TargetName = field(default=TargetName(""))
    kind: str | None = key(Text(NAME), "a named recipe: template and closure provider", default=None)
    template: str | None = key(PATH, "template of the Dockerfile, instead of the kind's", default=None)
    extends: tuple[str, ...] = key(
        ListOf(Text(_TARGET_PATTERN, _TARGET_RULE), single=True),
        "targets this one starts from; later ones win",
        default=(),
    )
    enabled: bool = key(Boolean(), "false leaves the target and its services out", default=True)
    image: str | None = key(_REPOSITORY, "repository name of the image, below `registry`", default=None)
    tags: tuple[str, ...] = key(ListOf(_TAG), "tags for people", default=(VERSION_TAG,))
    file: str | None = key(PATH, "path of the Dockerfile below `output`; NAME/Dockerfile where it is not given", default=None)
    from_: Mapping[str, str] = key(
        MapOf(
            Text(rf"({_TARGET_PATTERN})", _TARGET_RULE),
            r"[a-z][a-z0-9_]*",
            "lower case letters, digits and `_`",
            "role",
        ),
        "role → base or parent target; the template asks for its parents by role",
        default_factory=dict,
    )
    stage: str | None = key(Text(r"[a-z][a-z0-9_.-]*", "a stage name"), "the stage that is the image", default=None)
    selections: Mapping[str, Any] = opening()
    """Ecosystem → what it builds for this target; None where the target says nothing of it. A key of the target each."""
    context: tuple[str, ...] = key(ListOf(PATH), "further files or folders of the workspace that the image needs", default=())
    dockerignore: tuple[str, ...] = key(
        ListOf(PATH), "folders of the workspace (`.` is all of it) whose own .dockerignore counts for this target", default=()
    )
    packages: tuple[str, ...] = key(ListOf(Text(r"[a-z0-9][a-z0-9.+:=~-]*", "a Debian package")), "runtime packages", default=())
    build_packages: tuple[str, ...] = key(
        ListOf(Text(r"[a-z0-9][a-z0-9.+:=~-]*", "a Debian package")), "packages that only building needs", default=()
    )
    args: Mapping[str, str] = key(_ENV, "build arguments", default_factory=dict)
    build_env: Mapping[str, str] = key(_ENV, "environment of the build stages", default_factory=dict)
    env: Mapping[str, str] = key(_ENV, "environment of the image", default_factory=dict)
    user: User | None = key(Record(User, "a user"), "account the image runs as", default=None)
    ports: tuple[int, ...] = key(ListOf(Integer(1, 65535)), "ports the program listens on", default=())
    command: tuple[str, ...] = key(ListOf(Text()), "what the image runs, exec form", default=())
    healthcheck: Healthcheck | None = key(Record(Healthcheck, "a health check"), "health check of the image", default=None)
    stop_signal: str | None = key(Choice(("SIGTERM", "SIGINT", "SIGQUIT")), "signal that stops the program", default=None)
    labels: Mapping[str, str] = key(
        MapOf(Value(), r"[a-z0-9]([a-z0-9._/-]*[a-z0-9])?", "lower case letters, digits, `.`, `_`, `-`, `/`", "label"),
        "labels of the image",
        default_factory=dict,
    )
    platforms: tuple[str, ...] = key(
        ListOf(Choice(("linux/amd64", "linux/arm64"))), "platforms; the machine's own where none is given", default=()
    )
    secrets: tuple[Secret, ...] = key(ListOf(Record(Secret, "a secret", short="id")), "secrets RUN steps may mount", default=())
    network: str = key(Choice(("default", "none", "host")), "network of RUN steps", default="default")
    refresh: str | None = key(
        _AGE,
        "an image older than this is built again; a target that has it never takes its own steps from BuildKit's cache",
        default=None,
    )
    hooks: Mapping[str, str] = key(
        MapOf(_LINES, r"[a-z][a-z0-9_]*", "lower case letters, digits and `_`", "hook"),
        "raw Dockerfile lines at the template's named hooks",
        default_factory=dict,
    )
    vars: Mapping[str, Any] = key(_ANY, "values for the target's own template", default_factory=dict)
    recipe: Kind | None = field(compare=False, default=None, repr=False)  # what the kind stands for
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Let templates ask for `target.ECOSYSTEM`, as the spec calls it."""
            return _opened(self, "selections", name)

    @property
    def selected(self) -> Mapping[str, Any]:
        """Ecosystem → what the target chooses to be built by it."""
        return {name: selection for name, selection in self.selections.items() if selection is not None}

    @property
    def ecosystems(self) -> tuple[str, ...]:
        """The ecosystems that building it has to do with; the first one says what it needs of the workspace."""
        own = (self.recipe.ecosystem,) if self.recipe and self.recipe.ecosystem else ()
        return tuple(dict.fromkeys((*self.selected, *own)))

    @property
    def makes(self) -> str | None:
        """What its kind makes, a word of `spec.kinds.Makes`; None: it has no kind."""
        return self.recipe.makes if self.recipe else None

    @property
    def template_name(self) -> str:
        """The template that renders the Dockerfile."""
        return self.template or (self.recipe.template if self.recipe else "")

    @property
    def dockerfile(self) -> str:
        """Path of the Dockerfile below the output folder."""
        return self.file or f"{self.name}/Dockerfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of a stack: a target's image or one from outside, and how it runs there."""

    name: str = field(default="")
    description: str = key(Text(), "a comment above the service", default="")
    enabled: bool = key(Boolean(), "false leaves it out", default=True)
    target: str | None = key(Text(_TARGET_PATTERN, _TARGET_RULE), "the target whose image runs", default=None)
    image: str | None = key(_REFERENCE, "an image from outside", default=None)
    build_only: bool = key(Boolean(), "built by compose, never started", default=False)
    command: tuple[str, ...] = key(ListOf(Text()), "replaces the image's command", default=())
    environment: Mapping[str, str] = key(_ENV, "environment", default_factory=dict)
    depends_on: Mapping[str, str] = key(
        MapOf(Choice(("started", "healthy", "completed"))), "service → what it must have reached", default_factory=dict
    )
    ports: tuple[str, ...] = key(ListOf(Text()), "published ports", default=())
    volumes: tuple[str, ...] = key(ListOf(Text()), "mounts", default=())
    networks: tuple[str, ...] = key(ListOf(Text()), "networks", default=())
    healthcheck: Healthcheck | None = key(
        Record(Healthcheck, "a health check"), "replaces the image's health check", default=None
    )
    restart: str | None = key(Choice(("no", "always", "on-failure", "unless-stopped")), "restart policy", default=None)
    init: bool | None = key(Boolean(), "an init process reaps children", default=None)
    watch: bool = key(Boolean(), "`compose watch` builds it anew when a source of its target changes", default=False)
    profiles: tuple[str, ...] = key(ListOf(Text(NAME)), "profiles that switch it on", default=())
    stop_grace_period: str | None = key(_DURATION, "time to drain before it is killed", default=None)
    compose: Mapping[str, Any] = key(_ANY, "any further compose keys, written as they are", default_factory=dict)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One environment: a compose file and what belongs to it."""

    name: str = field(default="")
    description: str = key(Text(), "a comment at the top of the compose file", default="")
    enabled: bool = key(Boolean(), "false leaves the stack out", default=True)
    file: str | None = key(PATH, "path below `output`; docker-compose.NAME.yml where it is not given", default=None)
    project: str | None = key(Text(r"[a-z0-9][a-z0-9_-]*", "a compose project name"), "compose project name", default=None)
    services: Mapping[str, Service] = key(MapOf(Record(Service, "a service")), "what runs in it")
    networks: Mapping[str, Any] = key(_ANY, "compose networks", default_factory=dict)
    volumes: Mapping[str, Any] = key(_ANY, "compose volumes; never change one that holds data", default_factory=dict)
    secrets: Mapping[str, Any] = key(_ANY, "compose secrets of the running services", default_factory=dict)
    compose: Mapping[str, Any] = key(_ANY, "any further top-level compose keys, written as they are", default_factory=dict)
    variables: Mapping[str, str] = key(
        _ENV,
        "what scripts and `env` set where the caller does not; compose alone takes the defaults of its file",
        default_factory=dict,
    )
    vars: Mapping[str, Any] = key(_ANY, "values for the stack's scripts and files", default_factory=dict)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    @property
    def compose_file(self) -> str:
        """Path of the compose file below the output folder."""
        return self.file or f"docker-compose.{self.name}.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """One further rendered file: a script, SQL, a configuration."""

    template: str = key(PATH, "template of the file")
    mode: str = key(Choice(("0644", "0755")), "permission bits, as text", default="0644")
    stack: str | None = key(Text(NAME), "stack the template speaks of", default=None)
    vars: Mapping[str, Any] = key(_ANY, "values for the template", default_factory=dict)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Versions of the tools that builds use."""

    settings: Mapping[str, Any] = opening()
    """What ecosystems let one choose: key → value."""
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Let templates ask for `toolchain.KEY`."""
            return _opened(self, "settings", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that builds fetch."""

    source: str  # crate or wheel
    name: str
    version: str
    digests: tuple[str, ...]  # sha256 in hex, one of which it must have; none: nobody pinned it

    @classmethod
    def parse(cls, reference: str, digests: tuple[str, ...] = ()) -> Tool:
        """Take a reference such as `wheel:maturin@1.16.0` apart."""
        source, _, rest = reference.partition(":")
        name, _, version = rest.partition("@")
        return cls(source=source, name=name, version=version, digests=digests)

    @property
    def words(self) -> str:
        """What a Dockerfile asks its client for."""
        return f"{self.name}{'==' if self.source == 'wheel' else '@'}{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What of the workspace counts, beyond what manifests say."""

    ignore: tuple[str, ...] = key(
        ListOf(Text()),
        "patterns (as in .dockerignore) that never enter a context; `!pattern` asks back what is always ignored (docs/ignore.md)",
        default=(),
    )
    packages: Mapping[str, tuple[str, ...]] = key(
        MapOf(ListOf(PATH), r"[A-Za-z0-9_-]+", "a cargo package name", "package"),
        "cargo package → files outside its own sources that compiling it reads",
        default_factory=dict,
    )
    values: Mapping[str, str] = key(
        MapOf(PATH, ENV_NAME, "letters, digits and `_`, not starting with a digit", "environment variable"),
        "environment variable → folder whose subfolders are the values it may have in targets and services",
        default_factory=dict,
    )
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable of the environment that programs of the workspace read."""

    means: str = key(Text(), "what it says, for people")
    required: bool = key(Boolean(), "every service that runs one of these programs must have it", default=False)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A finding of `check` that is right as it is."""

    check: str = key(Text(r"[A-Za-z][A-Za-z0-9-]*", "a check's name as `check` prints it"), "its name: `early-value`, `DL3008` …")
    path: str = key(Text(), "rendered files it holds for: a pattern below `output`, `*` crosses `/`", default="*")
    why: str = key(Text(), "why that is right here")
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The whole of `stacks.yaml`, overlays and defaults applied."""

    version: int = key(Integer(1, 1), "version of the spec language: 1")
    project: str = key(Text(NAME, "lower case letters and digits, with single `-`, `_` or `.`"), "name of the project")
    workspace: str = key(Text(), "the folder being built, relative to the spec", default=".")
    output: str = key(PATH, "where rendered files go, below the workspace", default="docker")
    registry: str = key(_PREFIX, "prefix of image names", default="")
    templates: str | None = key(
        Text(), "folder of templates that come before the built-in ones, relative to the spec", default=None
    )
    vars: Mapping[str, Any] = key(
        MapOf(Raw(), r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and `_`", "var"),
        "values for `{{ name }}` in the spec and for templates; `{{ table[name] }}` is the row that the var `name` says",
        default_factory=dict,
    )
    bases: Mapping[str, str] = key(MapOf(_REFERENCE), "name → image from outside", default_factory=dict)
    tools: Mapping[str, str] = key(
        MapOf(_TOOL),
        "name → further programs that builds fetch: `crate:NAME@VERSION` or `wheel:NAME@VERSION`; `lock` pins them by checksum",
        default_factory=dict,
    )
    toolchain: Toolchain = key(Record(Toolchain, "the toolchain"), "versions of tools", default_factory=Toolchain)
    sources: Sources = key(Record(Sources, "the sources"), "what of the workspace counts", default=Sources())
    defaults: Mapping[str, Any] = key(
        MapOf(Raw(), "targets|services", "targets, services", "default"),
        "`targets` and `services`: keys that every target or service starts from",
        default_factory=dict,
    )
    contract: Mapping[str, Variable] = key(
        MapOf(
            Record(Variable, "a variable", short="means"),
            ENV_NAME,
            "letters, digits and `_`, not starting with a digit",
            "environment variable",
        ),
        "what programs of the workspace (targets with `cargo`) read of the environment; where any is named, no other is set",
        default_factory=dict,
    )
    targets: Mapping[TargetName, Target] = key(
        MapOf(Record(Target, "a target"), _TARGET_PATTERN, _TARGET_RULE, "target name"), "images"
    )
    stacks: Mapping[str, Stack] = key(MapOf(Record(Stack, "a stack")), "environments", default_factory=dict)
    files: Mapping[str, FileSpec] = key(
        MapOf(
            Record(FileSpec, "a file", short="template"),
            r"(?!/)(?!(.*/)?\.\.(/|$))[A-Za-z0-9._/-]+",
            "a path below `output`",
            "path",
        ),
        "further rendered files, by their path below `output`",
        default_factory=dict,
    )
    suppress: tuple[Suppression, ...] = key(
        ListOf(Record(Suppression, "a suppression")), "findings of `check` that are right as they are", default=()
    )
    tool_digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of those that the lock pins
    implied_tools: Mapping[str, str] = field(default_factory=dict)  # those that ecosystems ask for
    ecosystems: Mapping[str, Ecosystem] = field(compare=False, default_factory=dict, repr=False)
    span: Span = field(compare=False, default=NOWHERE)
    at: Mapping[str, Span] = field(compare=False, default_factory=dict, repr=False)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Patterns for what counts in no context, in order."""
        return (*ALWAYS, self.output, *self.ignored_too(self.targets.values()))

    def ignored_too(self, targets: Iterable[Target]) -> tuple[str, ...]:
        """The patterns after those for what is always ignored; what these targets name in `context` is taken back."""
        named = (posixpath.normpath(path) for target in targets if target.enabled for path in target.context)
        return (*asked_back(named, self.output), *self.sources.ignore)

    @property
    def all_tools(self) -> Mapping[str, str]:
        """Name → reference of every tool: those of `tools`, and those that ecosystems bring with them."""
        return {**self.implied_tools, **self.tools}

    def tool(self, name: str) -> Tool | None:
        """A tool by its name; None when the spec has no such tool."""
        reference = self.all_tools.get(name)
        return None if reference is None else Tool.parse(reference, self.tool_digests.get(name, ()))

    def project_name(self, stack: Stack) -> str:
        """The compose project of a stack."""
        return stack.project or f"{self.project}-{stack.name}"

    def image_name(self, target: Target) -> str:
        """Repository of a target's image, the registry prefix included."""
        name = target.image or f"{self.project}-{target.name.replace('/', '-')}"
        return f"{self.registry}/{name}" if self.registry else name

    def image_reference(self, target: Target) -> str:
        """The name rendered files use for a target's image: its first tag, at version `latest`."""
        tags = human_tags(target, "latest")
        return f"{self.image_name(target)}:{tags[0] if tags else 'latest'}"


def human_tags(target: Target, version: str) -> tuple[str, ...]:
    """The tags of a target for people, at one version."""
    return at_version(target.tags, version)


def image_variable(target: Target) -> str:
    """The environment variable that pins a target's image in compose files: one for each image and kind of tag."""
    kind = target.tags[0].replace(VERSION_TAG, "") if target.tags else ""
    name = f"{target.image or target.name}-{kind}".upper()
    return re.sub(r"[^A-Z0-9]+", "_", name).strip("_") + "_IMAGE"


def _opened(value: Any, opened: str, name: str) -> Any:
    """An attribute that a class has not, out of what fills its opening."""
    # Not by attribute: while a copy is made there is nothing in it yet, and asking would go round in a circle.
    held = {} if name.startswith("_") or name == opened else getattr(value, opened)
    if name not in held:
        raise AttributeError(f"{type(value).__name__} has no `{name}`", name=name, obj=value)
    return held[name]


def spec_record(kinds: Mapping[str, Kind], ecosystems: Mapping[str, Ecosystem]) -> Record:
    """The field table of a whole spec, as far as kinds and ecosystems have a say in it."""
    selections = tuple((name, one.selection) for name, one in ecosystems.items() if one.selection is not None)
    settings = tuple(row for one in ecosystems.values() for row in one.settings)
    target = Record(Target, "a target", more=selections, instead=(("kind", Choice(tuple(kinds))),))
    return Record(
        Spec,
        "the spec",
        open_keys=True,
        instead=(
            ("targets", MapOf(target, _TARGET_PATTERN, _TARGET_RULE, "target name")),
            ("toolchain", Record(Toolchain, "the toolchain", more=settings)),
        ),
    )
