"""Spec texts → Spec: overlays, defaults and `extends` are laid over each other as nodes, so that every value keeps its place."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasker_build.errors import Problem, SpecError, nearest
from tasker_build.spec.check import Written, check
from tasker_build.spec.fields import BAD, Raw, Reader
from tasker_build.spec.language import language_of
from tasker_build.spec.model import Secret, Spec, TargetName
from tasker_build.spec.nodes import MappingNode, Node, ScalarNode, SequenceNode, merge, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tasker_build.errors import Span
    from tasker_build.spec.fields import Record
    from tasker_build.spec.kinds import Kind
    from tasker_build.spec.language import KindFiles, Language
    from tasker_build.spec.model import Target


def load(sources: Sequence[tuple[str, bytes]], kind_files: KindFiles) -> Spec:
    """Turn spec files, the base first and overlays after it, into a validated Spec.

    Args:
        sources: (name for messages, content) of each file.
        kind_files: gives the files of kinds.

    Raises:
        SpecError: every mistake that could be found, each with its place.
    """
    reader = Reader()
    root, language = _opened(sources, kind_files, reader)
    root = _resolve(root, language.kinds, reader)
    record = language.spec
    spec = record.read(root, reader, "")
    partial = spec if spec is not BAD else _best_effort(record, root, reader)
    spec = _completed(partial, language)
    written = Written(
        kinds=language.kinds,
        targets=_names(root, "targets"),
        bases=_names(root, "bases"),
        stacks=_names(root, "stacks"),
        services=_services(root),
    )
    check(spec, written, reader)
    if reader.problems:
        raise SpecError(_dedupe(reader.problems))
    return spec


def load_language(sources: Sequence[tuple[str, bytes]], kind_files: KindFiles) -> Language:
    """What may stand in a spec, whatever stands there.

    Raises:
        SpecError: files of the spec that are no YAML, or files of kinds with mistakes.
    """
    reader = Reader()
    _, language = _opened(sources, kind_files, reader)
    if reader.problems:
        raise SpecError(_dedupe(reader.problems))
    return language


def _opened(sources: Sequence[tuple[str, bytes]], kind_files: KindFiles, reader: Reader) -> tuple[MappingNode, Language]:
    """All files of a spec as one mapping, and what may stand in it."""
    root, *overlays = (parse(data, file) for file, data in sources)
    for overlay in overlays:
        root = merge(root, overlay)
    if not isinstance(root, MappingNode):
        reader.expected("a mapping", root, "the spec")
        raise SpecError(reader.problems)
    reader.variables = _variables(root.get("vars"))
    reader.tables = _tables(root.get("vars"))
    return root, language_of(root, kind_files, reader)


def _dedupe(problems: Sequence[Problem]) -> list[Problem]:
    """One mistake in `defaults` or an extended target shows once, not once per heir."""
    seen: dict[Any, Problem] = {}
    for problem in problems:
        # Heirs differ in where they stand (`targets.a.user`), not in what is quoted.
        quoted = tuple(re.findall(r"`[^`]*`", problem.message))
        seen.setdefault((problem.code, problem.span, quoted) if problem.span else problem, problem)
    return list(seen.values())


def _services(root: MappingNode) -> Mapping[str, Collection[str]]:
    stacks = root.get("stacks")
    if not isinstance(stacks, MappingNode):
        return {}
    return {key.text: _names(stack, "services") for key, stack in stacks.entries if isinstance(stack, MappingNode)}


def _names(root: MappingNode, section: str) -> Collection[str]:
    """The keys of a section, in their order; asking for one does not look at all of them."""
    node = root.get(section)
    return dict.fromkeys(key.text for key, _ in node.entries).keys() if isinstance(node, MappingNode) else ()


def _variables(node: Node | None) -> Mapping[str, str]:
    """`vars` as text for `{{ name }}`; lists join with a comma."""
    if not isinstance(node, MappingNode):
        return {}
    texts: dict[str, str] = {}
    for key, value in node.entries:
        if isinstance(value, ScalarNode):
            texts[key.text] = Reader(texts).substitute(value) or value.text
        elif isinstance(value, SequenceNode):
            items = Raw().read(value, Reader(), key.text)
            texts[key.text] = ",".join(str(item) for item in items)
    return texts


def _tables(node: Node | None) -> Mapping[str, Mapping[str, str]]:
    """The `vars` that are mappings, for `{{ table[name] }}`."""
    if not isinstance(node, MappingNode):
        return {}
    plain = Reader(_variables(node))
    return {
        key.text: {
            row.text: plain.substitute(value) or value.text for row, value in table.entries if isinstance(value, ScalarNode)
        }
        for key, table in node.entries
        if isinstance(table, MappingNode)
    }


def _resolve(root: MappingNode, kinds: Mapping[str, Kind], reader: Reader) -> MappingNode:
    """Apply `defaults`, those of kinds, and `extends`."""
    defaults = root.get("defaults")
    target_defaults, service_defaults = (
        (defaults.get(name) if isinstance(defaults, MappingNode) else None) for name in ("targets", "services")
    )
    entries: list[tuple[ScalarNode, Node]] = []
    for key, value in root.entries:
        if key.text == "targets" and isinstance(value, MappingNode):
            entries.append((key, _resolve_targets(value, target_defaults, kinds, reader)))
        elif key.text == "stacks" and isinstance(value, MappingNode):
            entries.append((key, _map(value, lambda stack: _resolve_stack(stack, service_defaults))))
        else:
            entries.append((key, value))
    return replace(root, entries=tuple(entries))


def _map(node: MappingNode, change: Any) -> MappingNode:
    return replace(node, entries=tuple((key, change(value)) for key, value in node.entries))


def _resolve_stack(stack: Node, defaults: Node | None) -> Node:
    services = stack.get("services") if isinstance(stack, MappingNode) else None
    if not isinstance(stack, MappingNode) or not isinstance(services, MappingNode) or defaults is None:
        return stack
    laid = _map(services, lambda service: merge(defaults, service))
    return replace(stack, entries=tuple((key, laid if key.text == "services" else value) for key, value in stack.entries))


def _resolve_targets(targets: MappingNode, defaults: Node | None, kinds: Mapping[str, Kind], reader: Reader) -> MappingNode:
    known = {key.text: value for key, value in targets.entries}
    parents = {name: _extended(name, node, known, reader) for name, node in known.items()}
    done: dict[str, Node] = {}
    for start in known:
        # A stack of its own: a long chain is no reason to run out of Python's.
        path = [start]
        while path:
            name = path[-1]
            waiting = [parent for parent, _ in parents[name] if parent not in done]
            circular = next((place for parent, place in parents[name] if parent in path), None)
            if circular is not None:
                again = next(parent for parent, _ in parents[name] if parent in path)
                cycle = " → ".join([*path[path.index(again) :], again])
                reader.add("S020", f"`extends` runs in a circle: {cycle}", circular)
                parents[name] = [row for row in parents[name] if row[0] not in path]
            elif waiting:
                path.append(waiting[0])
            else:
                done.setdefault(name, _laid_over(known[name], [done[parent] for parent, _ in parents[name]]))
                path.pop()
    entries = []
    for key, _ in targets.entries:
        node = done[key.text]
        laid = merge(defaults, node) if defaults is not None else node
        entries.append((key, _over_kind(laid, kinds, reader)))
    return replace(targets, entries=tuple(entries))


def _over_kind(node: Node, kinds: Mapping[str, Kind], reader: Reader) -> Node:
    """A target over what targets of its kind start from."""
    named = node.get("kind") if isinstance(node, MappingNode) else None
    text = Reader(reader.variables, reader.tables).substitute(named) if isinstance(named, ScalarNode) else None
    kind = kinds.get(text or "")
    return node if kind is None or kind.defaults is None else merge(kind.defaults, node)


def _extended(name: str, node: Node, known: Mapping[str, Node], reader: Reader) -> list[tuple[str, Span]]:
    """The targets a target extends, with the places where it says so; unknown ones are reported and left out."""
    extends = node.get("extends") if isinstance(node, MappingNode) else None
    items = extends.items if isinstance(extends, SequenceNode) else (extends,) if extends else ()
    found = []
    for item in items:
        if isinstance(item, ScalarNode) and item.text in known:
            found.append((item.text, item.span))
        elif isinstance(item, ScalarNode):  # anything else is reported when the field is read
            reader.add("S015", f"unknown target `{item.text}` in targets.{name}.extends", item.span, *nearest(item.text, known))
    return found


def _laid_over(node: Node, below: Sequence[Node]) -> Node:
    """A target over those it extends, the later ones of them over the earlier."""
    result: Node | None = None
    for inherited in below:
        kept = inherited.drop("extends", "enabled", "image", "file") if isinstance(inherited, MappingNode) else inherited
        result = kept if result is None else merge(result, kept)
    return node if result is None else merge(result, node)


def _best_effort(record: Record, root: MappingNode, reader: Reader) -> Spec:
    """A Spec of whatever could be read, so that checks over the whole still find their mistakes in the same run."""
    values, spans = record.read_keys(root, Reader(reader.variables, reader.tables), "")
    good: dict[str, Any] = {name: value for name, value in values.items() if value is not BAD}
    fallback: dict[str, Any] = {"version": 1, "project": "unnamed", "targets": {}}
    return Spec(**(fallback | good), span=root.span, at=spans)


def _completed(spec: Spec, language: Language) -> Spec:
    """Give targets, stacks and services the names they have as keys, and targets what goes with their kinds and ecosystems."""
    kinds, ecosystems = language.kinds, language.ecosystems
    defaults = {name: row.default for one in ecosystems.values() for name, row in one.settings}
    toolchain = replace(spec.toolchain, settings={**defaults, **spec.toolchain.settings})
    targets = {
        TargetName(name): replace(target, name=TargetName(name), recipe=kinds.get(target.kind or ""))
        for name, target in spec.targets.items()
    }
    spec = replace(spec, targets=targets, toolchain=toolchain, ecosystems=ecosystems)
    implied = {name: tuple(one.secrets(spec)) for name, one in ecosystems.items()}
    targets = {name: replace(target, secrets=_secrets(target, implied)) for name, target in targets.items()}
    tools = {name: reference for one in ecosystems.values() for name, reference in one.tools(spec).items()}
    stacks = {
        name: replace(
            stack,
            name=name,
            services={label: replace(service, name=label) for label, service in stack.services.items()},
        )
        for name, stack in spec.stacks.items()
    }
    return replace(spec, targets=targets, stacks=stacks, implied_tools=tools)


def _secrets(target: Target, implied: Mapping[str, Sequence[str]]) -> tuple[Secret, ...]:
    known = {secret.id for secret in target.secrets}
    more = dict.fromkeys(secret for name in target.ecosystems for secret in implied[name] if secret not in known)
    return (*target.secrets, *(Secret(id=name, implied=True) for name in more))
