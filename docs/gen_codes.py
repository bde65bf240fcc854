"""Write docs/codes.md from the registry of codes; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.codes import AREAS, KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasker_build.codes import Code

PAGE = Path(__file__).parent / "codes.md"


def page() -> str:
    """The page of codes."""
    lines = [
        "# Codes",
        "",
        "Written by docs/gen_codes.py from tasker_build/codes.py. `tasker-build explain CODE` prints one of them.",
        "Each code stands for one kind of mistake. With a problem of S, T, W, L or G nothing is rendered or built (exit code 3).",
        "The findings of `check` have names; [check.md](check.md) says how bad each is. `explain` also knows the rules of hadolint, shellcheck",
        "and `docker build --check`, and names the page of each.",
    ]
    for letter, area in AREAS.items():
        title = f"{letter}: {area}" if letter else "Findings of `check`"
        lines += ["", f"## {title}"]
        for code in KNOWN.values():
            if code.area == area:
                lines += _entry(code)
    return "\n".join(lines) + "\n"


def _entry(code: Code) -> Iterator[str]:
    yield from (
        "",
        f"### {code.name}",
        "",
        code.meaning,
        "",
        "```",
        *code.example.splitlines(),
        "```",
        "",
        f"**Cure:** {code.cure}",
    )


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE} is behind the registry: python docs/gen_codes.py")
