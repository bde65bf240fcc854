"""What a shell is told when it completes a word of the selection language: kinds, the project's own among them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

_METHOD = "kind"


def complete_selection(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Go on with `kind:`; any other word of a selection is left to the reader."""
    earlier = tuple(ctx.params.get(parameter.name or "") or ())
    if incomplete.startswith(f"{_METHOD}:"):
        start, begun = f"{_METHOD}:", incomplete.partition(":")[2]
    elif earlier[-2:] == (_METHOD, ":") or (earlier[-1:] == (_METHOD,) and incomplete == ":"):
        # bash takes words apart at colons.
        start, begun = "", incomplete.removeprefix(":")
    else:
        return []
    return [CompletionItem(start + name, help=about) for name, about in _kinds(ctx).items() if name.startswith(begun)]


def _kinds(ctx: click.Context) -> Mapping[str, str]:
    """Name → what it is for, as the spec on the command line would have it."""
    from tasker_build.errors import TaskerBuildError  # noqa: PLC0415 - a shell that asks for anything else waits for none of it
    from tasker_build.spec.read import DEFAULT_SPEC  # noqa: PLC0415
    from tasker_build.work.language import language_here  # noqa: PLC0415

    given = ctx.find_root().params
    folder = Path(given.get("directory") or ".")
    with suppress(TaskerBuildError):
        files = [folder / file for file in given.get("files") or (DEFAULT_SPEC,)]
        return {name: kind.description for name, kind in language_here(files).kinds.items()}
    return {}
