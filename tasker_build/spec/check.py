"""Rules that need the whole spec: unknown names, two things with one name, cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tasker_build.errors import nearest
from tasker_build.graph import build_graph, find_cycle
from tasker_build.ignore import Ignore
from tasker_build.spec.kinds import Makes
from tasker_build.spec.model import Spec, Target, TargetName, human_tags, image_variable
from tasker_build.spec.names import VERSION_TAG

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tasker_build.errors import Span
    from tasker_build.spec.fields import Reader
    from tasker_build.spec.model import Stack


class Written(NamedTuple):
    """Names that are written down, so that a thing with a mistake of its own is not called unknown as well."""

    kinds: Collection[str]
    targets: Collection[str]
    bases: Collection[str]
    stacks: Collection[str]
    services: Mapping[str, Collection[str]]  # by stack


def check(spec: Spec, written: Written, reader: Reader) -> None:
    """Report what is wrong between the parts of a spec.

    Args:
        spec: what could be read; parts with mistakes of their own are missing from it.
        written: the names of all parts.
        reader: takes the problems.
    """
    for target in spec.targets.values():
        _check_target(spec, target, written, reader)
    for stack in spec.stacks.values():
        _check_stack(stack, written, reader)
    for ecosystem in spec.ecosystems.values():
        reader.problems.extend(ecosystem.check(spec))
    for i, pattern in enumerate(spec.sources.ignore):
        _check_pattern(pattern, spec.sources.at.get(f"ignore.{i}", spec.sources.span), reader)
    for path, file in spec.files.items():
        if file.stack and file.stack not in written.stacks:
            hints = nearest(file.stack, written.stacks)
            reader.add("S015", f"unknown stack `{file.stack}` in files.{path}", file.at["stack"], *hints)
    _check_contract(spec, reader)
    _check_unique(spec, reader)
    cycle = find_cycle(build_graph(spec))
    if cycle:
        first = spec.targets[cycle[0]]
        role = next(role for role, name in first.from_.items() if name == cycle[1])
        reader.add("G001", f"dependency cycle: {' → '.join(cycle)}", first.at.get(f"from.{role}", first.span))


def _check_pattern(pattern: str, place: Span, reader: Reader) -> None:
    try:
        Ignore([pattern])
    except ValueError as error:
        reader.add("S019", str(error), place)
    else:
        if pattern.lstrip().startswith("!") and any("**" in part and part != "**" for part in pattern.strip(" !/").split("/")):
            reader.add(
                "S019", f"`**` stands beside something else in the exception `{pattern}`", place, "write it as a folder: `**/x`"
            )


def _check_target(spec: Spec, target: Target, written: Written, reader: Reader) -> None:
    # A key that is there but wrong has been reported; `at` knows every key that is there.
    if "kind" not in target.at and "template" not in target.at:
        known = ", ".join(written.kinds)
        reader.add("S009", f"target `{target.name}` has neither a kind nor a template", target.span, f"kinds: {known}")
    for i, tag in enumerate(target.tags):
        left = tag.replace(VERSION_TAG, "")
        if "{" in left or "}" in left:
            place = target.at.get(f"tags.{i}", target.at.get("tags", target.span))
            reader.add("S025", f"the tag `{tag}` has a placeholder for nothing", place, f"tags know `{VERSION_TAG}`")
    for role, name in target.from_.items():
        place = target.at[f"from.{role}"]
        if name in written.targets and name in written.bases:
            reader.add("S016", f"`{name}` is both a base and a target", place, "rename one of them")
        elif name not in written.targets and name not in written.bases:
            hints = nearest(name, [*written.bases, *written.targets])
            reader.add("S015", f"unknown base or target `{name}` in targets.{target.name}.from", place, *hints)
        elif name in spec.targets and target.enabled and not spec.targets[name].enabled:  # type: ignore[index]
            reader.add("S017", f"target `{target.name}` needs `{name}`, which is not enabled", place)
    for lacking in target.recipe.needs if target.recipe else ():
        if lacking not in target.at:
            why = "what should be built for it?" if lacking in target.selections else f"its kind {target.kind} needs it"
            reader.add("S009", f"target `{target.name}` lacks `{lacking}`: {why}", target.span)


def _check_stack(stack: Stack, written: Written, reader: Reader) -> None:
    for name, service in stack.services.items():
        where = f"stacks.{stack.name}.services.{name}"
        if ("target" in service.at) == ("image" in service.at):
            reader.add("S024", f"{where} needs either a `target` or an `image`", service.span)
        if service.target is not None and service.target not in written.targets:
            hints = nearest(service.target, written.targets)
            reader.add("S015", f"unknown target `{service.target}` in {where}", service.at["target"], *hints)
        for other in service.depends_on:
            if other not in written.services.get(stack.name, ()):
                hints = nearest(other, stack.services)
                reader.add(
                    "S015",
                    f"unknown service `{other}` in {where}.depends_on",
                    service.at[f"depends_on.{other}"],
                    *hints,
                )
        for network in service.networks:
            if network not in stack.networks:
                place = service.at.get("networks", service.span)
                reader.add("S015", f"unknown network `{network}` in {where}", place, *nearest(network, stack.networks))


def _check_contract(spec: Spec, reader: Reader) -> None:
    """What programs of the workspace are given is what they read: one that nobody reads is a mistake, and so is one too few."""
    if not spec.contract:
        return
    strange: dict[Span, str] = {}  # what several targets and services inherit is one mistake
    lacking: dict[Span, list[str]] = {}
    programs = {name: target for name, target in spec.targets.items() if target.selected}
    for target in programs.values():
        strange |= {target.at[f"env.{name}"]: name for name in target.env if name not in spec.contract}
    for stack in spec.stacks.values():
        for service in stack.services.values():
            if service.build_only or service.target not in programs:
                continue
            target = programs[TargetName(service.target)]
            given = {**target.env, **service.environment}
            strange |= {service.at[f"environment.{name}"]: name for name in service.environment if name not in spec.contract}
            missing = [name for name, row in spec.contract.items() if row.required and name not in given]
            lacking.setdefault(service.span, []).extend(missing)
    for place, name in strange.items():
        hints = nearest(name, spec.contract) or ("name it there, with what it means, or leave it out",)
        reader.add("S021", f"no program reads the variable {name}: it is not in `contract`", place, *hints)
    for place, names in lacking.items():
        for name in dict.fromkeys(names):
            reader.add("S022", f"this service lacks {name}, which `contract` requires", place, spec.contract[name].means)


def _may_share(first: Target, other: Target) -> bool:
    """Whether two targets can be stages of one Dockerfile: builders of one kind that differ in their last stage only."""
    if first is other:
        return True
    same = all(getattr(first, name) == getattr(other, name) for name in ("template_name", "from_", "context", "build_packages"))
    return same and first.makes == Makes.DEPENDENCIES and (first.stage or "builder") != (other.stage or "builder")


def _check_unique(spec: Spec, reader: Reader) -> None:
    """Two targets may not share an image tag, nor two things an output file, whatever a file system makes of case."""
    seen: dict[str, str] = {}

    def claim(what: str, owner: str, target_span: Target | Stack) -> None:
        first = seen.setdefault(what.casefold(), owner)
        if first != owner:
            reader.add("S018", f"{owner} and {first} both make {what}", target_span.span)

    owners: dict[str, Target] = {}
    for target in spec.targets.values():
        owner = owners.setdefault(target.dockerfile, target)
        if owner is target or not _may_share(owner, target):
            claim(f"the file {target.dockerfile}", f"target `{target.name}`", target)
            claim(f"the file {target.dockerfile}.dockerignore", f"target `{target.name}`", target)
        for tag in human_tags(target, "{version}"):
            claim(f"the image {spec.image_name(target)}:{tag}", f"target `{target.name}`", target)
        if target.enabled:
            claim(f"the variable {image_variable(target)} of compose files", f"target `{target.name}`", target)
    for stack in spec.stacks.values():
        claim(f"the file {stack.compose_file}", f"stack `{stack.name}`", stack)
    for path, file in spec.files.items():
        first = seen.setdefault(f"the file {path}".casefold(), f"files.{path}")
        if first != f"files.{path}":
            reader.add("S018", f"files.{path} and {first} both make the file {path}", file.span)
