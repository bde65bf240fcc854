"""How a command answers: the option that chooses the form, one JSON document on standard output, or GitHub's annotations."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


def annotate(annotations: Iterable[Annotation]) -> None:
    """Print annotations, with files named from the top of GitHub's checkout."""
    from tasker_build.view.github import commands  # noqa: PLC0415 - only GitHub needs it

    for line in commands(annotations, _from_the_top):
        click.echo(line)


def _from_the_top(file: str) -> str:
    top = os.environ.get("GITHUB_WORKSPACE")
    path = Path(file).resolve()
    return path.relative_to(Path(top).resolve()).as_posix() if top and path.is_relative_to(Path(top).resolve()) else file
