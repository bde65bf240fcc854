"""A target as far as it is known before the content of its files is: made of plain values alone, so that it can be kept.

An outline follows from the spec, its lock, the templates, the names of the workspace's files and the few of them that say how
the workspace is built. While none of these changes, neither do outlines, and a plan needs no more than digests of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tasker_build.plan.facts import Group, moving_facts
from tasker_build.plan.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tasker_build.files.entry import Entry
    from tasker_build.plan.facts import Facts, Row
    from tasker_build.spec.model import Spec
    from tasker_build.spec.names import TargetName


_GROUPS = {group.value: group for group in Group}


class Head(NamedTuple):
    """What a spec says of the whole: all that is needed to find everything else."""

    project: str
    workspace: str
    output: str
    templates: str | None
    ignore: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec) -> Head:
        """The head of a spec."""
        return cls(spec.project, spec.workspace, spec.output, spec.templates, spec.ignored_too(spec.targets.values()))


class Outline(NamedTuple):
    """One target; the order of the fields is that of what is kept."""

    name: TargetName
    image: str
    tags: tuple[str, ...]  # as written: the version is still open
    platform: str
    refresh: str
    parents: tuple[TargetName, ...]
    bases: tuple[str, ...]
    templates: Mapping[str, str]
    included_by: Mapping[str, str]  # template → the one that asks for it
    spec: Mapping[str, str]  # key → digest of its value
    facts: tuple[tuple[str, str, str], ...]  # those that no file, parent or site has a say in
    files: tuple[int, ...]  # start, stop, start, stop … in the sorted paths of the workspace
    meanings: Mapping[str, str]  # of files whose layout does not count: path → digest of what they say
    secrets: tuple[tuple[str, bool, str], ...]  # those that the spec asks for: id, required, version
    named: tuple[str, ...]  # what `context` names that is no folder

    def paths(self, paths: Sequence[str]) -> Iterator[str]:
        """The files of the context out of all of the workspace's."""
        for start, stop in zip(self.files[::2], self.files[1::2], strict=True):
            yield from paths[start:stop]

    def rows(self, context: Sequence[Entry], parents: Mapping[TargetName, Wanted], secrets: Collection[str]) -> Iterator[Row]:
        """All facts.

        Args:
            context: the files sent with it.
            parents: what is wanted of targets that come before it.
            secrets: those that the site has.
        """
        yield from ((_GROUPS[group], label, value) for group, label, value in self.facts)
        yield from moving_facts(
            context,
            meanings=self.meanings,
            parents={parent: parents[parent].facts.fingerprint for parent in self.parents},
            secrets=[(name, required, version, name in secrets) for name, required, version in self.secrets],
        )

    def wanted(self, facts: Facts, tags: tuple[str, ...]) -> Wanted:
        """Fill the outline in.

        Args:
            facts: all of them.
            tags: its tags for people.
        """
        return Wanted(
            name=self.name,
            facts=facts,
            image=self.image,
            tags=tags,
            platform=self.platform,
            refresh=self.refresh,
            parents=self.parents,
            bases=self.bases,
            templates=self.templates,
            included_by=self.included_by,
            spec=self.spec,
        )


def runs(places: Iterable[int]) -> tuple[int, ...]:
    """Ascending places as starts and stops of runs without a gap."""
    found: list[int] = []
    for place in places:
        if found and found[-1] == place:
            found[-1] = place + 1
        else:
            found += (place, place + 1)
    return tuple(found)
