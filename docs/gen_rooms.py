"""Write docs/rooms.md, a line for each module, from the first lines of the modules; `--check` only compares."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from tasker_build.commands import COMMANDS

PAGE = Path(__file__).parent / "rooms.md"
PACKAGE = Path(__file__).parent.parent / "tasker_build"
_COMMAND = re.compile(r"`tasker-build (\w+)`\.")


def page() -> str:
    """The page of rooms."""
    lines = [
        "# Rooms: what each module is",
        "",
        "Written by docs/gen_rooms.py from the first paragraph of each module. [design.md](design.md) says how they work together.",
    ]
    for folder in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
        name = folder.relative_to(PACKAGE.parent).as_posix()
        about = _about(folder / "__init__.py") if folder != PACKAGE and (folder / "__init__.py").exists() else ""
        lines += ["", f"## {name}/", "", *([about, ""] if about else []), "| module | what it is |", "|---|---|"]
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"| `{path.stem}` | {_about(path)} |")
    return "\n".join(lines) + "\n"


def _about(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")
    command = _COMMAND.fullmatch(first)
    return f"{first} {COMMANDS[command[1]]}" if command else first


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE} is behind the modules: python docs/gen_rooms.py")
