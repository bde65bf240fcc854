"""Our ignore rules beside the engine's: random folders with random ignore files are sent, and what arrives is compared.

TASKER_IGNORE_EXAMPLES sets how many; the examples of one number are always the same.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, event, example, given, settings
from hypothesis import strategies as st

from tasker_build.ecosystems.closure import Closure
from tasker_build.ignore import ALWAYS, Ignore, escape, within

pytestmark = pytest.mark.engine

EXAMPLES = int(os.environ.get("TASKER_IGNORE_EXAMPLES", "120"))
PHASES = (Phase.explicit, Phase.generate)  # making a failing case smaller takes hundreds of builds

# Few names, so that patterns meet them; among them what patterns, comments and exceptions are made of.
NAMES = [
    "a",
    "b",
    "ab",
    "a.md",
    "b.rs",
    ".md",
    ".h",
    "é",
    "A",
    "-x",
    "x y",
    " s",
    "t ",
    "#c",
    "!n",
    "a^b",
    "[a]",
    "a\\b",
    "**",
    "a+(b)$",
    "..a",
]
PARTS = [
    *NAMES, "a", "b", "*", "*", "**", "**", "?", "?b", "*.md", "**.md", "**b", "a**", "*^*", "[ab]", "[^a]", "[a-c]*", "[!a]", "[\\]]", "[^]a]",
    "[a", "]", "\\*", "\\#c", "\\ s", "\\!n", "\\é", "a\\\\b", "\\", "x\\ y", "{a,b}", "a|b", "(a)", "..", ".", "", "***", "*a*", "\\[a\\]",
]  # fmt: skip
TREES = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join), min_size=1, max_size=12, unique=True
).map(lambda paths: sorted(path for path in paths if not any(other.startswith(path + "/") for other in paths)))
BODIES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join)
MARKS = st.sampled_from(["", "", "", "!", "!", "! ", "/", "!/", " ", "\t", "#", " #", "./", "//", "!!"])
LINES = st.builds(
    lambda mark, body, end: mark + body + end, MARKS, BODIES, st.sampled_from(["", "", "", "/", " ", "\r", "/**", "/*"])
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], str]:
    """A folder and an ignore file; half of the patterns name something that is there, or a folder of it."""
    tree = draw(TREES)
    folders = {path[:i] for path in tree for i, char in enumerate(path) if char == "/"}
    there = st.builds(
        lambda mark, path: mark + escape(path),
        st.sampled_from(["", "!", "**/", "!**/"]),
        st.sampled_from([*tree, *sorted(folders)]),
    )
    lines = draw(st.lists(st.one_of(LINES, there, st.sampled_from(["*", "**", ""])), max_size=7))
    return tree, draw(st.sampled_from(["", "", "\ufeff"])) + "\n".join(lines)


def arrives(files: list[str], ignore: str) -> dict[str, str] | None:
    """Path → content of what an engine gets of a folder by the plain client; None when it refuses the patterns."""
    with tempfile.TemporaryDirectory(prefix="ignore-rules-") as name:
        # The Dockerfile stays outside: it would be one more file, and the client never leaves it out.
        folder, context = Path(name), Path(name, "context")
        for path in files:
            place = context / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path)
        Path(context, ".dockerignore").write_text(ignore, newline="")
        Path(folder, "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        command = [
            "docker",
            "buildx",
            "build",
            "--quiet",
            "--file",
            f"{folder}/Dockerfile",
            "--output",
            "type=tar,dest=-",
            f"{context}",
        ]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        error = done.stderr.decode()
        assert "syntax error in pattern" in error or "illegal exclusion pattern" in error, error
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: (tar.extractfile(member) or io.BytesIO()).read().decode() for member in members}


def opens(rules: Ignore, path: str) -> bool:
    """Whether the client opens a file that it lists: it then asks each rule anew for the file and every folder above it.

    Where the two answers differ the file arrives *empty*, without a word. We follow the list; no ignore file of ours is so.
    """
    places = [path, *(path[:i] for i, char in enumerate(path) if char == "/")]
    ignored = False
    for rule in rules._rules:
        if rule.negative == ignored and any(rule.regex.match(place) for place in places):
            ignored = not rule.negative
    return not ignored


@given(cases())
@settings(max_examples=EXAMPLES, phases=PHASES)
@example((["a/b", "a/c"], "a\n!a/b\na"))
@example((["a/b", "a/c", "a/x.md"], "a/b\n**/*.md\n!a"))
@example((["xfoo", "d/xfoo", "foo"], "**foo"))
@example((["#c/a", "b"], "*\n!\\#c/a"))
@example((["é/b.rs/-x"], "*\n!/*^*/\\/ab/.."))
@example((["a|b", "qb", "a"], "*\n!a*|b"))
@example((["x{2}", "xx"], "*\n!x{2}*"))
@example((["x{2}y", "xxy", "a|b", "a"], "*\n!x\\{2\\}*\n!a\\|*"))
def test_what_we_leave_out_is_what_the_engine_does_not_get(case: tuple[list[str], str]) -> None:
    files, ignore = case
    sent = arrives(files, ignore)
    try:
        rules = Ignore(ignore.removeprefix("\ufeff").split("\n"))
    except ValueError as error:
        refusal = str(error)
    else:
        expected = {path: path for path in files} | {".dockerignore": ignore}
        kept = {path: text for path, text in expected.items() if not rules.matches(path)}
        assert sent == {path: text if opens(rules, path) else "" for path, text in kept.items()}
        return
    event("refused")
    # We refuse what BuildKit takes without meaning what is written; and it looks for an open `[` or a `\` at the end only in
    # rules that it asks.
    words = ("only signs are escaped", "is not read as itself", "unclosed", "escapes nothing")
    assert sent is None or any(word in refusal for word in words)


@st.composite
def closures(draw: st.DrawFn) -> tuple[list[str], Closure]:
    """A folder with debris in it, and the closure of a target: some of its paths, with parts hidden and taken back."""
    tree = sorted({path + draw(st.sampled_from(["", "", "", "/target", "/.env", ".swp", "/tests/x"])) for path in draw(TREES)})
    tree = [path for path in tree if not any(other.startswith(path + "/") for other in tree)]
    always = (*ALWAYS, *draw(st.lists(st.sampled_from(["**/*.md", "a/b", "docker", "[ab].rs"]), max_size=2)))
    there = [path for path in tree if not Ignore(always).matches(path)]
    folders = {path[:i] for path in there for i, char in enumerate(path) if char == "/"}
    some = st.lists(st.sampled_from(sorted({*there, *folders})), max_size=3, unique=True) if there else st.just([])
    roots = draw(some)
    # As with packages inside packages: what lies in a root is hidden, and a root that lies in what is hidden comes back.
    hidden = [path for path in draw(some) if within(path, roots) and path not in roots]
    back = [path for path in roots if within(path, hidden)]
    patterns = [*map(escape, hidden), *(f"!{escape(path)}" for path in back), *(always if back else ())]
    return tree, Closure(sources=tuple(sorted(roots)), ignore=always, hidden=tuple(patterns))


@given(closures())
@settings(max_examples=EXAMPLES // 3, phases=PHASES)
@example(([" s/a^b/x", "c^"], Closure(sources=(" s/a^b", "c^"), ignore=ALWAYS)))
@example(([" s/a|b{2}/x", "b{2}", "|"], Closure(sources=(" s/a|b{2}", "b{2}", "|"), ignore=ALWAYS)))
def test_a_rendered_ignore_file_sends_exactly_what_is_hashed_and_whole(case: tuple[list[str], Closure]) -> None:
    files, closure = case
    there = [path for path in files if not Ignore(closure.ignore).matches(path)]
    assert arrives(files, closure.ignore_file()) == {path: path for path in closure.files(there)}
