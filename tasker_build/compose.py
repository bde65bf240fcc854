"""A stack as compose data: plain dictionaries in the order people expect, for the template to write."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasker_build.quoting import Flow
from tasker_build.spec.model import TargetName, image_variable
from tasker_build.spec.names import secret_variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasker_build.ecosystems.closure import Closure
    from tasker_build.spec.model import Healthcheck, Service, Spec, Stack, Target

OLDEST = (2, 22)
"""The compose that reads what is rendered: `service:` contexts since 2.20, `develop` since 2.22."""
URL_SAFE = "A-Za-z0-9._~-"
"""Characters that stand for themselves wherever in a URL they are, as a bracket expression has them."""
CONDITIONS = {"started": "service_started", "healthy": "service_healthy", "completed": "service_completed_successfully"}


def named_context(reference: str) -> str:
    """An image reference as a key of `additional_contexts`: BuildKit looks names up without `:latest`."""
    return reference.removesuffix(":latest")


def stack_services(spec: Spec, stack: Stack, closures: Mapping[TargetName, Closure]) -> Mapping[str, dict[str, Any]]:
    """Every enabled service of a stack, by name, as compose data."""
    enabled = {name: service for name, service in stack.services.items() if is_enabled(spec, service)}
    services = {name: _service(spec, stack, service, enabled) for name, service in enabled.items()}
    for name, service in enabled.items():
        if service.watch and service.target:
            services[name]["develop"] = {"watch": _watch(spec, stack, closures[TargetName(service.target)])}
    return services


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """How compose builds one target: the first service that has it, what it makes, and what it builds on the way."""

    file: str
    service: str
    variable: str
    image: str
    tags: tuple[str, ...]
    parents: tuple[str, ...]


def builders(spec: Spec) -> Mapping[str, Builder]:
    """Target → the service that builds it, for every target that some environment builds; in the order of the spec."""
    found: dict[str, Builder] = {}
    for stack in spec.stacks.values():
        for name, service in stack.services.items():
            if stack.enabled and service.target and is_enabled(spec, service):
                target = spec.targets[TargetName(service.target)]
                builder = Builder(
                    file=posixpath.basename(stack.compose_file),
                    service=name,
                    variable=image_variable(target),
                    image=spec.image_name(target),
                    tags=target.tags,
                    parents=tuple(_parents(spec, target)),
                )
                found.setdefault(service.target, builder)
    return {name: found[name] for name in spec.targets if name in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One target that runs in a stack: the variable that pins its image, the image itself, and what switches it on."""

    target: TargetName
    variable: str
    image: str
    tag: str  # of any version
    profiles: tuple[str, ...]  # empty: it always runs


def runs(spec: Spec, stack: Stack) -> tuple[Run, ...]:
    """Every target whose image some service of a stack runs, in the order of the services."""
    found: dict[TargetName, tuple[str, ...]] = {}
    for service in stack.services.values():
        if service.target and not service.build_only and is_enabled(spec, service):
            name = TargetName(service.target)
            optional = service.profiles and found.get(name, service.profiles)
            found[name] = tuple(dict.fromkeys([*optional, *service.profiles])) if optional else ()
    return tuple(
        Run(
            target=name,
            variable=image_variable(target),
            image=spec.image_name(target),
            tag=target.tags[0] if target.tags else "latest",
            profiles=profiles,
        )
        for name, profiles in found.items()
        for target in (spec.targets[name],)
    )


def _parents(spec: Spec, target: Target) -> Iterator[str]:
    """Every target that one stands on, the nearest last."""
    for name in target.from_.values():
        if parent := spec.targets.get(TargetName(name)):
            yield from _parents(spec, parent)
            yield name


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?([-?+])([^{}$]*))?")


def variables(data: Any) -> Mapping[str, str]:
    """Variable that compose interpolates in some data → its default, `required` where there is none; in order of appearance."""
    found: dict[str, str] = {}
    for text in _texts(data):
        for name, sign, default in _VARIABLE.findall(text.replace("$$", "")):
            value = "required" if sign == "?" else default if sign == "-" else ""
            found[name] = found.get(name) or value
    return found


_PUBLISHED = re.compile(r"\$\{(\w+):-([0-9-]+)\}:([0-9]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A port that people reach a service on: what moves it, where it is otherwise, and what it is in the container."""

    service: str
    variable: str
    default: str
    inside: str


def published(spec: Spec) -> Mapping[Published, tuple[str, ...]]:
    """Every published port that a variable moves → the stacks that have it so."""
    found: dict[Published, tuple[str, ...]] = {}
    for stack in spec.stacks.values():
        for name, service in stack.services.items():
            for port in service.ports if stack.enabled and is_enabled(spec, service) else ():
                if match := _PUBLISHED.search(port):
                    row = Published(service=name, variable=match[1], default=match[2], inside=match[3])
                    found[row] = (*found.get(row, ()), stack.name)
    return found


def resources(services: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    """A row for each service that is limited: its name, memory, processors, processes, and what is reserved for it."""
    rows: list[tuple[str, ...]] = []
    for name, service in services.items():
        found = service.get("deploy", {}).get("resources", {})
        limits, reserved = found.get("limits", {}), found.get("reservations", {})
        if found:
            held = ", ".join(str(reserved[key]) for key in ("memory", "cpus") if key in reserved)
            rows.append((name, *(str(limits.get(key, "")) for key in ("memory", "cpus", "pids")), held))
    return tuple(rows)


_IN_URL = re.compile(r"://[^\s/@${]*\$\{([A-Za-z_][A-Za-z0-9_]*)[^{}]*\}@")


def variables_in_urls(text: str) -> tuple[str, ...]:
    """Variables that a compose file puts before the `@` of a URL: what they hold has to be safe there."""
    return tuple(dict.fromkeys(_IN_URL.findall(text)))


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value)


def _watch(spec: Spec, stack: Stack, closure: Closure) -> list[dict[str, Any]]:
    """Build again when anything changes that the target compiles; what its image merely holds is mounted in development."""
    start = posixpath.dirname(posixpath.join(spec.output, stack.compose_file)) or "."
    paths = sorted({*closure.manifests, *closure.sources})
    return [{"action": "rebuild", "path": posixpath.relpath(path, start), "ignore": ["target/"]} for path in paths]


def is_enabled(spec: Spec, service: Service) -> bool:
    """Whether a service is part of its stack; one whose target is left out is left out with it."""
    return service.enabled and (service.target is None or spec.targets[TargetName(service.target)].enabled)


def build_secrets(spec: Spec, stack: Stack) -> Mapping[str, dict[str, str]]:
    """Compose's `secrets` for building; an unset variable gives an empty file, which every RUN step takes for absent."""
    targets = [spec.targets[TargetName(service.target)] for service in stack.services.values() if service.target]
    ids = sorted({secret.id for target in targets for secret in target.secrets})
    return {secret: {"file": f"${{{secret_variable(secret)}:-/dev/null}}"} for secret in ids}


def _service(spec: Spec, stack: Stack, service: Service, enabled: Mapping[str, Service]) -> dict[str, Any]:
    return dict(_service_rows(spec, stack, service, enabled))


def _service_rows(spec: Spec, stack: Stack, service: Service, enabled: Mapping[str, Service]) -> Iterator[tuple[str, Any]]:
    if service.target:
        target = spec.targets[TargetName(service.target)]
        yield "image", f"${{{image_variable(target)}:-{spec.image_reference(target)}}}"
        yield "build", _build(spec, stack, target, enabled)
        # Never asks a registry, where the name may be anybody's: an image that is not here is built, one that is here runs.
        yield "pull_policy", "never"
    else:
        yield "image", service.image
    if service.build_only:
        yield "deploy", {"replicas": 0}
    if service.profiles:
        yield "profiles", list(service.profiles)
    if service.command:
        yield "command", Flow(service.command)
    if service.environment:
        yield "environment", dict(service.environment)
    depends_on = {name: {"condition": CONDITIONS[state]} for name, state in service.depends_on.items() if name in enabled}
    if depends_on:
        yield "depends_on", depends_on
    for name in ("ports", "volumes", "networks"):
        if values := getattr(service, name):
            yield name, list(values)
    if service.healthcheck:
        yield "healthcheck", _healthcheck(service.healthcheck)
    for name in ("restart", "init", "stop_grace_period"):
        if (value := getattr(service, name)) is not None:
            yield name, value
    yield from service.compose.items()


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    if check.command:
        shell = check.command[0] in {"CMD-SHELL", "NONE"}
        rows["test"] = Flow(check.command if shell else ("CMD", *check.command))
    rows |= {
        "interval": check.interval,
        "timeout": check.timeout,
        "retries": check.retries,
        "start_period": check.start_period,
    }
    if check.start_interval:
        rows["start_interval"] = check.start_interval
    return rows


def _build(spec: Spec, stack: Stack, target: Target, enabled: Mapping[str, Service]) -> dict[str, Any]:
    folder = posixpath.dirname(posixpath.join(spec.output, stack.compose_file))
    rows: dict[str, Any] = {
        "context": posixpath.relpath(".", folder) if folder else ".",
        "dockerfile": posixpath.join(spec.output, target.dockerfile),
    }
    if target.stage:
        rows["target"] = target.stage
    builders = {service.target: name for name, service in reversed(list(enabled.items()))}
    contexts = {
        named_context(spec.image_reference(spec.targets[TargetName(parent)])): f"service:{builders[parent]}"
        for parent in target.from_.values()
        if parent in builders
    }
    if contexts:
        rows["additional_contexts"] = dict(sorted(contexts.items()))
    if target.args:
        rows["args"] = dict(target.args)
    if target.secrets:
        rows["secrets"] = [secret.id for secret in target.secrets]
    if target.network != "default":
        rows["network"] = target.network
    return rows
