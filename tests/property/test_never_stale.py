"""Whatever is edited, moved or made by hand: after an apply every image is what a clean build gives, and nothing was built in vain.

Here on an engine in memory that interprets Dockerfiles; tests/e2e/test_never_stale.py runs the same machine on a real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings

from .interpreter import InterpretingEngine, Layers, interpret
from .machine import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

# `make test-proof` sets 200: 10 000 steps.
EXAMPLES = int(os.environ.get("TASKER_EXAMPLES", "8"))
STEPS = 50
# Making a failing run shorter takes many times as long as a long proof.
PHASES = (Phase.generate,) if "TASKER_EXAMPLES" in os.environ else tuple(Phase)


class Stack(Machine):
    """The machine on an engine in memory."""

    engine: InterpretingEngine
    # Nothing runs here that a machine would have to understand.
    platforms = (*Machine.platforms, next(p for p in ("linux/amd64", "linux/arm64") if p not in Machine.platforms))

    def start(self) -> None:
        self.engine = InterpretingEngine()
        self.clean_images: dict[str, Layers] = {}

    def set_base(self, name: str, data: bytes) -> None:
        layers = Layers({"/t/base": data})
        self.engine.store(layers, [self.reference(name)], None)
        self.clean_images[self.reference(name)] = layers

    def clean(self, target: str, text: str, files: Mapping[str, bytes], args: Mapping[str, str], stage: str | None) -> str:
        made = interpret(text, files, self.clean_images, args, stage)
        self.clean_images[f"{self.project}-{target}:latest"] = made
        return made.digest

    def content(self, image_id: str) -> str:
        return self.engine.layers[image_id].digest

    def forge(self, reference: str) -> None:
        image = self.engine.stored[self.engine.names[reference]]
        layers = self.engine.layers[image.id].copy()
        layers.files["/by-hand"] = b"1"
        self.engine.store(layers, [reference], image.label)

    def untag(self, reference: str) -> None:
        self.engine.remove(reference)


Stack.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
    derandomize="TASKER_EXAMPLES" not in os.environ,  # a proof tries other steps every time; --hypothesis-seed repeats one
)
TestNeverStale = Stack.TestCase


def test_the_interpreter_knows_nothing_of_fingerprints() -> None:
    code = (
        "import sys, tests.property.interpreter; print(*sorted(name for name in sys.modules if name.startswith('tasker_build')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) == {
        "tasker_build",
        "tasker_build.context",
        "tasker_build.engine",
        "tasker_build.engine.api",
        "tasker_build.engine.memory",
        "tasker_build.errors",
    }
