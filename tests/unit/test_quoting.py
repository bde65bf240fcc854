"""Filters: whatever a person writes, the other language reads back exactly that."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_build.ecosystems.postgres import ECOSYSTEM, to_identifier, to_sql
from tasker_build.quoting import FILTERS, Flow, to_comment, to_json, to_shell, to_yaml

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NASTY = [
    "",
    " ",
    "-rf",
    "$(id)",
    "`id`",
    "a'b",
    'a"b',
    "a\\b",
    "a\nb",
    "*",
    "~",
    "!x",
    "#",
    "a;b",
    "${X}",
    "é\u2028",
    "=",
    "-",
    "null",
    "yes",
    "1e3",
]


@given(st.lists(TEXT, min_size=1, max_size=20) | st.just(NASTY))
@settings(max_examples=25)
def test_a_shell_reads_back_every_word(words: list[str]) -> None:
    script = "printf '%s\\0' " + " ".join(to_shell(word) for word in words)
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(DATA, st.sampled_from([0, 2, 6]))
def test_yaml_is_read_back_at_any_depth(value: object, indent: int) -> None:
    assert yaml.safe_load(to_yaml({"key": value}, indent)) == {"key": value}


@pytest.mark.parametrize("text", NASTY)
def test_yaml_keeps_awkward_texts(text: str) -> None:
    assert yaml.safe_load("outer:\n" + to_yaml({text or "x": [text]}, 2)) == {"outer": {text or "x": [text]}}


_YAML12_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")


@pytest.mark.parametrize(
    "text",
    ["123", "1.5", "0x1F", ".5", "1_000", "1e3", "12e5", "0o14"],
)
def test_texts_that_yaml_1_2_takes_for_numbers_are_quoted(text: str) -> None:
    written = to_yaml({"a": text}).removeprefix("a: ")
    assert not _YAML12_NUMBER.fullmatch(written)


def test_yaml_is_written_as_people_write_compose_files() -> None:
    value = {"b": {"z": ["x", "y"]}, "a": Flow(["CMD", "a b"]), "n": None}
    assert to_yaml(value, 2) == "  b:\n    z:\n      - x\n      - y\n  a: [CMD, a b]\n  n: null"
    shared = ["x"]
    assert "&" not in to_yaml({"a": shared, "b": shared})


@given(TEXT)
def test_sql_doubles_what_would_end_the_literal(text: str) -> None:
    literal = to_sql(text)
    body = literal.removeprefix("E")
    assert body[0] == body[-1] == "'"
    assert body[1:-1].replace("''", "'").replace("\\\\", "\\") == text
    assert "'" not in body[1:-1].replace("''", "")
    assert literal.startswith("E") == ("\\" in text)


@given(TEXT)
def test_sql_names_double_their_quotes(text: str) -> None:
    name = to_identifier(text)
    assert name[1:-1].replace('""', '"') == text
    assert '"' not in name[1:-1].replace('""', "")


@given(TEXT)
def test_comments_are_one_line(text: str) -> None:
    assert len(to_comment(text).splitlines()) <= 1


@given(DATA)
def test_json_is_one_line_and_read_back(value: object) -> None:
    assert json.loads(to_json(value)) == value
    assert "\n" not in to_json(value)
    assert to_json(("a", "b")) == '["a", "b"]'


@pytest.mark.parametrize("name", ["sh", "sql", "dockerfile"])
def test_nul_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        {**FILTERS, **ECOSYSTEM.filters()}[name]("a\0b")
