"""Expansions of arguments, compared with what BuildKit makes of the same words."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasker_build.expansion import ExpansionError, expand

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

VALUES: dict[str, str | None] = {"A": "abc/def/abc", "E": "", "B": "x y", "U": None}
COUNT = int(os.environ.get("TASKER_EXPANSIONS", "300"))
IMAGE = "tasker-build-test-expansions:1"


def word(pick: random.Random, depth: int = 0) -> str:
    """A random word with expansions, quotes and escapes, nested two deep."""
    parts = []
    for _ in range(pick.choice([1, 1, 2, 3])):
        name = pick.choice("ABEU")
        inner = word(pick, depth + 1) if depth < 2 else pick.choice(["", "z", "q-r"])
        pattern = pick.choice(["a*c", "*/", "?", "abc", "\\*", "x", "[a]", "."])
        parts.append(
            pick.choice(
                [
                    f"${name}",
                    f"${{{name}}}",
                    f"${{{name}{pick.choice(['-', '+', ':-', ':+'])}{inner}}}",
                    f"${{{name}{pick.choice(['#', '##', '%', '%%'])}{pattern.replace('/', '')}}}",
                    f"${{{name}{pick.choice(['/', '//'])}{pattern.replace('/', '')}/{pick.choice(['', 'Q', '$B'])}}}",
                    pick.choice(["\\$A", "\\\\", "$$", "plain", "a.b-c", "=", "@"]),
                    f'"{pick.choice(["$A", "in side", chr(92) + "$A", "x${U:-y}"])}"',
                    f"'{pick.choice(['$A', 'in side', 'x'])}'",
                ]
            )
        )
    return "".join(parts)


def built(folder: Path, words: list[str]) -> dict[str, str]:
    lines = ["FROM scratch", "ARG A=abc/def/abc", "ARG E=", 'ARG B="x y"', *(f"ENV V{i}={text}" for i, text in enumerate(words))]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    done = subprocess.run(["docker", "buildx", "build", "-q", "-t", IMAGE, "--load", str(folder)], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 0, done.stderr[-2000:]
    done = subprocess.run(["docker", "image", "inspect", IMAGE], check=True, capture_output=True, text=True)
    subprocess.run(["docker", "image", "rm", IMAGE], check=True, capture_output=True)
    return dict(row.split("=", 1) for row in json.loads(done.stdout)[0]["Config"]["Env"])


def test_random_words_are_what_the_frontend_makes_of_them(tmp_path: Path) -> None:
    seed = int(os.environ.get("TASKER_SEED", random.SystemRandom().randrange(10**9)))
    sys.stdout.write(f"seed {seed}\n")
    words = [word(random.Random(f"{kind}{i}")) for kind in ("fixed", str(seed)) for i in range(COUNT // 2)]  # noqa: S311
    ours: dict[str, str] = {}
    for text in words:
        try:
            ours[text] = expand(text, VALUES)
        except ExpansionError as error:
            ours[text] = f"error: {error}"
    readable = [text for text in words if not ours[text].startswith("error: ")]
    assert len(readable) > COUNT // 2
    theirs = built(tmp_path, readable)
    assert {text: (ours[text], theirs[f"V{i}"]) for i, text in enumerate(readable) if ours[text] != theirs[f"V{i}"]} == {}
