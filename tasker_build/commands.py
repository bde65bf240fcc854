"""The commands and what each does, and the completion of their names: a shell that waits at every key loads no command line."""

from __future__ import annotations

TYPE_CHECKING = False  # importing `typing` for it would take longer than the answer
if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS = {
    "render": "Write the Dockerfiles, compose files, scripts and configuration of the spec.",
    "plan": "Say what would be built, what not, and why.",
    "apply": "Build what the plan says, in the order of the graph.",
    "why": "Say why a target would be built or is kept, how two hang together, or where an image comes from.",
    "show": "Show a saved plan; needs no engine.",
    "ls": "List targets.",
    "check": "Check spec, templates and everything rendered; needs no engine for what needs none.",
    "lock": "Pin the bases by digest, move the pins, or say whether they stand.",
    "env": "Start, stop and look at the environments (stacks).",
    "db": "The database alone: start, psql, test, status, logs, reset, restore, stop.",
    "cleanup": "Remove what belongs to the spec, after showing it and asking.",
    "doctor": "Say what is installed, what is missing, and the command that helps.",
    "schema": "Print the JSON Schema of the spec, for editors.",
}


def complete(environment: Mapping[str, str]) -> str | None:
    """Answer a shell's question for the name of a command, in click's words; None for any other, which click answers."""
    shell = environment["_TASKER_BUILD_COMPLETE"].removesuffix("_complete")
    words = environment.get("COMP_WORDS", "").split()
    if shell not in {"bash", "zsh"} or environment.get("COMP_CWORD") != "1" or len(words) not in {1, 2}:
        return None
    begun = "".join(words[1:])
    if begun and not begun.isalpha():
        return None
    found = [name for name in COMMANDS if name.startswith(begun)]
    return "\n".join(f"plain,{name}" if shell == "bash" else f"plain\n{name}\n{COMMANDS[name]}" for name in found)
