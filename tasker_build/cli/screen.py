"""What `apply` shows while it builds: progress and notes on standard error, the verdict where the answer belongs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from tasker_build.view.apply import failures_text, note_text, verdict
from tasker_build.view.progress import ProgressView
from tasker_build.work.news import Note
from tasker_build.work.order import Outcome

if TYPE_CHECKING:
    from tasker_build.work.news import News


class BuildScreen:
    """Shows what happens as it happens."""

    def __init__(self, progress: str, *, to_stderr: bool) -> None:
        terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        animate = terminal and (progress == "tty" or (progress == "auto" and not os.environ.get("CI")))
        self.quiet, self.to_stderr = progress == "quiet", to_stderr
        self.progress = ProgressView(sys.stderr, animate=animate)

    def tell(self, news: News) -> None:
        """Show one piece of news."""
        if isinstance(news, Outcome):
            self.progress.close()
            click.echo(verdict(news), err=self.to_stderr)
            for text in failures_text(news):
                click.echo(text, err=True)
        elif isinstance(news, Note):
            self.progress.close()
            click.echo(note_text(news), err=True)
        elif not self.quiet:
            self.progress.show(news)
