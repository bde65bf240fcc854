"""The registry of codes: complete, used, one meaning each; its examples do what they say."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import defaultdict

import jsonschema
import pytest

from tasker_build.caching import LEVELS
from tasker_build.cli import main, run
from tasker_build.codes import AREAS, CODES, FINDINGS, KNOWN, find, foreign
from tasker_build.errors import SpecError
from tests.conftest import HEAD, REPOSITORY, load
from tests.unit.test_architecture import modules

# One mistake that several rooms can see.
SEVERAL_ROOMS = {"S000", "S009", "S011", "S030", "S031", "S036", "S038"}


def used() -> dict[str, set[str]]:
    """Code → rooms that report it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if name != "codes" and isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z]\d{3}", str(node.value)):
                found[str(node.value)].add(name.split(".")[0])
    return found


def test_every_code_is_in_the_registry_and_every_entry_is_used() -> None:
    assert sorted(used()) == sorted(CODES)


def test_a_code_stands_for_one_kind_of_mistake() -> None:
    assert {code: rooms for code, rooms in used().items() if len(rooms) > 1 and code not in SEVERAL_ROOMS} == {}
    meanings = [code.meaning for code in KNOWN.values()]
    assert len(set(meanings)) == len(meanings)


def test_every_entry_is_whole() -> None:
    for name, code in KNOWN.items():
        assert name == code.name
        assert code.area in AREAS.values()
        assert code.meaning.endswith(".")
        assert code.cure.endswith(".")
        assert code.example


def test_every_finding_of_check_is_in_the_registry_and_on_its_page() -> None:
    assert set(FINDINGS) == set(LEVELS)
    page = (REPOSITORY / "docs/check.md").read_text(encoding="utf-8")
    assert [name for name in FINDINGS if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", [name for name in CODES if name == "G001" or "S001" <= name < "S030"])
def test_the_example_of_a_spec_has_that_mistake(name: str) -> None:
    with pytest.raises(SpecError) as raised:
        load([("stacks.yaml", (HEAD + CODES[name].example + "\n").encode())])
    assert {problem.code for problem in raised.value.problems} == {name}


def test_the_page_is_what_the_registry_says() -> None:
    done = subprocess.run([sys.executable, "docs/gen_codes.py", "--check"], cwd=REPOSITORY, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("S015", "S015 (spec and selection): A name stands for nothing"),
        ("s015", "Cure: Correct the spelling"),
        ("early-value", "early-value (check): An argument is declared above steps"),
        ("DL3008", "DL3008 is a rule of hadolint: https://github.com/hadolint/hadolint/wiki/DL3008"),
        ("SC2086", "SC2086 is a rule of shellcheck: https://www.shellcheck.net/wiki/SC2086"),
        ("FromAsCasing", "docker build --check: https://docs.docker.com/reference/build-checks/from-as-casing/"),
    ],
)
def test_explain(capfd: pytest.CaptureFixture[str], word: str, said: str) -> None:
    assert run(["explain", word]) == 0
    assert said in capfd.readouterr().out


def test_explain_does_not_know_every_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "earlyvalue"]) == 64
    assert "unknown code `earlyvalue`: did you mean `early-value`?" in capfd.readouterr().err
    assert run(["explain", "x"]) == 64
    assert "docs/codes.md lists all codes" in capfd.readouterr().err
    assert find("nothing") is None
    assert foreign("nothing") is None


@pytest.mark.parametrize("word", ["W012", "copy-all", "DL3008"])
def test_explain_as_a_document(capfd: pytest.CaptureFixture[str], word: str) -> None:
    assert run(["explain", word, "--format", "json"]) == 0
    document = json.loads(capfd.readouterr().out)
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/schemas/explain.json").read_text(encoding="utf-8")))
    assert document["code"] == word
    assert (document["cure"] is None) == (document["page"] is not None)


def test_a_shell_completes_codes() -> None:
    command = main.commands.get("explain") or main.get_command(None, "explain")  # type: ignore[arg-type]
    assert command is not None
    (argument,) = [row for row in command.params if row.name == "code"]
    found = argument.shell_complete(None, "s01")  # type: ignore[arg-type]
    assert [row.value for row in found] == [f"S01{i}" for i in range(10)]
    assert found[0].help == CODES["S010"].meaning
