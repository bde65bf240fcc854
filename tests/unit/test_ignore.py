"""Ignore patterns by BuildKit's rules, not git's (reliability.md, section 5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.ignore import ALWAYS, Ignore, escape, within


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        (["foo"], ["foo", "foo/a", "foo/a/b"], ["sub/foo", "foobar", "Foo"]),
        (["/foo"], ["foo", "foo/a"], ["sub/foo"]),
        (["./foo"], ["foo"], ["sub/foo"]),
        (["foo/"], ["foo", "foo/a"], ["sub/foo"]),
        (["a/../b"], ["b", "b/x"], ["a", "a/b"]),
        (["a/b"], ["a/b", "a/b/c"], ["a", "a/c", "x/a/b"]),
        (["*.md"], ["a.md", ".md"], ["sub/a.md", "a.mdx"]),
        (["**/*.md"], ["a.md", "sub/a.md", "x/y/a.md"], ["a.txt"]),
        (["a/**"], ["a/x", "a/x/y"], ["b"]),
        (["**"], ["a", "a/b"], []),
        (["*"], ["a", "a/b", ".hidden"], []),
        (["a/*/c"], ["a/b/c", "a/b/c/d"], ["a/c", "a/b/b/c"]),
        (["a/**/c"], ["a/c", "a/b/c", "a/b/b/c"], ["c", "b/c"]),
        (["?.rs"], ["a.rs"], ["ab.rs", ".rs"]),
        (["[ab].rs"], ["a.rs", "b.rs"], ["c.rs"]),
        (["[a-c]x"], ["bx"], ["dx"]),
        (["[^a]x"], ["bx"], ["ax"]),
        (["a.c"], ["a.c"], ["abc"]),
        (["a+(b)$"], ["a+(b)$"], ["aab"]),
        ([r"\*"], ["*"], ["a"]),
        ([r"a\?"], ["a?"], ["ab"]),
        (["*", "!keep"], ["a", "b/keep"], ["keep", "keep/x"]),
        (["*", "!dir/a"], ["dir/b", "dir"], ["dir/a"]),
        (["!keep", "*"], ["keep"], []),
        (["a", "!a/b", "a/b/c"], ["a/x", "a/b/c"], ["a/b/x"]),
        (["*.md", "!README.md"], ["x.md"], ["README.md"]),
        (["**/target"], ["target/x", "a/target/x"], ["targets/x"]),
        ([" foo "], ["foo"], [" foo "]),
        (["", ".", "/"], [], ["a"]),
        (["! foo"], [], ["foo"]),
        # What follows are BuildKit's oddities, each seen on an engine (tests/e2e/test_ignore_rules.py).
        (["**foo"], ["foo", "xfoo", "d/xfoo", "foo/x"], ["foox"]),
        (["**.md"], ["a.md", "d/a.md"], ["a.mdx"]),
        (["**b*"], ["b", "bx", "d/bx"], ["xb"]),
        (["a**"], ["a", "ab", "a/b"], ["b"]),
        (["***"], ["a", "a/b"], []),
        (["a^b"], ["a^b"], ["ab"]),
        (["a^*"], [], ["a^b"]),
        (["^*"], ["a", "a/b"], []),
        (["[^b]"], ["a", "c"], ["b"]),
        (["a[^b]c"], ["a/c", "axc"], ["abc"]),
        (["[!a]"], ["!", "a"], ["b"]),
        ([r"[\]]"], ["]"], ["\\"]),
        (["]"], ["]"], ["a"]),
        (["#foo", " #bar"], ["#bar"], ["#foo"]),
        (["/!a", "!a"], [], ["a", "!a"]),
        (["*", "!!a"], ["a"], ["!a"]),
        (["*", "/!a"], ["b"], ["a"]),
        # A rule that could change nothing for a folder is not asked there, and does not count for what is below it.
        (["a/b", "!a"], ["a/b"], ["a/c"]),
        (["**/*.md", "!docs"], ["docs/x.md"], ["docs/x"]),
        (["a", "!a/b", "a"], ["a/x"], ["a/b"]),
    ],
)
def test_patterns(patterns: list[str], ignored: list[str], kept: list[str]) -> None:
    rules = Ignore(patterns)
    assert [path for path in ignored if not rules.matches(path)] == []
    assert [path for path in kept if rules.matches(path)] == []


@pytest.mark.parametrize("pattern", ["foo[", "a/[b", "[", "[]", "[]a]", "[^]a]", "[-a]", "[a-]", "[a-b-c]"])
def test_an_unclosed_bracket_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="unclosed"):
        Ignore([pattern])


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("!", "takes nothing back"),
        ("! /", "takes nothing back"),
        ("a\\", "escapes nothing"),
        ("a\\/", "escapes nothing"),
        (r"\d", "only signs are escaped"),
        (r"\é", "only signs are escaped"),
        ("[a*]", "not read as itself"),
        ("a*|b", "not read as itself"),
        ("{a,b}/*", "not read as itself"),
        ("[[:alpha:]]", "not read as itself"),
        ("a\nb", "more than one line"),
    ],
)
def test_what_buildkit_refuses_or_misreads_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Ignore([pattern])


def test_a_bad_range_is_refused_the_same_way() -> None:
    with pytest.raises(ValueError, match="z-a"):
        Ignore(["[z-a]"])


def test_any_depth_is_read() -> None:
    deep = "/".join(["a"] * 3000)
    assert Ignore(["**/x"]).matches(f"{deep}/x/y")
    assert not Ignore(["**/x"]).matches(f"{deep}/y")


PATHS = st.lists(st.sampled_from(["a", "b", "cc", "x.md"]), min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**", "?", "x.md", "*.md", "cc"]), min_size=1, max_size=3).map("/".join)


def test_folders_are_pruned_only_when_nothing_can_come_back() -> None:
    assert Ignore(["a"]).prunes("a")
    assert Ignore(["a"]).prunes("a/b")
    assert not Ignore(["a"]).prunes("b")
    assert not Ignore(["a", "!a/b"]).prunes("a")
    assert not Ignore(["a", "!**/b"]).prunes("a")
    assert not Ignore(["a", "!a*/b"]).prunes("a")
    assert not Ignore(["a", "!?/b"]).prunes("a")
    assert Ignore(["a", "!b/c", "!a", "a"]).prunes("a")
    rules = Ignore(["**/target", "!web/src/target", "!web/a*"])
    assert [rules.prunes(folder) for folder in ("target", "web/target", "web/src/target")] == [True, True, False]


@given(st.lists(st.builds(lambda mark, pattern: mark + pattern, st.sampled_from(["", "!"]), PATTERNS), max_size=5), PATHS, PATHS)
def test_what_is_pruned_holds_nothing_that_counts(patterns: list[str], folder: str, below: str) -> None:
    rules = Ignore(patterns)
    if rules.prunes(folder):
        assert rules.matches(f"{folder}/{below}")


@pytest.mark.parametrize(
    "path",
    [".git/HEAD", "sub/.git", "target/debug/x", "a/node_modules/x", ".env", "a/.env.local", "b/.env.test.local", "x.swp", "a/b~"],
)
def test_what_never_belongs_to_a_context(path: str) -> None:
    assert Ignore(ALWAYS).matches(path)


@pytest.mark.parametrize(
    "path", [".gitignore", "targets/x", "environment", "src/env.rs", ".sqlx/query.json", "Cargo.lock", ".env.production", "x.pyc"]
)
def test_what_does(path: str) -> None:
    assert not Ignore(ALWAYS).matches(path)


def test_within_speaks_of_whole_names() -> None:
    assert within("a/b", ["a"])
    assert within("a", ["a"])
    assert not within("ab", ["a"])
    assert not within("a", ["a/b"])


@given(PATTERNS, PATHS)
def test_what_is_ignored_takes_everything_below_along(pattern: str, path: str) -> None:
    rules = Ignore([pattern])
    if rules.matches(path):
        assert rules.matches(path + "/below/it")


@given(st.lists(PATTERNS, max_size=4), PATTERNS, PATHS)
def test_the_last_match_of_the_path_itself_wins(patterns: list[str], last: str, path: str) -> None:
    folder = path.rpartition("/")[0]
    matched = Ignore([last]).matches(path)
    if matched and not (folder and Ignore([last]).matches(folder)):
        assert Ignore([*patterns, last]).matches(path)
        assert not Ignore([*patterns, "!" + last]).matches(path)
    elif not matched:
        assert Ignore([*patterns, last]).matches(path) == Ignore(patterns).matches(path)


@pytest.mark.parametrize("path", [" s/a^b", "a|b", "x{2}", "t ", "*", "[a]", "a\\b", "#c", "!n"])
def test_an_escaped_path_matches_itself(path: str) -> None:
    rules = Ignore([escape(path)])
    assert rules.matches(path)
    assert not any(rules.matches(other) for other in ("a", "b", "xx", "s/a^b", "ab"))
