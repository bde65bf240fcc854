"""The commands and what each does, and the completion of words: a shell that waits at every key loads no command line."""

from __future__ import annotations

TYPE_CHECKING = False  # importing `typing` for it would take longer than the answer
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

COMMANDS = {
    "render": "Write the Dockerfiles, compose files, scripts and configuration of the spec.",
    "plan": "Say what would be built, what not, and why.",
    "apply": "Build what the plan says, in the order of the graph.",
    "why": "Say why a target would be built or is kept, how two hang together, or where an image comes from.",
    "show": "Show a saved plan; needs no engine.",
    "ls": "List targets.",
    "check": "Check spec, templates and everything rendered; needs no engine for what needs none.",
    "lock": "Pin bases by digest and tools by checksum, move the pins, or say whether they stand.",
    "env": "Start, stop and look at the environments (stacks).",
    "db": "The database alone: start, psql, test, status, logs, reset, restore, stop.",
    "cleanup": "Remove what belongs to the spec, after showing it and asking.",
    "doctor": "Say what is installed, what is missing, and the command that helps.",
    "explain": "Say what a code of a problem or a finding means, with an example and the cure.",
    "schema": "Print the JSON Schema of the spec, for editors.",
}


def complete(environment: Mapping[str, str]) -> str | None:
    """Answer a shell's question for the name of a command or of an option, in click's words; None for any other, which click
    answers.
    """
    shell = environment["_TASKER_BUILD_COMPLETE"].removesuffix("_complete")
    words = environment.get("COMP_WORDS", "").split()[1:]
    place = environment.get("COMP_CWORD", "")
    if shell not in {"bash", "zsh"} or not place.isdigit() or len(words) not in {int(place) - 1, int(place)}:
        return None
    begun = words[int(place) - 1] if len(words) == int(place) else ""
    found = _candidates(words[: int(place) - 1], begun)
    if found is None:
        return None
    return "\n".join(f"plain,{name}" if shell == "bash" else f"plain\n{name}\n{about or '_'}" for name, about in found)


def _candidates(earlier: Sequence[str], begun: str) -> Sequence[tuple[str, str]] | None:
    """Names that go on from `begun`, each with what it means; None where that takes more than a look into a table."""
    if not earlier:
        return _named(COMMANDS, begun) if not begun or begun.isalpha() else None
    if earlier[0] not in COMMANDS or not (begun.startswith("-") or len(earlier) == 1):
        return None
    known = _table()[earlier[0]]
    if "commands" in known:
        if len(earlier) == 1:
            return _named({name: row["help"] for name, row in known["commands"].items()}, begun) if begun.isalpha() else None
        known, earlier = known["commands"].get(earlier[1], {"options": []}), earlier[1:]
    return _options(known["options"], earlier[1:], begun) if begun.startswith("-") else None


def _named(names: Mapping[str, str], begun: str) -> Sequence[tuple[str, str]]:
    return [(name, about) for name, about in names.items() if name.startswith(begun)]


def _options(rows: Sequence[Mapping[str, Any]], earlier: Sequence[str], begun: str) -> Sequence[tuple[str, str]] | None:
    """Options that are not given yet; None where a word may be another's value."""
    by_name = {name: row for row in rows for name in row["names"]}
    given: set[str] = set()
    words = iter(earlier)
    for word in words:
        if word.startswith("-"):
            row = by_name.get(word, {"takes": "?"})
            if row["takes"] == "?" or (row["takes"] == "value" and next(words, None) is None):
                return None
            given.update(() if row["again"] else row["names"])
    return [(name, row["help"]) for row in rows for name in row["names"] if name.startswith(begun) and name not in given]


def _table() -> Mapping[str, Any]:
    """The options of every command; written by docs/gen_completion.py from the command line itself."""
    import json  # noqa: PLC0415 - names of commands need none
    import os  # noqa: PLC0415

    with open(os.path.join(os.path.dirname(__file__), "completion.json"), encoding="utf-8") as file:
        table: Mapping[str, Any] = json.load(file)
    return table
