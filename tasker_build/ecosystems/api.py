"""What an ecosystem is: one family of sources with its tools, behind one protocol. Names none of them.

The rest of the package asks these questions and knows no answer. Whoever adds an ecosystem answers those that matter to it; what
a class leaves out stays as it is here and means "nothing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasker_build.ecosystems.closure import Asked, Closure
    from tasker_build.errors import Problem
    from tasker_build.spec.fields import Key
    from tasker_build.spec.model import Spec


class Ecosystem(Protocol):
    """One family of sources: Cargo, PostgreSQL, …"""

    name: str
    """What it is called: by kinds that belong to it, and as the key of a target that holds its selection."""
    selection: Key | None = None
    """The row of a target that says what is built; None: there is nothing to choose."""
    settings: tuple[tuple[str, Key], ...] = ()
    """Further rows of `toolchain`, by key."""
    jobs_secret: str = ""
    """The build secret that holds how many compilers may run at once; a secret's value is in no cache key of a step."""

    def scan(self, paths: Sequence[str], read: Callable[[str], bytes]) -> Any:
        """Read the manifests of a workspace.

        Args:
            paths: all of its files, sorted.
            read: gives the content of one; what it is asked for decides when this is done again.

        Returns:
            The model that `closure` and templates work with; None where the workspace has nothing of this ecosystem.

        Raises:
            SpecError: manifests with mistakes.
        """
        return None

    def closure(self, asked: Asked, problems: list[Problem]) -> Closure:
        """Say what one target needs of the workspace.

        Args:
            asked: the target and all that may be looked at.
            problems: takes mistakes.
        """
        return asked.plain

    def meaning(self, path: str, data: bytes) -> str | None:
        """Digest of what a manifest says, whatever its layout and comments; None: its bytes count."""
        return None

    def secrets(self, spec: Spec) -> Iterable[str]:
        """Build secrets that go with every target of this ecosystem."""
        return ()

    def tools(self, spec: Spec) -> Mapping[str, str]:
        """Tools that targets fetch without the spec naming them: name → reference, as in `tools`."""
        return {}

    def offers(self, spec: Spec, model: Any) -> Mapping[str, Any]:
        """Names that every template may use: values and functions."""
        return {}

    def filters(self) -> Mapping[str, Callable[..., str]]:
        """Filters that templates may use."""
        return {}

    def check(self, spec: Spec) -> Iterator[Problem]:
        """Mistakes that the whole of a spec shows before the workspace is looked at."""
        return iter(())
