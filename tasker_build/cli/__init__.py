"""The command line: reads arguments, calls the core, shows what comes back. Only here an error becomes an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tasker_build.commands import COMMANDS
from tasker_build.errors import Exit, TaskerBuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

    from tasker_build.engine.docker import DockerEngine
    from tasker_build.project import Project

EXIT_CODES = """\b
Exit codes:
  0  done, or nothing to do          5  refused for safety
  1  a build or engine step failed  64  bad command line
  2  differences (where asked for)  70  a bug in tasker-build
  3  bad spec, template, selection 130  interrupted
  4  no engine, buildx or compose  143  terminated"""


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; like KeyboardInterrupt it unwinds everything."""


class LazyGroup(click.Group):
    """Knows every command's name and help without importing any of them: `--help` and completion stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tasker_build.cli.{cmd_name}")
        command: click.Command = module.command
        command.help = command.help or COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from tasker_build.errors import nearest  # noqa: PLC0415

            hints = "".join(f" {hint}" for hint in nearest(args[0], COMMANDS)) if args else ""
            raise click.UsageError(error.message + hints, ctx) from error


@dataclass(slots=True)
class Settings:
    """Options that come before the command."""

    files: tuple[Path, ...]
    workspace: Path | None
    _engine: DockerEngine | None = field(default=None, init=False)

    def project(self, version: str = "latest") -> Project:
        """Open the project."""
        from tasker_build.project import Project  # noqa: PLC0415
        from tasker_build.spec.read import DEFAULT_SPEC  # noqa: PLC0415

        return Project.open(self.files or (Path(DEFAULT_SPEC),), version=version, workspace=self.workspace)

    def engine(self, builder: str | None = None) -> DockerEngine:
        """The engine of this command: found once, the same for whoever asks. Says nothing of whether it answers.

        Raises:
            EngineError: the current context cannot be read.
        """
        from tasker_build.engine.docker import DockerEngine  # noqa: PLC0415

        if self._engine is None:
            self._engine = DockerEngine.connect(builder) if builder else DockerEngine.connect()
        return self._engine


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Spec file; overlays follow the base. Default: stacks.yaml.",
)
@click.option("-C", "--directory", type=click.Path(path_type=Path), help="Work as if started in this folder.")
@click.option("--workspace", type=click.Path(path_type=Path), help="The folder being built, instead of the spec's.")
@click.version_option(package_name="tasker-build", message="tasker-build %(version)s")
@click.pass_context
def main(ctx: click.Context, files: tuple[Path, ...], directory: Path | None, workspace: Path | None) -> None:
    r"""Build images from one declarative spec: rendered files, an explained plan, a real build.

    \b
    Start here:  tasker-build check && tasker-build plan && tasker-build apply
    """
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise click.UsageError(f"cannot go to {directory}: {error.strerror}") from error
    ctx.obj = Settings(files, workspace)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    with suppress(ValueError, AttributeError):
        signal.signal(signal.SIGHUP, _terminate)
    try:
        result: Any = main.main(args=list(arguments), prog_name="tasker-build", standalone_mode=False)
        sys.stdout.flush()
    except TaskerBuildError as error:
        _say(error.draw())
        return _answer(arguments, error.exit_code, error.message, error)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return _answer(arguments, Exit.USAGE, error.format_message())
    except (KeyboardInterrupt, click.exceptions.Abort):
        _say("interrupted")
        return _answer(arguments, Exit.INTERRUPTED, "interrupted")
    except Terminated:
        _say("terminated")
        return _answer(arguments, Exit.TERMINATED, "terminated")
    except (BrokenPipeError, SystemExit):
        # click ends the process itself when the reader is gone; nothing else of ours leaves that way.
        # The reader went away (`| head`); Python must not complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception:  # noqa: BLE001 - a bug of ours: say so, keep the traceback
        _bug()
        return _answer(arguments, Exit.BUG, "this is a bug in tasker-build")
    return int(result) if isinstance(result, int) else Exit.OK


def _answer(arguments: Sequence[str], code: Exit, message: str, error: TaskerBuildError | None = None) -> Exit:
    """Whoever asked for JSON gets one document whatever happens, and GitHub its annotations; standard error stays for people."""
    from tasker_build.cli.answer import annotate, asked_form, say_document  # noqa: PLC0415 - only on the way to an error

    form = asked_form(arguments)
    # The reader may be what went away.
    with suppress(OSError):
        if form == "json":
            from tasker_build.view.document import error_document  # noqa: PLC0415

            say_document(error_document(code, message, error))
        elif form == "github" and error is not None:
            from tasker_build.view.github import error_annotations  # noqa: PLC0415

            annotate(error_annotations(error))
    return code


def _terminate(number: int, frame: Any) -> NoReturn:  # noqa: ARG001
    raise Terminated


def _say(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")


def _bug() -> None:
    import tempfile  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    if os.environ.get("TASKER_BUILD_DEBUG"):
        traceback.print_exc()
        return
    with tempfile.NamedTemporaryFile("w", prefix="tasker-build-", suffix=".traceback", delete=False) as file:
        traceback.print_exc(file=file)
    _say(f"error: this is a bug in tasker-build; its traceback is in {file.name}\nhint: TASKER_BUILD_DEBUG=1 shows it here")
