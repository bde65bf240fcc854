"""What handlers get, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class StepError(Exception):
    """A step that was not done. `retryable` says whether another attempt may do better."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt at a step; `attempt` counts from 1."""

    id: int
    handler: str
    attempt: int
    context: dict[str, Any]
    dependency_results: dict[str, Any]

    @classmethod
    def of(cls, offer: dict[str, Any]) -> Step:
        """The step that the Rust part speaks of."""
        return cls(*(offer[name] for name in ("id", "handler", "attempt", "context", "dependency_results")))

    def result_of(self, step: str) -> Any:
        """The result of a step that this one depends on."""
        if step not in self.dependency_results:
            raise StepError(f"there is no result of step '{step}'", retryable=False)
        return self.dependency_results[step]

    def numbers(self, default: list[float]) -> list[float]:
        """`context.numbers`: at least one number."""
        numbers = self.context.get("numbers", default)
        if not numbers or not all(isinstance(number, int | float) for number in numbers):
            raise StepError("context.numbers must be a list of numbers, at least one", retryable=False)
        return list(numbers)


Handler = Callable[[Step], Any]
