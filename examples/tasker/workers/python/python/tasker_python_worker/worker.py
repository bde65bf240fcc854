"""Threads that ask the Rust part for steps, do them, and hand in what became of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from tasker_python_worker._core import Core
from tasker_python_worker.step import Step, StepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_python_worker.step import Handler

THREADS = 4
PATIENCE_SECONDS = 1.0


class Worker:
    """Does steps with handlers by name; the word before the dot of a name is its namespace."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers

    def run(self) -> int:
        """Works until a signal; returns the exit code of the program."""
        namespaces = list(dict.fromkeys(name.split(".")[0] for name in self.handlers))
        core = Core(json.dumps({"namespaces": namespaces, "handlers": list(self.handlers), "threads": THREADS}))
        _stop_on_signals(core)
        threads = [threading.Thread(target=self._work, args=(core,), name=f"step-{i}") for i in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            # Python calls signal handlers between two steps of the main thread, so it must not wait for ever.
            while thread.is_alive():
                thread.join(0.2)
        try:
            core.wait()
        except RuntimeError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        return 0

    def answer(self, step: Step) -> dict[str, Any]:
        """What becomes of a step."""
        try:
            return {"result": self.handlers[step.handler](step)}
        except StepError as error:
            return {"error": str(error), "retryable": error.retryable}
        except Exception as error:  # noqa: BLE001 - a handler's mistake ends this attempt, not the worker
            return {"error": f"{type(error).__name__}: {error}", "retryable": True}

    def _work(self, core: Core) -> None:
        while True:
            try:
                offer = core.next(PATIENCE_SECONDS)
            except StopIteration:
                return
            if offer is not None:
                step = Step.of(json.loads(offer))
                core.complete(step.id, _written(self.answer(step)))


def _written(answer: dict[str, Any]) -> str:
    try:
        return json.dumps(answer, allow_nan=False)
    except (TypeError, ValueError) as error:
        return json.dumps({"error": f"the result is no JSON: {error}", "retryable": False})


def _stop_on_signals(core: Core) -> None:
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()
        core.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
