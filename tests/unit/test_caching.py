"""What spoils caching: each check with what it finds, what it leaves alone, and its price with and without recorded builds."""

from __future__ import annotations

import pytest

from tasker_build.caching import LEVELS, find
from tasker_build.chain import Origin, Source
from tasker_build.dockerfile import parse
from tasker_build.finding import Finding, Level, Price, about, sift
from tasker_build.shell import commands
from tasker_build.spec.model import Suppression, TargetName

FILES = ("Cargo.toml", "package.json", "requirements.txt", "src/a.rs", "src/b.rs")
BASE = "FROM debian:13\n"


def look(
    *texts: str,
    names: tuple[str, ...] = ("base", "app", "more"),
    files: tuple[str, ...] = FILES,
    seconds: dict[str, dict[str, float]] | None = None,
    args: dict[str, str] | None = None,
    places: dict[str, str] | None = None,
    platforms: tuple[str, ...] = ("linux/amd64",) * 3,
) -> tuple[Finding, ...]:
    """Find over targets `base`, `app`, `more`, each named `NAME:1` in the files of the others."""
    sources = [
        Source(
            name=TargetName(name),
            path=f"{name}/Dockerfile",
            dockerfile=parse(text),
            files=files,
            args=args or {},
            places=places or {},
            platform=platform,
        )
        for name, text, platform in zip(names, texts, platforms, strict=False)
    ]
    references = {f"{source.name}:1": source.name for source in sources}
    return find(sources, references, {TargetName(k): v for k, v in (seconds or {}).items()})


def names(*texts: str, **options: object) -> list[tuple[str, int]]:
    return [(row.checker, row.line) for row in look(*texts, **options)]  # type: ignore[arg-type]


def only(*texts: str, **options: object) -> Finding:
    (found,) = look(*texts, **options)  # type: ignore[arg-type]
    return found


# Sources before dependencies.


@pytest.mark.parametrize(
    "run",
    [
        *("apt-get update && apt-get install -y jq", "apt-get -y install jq", "apk add jq", "pip install -r requirements.txt"),
        *("python3 -m pip install flask==3.0", "npm ci", "npm install", "yarn", "pnpm install", "bundle install", "uv sync"),
        *("go mod download", "cargo fetch --locked", "cargo chef cook --release", "if true; then npm ci; fi", "cd app && npm ci"),
        '["npm", "ci"]',
    ],
)
def test_sources_above_an_installation(run: str) -> None:
    assert names(f"{BASE}COPY src/ /app/\nRUN {run}\n") == [("sources-before-dependencies", 2)]
    assert names(f"{BASE}RUN {run}\nCOPY src/ /app/\n") == []


@pytest.mark.parametrize(
    "copy", ["COPY package.json ./", "COPY Cargo.* ./", "COPY <<E /x\nx\nE", "COPY --from=other:1 /src /src"]
)
def test_manifests_and_what_comes_from_elsewhere_may_stay_above(copy: str) -> None:
    assert names(f"{BASE}{copy}\nRUN npm ci\n") == []


@pytest.mark.parametrize(
    ("copy", "run"),
    [
        ("COPY tool.deb /tmp/", "apt-get install /tmp/tool.deb"),
        ("COPY tool.deb /tmp/x", "apt-get install /tmp/x"),
        ("COPY setup.sh /", "./setup.sh && apt-get install jq"),
        ("COPY src/ ./", "pip install --no-index /wheels/*.whl"),
        ("COPY src/ ./", "pip install ."),
        ("COPY src/ ./", "cargo build"),
        ("COPY src/ ./", "echo apt-get install"),
    ],
)
def test_what_an_installation_needs_may_stand_above_it(copy: str, run: str) -> None:
    assert names(f"{BASE}{copy}\nRUN {run}\n") == []


def test_a_folder_that_also_holds_the_manifests_is_still_too_much() -> None:
    files = ("app/main.py", "app/requirements.txt")
    assert names(f"{BASE}COPY app/ /app/\nRUN pip install -r app/requirements.txt\n", files=files) == [
        ("sources-before-dependencies", 2)
    ]


def test_a_mount_of_the_context_counts_where_it_is() -> None:
    found = only(f"{BASE}RUN --mount=type=bind,target=/x apt-get install jq\nRUN --mount=target=/x make\n")
    assert found.line == 2
    assert "the whole context is mounted where dependencies are installed (line 2)" in found.message


def test_copies_of_a_stage_are_one_finding_that_names_the_steps() -> None:
    found = only(f"{BASE}COPY src/a.rs ./\nCOPY src/b.rs package.json ./\nRUN npm ci\nRUN apt-get install jq\n")
    assert (found.line, found.level) == (2, Level.WARNING)
    assert found.message.startswith("`src/a.rs`, `src/b.rs` are copied before dependencies are installed (line 4, line 5)")


def test_what_it_costs_without_records_names_targets() -> None:
    base = f"{BASE}COPY src/ ./\nRUN npm ci\nWORKDIR /x\nLABEL a=b\n"
    found = look(base, "FROM base:1\nLABEL a=b\n", "FROM debian:13\nCOPY --from=base:1 /x /y\n")
    assert [row.checker for row in found] == ["sources-before-dependencies"]
    assert found[0].cost == (
        "an edit of `src` repeats 3 steps here and rebuilds 2 targets below (app, more); no durations are recorded here"
    )
    assert found[0].price == Price(steps=3, targets=("app", "more"))


def test_what_it_costs_comes_from_the_steps_that_run_again() -> None:
    base = f"{BASE}RUN first\nCOPY src/ ./\nRUN npm ci\nRUN make\n"
    recorded = {
        "base": {"[2/5] RUN first": 1000.0, "[3/5] COPY base/src/ ./": 0.5, "[4/5] RUN npm ci": 300.0, "[5/5] RUN make": 60.0},
        "app": {"[1/2] RUN a": 240.0, "[2/2] COPY x y": 1.0},
    }
    app = "FROM base:1 AS only\nRUN a\nCOPY package.json y\n"
    found = only(base, app, "FROM app:1\nRUN b\n", seconds=recorded)
    assert found.price == Price(steps=3, targets=("app", "more"), seconds=601.5, avoidable=300.0, unmeasured=1)
    assert found.cost == (
        "an edit of `src` repeats 3 steps here and rebuilds 2 targets below (app, more): about 10 min, 5 min of it for nothing "
        "(1 step not measured yet)"
    )


@pytest.mark.parametrize(
    "name",
    [
        "[4/5] COPY npm ci",
        *("[4/5] RUN npm install", "[4/5] RUN npm ci --more", "[4/5] RUN  npm"),
        "[other 4/5] RUN npm ci",
        "npm ci",
    ],
)
def test_a_step_that_looked_different_when_it_was_recorded_is_not_its_price(name: str) -> None:
    base = f"{BASE}RUN first\nCOPY src/ ./\nRUN npm ci\nRUN make\n"
    assert only(base, seconds={"base": {name: 5.0}}).price == Price(steps=3, targets=())


@pytest.mark.parametrize(
    ("name", "seconds"), [("[3/5] COPY x y", 5.5), ("[3/6] COPY x y", 5.0), ("[4/5] COPY x y", 5.0), ("[3/3] COPY x y", 5.0)]
)
def test_a_run_is_known_by_its_words_and_a_copy_by_its_place(name: str, seconds: float) -> None:
    base = f"{BASE}RUN first\nCOPY src/ ./\nRUN npm ci\nRUN make\n"
    price = only(base, seconds={"base": {"[9/9] RUN npm ci": 5.0, name: 0.5}}).price
    assert price
    assert (price.seconds, price.unmeasured) == (seconds, 1)


def test_quick_copies_say_nothing_of_steps_that_nobody_measured() -> None:
    base = f"{BASE}COPY src/ ./\nRUN npm ci\n"
    assert only(base, seconds={"base": {"[2/3] COPY src/ ./": 0.1}}).price == Price(steps=2, targets=())


@pytest.mark.parametrize(
    ("run", "name", "same"),
    [
        ("a $B c", "a 1 c", True),
        ("a ${B:-x}", "a x", True),
        ("a $B c $D e", "a 1 c 2 e", True),
        ("a $B c", "a 1 d", False),
        ("a $B", "b 1", False),
        ("a $B c", "a 1 c d", False),
        ("<<E\na\nE", "<<E (a)", True),
    ],
)
def test_variables_are_filled_in_where_a_step_is_recorded(run: str, name: str, same: bool) -> None:  # noqa: FBT001
    found = look(f"{BASE}COPY . .\nRUN {run}\n", seconds={"base": {f"[3/3] RUN {name}": 5.0}})
    assert (found[0].price and found[0].price.seconds) == (5.0 if same else None)


def test_recorded_steps_are_found_with_variables_filled_in_and_flags_rewritten() -> None:
    text = f'{BASE}ENV A=x\nCOPY src/ ./\nRUN --mount=type=bind,from=w:1,target=/w    npm ci "$A"\n'
    recorded = {'[3/3] RUN --mount=type=bind,from=s__w,target=/w npm ci "x"': 7.0}
    price = only(text, seconds={"base": recorded}).price
    assert price
    assert (price.seconds, price.unmeasured) == (7.0, 0)


def test_named_stages_have_steps_of_their_own() -> None:
    text = "FROM debian:13 AS one\nCOPY src/ ./\nRUN npm ci\nFROM one AS two\nRUN npm ci\n"
    price = only(text, seconds={"base": {"[one 3/3] RUN npm ci": 2.0, "[two 1/1] RUN npm ci": 3.0}}).price
    assert price
    assert (price.seconds, price.avoidable, price.steps) == (5.0, 5.0, 3)


def test_a_step_that_two_builds_shared_is_measured_for_both() -> None:
    texts = (f"{BASE}RUN make\nRUN a\n", f"{BASE}COPY . .\nRUN b\n", f"{BASE}COPY . .\nRUN b\nRUN c\n")
    found = look(*texts, seconds={"app": {"[3/3] RUN b": 8.0}})
    assert [row.price and row.price.seconds for row in found] == [8.0, 8.0]
    found = look(*texts, seconds={"base": {"[2/3] RUN make": 8.0}})
    assert [row.price and row.price.seconds for row in found] == [None, None]


def test_stages_that_nothing_stands_on_cost_nothing() -> None:
    text = "FROM debian:13 AS spare\nCOPY src/ ./\nRUN npm ci\nFROM debian:13\nRUN make\n"
    assert names(text) == []


def test_an_image_that_others_install_on_is_advice() -> None:
    found = only(f"{BASE}COPY src/ ./\n", "FROM base:1\nRUN apt-get install jq\n")
    assert (found.path, found.line, found.level) == ("base/Dockerfile", 2, Level.ADVICE)
    assert "app/Dockerfile:2" in found.message


def test_targets_that_share_a_file_are_one_finding_with_both_in_its_price() -> None:
    text = "FROM debian:13 AS a\nCOPY src/ ./\nRUN npm ci\nFROM a AS one\nRUN apt-get install x\nFROM a AS two\nRUN y\n"
    sources = [
        Source(name=TargetName(name), path="Dockerfile", dockerfile=parse(text), stage=name, files=FILES)
        for name in ("one", "two")
    ]
    (found,) = find(sources, {}, {TargetName("two"): {"[a 3/3] RUN npm ci": 9.0}})
    assert found.price == Price(steps=4, targets=(), seconds=9.0, avoidable=9.0, unmeasured=2)


@pytest.mark.parametrize("mount", ["from=other:1,target=/x", "source=package.json,target=/p", "type=cache,target=/c"])
def test_mounts_of_manifests_and_of_other_things_are_fine(mount: str) -> None:
    assert names(f"{BASE}RUN --mount={mount} npm ci\n") == []


# Whole contexts.


@pytest.mark.parametrize("copy", ["COPY . .", "COPY ./ /app/", 'COPY [".", "/app"]', "ADD * /x/", "COPY --chown=1:1 . /x"])
def test_a_whole_context(copy: str) -> None:
    found = only(f"{BASE}{copy}\nRUN make\n")
    assert (found.checker, found.line) == ("copy-all", 2)
    assert found.cost.startswith("an edit of any file of the context repeats 2 steps here;")


def test_a_whole_context_above_an_installation_is_said_once() -> None:
    assert names(f"{BASE}COPY . .\nRUN npm ci\n") == [("sources-before-dependencies", 2)]


@pytest.mark.parametrize("copy", ["COPY src/ .", "COPY --from=other:1 . .", "RUN cp . /x"])
def test_a_part_of_it_is_fine(copy: str) -> None:
    assert names(f"{BASE}{copy}\n") == []


# Values that come early.


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ARG V\nRUN one\nRUN two $V\n", 2),
        ("ARG V=1\nRUN one\nLABEL v=${V}\n", 2),
        ("RUN zero\nARG A B\nRUN one\nENV X=$B\n", 3),
        ("ENV APP_VERSION=1\nRUN one\nRUN two $APP_VERSION\n", 2),
        ("ENV APP_VERSION 1\nRUN one\n", 2),
        ("ARG V\nENV X=$V\nRUN one\nRUN two\n", 3),
    ],
)
def test_values_that_are_declared_too_early(text: str, line: int) -> None:
    found = only(BASE + text)
    assert (found.checker, found.line, found.level) == ("early-value", line, Level.ADVICE)


@pytest.mark.parametrize(
    "text",
    [
        "ARG V\nRUN one $V\nRUN two $V\n",
        "ARG V\nCOPY src/ ./\nRUN two $V\n",
        "ARG DEBIAN_FRONTEND=noninteractive\nRUN one\n",  # read by programs, and never named
        "ARG TARGETARCH\nRUN one\nRUN two $TARGETARCH\n",
        "ENV CARGO_HOME=/c\nRUN one\nRUN two $CARGO_HOME\n",  # does not change from build to build
        "ARG V\nRUN python -c 'import os; os.environ[\"V\"]'\n",
        "RUN one\nARG V\n",
        'ARG "\nRUN one\n',
    ],
)
def test_values_that_stand_where_they_should(text: str) -> None:
    assert names(BASE + text) == []


def test_an_early_value_costs_what_it_repeats_and_is_silent_about_trifles() -> None:
    text = f"{BASE}ARG V\nRUN one\nRUN two $V\n"
    found = only(text, seconds={"base": {"[2/3] RUN one": 50.0, "[3/3] RUN two 1": 10.0}})
    assert found.cost == "a new `V` repeats 2 steps here: about 60 s, 50 s of it for nothing"
    assert names(text, seconds={"base": {"[2/3] RUN one": 0.2, "[3/3] RUN two 1": 100.0}}) == []


# Results that change, downloads that may.


@pytest.mark.parametrize(
    "run",
    [
        *("date > /built", 'echo "$(date +%s)"', "echo `date`", "x=$(git rev-parse HEAD)", "git describe --tags > /v"),
        *("echo $RANDOM", "uuidgen > /id", "<<E\ndate\nE"),
    ],
)
def test_results_that_differ_each_time(run: str) -> None:
    found = only(f"{BASE}RUN {run}\nRUN make\n")
    assert (found.checker, found.line, found.level) == ("changing-result", 2, Level.WARNING)
    assert found.cost.startswith("each time it runs, it repeats 2 steps here;")


@pytest.mark.parametrize(
    "run",
    [
        *("date -d @0", 'echo "$(date --date=@0)"', "echo date", "update-date", "git clone -b v1 x && git -C x rev-parse HEAD"),
        *("git --version", "<<E python3\ndate\nE", "<<E\n# date\nE", "<<E\n#!/usr/bin/python3\ndate\nE"),
    ],
)
def test_results_that_stay(run: str) -> None:
    assert names(f"{BASE}RUN {run}\n") == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("RUN curl -fsSL https://x.org/a | sh", "`curl`"),
        ("RUN apt-get update && wget -q $URL", "`wget`"),
        ('RUN ["curl", "-O", "https://x.org/a"]', "`curl`"),
        ("RUN <<E\nset -e\ncurl -O https://x.org/a\nE", "`curl`"),
        ("ADD https://x.org/a.tgz /a", "--checksum"),
        ("ADD https://x.org/a.git /a", "commit"),
        ("RUN pip install flask requests==2", "flask is newest"),
        ("RUN /v/bin/pip3 install --upgrade pip", "of pip is"),
        ("RUN cargo install --locked ripgrep", "name one with `@`"),
        ("RUN cargo install ripgrep@14", "--locked"),
        ("RUN apt-get update && apt-get -y upgrade", "`apt-get upgrade`"),
        ("RUN dnf -y update", "`dnf update`"),
        ("RUN git clone https://x.org/a.git", "main branch"),
    ],
)
def test_downloads_that_move(line: str, word: str) -> None:
    found = only(f"{BASE}{line}\n")
    assert (found.checker, found.line, found.level) == ("unpinned-download", 2, Level.WARNING)
    assert word in found.message


@pytest.mark.parametrize(
    "line",
    [
        "RUN curl -O https://x.org/a && echo 'abc  a' | sha256sum --check",
        "RUN apt-get update && apt-get install --yes curl wget",
        "RUN curl http://localhost:8080/health",
        "RUN curl --version",
        "ADD --checksum=sha256:0 https://x.org/a.tgz /a",
        "ADD https://x.org/a.git#0123 /a",
        "ADD a.tar /a",
        "RUN pip install flask==3.0",
        "RUN pip install --require-hashes -r requirements.txt",
        "RUN pip install --no-index flask",
        "RUN pip install . ./x.whl $PACKAGES",
        "RUN pip --version",
        "RUN cargo install --locked ripgrep@14",
        "RUN cargo install --locked --version 14 ripgrep",
        "RUN cargo install --path .",
        "RUN git clone --branch v1 https://x.org/a.git",
        "RUN echo 'curl https://x.org/a'",
        'RUN echo "an open quote',
    ],
)
def test_downloads_that_stay(line: str) -> None:
    assert names(f"{BASE}{line}\n") == []


@pytest.mark.parametrize(
    ("text", "line", "steps"),
    [
        ("FROM debian\nRUN a\n", 1, 1),
        ("FROM debian:latest\n", 1, 0),
        ("ARG I=registry:5000/debian\nFROM $I\n", 2, 0),
        ("FROM debian AS x\nFROM debian:13\nRUN a\nCOPY --from=x /a /b\n", 1, 1),
        ("FROM debian:13\nRUN a\nCOPY --from=tool /a /b\nRUN b\n", 3, 2),
    ],
)
def test_bases_that_move(text: str, line: int, steps: int) -> None:
    found = only(text)
    assert (found.checker, found.line) == ("moving-base", line)
    assert found.price == Price(steps=steps, targets=())


def test_what_is_pinned_or_ours_does_not_move() -> None:
    assert names("FROM debian@sha256:0 AS x\nFROM scratch\nCOPY --from=x /a /a\nCOPY --from=0 /a /a\n", "FROM base:1\n") == []
    assert names(BASE, "FROM base:latest\n", names=("base", "app")) == [("moving-base", 1)]


@pytest.mark.parametrize(
    "image", ["docker/dockerfile", "docker/dockerfile:1", "docker/dockerfile:1.7", "x/y:labs", "r.io:5000/x"]
)
def test_a_frontend_that_moves(image: str) -> None:
    found = only(f"# check=skip=x\n# syntax={image}\n{BASE}")
    assert (found.checker, found.line) == ("moving-base", 2)
    assert f"`# syntax={image}`" in found.message


@pytest.mark.parametrize("tag", [":1.7.0", ":1.7.0-labs", ":1@sha256:0"])
def test_a_frontend_that_stays(tag: str) -> None:
    assert names(f"# syntax=docker/dockerfile{tag}\n{BASE}") == []


# Arguments that reach nothing.


def test_an_argument_that_no_arg_declares() -> None:
    found = only(f"{BASE}ARG FLAVOUR\nRUN x $FLAVOUR\n", args={"FLAVOR": "a"}, places={"FLAVOR": "stacks.yaml:7:5"})
    assert (found.checker, found.level, found.origin) == ("undeclared-argument", Level.WARNING, "stacks.yaml:7:5")
    assert found.message == ("no ARG declares `FLAVOR`, which the spec gives `base`: it reaches no step; did you mean `FLAVOUR`?")
    assert names(f"ARG A=1\n{BASE}", args={"A": "2"}) == []
    assert names(BASE, args={"HTTP_PROXY": "x", "BUILDKIT_SYNTAX": "y"}) == []


def test_an_argument_that_targets_inherit_is_right_where_one_declares_it() -> None:
    args, places = {"A": "1"}, {"A": "stacks.yaml:3:9"}
    assert names(BASE, f"{BASE}ARG A\n", args=args, places=places) == []
    (found,) = look(BASE, BASE, args=args, places=places)
    assert "gives `base`, `app`" in found.message


# The same step on different ground.

INSTALL = "RUN apt-get install jq\n"


def test_a_step_that_several_targets_run_on_different_ground() -> None:
    texts = (f"{BASE}RUN a\n{INSTALL}", f"{BASE}RUN b\n{INSTALL}", f"{BASE}RUN c\n{INSTALL}")
    found = only(*texts)
    assert (found.checker, found.path, found.line, found.level) == ("repeated-step", "base/Dockerfile", 3, Level.ADVICE)
    assert found.message.endswith("(also app/Dockerfile:3, more/Dockerfile:3)")
    assert "saves 2 of its 3 runs where there is no cache; no durations are recorded here" in found.cost
    name = "[3/3] RUN apt-get install jq"
    found = only(*texts, seconds={"base": {name: 40.0}, "app": {name: 30.0}, "more": {name: 20.0}})
    assert "a target on `debian:13`" in found.cost
    assert "saves about 50 s of every build that starts without a cache" in found.cost
    assert found.price == Price(steps=2, targets=("base", "app", "more"), seconds=50.0)
    assert names(*texts, seconds={"base": {name: 0.4}, "app": {name: 0.3}}) == []


def test_steps_that_belong_together_are_one_advice() -> None:
    both = f"{INSTALL}RUN pip install flask==3\n"
    found = only(f"{BASE}RUN a\n{both}", f"{BASE}RUN b\n{both}")
    assert found.message.startswith("2 steps from here are run 2 times")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"{BASE}{INSTALL}RUN a\n", f"{BASE}LABEL x=y\n{INSTALL}RUN b\n"),  # the same ground: BuildKit runs it once
        (f"{BASE}RUN a\n{INSTALL}", f"FROM debian:12\nRUN b\n{INSTALL}"),  # no base could serve both
        (f"{BASE}RUN a\n{INSTALL}", f"FROM base:1\n{INSTALL}"),
        (f"{BASE}RUN a\nRUN make\n", f"{BASE}RUN b\nRUN make\n"),  # no installation: it may need what is above
        (f"{BASE}RUN a\nRUN npm ci\n", f"{BASE}RUN b\nRUN npm ci\n"),  # reads files that may differ
        (f"{BASE}WORKDIR /a\n{INSTALL}", f"{BASE}WORKDIR /a\n{INSTALL}"),
    ],
)
def test_steps_that_are_shared_or_cannot_be(one: str, other: str) -> None:
    expected = ["repeated-step"] if other.startswith("FROM base") else []
    assert [row.checker for row in look(one, other)] == expected


def test_what_a_step_can_see_makes_it_another_step() -> None:
    for line in ("ENV A=1", "WORKDIR /x", "USER 5", "ARG A=1"):
        assert names(f"{BASE}{INSTALL}", f"{BASE}{line}\n{INSTALL}") == [("repeated-step", 2)], line


def test_images_of_different_platforms_share_nothing_anyway() -> None:
    texts = (f"{BASE}RUN a\n{INSTALL}", f"{BASE}RUN b\n{INSTALL}")
    assert names(*texts, platforms=("linux/amd64", "linux/arm64")) == []


# Origins, levels, suppressions, words.


def test_a_line_is_traced_to_the_template_that_says_the_same() -> None:
    template = Origin("tpl/app.j2", "FROM {{ x }}\n  COPY . .\nRUN {{ y }}\n")
    parts = Origin("tpl/parts.j2", "RUN date\n")
    hook = Origin("hook `end`, stacks.yaml:9:5", "RUN echo $RANDOM\n", numbered=False)
    text = f"{BASE}COPY . .\nRUN date\nRUN echo $RANDOM\nRUN curl x.org\n"
    source = Source(name=TargetName("a"), path="a", dockerfile=parse(text), files=FILES, origins=(template, parts, hook))
    found = find([source], {}, {})
    assert [row.origin for row in found] == ["tpl/app.j2:2", "tpl/parts.j2:1", "hook `end`, stacks.yaml:9:5", "tpl/app.j2"]


def test_no_check_of_this_module_fails_a_check_that_is_not_strict() -> None:
    assert Level.ERROR not in LEVELS.values()


def test_a_suppression_takes_its_findings_and_counts_them() -> None:
    rows = [
        Finding(checker="copy-all", path="deploy/a/Dockerfile", line=1, message=""),
        Finding(checker="copy-all", path="dev/a/Dockerfile", line=1, message=""),
        Finding(checker="hadolint DL3008", path="dev/a/Dockerfile", line=2, message=""),
    ]
    suppress = [Suppression(check="copy-all", path="deploy/*", why="x"), Suppression(check="DL3008", why="y")]
    left, taken = sift(rows, suppress)
    assert (left, taken) == ((rows[1],), {0: 1, 1: 1})
    assert sift(rows, [Suppression(check="copy", why="x")]) == (tuple(rows), {})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "less than 1 s"),
        (1, "about 1 s"),
        (89, "about 89 s"),
        (100, "about 2 min"),
        (660, "about 11 min"),
        (7200, "about 2.0 h"),
    ],
)
def test_estimates_read_like_estimates(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_many_targets_are_counted() -> None:
    price = Price(steps=0, targets=tuple("abcdefgh"))
    assert price.text("x") == "x rebuilds 8 targets below (a, b, c, d, e, f and 2 more); no durations are recorded here"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("a b && c; d | e", ["a", "c", "d", "e"]),
        ("X=1 Y=2 sudo /usr/bin/apt-get update", ["apt-get"]),
        ("if [ -s x ]; then a; else b; fi", ["[", "a", "b", "fi"]),
        ("(cd x && a) || ! b", ["cd", "a", "b"]),
        ("echo 'a && b'", ["echo"]),
        ("a \\\n  && b", ["a", "b"]),
        ("python3.11 -m pip install x", ["pip"]),
        ("pip3 install x", ["pip"]),
        ('["a", "b && c"]', ["a"]),
        ("<<E\na\nb\nE", ["a", "b"]),
        ("echo 'open", []),
    ],
)
def test_commands_of_a_step(run: str, expected: list[str]) -> None:
    assert [command.program for command in commands(parse(f"{BASE}RUN {run}\n").instructions[1])] == expected


# Outputs that outlive their sources.

COPIED = BASE + "WORKDIR /app\nCOPY src/ src/\n"


@pytest.mark.parametrize(
    "run",
    [
        "--mount=type=cache,target=/app/target cargo build --release",
        "--mount=type=cache,id=x,target=target,sharing=locked cd /app && cargo +nightly install --path .",
        "--mount=type=cache,dst=/out make -j4 all",
        "--mount=type=cache,target=/root/.cargo/registry --mount=type=cache,target=/build cmake --build /build",
        "--mount=type=cache,target=/o if [ src/a.rs -nt /o/a ]; then cp src/a.rs /o/a; fi",
        "--mount=type=cache,target=/o find src -newer /o/stamp -exec cp {} /o/ ;",
        "--mount=target=/o,type=cache ninja -C /o",
    ],
)
def test_outputs_that_are_kept_and_compared_by_time_are_found(run: str) -> None:
    found = [row for row in look(f"{COPIED}RUN {run}\n") if row.checker == "compared-times"]
    assert [(row.line, row.level) for row in found] == [(4, Level.WARNING)]
    assert "sha256sum" in found[0].message


@pytest.mark.parametrize(
    "run",
    [
        "cargo build --release",
        "--mount=type=cache,target=/usr/local/cargo/registry cargo build --locked",
        "--mount=type=cache,target=/root/.cache/go-build go build ./...",
        "--mount=type=cache,target=/opt/sccache cargo build",
        "--mount=type=cache,target=/app/target sha256sum src/* > /tmp/now && cargo build",
        "--mount=type=cache,target=/app/target find src -exec touch {} + && cargo build",
        "--mount=type=cache,target=/app/target cargo fetch",
        "--mount=type=cache,target=/var/cache/apt apt-get install -y make",
        "--mount=type=bind,source=src,target=/s make",
    ],
)
def test_what_compares_content_or_keeps_no_outputs_is_left_alone(run: str) -> None:
    assert not [row for row in look(f"{COPIED}RUN {run}\n") if row.checker == "compared-times"]


def test_outputs_of_what_no_context_brings_are_left_alone() -> None:
    assert not [row for row in look(f"{BASE}RUN --mount=type=cache,target=/o make\n") if row.checker == "compared-times"]
