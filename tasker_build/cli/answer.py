"""How a command answers: the option that chooses the form, one JSON document on standard output, or GitHub's annotations."""

from __future__ import annotations

import functools
import json
import os
import sys
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tasker_build.view.github import Annotation


def format_option(*forms: str) -> Callable[[Any], Any]:
    """The option `--format`; the first form is what people get."""
    return click.option("--format", "form", type=click.Choice(forms), default=forms[0], help="Form of the output.")


def asked_form(arguments: Sequence[str]) -> str:
    """The form a command line asks for, read without understanding the rest of it: mistakes are answered in that form, too."""
    form = ""
    words = [*arguments, ""]
    for word, following in pairwise(words):
        if word == "--":
            break
        form = following if word == "--format" else word.removeprefix("--format=") if word.startswith("--format=") else form
    return form


def say_document(document: dict[str, Any]) -> None:
    """Print a document: the whole answer of a command, after everything else it does."""
    click.echo(json.dumps(document, indent=2))


def documented(say: Callable[..., None]) -> Callable[[Any], Any]:
    """Give a command that does something the option `--format`: asked for JSON, it says its document once all is done.

    Args:
        say: called with what the command is called with, and with `done`, what it returned.
    """

    def wrap(run: Callable[..., Any]) -> Any:
        @functools.wraps(run)
        def wrapped(obj: Any, *, form: str, **options: Any) -> None:
            with _beside(form):
                done = run(obj, **options)
            if form == "json":
                say(obj, done=done, **options)

        return format_option("text", "json")(wrapped)

    return wrap


@contextmanager
def _beside(form: str) -> Iterator[None]:
    """Where standard output is for one document, let all else go to standard error, what the programs say that we call, too."""
    if form != "json":
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def annotate(annotations: Iterable[Annotation]) -> None:
    """Print annotations, with files named from the top of GitHub's checkout."""
    from tasker_build.view.github import commands  # noqa: PLC0415 - only GitHub needs it

    for line in commands(annotations, _from_the_top):
        click.echo(line)


def _from_the_top(file: str) -> str:
    top = os.environ.get("GITHUB_WORKSPACE")
    path = Path(file).resolve()
    return path.relative_to(Path(top).resolve()).as_posix() if top and path.is_relative_to(Path(top).resolve()) else file
