"""Dockerfiles as values: parsing, what counts of them, and composing a target with its parents."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.dockerfile import Composition, Piece, compose, inherits_args, outside_images, parse, platform_args, quote
from tasker_build.errors import TemplateError
from tasker_build.expansion import expand
from tests.conftest import problems_of


def canonical(text: str) -> list[str]:
    return [instruction.canonical for instruction in parse(text).instructions]


# Parsing.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN x \\\n  && y\n", ["FROM a", "RUN x   && y"]),
        ("FROM a\nRUN x \\\n# why\n  && y\n", ["FROM a", "RUN x   && y"]),
        ("FROM a\nRUN x \\\n\n  && y\n", ["FROM a", "RUN x   && y"]),
        ("FROM a\nRUN x \\  \n y\n", ["FROM a", "RUN x  y"]),
        ("# top\n\nfrom a\n   run x\n", ["FROM a", "RUN x"]),
        ("FROM a\nRUN <<EOF\nx\n# kept\n\ny\nEOF\nUSER u\n", ["FROM a", "RUN <<EOF\nx\n# kept\n\ny\nEOF", "USER u"]),
        ("FROM a\nCOPY <<'A' <<B /d/\n1\nA\n2\nB\nUSER u\n", ["FROM a", "COPY <<'A' <<B /d/\n1\nA\n2\nB", "USER u"]),
        ("FROM a\nRUN <<-EOF\n\tx\n\tEOF\nUSER u\n", ["FROM a", "RUN <<-EOF\n\tx\n\tEOF", "USER u"]),
        ("FROM a\nENV A=<<EOF\n", ["FROM a", "ENV A=<<EOF"]),
        ("FROM a\nRUN echo '# no comment'\n", ["FROM a", "RUN echo '# no comment'"]),
        ("FROM a\nRUN x \\", ["FROM a", "RUN x"]),
        ("ARG V=1\nFROM a:${V}\n", ["ARG V=1", "FROM a:${V}"]),
        ("FROM  a\tAS  b\nCOPY  x \\\n   y  /d/\n", ["FROM a AS b", "COPY x y /d/"]),
        ("FROM a\nRUN x  y\nENV A=b  C=d\n", ["FROM a", "RUN x  y", "ENV A=b  C=d"]),
        ('FROM a\nCOPY ["x  y",  "/d/"]\nADD a\\  b /d/\n', ["FROM a", 'COPY ["x  y",  "/d/"]', "ADD a\\  b /d/"]),
        ("FROM a\nCOPY x\u00a0\u00a0y /d/\n", ["FROM a", "COPY x\u00a0\u00a0y /d/"]),
    ],
)
def test_instructions_as_they_count(text: str, expected: list[str]) -> None:
    assert canonical(text) == expected


def test_comments_blank_lines_and_the_stamp_do_not_count() -> None:
    bare = "FROM a AS x\nRUN one \\\n    && two\nCOPY a b\n"
    noisy = "# Rendered by tasker-build\n\n# why\nFROM a AS x\n\nRUN one \\\n    # because\n    && two\n\n# more\nCOPY a b\n"
    assert canonical(noisy) == canonical(bare)
    assert parse(noisy) == parse(bare)
    assert canonical(bare.replace("one", "uno")) != canonical(bare)


def test_stages_names_and_platforms() -> None:
    parsed = parse("ARG T=1\nFROM --platform=$BUILDPLATFORM rust:$T AS Build\nRUN x\nFROM build\nUSER u\n")
    assert [(s.image, s.name, s.platform, len(s.body)) for s in parsed.stages] == [
        ("rust:1", "build", "$BUILDPLATFORM", 1),
        ("build", "", "", 1),
    ]
    assert parsed.globals == {"T": "1"}
    assert parsed.stage(None) is parsed.stages[1]
    assert parsed.stage("build") is parsed.stages[0]
    with pytest.raises(KeyError):
        parsed.stage("nope")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "no FROM", 1),
        ("# only\n", "no FROM", 1),
        ("RUN x\nFROM a\n", "RUN before the first FROM", 1),
        ("FROM a\n\nRUN <<EOF\nx\n", "heredoc `EOF` is not closed", 3),
        ("FROM a b\n", "FROM takes an image", 1),
        ("FROM a AS\n", "FROM takes an image", 1),
        ("ARG A\nFROM ${A}\n", "the argument has no value", 2),
        ("# escape=`\nFROM a\n", "the escape directive is not supported", 1),
    ],
)
def test_what_is_no_dockerfile_is_located(text: str, message: str, line: int) -> None:
    (problem,) = problems_of(lambda: parse(text, "x/Dockerfile"))
    assert message in problem.message
    assert str(problem.span) == f"x/Dockerfile:{line}:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "1"),
        ("${A}b", "1b"),
        ("${N:-d}", "d"),
        ("${E:-d}", "d"),
        ("${A:-d}", "1"),
        ("${A:+x}", "x"),
        ("${N:+x}", ""),
        ("$N", ""),
        ("$$", ""),
        ("a$A-$A", "a1-1"),
    ],
)
def test_arguments_expand_as_the_frontend_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "E": "", "U": None}) == expected


def test_outside_images_are_all_that_come_from_elsewhere() -> None:
    text = (
        "ARG I=debian:1\nFROM $I AS one\nFROM scratch AS two\nCOPY --from=one /a /a\nCOPY --from=tool:2 /b /b\n"
        "COPY --from=0 /c /c\nRUN --mount=type=bind,from=other:3,target=/x --mount=type=cache,target=/c y\nFROM ONE\n"
    )
    assert outside_images(parse(text)) == ("debian:1", "other:3", "tool:2")


@pytest.mark.parametrize(
    ("text", "stage", "expected"),
    [
        ("FROM a\nRUN x\n", None, False),
        ("FROM a\nARG V\n", None, True),
        ("ARG V=1\nFROM a:$V\n", None, False),
        ("FROM a AS x\nARG V\nFROM x AS y\n", "y", True),
        ("FROM a AS x\nARG V\nFROM b AS y\n", "y", False),
    ],
)
def test_stages_that_hand_arguments_on(text: str, stage: str | None, expected: bool) -> None:  # noqa: FBT001
    assert inherits_args(parse(text), stage) is expected


def test_a_stage_named_like_its_image_is_no_endless_loop() -> None:
    code = "from tasker_build.dockerfile import *; inherits_args(parse('FROM debian AS debian\\n'), None)"
    subprocess.run([sys.executable, "-c", code], timeout=2, check=True)


@pytest.mark.parametrize("run", ["cat <<<word", 'echo "<<EOF"', "echo $((1<<FOO))", "echo a\\<<EOF"])
def test_what_only_looks_like_a_heredoc(run: str) -> None:
    assert canonical(f"FROM a\nRUN {run}\n") == ["FROM a", f"RUN {run}"]


def test_an_escaped_backslash_is_no_continuation() -> None:
    assert canonical("FROM a\nRUN echo a\\\\\nUSER u\n") == ["FROM a", "RUN echo a\\\\", "USER u"]


def test_a_tab_may_follow_the_keyword() -> None:
    assert canonical("FROM\ta\nRUN\tx\n") == ["FROM a", "RUN x"]


def test_an_unclosed_quote_is_a_template_error() -> None:
    with pytest.raises(TemplateError):
        parse('ARG A="x\nFROM a\n')


# Composing.


def piece(text: str, name: str = "api", **options: object) -> Piece:
    values: dict[str, object] = {"stage": None, "args": {}, "prefix": name.replace("/", "-"), "parents": {}}
    return Piece(name=name, dockerfile=parse(text, args=options.get("args")), **{**values, **options})  # type: ignore[arg-type]


def composed(text: str) -> list[str]:
    """Lines of a composition of one piece, its FROM left out."""
    return compose([piece(f"FROM a\n{text}")]).text.rstrip("\n").split("\n")[1:]


def parent_and_child() -> Composition:
    parent = piece("FROM rust AS Chef\nRUN x\nFROM chef AS builder\nCOPY . .\nFROM chef AS other\n", "build", stage="builder")
    child = piece(
        "ARG B=reg/build:latest\nFROM $B AS app\nCOPY src src\nFROM debian\nCOPY --from=app /x /x\nCOPY --from=$B /y /y\n".replace(
            "=$B /y", "=reg/build:latest /y"
        ),
        "deploy/api",
        parents={"reg/build:latest": "build"},
        references={"debian": "debian@sha256:1"},
    )
    return compose([parent, child])


def test_parents_come_first_and_are_stages() -> None:
    assert parent_and_child().text.split("\n") == [
        "FROM rust AS build__chef",
        "RUN x",
        "FROM build__chef AS build__builder",
        "COPY build/. .",
        "FROM build__chef AS build__other",
        "FROM build__builder AS deploy-api__app",
        "COPY deploy-api/src src",
        "FROM debian@sha256:1 AS deploy-api__stage-1",
        "COPY --from=deploy-api__app /x /x",
        "COPY --from=build__builder /y /y",
        "",
    ]


def test_the_composition_names_its_stage_and_the_owner_of_every_line() -> None:
    found = parent_and_child()
    assert found.stage == "deploy-api__stage-1"
    assert found.stages["build__chef"] == "build"
    assert found.origin[2] == ("build", 2)
    assert found.origin[6] == ("deploy/api", 2)
    assert found.origin[9] == ("deploy/api", 5)
    assert sorted(found.origin) == list(range(1, 11))


def test_every_line_points_to_where_it_was_written() -> None:
    text = "FROM a\n# why\nRUN x \\\n  y\n\nCOPY --chown=1:1 \\\n  # note\n  f g\nUSER u\n"
    found = compose([piece(text)])
    lines = found.text.split("\n")
    assert {line: found.origin[i + 1][1] for i, line in enumerate(lines[:-1])} == {
        "FROM a AS api__stage-0": 1,
        "RUN x \\": 3,
        "  y": 4,
        "COPY --chown=1:1   api/f g": 6,
        "USER u": 9,
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY a b /d/", "COPY api/a api/b /d/"),
        ("COPY /a ./b d", "COPY api/a api/b d"),
        ("COPY . .", "COPY api/. ."),
        ("COPY --chown=1:2 --chmod=0555 a b", "COPY --chown=1:2 --chmod=0555 api/a b"),
        ('COPY ["a b", "/d e/"]', 'COPY ["api/a b", "/d e/"]'),
        ("COPY --from=alpine:3 /a /b", "COPY --from=alpine:3 /a /b"),
        ("COPY --from=0 /a /b", "COPY --from=api__stage-0 /a /b"),
        ("ADD a.tar /d", "ADD api/a.tar /d"),
        ("ADD https://x.org/a /d", "ADD https://x.org/a /d"),
        ("ADD git@x.org:a/b.git /d", "ADD git@x.org:a/b.git /d"),
        ("RUN --mount=type=cache,target=/c x", "RUN --mount=type=cache,target=/c x"),
        ("RUN --mount=type=secret,id=s x", "RUN --mount=type=secret,id=s x"),
        ("RUN --mount=type=bind,source=f,target=/f x", "RUN --mount=type=bind,source=api/f,target=/f x"),
        ("RUN --mount=type=bind,src=/f,target=/f x", "RUN --mount=type=bind,source=api/f,target=/f x"),
        ("RUN --mount=type=bind,target=/f x", "RUN --mount=type=bind,target=/f,source=api x"),
        ("RUN --mount=type=bind,from=tool:1,target=/f x", "RUN --mount=type=bind,from=tool:1,target=/f x"),
        (
            "RUN --mount=type=bind,from=0,target=/f --network=none x",
            "RUN --mount=type=bind,from=api__stage-0,target=/f --network=none x",
        ),
        ("RUN echo --from=0", "RUN echo --from=0"),
        ("ARG A", "ARG A"),
        ("ARG A=1", "ARG A=1"),
        ("ARG A='x y' B", "ARG A='x y' B"),
        ("ARG A='$O' B=\\$O C=\"\\$O\"", "ARG A='$O' B=\\$O C=\"\\$O\""),
        ("ENV A=$B", "ENV A=$B"),
        ('CMD ["x"]', 'CMD ["x"]'),
    ],
)
def test_instructions_in_a_composition(line: str, expected: str) -> None:
    assert composed(line + "\n") == [expected]


def test_heredocs_stay_whole() -> None:
    assert composed("COPY <<EOF /d\nCOPY a b\nEOF\nRUN <<EOF\nFROM x\nEOF\n") == [
        *("COPY <<EOF /d", "COPY a b", "EOF", "RUN <<EOF", "FROM x", "EOF")
    ]


def test_arguments_of_the_target_and_of_the_file_are_filled_in() -> None:
    text = "ARG G=g\nARG H=h\nFROM a\nARG G\nARG H\nARG L=l\nARG N\n"
    lines = compose([piece(text, args={"H": "x$y", "L": 'q"'})]).text.split("\n")[1:-1]
    assert lines == ['ARG G="g"', r'ARG H="x\$y"', r'ARG L="q\""', "ARG N"]


def test_a_default_that_uses_another_argument_still_expands() -> None:
    assert composed("ARG V=1\nARG W=${V}-x\n")[1] in {'ARG W="${V}-x"', "ARG W=${V}-x", 'ARG W="1-x"'}


def test_arguments_of_the_target_reach_from() -> None:
    assert compose([piece("ARG B=debian:1\nFROM $B\n", args={"B": "debian:2"})]).text.startswith("FROM debian:2 ")


def test_bind_is_the_default_type_of_a_mount() -> None:
    assert "source=api" in composed("RUN --mount=target=/src ls\n")[0]


def test_copy_with_parents_keeps_its_destination() -> None:
    assert composed("COPY --parents a/b /d/\n") == ["COPY --parents api/./a/b /d/"]


def test_a_bracket_in_a_source_is_no_json() -> None:
    assert composed("COPY [ab].txt /d/\n") == ["COPY api/[ab].txt /d/"]


def test_names_that_only_differ_in_the_slash_do_not_meet() -> None:
    found = compose([piece("FROM x AS s\n", "a/b"), piece("FROM y AS s\n", "a-b")])
    assert len(found.stages) == 2


# Quoting.


def unquote(word: str) -> str:
    """The frontend's rules inside double quotes: a backslash escapes `"`, `$` and itself."""
    assert word[0] == word[-1] == '"'
    out, i, inner = "", 0, word[1:-1]
    while i < len(inner):
        if inner[i] == "\\" and i + 1 < len(inner) and inner[i + 1] in '\\"$':
            i += 1
        else:
            assert inner[i] not in '"$'
        out += inner[i]
        i += 1
    return out


@given(st.text(st.characters(exclude_characters="\n\r\0")))
def test_quoting_is_undone_by_the_frontend(text: str) -> None:
    assert unquote(quote(text)) == text
    assert "\n" not in quote(text)


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_line_breaks_cannot_be_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        quote(text)


@given(st.text(alphabet="RUNFOMCPYAG abc\n\\<>#\"'=$-{}[],./", max_size=60))
def test_any_text_is_a_dockerfile_or_a_template_error_but_for_arg(text: str) -> None:
    try:
        parsed = parse("FROM a\n" + text)
    except TemplateError as error:
        assert error.problems[0].span  # noqa: PT017 - not raising is fine, too
        return
    assert parse("FROM a\n" + text) == parsed


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ('ARG B=debian:1\nFROM "$B"\n', ["debian:1"]),
        ("FROM 'debian:1'\n", ["debian:1"]),
        ('FROM "debian":1\n', ["debian:1"]),
        ("ARG B\nFROM $B\n", ["given:2"]),
        ("ARG B\nARG C=${B%:*}:9\nFROM ${C}\n", ["given:9"]),
        ("ARG N=a-b\nFROM ${N/-/:}\n", ["a:b"]),
        ("ARG N\nFROM ${N-debian:1}\n", ["debian:1"]),
        ("ARG N=\nFROM ${N:-${B:-debian:1}}\n", ["debian:1"]),
        ("FROM debian:1 AS x-linux\nFROM x-$TARGETOS\n", ["debian:1", "x-linux"]),
        ("FROM debian:1 AS x-arm64\nFROM x-${TARGETARCH}\n", ["debian:1", "x-arm64"]),
    ],
)
def test_images_of_stages_are_what_the_frontend_reads(text: str, images: list[str]) -> None:
    args = {**platform_args("linux/arm64"), **({"B": "given:2"} if "ARG B\n" in text else {})}
    assert [stage.image for stage in parse(text, args=args).stages] == images


@pytest.mark.parametrize(
    ("platform", "written"),
    [
        ("${PLATFORM}", "linux/amd64"),
        ("$PLATFORM", "linux/amd64"),
        ("${OTHER:-$PLATFORM}", "${OTHER:-$PLATFORM}"),
        ("$BUILDPLATFORM", "$BUILDPLATFORM"),
        ("$TARGETPLATFORM", "$TARGETPLATFORM"),
    ],
)
def test_a_platform_names_arguments_of_its_file(platform: str, written: str) -> None:
    text = compose([piece(f"ARG PLATFORM=linux/amd64\nFROM --platform={platform} debian:1\n")]).text
    assert text.startswith(f"FROM --platform={written} debian:1 AS ")


def test_an_expansion_that_wants_a_value_says_where() -> None:
    (problem,) = problems_of(lambda: parse("FROM a\nFROM ${NOPE?name-a-base}\n", "x/Dockerfile"))
    assert problem.message == "`${NOPE?name-a-base}` cannot be expanded: NOPE: name-a-base"
    assert str(problem.span) == "x/Dockerfile:2:1"


@pytest.mark.parametrize("word", ["run-me.sh", "1.txt", ".env", "a/b", "x:y", "'q-r'", '"q.r"'])
def test_a_heredoc_ends_at_any_word(word: str) -> None:
    name = word.strip("'\"")
    text = f"FROM a\nCOPY <<{word} /out/\n#!/bin/sh\nARG = 1\nCOPY src/a.txt\n{name}\nRUN x\n"
    copy, run = parse(text).stages[0].body
    assert copy.heredoc.split("\n") == ["#!/bin/sh", "ARG = 1", "COPY src/a.txt", name]
    assert run.value == "x"
    assert f"#!/bin/sh\nARG = 1\nCOPY src/a.txt\n{name}\nRUN x\n" in compose([piece(text)]).text
