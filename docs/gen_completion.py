"""Write tasker_build/completion.json, the options of every command, from the command line itself; `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tasker_build.cli import main
from tasker_build.commands import COMMANDS

TABLE = Path(__file__).parent.parent / "tasker_build" / "completion.json"


def text() -> str:
    """What the file should say."""
    context = click.Context(main, info_name="tasker-build", **main.context_settings)
    table = {name: _of(command, context) for name in COMMANDS if (command := main.get_command(context, name))}
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _of(command: click.Command, above: click.Context) -> dict[str, Any]:
    context = click.Context(command, above, command.name, **command.context_settings)
    found: dict[str, Any] = {"help": command.get_short_help_str()}
    if isinstance(command, click.Group):
        found["commands"] = {name: _of(command.commands[name], context) for name in command.list_commands(context)}
    options = [option for option in command.get_params(context) if isinstance(option, click.Option) and not option.hidden]
    found["options"] = [
        {
            "names": [*option.opts, *option.secondary_opts],
            "help": option.help or "",
            # One whose value may be left out is the shell's worst case: whether the next word is its own is not to be seen.
            "takes": "nothing" if option.is_flag or option.count else "?" if option._flag_needs_value else "value",  # noqa: SLF001
            "again": option.multiple,
        }
        for option in options
    ]
    return found


if __name__ == "__main__":
    if "--check" not in sys.argv:
        TABLE.write_text(text(), encoding="utf-8")
    elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != text():
        sys.exit(f"{TABLE.name} is behind the command line: python docs/gen_completion.py")
