"""The handlers, by the names that config/tasks/ uses."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from tasker_python_worker.step import Step, StepError

if TYPE_CHECKING:
    from tasker_python_worker.step import Handler

LONGEST_WORK_MS = 30_000
FEWEST_POINTS = 4  # two to fit a line to, two to evaluate it


def normalize(step: Step) -> Any:
    """Scales numbers to 0 … 1. `context.work_ms` makes it take its time: for trying out what happens to work in flight."""
    time.sleep(min(max(step.context.get("work_ms", 0), 0), LONGEST_WORK_MS) / 1000)
    numbers = step.numbers([3, 1, 4, 1, 5])
    low, span = min(numbers), max(numbers) - min(numbers)
    return {"numbers": [(number - low) / span if span else 0 for number in numbers]}


def describe(step: Step) -> Any:
    numbers = step.result_of("normalize")["numbers"]
    return {"count": len(numbers), "mean": statistics.fmean(numbers), "deviation": statistics.pstdev(numbers)}


def factorize(step: Step) -> Any:
    """Prime factors; for a task that goes through several languages."""
    rest, factors, factor = abs(step.result_of("start")["value"]), [], 2
    while factor * factor <= rest:
        if rest % factor:
            factor += 1
        else:
            factors.append(factor)
            rest //= factor
    return {"factors": factors + [rest] * (rest > 1)}


def gather(step: Step) -> Any:
    """All that the steps before found out, side by side."""
    return {"found": dict(sorted(step.dependency_results.items()))}


def extract(step: Step) -> Any:
    """`context.busy_attempts` makes it fail first."""
    if step.attempt <= step.context.get("busy_attempts", 0):
        raise StepError("the source is busy")
    text = step.context.get("csv", "city,people\nBern,134000\nThun,43000\n,7\n")
    head, *lines = [line.split(",") for line in text.strip().split("\n")]
    return {"rows": [dict(zip(head, line, strict=False)) for line in lines], "attempts": step.attempt}


def clean(step: Step) -> Any:
    rows = step.result_of("extract")["rows"]
    whole = [row for row in rows if all(row.values())]
    return {"rows": whole, "dropped": len(rows) - len(whole)}


def aggregate(step: Step) -> Any:
    rows = step.result_of("clean")["rows"]
    numbers = [int(value) for row in rows for value in row.values() if value.isdigit()]
    return {"rows": len(rows), "sum": sum(numbers)}


def split(step: Step) -> Any:
    points = step.context.get("points", [[x, 2 * x + 1] for x in range(10)])
    if len(points) < FEWEST_POINTS:
        raise StepError("context.points must hold more points", retryable=False)
    return {"train": points[0::2], "test": points[1::2]}


def fit(step: Step) -> Any:
    """Least squares."""
    train = step.result_of("split")["train"]
    slope, intercept = statistics.linear_regression([x for x, _ in train], [y for _, y in train])
    return {"slope": slope, "intercept": intercept}


def evaluate(step: Step) -> Any:
    model = step.result_of("fit")
    errors = [(model["slope"] * x + model["intercept"] - y) ** 2 for x, y in step.result_of("split")["test"]]
    return {"mean_squared_error": statistics.fmean(errors)}


def quartiles(step: Step) -> Any:
    numbers = step.numbers([12, 7, 3, 9, 15, 4])
    return {"quartiles": statistics.quantiles(numbers, n=4) if len(numbers) > 1 else numbers * 3}


def histogram(step: Step) -> Any:
    bins: dict[str, int] = {}
    for number in sorted(step.numbers([12, 7, 3, 9, 15, 4])):
        start = int(number // 5 * 5)
        bins[f"{start} to {start + 5}"] = bins.get(f"{start} to {start + 5}", 0) + 1
    return {"bins": bins}


def report(step: Step) -> Any:
    return {**step.result_of("quartiles"), **step.result_of("histogram")}


HANDLERS: dict[str, Handler] = {
    "python_workflows.normalize": normalize,
    "python_workflows.describe": describe,
    "python_workflows.factorize": factorize,
    "python_workflows.gather": gather,
    "data_processing.extract": extract,
    "data_processing.clean": clean,
    "data_processing.aggregate": aggregate,
    "ml_pipelines.split": split,
    "ml_pipelines.fit": fit,
    "ml_pipelines.evaluate": evaluate,
    "analytics.quartiles": quartiles,
    "analytics.histogram": histogram,
    "analytics.report": report,
}
