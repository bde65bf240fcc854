"""What arrives in a build: beside plain docker on the same files, whatever their modes, times and names are."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import TestSpace

pytestmark = pytest.mark.engine

SPEC = """\
version: 1
project: {project}
workspace: {project}
output: docker
templates: tpl
bases: {{debian: "debian:trixie-slim"}}
targets:
  app:
    template: app.j2
    from: {{system: debian}}
    context: [src, one/deep]
stacks:
  tiny:
    services:
      app: {{target: app, command: [sleep, "600"]}}
"""
TEMPLATE = """\
ARG SYSTEM_IMAGE={{ images[0][1] }}
FROM {{ image("system") }}
COPY src/ /out/
COPY one/deep /deep/
COPY src/run.sh /bin/run
RUN find /out /deep /bin/run -exec stat -c '%a %u %y %F %n' {} + | sed 's/000000000 //' > /seen; date +%s%N > /when
"""


@pytest.fixture
def files(space: TestSpace) -> TestSpace:
    space.write("stacks.yaml", SPEC.format(project=space.project))
    space.write("tpl/app.j2", TEMPLATE)
    space.write(f"{space.project}/src/plain", space.project)
    space.write(f"{space.project}/src/run.sh", "#!/bin/sh\n")
    space.write(f"{space.project}/src/sub/deep/x", "x")
    space.write(f"{space.project}/one/deep/y", "y")
    (space.folder / f"{space.project}/src/run.sh").chmod(0o755)
    (space.folder / f"{space.project}/src/link").symlink_to("sub/deep")
    (space.folder / f"{space.project}/src/empty/deep").mkdir(parents=True)
    return space


def work_of(space: TestSpace) -> Path:
    """The workspace. Its name is of this test alone: what BuildKit keeps of a folder's modes it finds again by the name."""
    return space.folder / space.project


def as_under(folder: Path, umask: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() or path.stat().st_mode & 0o100 else 0o666) & ~umask)


def composed(space: TestSpace) -> str:
    file = str(work_of(space) / "docker/docker-compose.tiny.yml")
    done = subprocess.run(
        ["docker", "compose", "--progress", "plain", "-f", file, "build"], capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def steps_run(said: str) -> list[str]:
    """The steps of the Dockerfile that compose did not find in the cache."""
    numbers = {line.split()[0]: line for line in said.splitlines() if line.startswith("#") and "] " in line and "/" in line}
    cached = {line.split()[0] for line in said.splitlines() if line.endswith(" CACHED")}
    words = ("COPY", "RUN")
    return [line for number, line in numbers.items() if number not in cached and any(f"] {word} " in line for word in words)]


def image_of(space: TestSpace) -> tuple[str, str]:
    return space.content("app", "/seen"), space.content("app", "/when")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize("first", ["apply", "compose"])
def test_both_ways_make_one_image_and_share_their_cache_under_any_umask(files: TestSpace, umask: int, first: str) -> None:
    as_under(work_of(files), umask)
    (work_of(files) / "src/sub/chosen").write_text("x")
    (work_of(files) / "src/sub/chosen").chmod(0o4711)
    assert files.run("render").returncode == 0
    if first == "apply":
        files.apply()
        made = image_of(files)
        assert steps_run(composed(files)) == []
    else:
        assert steps_run(composed(files)) != []
        made = image_of(files)
        files.apply()
    assert image_of(files) == made
    modes = {line.split()[-1]: line.split()[0] for line in made[0].splitlines()}
    assert int(modes["/out/plain"], 8) == 0o666 & ~umask
    assert int(modes["/out/empty/deep"], 8) == 0o777 & ~umask
    assert modes["/out/sub/chosen"] == "4711"
    assert {line.split()[1] for line in made[0].splitlines()} == {"0"}


def test_another_umask_is_no_change_and_a_chosen_mode_is_one(files: TestSpace) -> None:
    files.apply()
    for umask in (0o002, 0o077, 0o022):
        as_under(work_of(files), umask)
        assert files.stale() == {}
    for path, mode in (("src/plain", 0o600), ("src/sub", 0o711), ("one/deep/y", 0o666)):
        (work_of(files) / path).chmod(mode)
        assert files.stale() == {"app": "context"}
        files.apply()
        assert f"{mode:o} " in files.content("app", "/seen")
    (work_of(files) / "src/more/empty").mkdir(parents=True)
    assert files.plan()["app"] == ("rebuild", [("context", "2 files: + src/more/, + src/more/empty/")])
    files.apply()
    assert "/out/more/empty" in files.content("app", "/seen")
    assert files.stale() == {}


def test_files_arrive_with_their_times_to_the_nanosecond(files: TestSpace) -> None:
    for path, time in (("plain", 1_700_000_001_123_456_789), ("link", 1_234_567_890_000_000_001), ("sub/deep", 5_000_000_007)):
        os.utime(work_of(files) / "src" / path, ns=(time, time), follow_symlinks=False)
    files.apply()
    times = {line.split()[-1]: " ".join(line.split()[2:5]) for line in files.content("app", "/seen").splitlines()}
    assert times["/out/plain"].startswith("2023-11-14 22:13:21.123456789")
    assert times["/out/link"].startswith("2009-02-13 23:31:30.000000001")
    assert times["/out/sub/deep"].startswith("1970-01-01 00:00:05.000000007")
    assert files.stale() == {}
    os.utime(work_of(files) / "src/plain", (7, 7))
    assert files.stale() == {}


MAKE = """\
ARG SYSTEM_IMAGE={{ images[0][1] }}
FROM {{ image("system") }}
WORKDIR /work
COPY src/ src/
RUN --mount=type=cache,id={{ project }}-made,target=/made \\
COMPARE    if [ ! -e /made/out ] || [ src/plain -nt /made/out ]; then cp src/plain /made/out; fi && cp /made/out /out
"""
CURE = """\
    sha256sum src/plain > /tmp/now && if ! cmp -s /tmp/now /made/seen; then touch src/plain; fi \\
    && cp /tmp/now /made/seen && \\
"""


def test_a_step_that_compares_times_sees_every_edit(files: TestSpace) -> None:
    files.write("tpl/app.j2", MAKE.replace("COMPARE", ""))
    for text in ("one", "two", "six"):
        files.write(f"{files.project}/src/plain", text)
        files.apply()
        assert files.content("app") == text


def test_a_step_that_compares_content_sees_an_edit_that_is_taken_back(files: TestSpace) -> None:
    """The COPY of the first content is cached with its first time, which is older than what was made of the second."""
    files.write("tpl/app.j2", MAKE.replace("COMPARE", CURE))
    for text in ("one", "two", "one", "two", "six", "one"):
        files.write(f"{files.project}/src/plain", text)
        files.apply()
        assert files.content("app") == text


@pytest.mark.parametrize("name", ["caf\udce9", "with blank", "q\"'q", "a[b]*?", "tab\there", "--flag", "\u200f\u05d0"])
def test_a_file_arrives_whatever_its_name_is(files: TestSpace, name: str) -> None:
    (work_of(files) / "src" / name).write_text("odd")
    files.write("tpl/app.j2", TEMPLATE.replace("RUN find", "RUN cat /out/* /out/sub/deep/* 2>/dev/null | grep odd > /odd; find"))
    files.apply()
    assert "odd" in files.content("app", "/odd")
    assert files.stale() == {}


ODD = [
    "pages/[id]/p",
    "pages/[slug]",
    "r$x/$id",
    "we*ird",
    "qu?e",
    "back\\slash",
    'dq"x',
    "q'd",
    "--flag",
    "-d",
    "#h",
    "!b",
    "ü ö",
    "<<EOF",
    "{x}",
]


def test_files_and_folders_whose_names_are_signs_are_copied_both_ways(files: TestSpace) -> None:
    """By the copy list that templates get; names with a backslash lie in a folder, for no `context` can say them."""
    for path in ODD:
        files.write(f"{files.project}/{path if chr(92) not in path else 'in/' + path}", path)
    named = json.dumps([path.split("/")[0] if path.startswith(("pages", "r$")) else path for path in ODD if "\\" not in path])
    spec = (files.folder / "stacks.yaml").read_text().replace("[src, one/deep]", f"{named[:-1]}, in]")
    files.write("stacks.yaml", spec.replace('"pages", "pages"', '"pages/[id]", "pages/[slug]"'))
    files.write(
        "tpl/app.j2",
        "ARG SYSTEM_IMAGE={{ images[0][1] }}\nFROM {{ image('system') }}\nWORKDIR /out\n"
        "{% for words in copies(closure.runtime) %}\nCOPY {{ words }}\n{% endfor %}\n"
        "RUN find . -type f | sort > /seen; date +%s%N > /when\n",
    )
    assert files.run("render").returncode == 0
    files.apply()
    made = image_of(files)
    expected = sorted(f"./{path if chr(92) not in path else 'in/' + path}" for path in ODD)
    assert sorted(made[0].splitlines()) == expected
    assert steps_run(composed(files)) == []
    assert image_of(files) == made
