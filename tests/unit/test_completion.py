"""Names of commands and options are completed without a command line, in the very words that click would use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tasker_build.commands import COMMANDS, complete

_CLICK = "import sys; sys.argv = ['tasker-build']; from tasker_build.cli import run; sys.exit(run([]))"


def asked(shell: str, words: str, number: int = 1) -> dict[str, str]:
    return {"_TASKER_BUILD_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("words", ["tasker-build ", "tasker-build p", "tasker-build plan", "tasker-build x"])
def test_the_answer_is_clicks(shell: str, words: str) -> None:
    answer = complete(asked(shell, words))
    done = subprocess.run(
        [sys.executable, "-c", _CLICK], env=os.environ | asked(shell, words), capture_output=True, text=True, check=True
    )
    assert answer is not None
    assert done.stdout == answer + "\n"


def test_every_command_is_offered() -> None:
    assert (complete(asked("bash", "tasker-build")) or "").split() == [f"plain,{name}" for name in COMMANDS]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    "words",
    [
        "plan --",
        "plan -",
        "plan build --off",
        "plan --all --verbose --",
        "plan --exclude x --since y --",
        "lock --x",
        "db s",
        "db status --",
        "env up integration --p",
        "cleanup basic --",
    ],
)
def test_options_are_clicks(shell: str, words: str) -> None:
    question = asked(shell, f"tasker-build {words}", len(words.split()))
    answer = complete(question)
    done = subprocess.run([sys.executable, "-c", _CLICK], env=os.environ | question, capture_output=True, text=True, check=True)
    assert answer is not None
    assert done.stdout == answer + "\n"


@pytest.mark.parametrize(
    "question",
    [
        asked("bash", "tasker-build plan --format", 3),
        asked("bash", "tasker-build plan --format j", 3),
        asked("bash", "tasker-build plan --graph --al", 3),
        asked("bash", "tasker-build plan --nothing --al", 3),
        asked("bash", "tasker-build plan bui", 2),
        asked("bash", "tasker-build -", 1),
        asked("bash", "tasker-build -C x pl", 3),
        asked("bash", "tasker-build 'p", 1),
        asked("fish", "tasker-build p", 1),
        asked("elvish", "tasker-build p", 1),
        {"_TASKER_BUILD_COMPLETE": "bash_source"},
    ],
)
def test_every_other_question_is_clicks(question: dict[str, str]) -> None:
    assert complete(question) is None


def test_options_are_completed() -> None:
    code = "import sys; sys.argv = ['tasker-build']; from tasker_build.__main__ import main; main()"
    environment = os.environ | asked("bash", "tasker-build plan --offl", 2)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,--offline\n"
