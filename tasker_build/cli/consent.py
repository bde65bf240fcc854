"""Asking before something is removed: a plain yes, or a word to type where data goes. Without an answer nothing happens."""

from __future__ import annotations

import sys

import click

from tasker_build.errors import RefusedError


def require(question: str, *, word: str = "", yes: bool, confirm: str) -> None:
    """Return only if the person agrees.

    Args:
        question: what is asked.
        word: what has to be typed; empty for a plain yes.
        yes: the caller passed --yes.
        confirm: the word the caller passed with --confirm.

    Raises:
        RefusedError: they do not, or there is nobody to ask.
    """
    if yes and (not word or confirm == word):
        return
    if yes and confirm:
        raise RefusedError(f"--confirm says `{confirm}`, not `{word}`; nothing was removed")
    agrees = f"--yes --confirm {word}" if word else "--yes"
    if not sys.stdin.isatty():
        raise RefusedError("there is no terminal to ask on; nothing was removed", hints=(f"{agrees} agrees",))
    if word:
        agreed = click.prompt(f"{question} Type {word} to agree", default="", show_default=False, err=True) == word
    else:
        agreed = click.confirm(question, default=False, err=True)
    if not agreed:
        raise RefusedError("cancelled; nothing was removed")
