"""Says after a run how much was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .machine import COUNTS

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS["steps"]:
        failed = len(terminalreporter.getreports("failed")) if hasattr(terminalreporter, "getreports") else 0
        numbers = f"{COUNTS['steps']} steps in {COUNTS['runs']} runs, {COUNTS['applies']} applies, {COUNTS['builds']} builds"
        terminalreporter.write_line(f"never stale: {numbers}: {'FAILED' if failed else '0 stale, 0 needless'}")
