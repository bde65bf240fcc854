"""YAML text → located nodes; every case holds for libyaml and for the pure Python parser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.errors import SpecError
from tasker_build.spec.nodes import MAX_BYTES, MappingNode, ScalarNode, SequenceNode, merge, parse
from tests.conftest import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasker_build.spec.nodes import Node


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.delattr(yaml, "CLoader", raising=False)
        elif not hasattr(yaml, "CLoader"):
            pytest.skip("PyYAML was built without libyaml")
        yield str(request.param)


def plain(node: Node) -> object:
    """A node as plain data, for comparisons."""
    if isinstance(node, MappingNode):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return None if node.is_null else node.text


def read(text: str) -> object:
    return plain(parse(text.encode(), "s.yaml"))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))

BAD = [
    # id, data, code, line, column, words of the message
    ("S2 empty file", b"", "S002", 1, 1, "the file is empty"),
    ("S2 only comments", b"# nothing\n# here\n", "S002", 1, 1, "the file is empty"),
    ("S3 tab indent", b"a:\n\tb: 1\n", "S001", 2, 1, "not valid YAML"),
    ("S3 unclosed quote", b'a: "b\n', "S001", 2, 1, "not valid YAML"),
    ("S3 a: b: c", b"a: b: c\n", "S001", 1, 5, "mapping values are not allowed"),
    ("S4 two documents", b"a: 1\n---\nb: 2\n", "S002", 2, 1, "a second document"),
    ("S5 duplicate key at the top", b"a: 1\nb: 2\na: 3\n", "S005", 3, 1, "duplicate key `a`, first given on line 1"),
    ("S5 duplicate key below", b"t:\n  x:\n    k: 1\n    k: 2\n", "S005", 4, 5, "duplicate key `k`, first given on line 3"),
    ("S5 duplicate beside a merge", b"b: &b {k: 0}\nc:\n  <<: *b\n  k: 1\n  k: 2\n", "S005", 5, 3, "first given on line 4"),
    ("S6 alias bomb", BOMB.encode(), "S003", 6, 5, "aliases expand to more than"),
    ("S7 self-referring alias", b"a: &a [1, *a]\n", "S006", 1, 11, "refers to itself"),
    ("S7 unknown alias", b"a: *nobody\n", "S006", 1, 4, "unknown alias `*nobody`"),
    ("S8 nested 500 deep", b"a: " + b"[" * 500 + b"]" * 500, "S003", 1, 43, "nested deeper than 40 levels"),
    ("S15 python tag", b"a: !!python/object/apply:os.system [x]\n", "S007", 1, 4, "is not supported"),
    ("S15 own tag", b"a: !mine x\n", "S007", 1, 4, "the tag `!mine` is not supported"),
    ("S16 NUL by escape", b'a: "x\\0y"\n', "S004", 1, 4, "U+0000"),
    ("S16 ESC by escape", b'a: "\\e[31m"\n', "S004", 1, 4, "U+001B"),
    ("S16 BEL by escape", b'a: "\\a"\n', "S004", 1, 4, "U+0007"),
    ("S16 raw BEL", b"a: 1\nb: x\x07\n", "S001", 2, 5, "not valid YAML"),
    ("S16 bidi override", "a: x\u202ey\n".encode(), "S004", 1, 4, "U+202E"),
    ("S18 latin-1", "a: 1\nb: caf\xe9\n".encode("latin-1"), "S001", 2, 7, "not UTF-8"),
    ("S18 UTF-16", "a: 1\n".encode("utf-16"), "S001", 1, 1, "not UTF-8"),
    ("S18 UTF-16 without BOM", "a: 1\n".encode("utf-16-le"), "S001", 1, 2, "not valid YAML"),
    ("S19 a list as key", b"[a, b]: 1\n", "S002", 1, 1, "a key must be plain text"),
    ("S19 number and text key", b'1: a\n"1": b\n', "S005", 2, 1, "duplicate key `1`"),
    ("S20 merge of a scalar", b"a:\n  <<: text\n", "S002", 2, 7, "`<<` takes a mapping"),
    ("S20 merge of a list of scalars", b"a:\n  <<: [x]\n", "S002", 2, 8, "`<<` takes a mapping"),
    ("S23 too large", b"#" * (MAX_BYTES + 1), "S001", 1, 1, f"{MAX_BYTES} is the limit"),
]


@pytest.mark.parametrize(("data", "code", "line", "col", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_is_no_usable_yaml_is_one_located_problem(
    parser: str, data: bytes, code: str, line: int, col: int, words: str
) -> None:
    began = time.monotonic()
    first = problems_of(lambda: parse(data, "s.yaml"))
    found = [(p.code, p.span.line, p.span.col) for p in first if p.span and "file is empty" not in p.message]
    if "file is empty" in words:
        found = [(p.code, p.span.line, p.span.col) for p in first if p.span]
    assert found == [(code, line, col)]
    assert any(words in p.message for p in first)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("data", [b"a: " + b"[" * 5000 + b"]" * 5000, b"".join(b" " * i + b"a:\n" for i in range(500))])
def test_any_depth_is_a_located_problem(parser: str, data: bytes) -> None:
    (problem,) = problems_of(lambda: parse(data, "s.yaml"))
    assert (problem.code, problem.message) == ("S003", "nested deeper than 40 levels")
    assert problem.span is not None


def test_a_lone_surrogate_is_refused_where_it_is_written(parser: str) -> None:
    """S17: the two parsers see it at different moments; both name the line."""
    first = problems_of(lambda: parse(b'a: 1\nb: "\\ud800"\n', "s.yaml"))
    assert {p.span.line for p in first if p.span and "empty" not in p.message} == {2}


@pytest.mark.parametrize("text", ["a: b: c\n", 'a: "b\n', "a: 1\n\tb: 2\n"])
def test_a_syntax_error_is_one_problem(text: str) -> None:
    assert len(problems_of(lambda: parse(text.encode(), "s.yaml"))) == 1


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"\n', f"%YAML {'1' * 5000}.1\n---\na: 1\n"])
def test_errors_of_the_python_parser_are_translated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delattr(yaml, "CLoader", raising=False)
    problems_of(lambda: parse(text.encode(), "s.yaml"))


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\r"])
def test_other_line_breaks_do_not_shift_line_numbers(char: str) -> None:
    (problem,) = problems_of(lambda: parse(f"a: 1 # x{char}#\nb: 2\nb: 3\n".encode(), "s.yaml"))
    assert problem.span
    assert problem.span.text == "b: 3"


def test_several_duplicate_keys_and_characters_are_all_reported(parser: str) -> None:
    text = 'a: 1\na: 2\nb: "\\a"\nc: !x y\nb: 3\n'
    codes = [(p.code, p.span.line) for p in problems_of(lambda: parse(text.encode(), "s.yaml")) if p.span]
    assert codes == [("S005", 2), ("S004", 3), ("S007", 4), ("S005", 5)]


def test_byte_order_mark_and_crlf_are_accepted(parser: str) -> None:
    assert plain(parse(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x\r\n", "s.yaml")) == {"a": "1", "b": ["x"]}


@pytest.mark.parametrize("text", ["22:22", "no", "on", "1.10", "0755", "0o755", ".nan", "2025-13-45", "9" * 5000, "NO", "1_000"])
def test_scalars_stay_the_text_that_was_written(parser: str, text: str) -> None:
    """S9 to S14: nothing here turns `22:22` into 1342 or `no` into False."""
    assert read(f"a: {text}\n") == {"a": text}
    assert read(f"{text[:100]}: a\n") == {text[:100]: "a"}


def test_null_is_only_null_without_quotes(parser: str) -> None:
    assert read('a: ~\nb:\nc: null\nd: "null"\ne: ""\n') == {"a": None, "b": None, "c": None, "d": "null", "e": ""}


def test_merge_keys_fill_in_what_is_not_given(parser: str) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n"
    assert read(text) == {"a": {"x": "1", "y": "1"}, "b": {"y": "2", "z": "2"}, "c": {"x": "3", "y": "1", "z": "2"}}


def test_a_node_knows_its_line_its_column_and_its_text(parser: str) -> None:
    node = parse(b"a:\n  key: value here # why\n", "s.yaml")
    assert isinstance(node, MappingNode)
    inner = node.get("a")
    assert isinstance(inner, MappingNode)
    value = inner.get("key")
    assert isinstance(value, ScalarNode)
    assert (str(value.span), value.span.length, value.span.text) == ("s.yaml:2:8", 10, "  key: value here # why")


def test_overlays_merge_mappings_replace_the_rest_and_null_takes_away() -> None:
    low, high = (
        parse(text.encode(), "s.yaml") for text in ("a: {x: 1, y: 1}\nl: [1, 2]\nz: 1\n", "a: {y: 2, n: 3}\nl: [3]\nz: ~\n")
    )
    assert plain(merge(low, high)) == {"a": {"x": "1", "y": "2", "n": "3"}, "l": ["3"]}


def test_one_duplicate_in_a_thousand_lines_is_found_on_its_line(parser: str) -> None:
    text = "".join(f"k{i}: 1\n" for i in range(1000)) + "k7: 2\n"
    (problem,) = problems_of(lambda: parse(text.encode(), "s.yaml"))
    assert problem.span
    assert (problem.span.line, problem.span.text) == (1001, "k7: 2")


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_tree_or_a_spec_error(data: bytes) -> None:
    try:
        parse(data, "s.yaml")
    except SpecError as error:
        assert error.draw()  # noqa: PT017 - not raising is fine, too


YAMLISH = st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t~<0.\\u", max_size=40)


@given(YAMLISH)
def test_any_yamlish_text_is_the_same_to_both_parsers(text: str) -> None:
    def outcome() -> object:
        try:
            return plain(parse(text.encode(), "s.yaml"))
        except SpecError:
            return SpecError

    first = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(yaml, "CLoader", raising=False)
        second = outcome()
    if SpecError not in (first, second):  # libyaml and PyYAML differ in what they refuse, not in what they read
        assert first == second
