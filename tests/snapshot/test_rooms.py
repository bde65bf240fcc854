"""The list of rooms is what the modules say of themselves."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY
from tests.unit.test_architecture import modules


def test_every_module_has_its_line() -> None:
    done = subprocess.run([sys.executable, "docs/gen_rooms.py", "--check"], cwd=REPOSITORY, check=False)
    assert done.returncode == 0, "python docs/gen_rooms.py"
    page = (REPOSITORY / "docs/rooms.md").read_text(encoding="utf-8")
    names = [name for name in modules() if (REPOSITORY / "tasker_build" / f"{name.replace('.', '/')}.py").exists()]
    assert [name for name in names if f"| `{name.rpartition('.')[2]}` |" not in page] == []
