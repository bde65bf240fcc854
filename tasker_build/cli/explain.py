"""`tasker-build explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasker_build.cli.answer import format_option, say_document
from tasker_build.codes import KNOWN, Code, find, foreign
from tasker_build.errors import Exit, nearest
from tasker_build.view.document import document

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a shell asks

    begun = incomplete.lower()
    return [CompletionItem(name, help=code.meaning) for name, code in KNOWN.items() if name.lower().startswith(begun)]


@click.command("explain")
@click.argument("code", shell_complete=_complete)
@format_option("text", "json")
def command(code: str, form: str) -> int:
    """Say what a code such as S015, or a finding such as early-value, means and how to get rid of it."""
    known = find(code)
    rule = foreign(code)
    if known is None and rule is None:
        hints = nearest(code, KNOWN) or ("docs/codes.md lists all codes",)
        raise click.UsageError(f"unknown code `{code}`: {', '.join(hints)}")
    if form == "json":
        say_document(_data(code, known, rule))
    elif known is not None:
        click.echo(_text(known))
    elif rule is not None:
        click.echo(f"{code} is a rule of {rule[0]}: {rule[1]}")
    return Exit.OK


def _text(code: Code) -> str:
    example = "\n".join(f"    {line}" for line in code.example.splitlines())
    return f"{code.name} ({code.area}): {code.meaning}\n\nExample:\n{example}\n\nCure: {code.cure}"


def _data(name: str, code: Code | None, rule: tuple[str, str] | None) -> dict[str, object]:
    return document(
        "explain",
        code=code.name if code else name,
        checker=rule[0] if code is None and rule else None,
        page=rule[1] if code is None and rule else None,
        area=code.area if code else None,
        meaning=code.meaning if code else None,
        example=code.example if code else None,
        cure=code.cure if code else None,
    )
