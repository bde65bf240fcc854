"""What earlier runs found out, kept by what it follows from. It saves time and decides nothing: all of it may be deleted."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tasker_build.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tasker_build.workspace import Workspace

Read = dict[str, str]
"""Files of the workspace that say how it is built → the digest of what they said."""


class Memo:
    """Plain values by name and key: the key is a digest of all that is known before the value is made."""

    def __init__(self) -> None:
        self._cache = Cache("outlines")

    def get(self, name: str, make: Callable[[], Any], is_current: Callable[[Any], bool] | None = None) -> Any:
        """Return the kept value, or make and keep it.

        Args:
            name: what it is, and its key.
            make: makes it: dicts, tuples, lists, texts, bytes and numbers.
            is_current: whether a value still holds; one that does not hold as soon as it is made is not kept.
        """
        kept = self._cache.load(name)
        if kept is not None and (is_current is None or is_current(kept)):
            return kept
        made = make()
        if is_current is None or is_current(made):
            self._cache.save(name, made)
        return made

    def follow(self, name: str, workspace: Workspace, make: Callable[[], Any]) -> tuple[Read, Any]:
        """Return a value that follows from what files of the workspace say, and what they said.

        It holds while they still say so.
        """

        def made() -> tuple[Read, Any]:
            value = make()
            return {path: workspace.digest(path) for path in workspace.was_read}, value

        def is_current(kept: tuple[Mapping[str, str], Any]) -> bool:
            return all(workspace.digest(path) == digest for path, digest in kept[0].items())

        read, value = self.get(name, made, is_current)
        return read, value


def key_of(words: Iterable[bytes]) -> str:
    """Digest words to a key; lengths keep ("ab", "c") apart from ("a", "bc")."""
    hasher = sha256()
    for word in words:
        hasher.update(b"%d:" % len(word))
        hasher.update(word)
    return hasher.hexdigest()
