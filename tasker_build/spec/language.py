"""The language of one spec: the keys that every spec knows, its kinds, and the ecosystems that these and its targets name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from tasker_build.ecosystems import built_in, find
from tasker_build.errors import nearest
from tasker_build.spec.fields import Reader, table
from tasker_build.spec.kinds import read_kinds
from tasker_build.spec.model import Target, spec_record
from tasker_build.spec.nodes import MappingNode, ScalarNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tasker_build.ecosystems.api import Ecosystem
    from tasker_build.spec.fields import Record
    from tasker_build.spec.kinds import Kind

KindFiles: TypeAlias = "Callable[[str | None], Sequence[tuple[str, bytes]]]"
"""The spec's `templates` → the files of kinds that count, the built-in one first: (name for messages, content)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What may stand in a spec."""

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    ecosystems: Mapping[str, Ecosystem] = field(default_factory=dict)

    @property
    def spec(self) -> Record:
        """The field table of the whole."""
        return spec_record(self.kinds, self.ecosystems)


def language_of(root: MappingNode, kind_files: KindFiles, reader: Reader) -> Language:
    """Find out what may stand in a spec.

    Args:
        root: the spec, overlays applied.
        kind_files: gives the files of kinds.
        reader: knows the spec's `vars`; takes the mistakes of files of kinds.

    Raises:
        SpecError: a file of kinds that is no YAML.
    """
    folder = root.get("templates")
    named = folder if isinstance(folder, ScalarNode) and not folder.is_null else None
    quiet = Reader(reader.variables, reader.tables)  # what is wrong with it is said when the spec is read
    kinds = read_kinds(kind_files(quiet.substitute(named) if named else None), reader)
    ecosystems = dict(built_in())
    for name in (*_named_by(kinds), *_strange_keys(root)):
        if name not in ecosystems and (found := find(name)) is not None:
            ecosystems[name] = found
    _check_kinds(kinds, ecosystems, reader)
    known = {name: kind if kind.ecosystem in ecosystems else replace(kind, ecosystem=None) for name, kind in kinds.items()}
    return Language(kinds=known, ecosystems=ecosystems)


def _named_by(kinds: Mapping[str, Kind]) -> Iterator[str]:
    return (kind.ecosystem for kind in kinds.values() if kind.ecosystem is not None)


def _strange_keys(root: MappingNode) -> Iterator[str]:
    """Keys of targets that only an ecosystem may know."""
    known = {name for name, _, _ in table(Target)}
    defaults = root.get("defaults")
    holders = [root.get("targets")]
    nodes = [defaults.get("targets")] if isinstance(defaults, MappingNode) else []
    nodes += [node for holder in holders if isinstance(holder, MappingNode) for _, node in holder.entries]
    keys = (key.text for node in nodes if isinstance(node, MappingNode) for key, _ in node.entries)
    return iter(dict.fromkeys(key for key in keys if key not in known))


def _check_kinds(kinds: Mapping[str, Kind], ecosystems: Mapping[str, Ecosystem], reader: Reader) -> None:
    keys = [name for name, _, _ in table(Target)]
    keys += [name for name, one in ecosystems.items() if one.selection is not None]
    for kind in kinds.values():
        if kind.ecosystem is not None and kind.ecosystem not in ecosystems:
            hints = nearest(kind.ecosystem, ecosystems) or ("install the package that brings it",)
            place = kind.at.get("ecosystem", kind.span)
            reader.add("S011", f"no ecosystem `{kind.ecosystem}` is installed, which the kind `{kind.name}` names", place, *hints)
        for i, lacking in enumerate(kind.needs):
            if lacking not in keys:
                place = kind.at.get(f"needs.{i}", kind.span)
                reader.add(
                    "S011",
                    f"the kind `{kind.name}` needs `{lacking}`, which is no key of a target",
                    place,
                    *nearest(lacking, keys),
                )
