"""Every name on an engine that belongs to a spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasker_build.spec.model import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Every name that belongs to a spec."""

    projects: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    repositories: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec) -> Owned:
        """Collect the names; a stack or target that is switched off still owns what it made."""
        stacks = spec.stacks.values()
        projects = tuple(dict.fromkeys(spec.project_name(stack) for stack in stacks))
        networks = [name for stack in stacks for name in _names(stack.networks, spec.project_name(stack))]
        volumes = [name for stack in stacks for name in _names(stack.volumes, spec.project_name(stack))]
        repositories = [spec.image_name(target) for target in spec.targets.values()]
        return cls(
            projects=projects,
            networks=tuple(dict.fromkeys([*networks, *(f"{project}_default" for project in projects)])),
            volumes=tuple(dict.fromkeys(volumes)),
            repositories=tuple(dict.fromkeys(repositories)),
        )


def _names(declared: object, project: str) -> Iterable[str]:
    """Names on the engine of a stack's networks or volumes; what is external belongs to somebody else."""
    for key, value in declared.items() if isinstance(declared, dict) else ():
        options = value if isinstance(value, dict) else {}
        if not options.get("external"):
            yield str(options.get("name") or f"{project}_{key}")
