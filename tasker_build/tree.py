"""A folder as people draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def draw_tree(root: str, paths: Iterable[str], notes: Mapping[str, str] | None = None) -> str:
    """Draw paths as a tree below `root`, folders first; `notes` are comments by path, a folder's with a slash at its end."""
    tree: dict[str, Any] = {}
    for path in paths:
        place = tree
        *folders, name = path.split("/")
        for folder in folders:
            place = place.setdefault(folder + "/", {})
        place[name] = None
    rows = [(f"{root}/", ""), *_rows(tree, "", "", notes or {})]
    width = max(len(text) for text, _ in rows) + 2
    return "\n".join(f"{text:<{width}}# {note}" if note else text for text, note in rows)


def _rows(tree: Mapping[str, Any], indent: str, above: str, notes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    names = sorted(tree, key=lambda name: (tree[name] is None, name))
    for name in names:
        last = name == names[-1]
        path = above + name
        yield f"{indent}{'└── ' if last else '├── '}{name}", notes.get(path, "")
        if tree[name] is not None:
            yield from _rows(tree[name], indent + ("    " if last else "│   "), path, notes)
