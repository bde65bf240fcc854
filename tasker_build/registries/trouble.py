"""A registry that does not answer what it was asked, and how it failed."""

from __future__ import annotations

from enum import StrEnum

from tasker_build.errors import TaskerBuildError


class Trouble(StrEnum):
    """Kinds of failure; only the first two say that the image is not served."""

    MISSING = "missing"
    DENIED = "denied"
    LIMITED = "limited"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    NOBODY = "nobody to ask"  # the program that could ask is not here


class RegistryError(TaskerBuildError):
    """A registry that does not say what a reference stands for."""

    def __init__(self, message: str, trouble: Trouble, *, hints: tuple[str, ...] = ()) -> None:
        super().__init__(message, hints=hints)
        self.trouble = trouble
