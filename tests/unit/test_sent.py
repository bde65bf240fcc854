"""COPY, ADD and bind mounts against what is sent, --from against the stages that are there: before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasker_build.chain import Origin
from tasker_build.check.sent import Sent, misses, problems
from tasker_build.dockerfile import parse
from tasker_build.project import Project
from tests.conftest import HEAD, problems_of, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from tasker_build.errors import Problem

SENT = Sent(files=("Makefile", "a b.txt", "link", "src/deep/x.c", "src/main.c"), folders=("empty",), workspace=("docs/x.md",))


@pytest.mark.parametrize(
    "line",
    [
        "COPY . .",
        "COPY Makefile /",
        "COPY ./src/main.c /",
        "COPY /src/ /",
        "COPY src/./deep /",
        "COPY ../src /",
        "COPY src/*.c Make* /",
        "COPY s?c/[a-m]*.c /",
        "COPY src/*/x.c /",
        "COPY empty/ /",
        "COPY --parents src/./deep/x.c /",
        "COPY link/anything /",
        "COPY $WHERE ${X}/y /",
        "COPY 'src/nowhere' /",
        'COPY ["a b.txt", "/"]',
        "COPY <<EOF /x\nnowhere\nEOF",
        "ADD https://example.org/x git@example.org:x /",
        "COPY --from=other nowhere /",
        "RUN --mount=type=bind,source=src,target=/s true",
        "RUN --mount=type=bind,target=/s true",
        "RUN --mount=type=cache,source=nowhere,target=/s true",
        "RUN --mount=type=bind,from=other,source=nowhere,target=/s true",
    ],
)
def test_what_is_sent_or_not_sure_is_no_mistake(line: str) -> None:
    assert list(misses(parse(f"FROM scratch\n{line}\n"), SENT)) == []


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("COPY nowhere /", "nowhere"),
        ("COPY Makefile src/nope.c /", "src/nope.c"),
        ("COPY --chown=1:1 --link ./a/../b/ /", "b"),
        ("COPY src/*.rs /", "src/*.rs"),
        ("COPY */main.h /", "*/main.h"),
        ('COPY ["a c.txt", "/"]', "a c.txt"),
        ("ADD archive.tar /", "archive.tar"),
        ("RUN --mount=type=bind,source=lib,target=/s true", "lib"),
        ("RUN --mount=src=lib,target=/s true", "lib"),
        ("COPY srcs /", "srcs"),
    ],
)
def test_what_is_not_sent_is_found(line: str, path: str) -> None:
    (miss,) = misses(parse(f"FROM scratch\nUSER x\n{line}\n"), SENT)
    assert (miss.path, miss.instruction.line) == (path, 3)


def found(text: str, *origins: Origin) -> list[Problem]:
    return list(problems(parse(text), "docker/app/Dockerfile", SENT, origins, {"tool"}))


def test_a_miss_names_the_line_of_the_template_and_the_cure() -> None:
    near, there, far = found(
        "FROM scratch\nCOPY src/mian.c docs/ zzz /\n", Origin("tpl/app.j2", "FROM scratch\n\nCOPY src/mian.c docs/ zzz /\n")
    )
    assert (near.code, str(near.span)) == ("T011", "docker/app/Dockerfile:2:1")
    assert near.notes == ("from: tpl/app.j2:3",)
    assert near.hints == ("did you mean `src/main.c`?",)
    assert there.hints == ("the workspace has it: add it to the target's `context`: [docs]",)
    assert "sources.ignore" in far.hints[0]


STAGES = "FROM a AS builder\nRUN true\nFROM b AS final\n{}\nFROM c AS later\nRUN true\n"


@pytest.mark.parametrize(
    ("line", "hints"),
    [
        ("COPY --from=bulider /x /", ("did you mean `builder`?",)),
        ("COPY --from=Buildr /x /", ("did you mean `builder`?",)),
        ("COPY --from=later /x /", ("name an earlier stage or an image",)),
        ("COPY --from=final /x /", ("name an earlier stage or an image",)),
        ("RUN --mount=type=bind,from=builders,target=/x true", ("did you mean `builder`?",)),
    ],
)
def test_a_stage_that_is_not_there_is_found(line: str, hints: tuple[str, ...]) -> None:
    (problem,) = found(STAGES.format(line))
    assert problem.code == "T012"
    assert problem.span
    assert (problem.span.line, problem.hints) == (4, hints)


@pytest.mark.parametrize("name", ["builder", "BUILDER", "0", "alpine", "tool", "builder:1", "x.org/bulider", "$STAGE", "busybox"])
def test_a_stage_or_an_image_is_no_mistake(name: str) -> None:
    assert found(STAGES.format(f"COPY --from={name} /x /")) == []


SPEC = f"{HEAD}templates: tpl\nbases: {{os: debian}}\ntargets:\n  app: {{template: app.j2, from: {{os: os}}, context: [src]"


@pytest.mark.parametrize(
    ("target", "body", "origin"),
    [
        ("}\n", "COPY config/ /etc/\n", "tpl/app.j2:3"),
        (", hooks: {end: COPY config/ /etc/}}\n", "{{ target.hooks.end }}\n", "hook `end`, "),
    ],
)
def test_a_plan_stops_before_the_first_step(tmp_path: Path, target: str, body: str, origin: str) -> None:
    files = {"stacks.yaml": SPEC + target, "tpl/app.j2": f"ARG OS_IMAGE={{{{ images[0][1] }}}}\nFROM ${{OS_IMAGE}}\n{body}"}
    write_files(tmp_path, {**files, "src/a": "a", "config/b": "b"})
    (problem,) = problems_of(lambda: Project.open([tmp_path / "stacks.yaml"]).wanted)
    assert (problem.code, problem.message) == ("T011", "COPY takes `config`, which the context does not have")
    assert origin in problem.notes[0]


def test_stages_that_are_not_built_do_not_count(tmp_path: Path) -> None:
    body = "FROM scratch AS app\nCOPY src/ /\nFROM scratch AS unused\nCOPY nowhere /\n"
    write_files(tmp_path, {"stacks.yaml": SPEC + ", stage: app}\n", "tpl/app.j2": body, "src/a": "a"})
    assert Project.open([tmp_path / "stacks.yaml"]).wanted
