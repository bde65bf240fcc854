"""Real builds of a tiny stack: what is built, what is not, and what the plan says about it before and after."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import TestSpace, docker

pytestmark = pytest.mark.engine


def test_apply_builds_everything_then_nothing(space: TestSpace) -> None:
    said = space.apply()
    assert "3 built" in said
    assert space.content("app") == "lib 1\napp 1\nplain\n"
    assert "nothing to do: 3 targets up to date" in space.apply()
    assert space.run("plan", "--detailed-exitcode").returncode == 0


def test_an_edit_rebuilds_its_target_alone_and_the_plan_names_the_file(space: TestSpace) -> None:
    space.apply()
    space.write("work/app/main.txt", "app 2\n")
    plan = space.plan()
    assert plan["app"] == ("rebuild", [("context", "1 file: ~ app/main.txt")])
    assert {name for name, (action, _) in plan.items() if action == "keep"} == {"base", "other"}
    assert space.run("plan", "--detailed-exitcode").returncode == 2
    assert "1 built, 2 unchanged" in space.apply()
    assert "app 2" in space.content("app")


def test_images_without_a_record_become_known_when_apply_finds_them_right(space: TestSpace) -> None:
    space.apply()
    shutil.rmtree(space.folder / ".tasker-build")
    assert "nothing to do" in space.apply()
    space.write("work/app/main.txt", "app 2\n")
    assert space.plan()["app"] == ("rebuild", [("context", "1 file: ~ app/main.txt")])


def test_a_base_edit_rebuilds_its_children_because_of_it(space: TestSpace) -> None:
    space.apply()
    space.write("work/lib/a.txt", "lib 2\n")
    assert space.plan()["base"][0] == "rebuild"
    assert space.plan()["app"] == ("cascade", [("parent", "base")])
    space.apply()
    assert space.content("app").startswith("lib 2")


def test_an_edit_of_equal_size_and_time_is_in_the_image(space: TestSpace) -> None:
    file = space.folder / "work/app/main.txt"
    for i in range(3):
        space.write("work/app/main.txt", f"app {i}\n")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        space.apply()
        assert f"app {i}" in space.content("app")


def test_what_cannot_change_an_image_rebuilds_nothing(space: TestSpace) -> None:
    space.apply()
    file = space.folder / "work/app/main.txt"
    os.utime(file)
    space.write("tpl/app.j2", "# another comment\n" + (space.folder / "tpl/app.j2").read_text())
    space.write("work/app/target/debris.o", "ignored\n")
    spec = space.folder / "stacks.yaml"
    spec.write_text("# a comment\n" + spec.read_text())
    assert space.stale() == {}


def test_template_arg_and_spec_changes_are_named(space: TestSpace) -> None:
    space.apply()
    original = (space.folder / "tpl/app.j2").read_text()
    space.write("tpl/app.j2", original.replace("sleep 1", "sleep 0"))
    assert space.plan()["app"] == ("rebuild", [("template", "app.j2")])
    space.write("tpl/app.j2", original)
    spec = (space.folder / "stacks.yaml").read_text()
    space.write("stacks.yaml", spec.replace("FLAVOUR: plain", "FLAVOUR: spicy"))
    assert space.plan()["app"] == ("rebuild", [("arg", "FLAVOUR plain → spicy")])
    space.apply()
    assert "spicy" in space.content("app")


def test_images_moved_or_made_by_hand_are_seen_for_what_they_are(space: TestSpace) -> None:
    space.apply()
    unique, latest = space.reference("app"), space.image("app")

    docker("image", "rm", latest)
    assert space.plan()["app"] == ("retag", [("tag", f"{latest} is missing")])
    assert "1 tagged" in space.apply()

    docker("tag", "debian:trixie-slim", latest)
    assert "which we did not build" in space.plan()["app"][1][0][1]
    space.apply()

    docker("build", "-t", latest, "-", text=f"FROM {unique}\nRUN echo by hand\n")
    assert "made by hand from an image of ours" in space.plan()["app"][1][0][1]
    space.apply()
    assert space.content("app").endswith("plain\n")

    docker("build", "-t", unique, "-", text=f"FROM {unique}\nRUN echo worse > /out\n")
    action, reasons = space.plan()["app"]
    assert (action, reasons[0][0]) == ("rebuild", "not-ours")
    space.apply()
    assert space.content("app").endswith("plain\n")

    docker("image", "rm", unique, latest)
    assert space.stale() == {"app": "missing"}
    space.apply()
    assert space.stale() == {}


def test_a_parent_rebuilt_by_hand_under_our_tag_is_noticed_below_it(space: TestSpace) -> None:
    space.apply()
    unique = space.reference("base")
    docker("build", "-t", unique, "-", text=f"FROM {unique}\nRUN echo other > /cooked\n")
    assert space.stale() == {"base": "not-ours", "app": "parent"}
    # Without any record the parent cannot be told from ours, but the child still knows what it was built on.
    for file in (space.folder / ".tasker-build/targets").iterdir():
        file.unlink()
    assert space.stale() == {"base": "tag", "app": "parent"}


def test_forced_builds_make_the_steps_run_again(space: TestSpace) -> None:
    space.apply()
    space.write("tpl/base.j2", (space.folder / "tpl/base.j2").read_text().replace("cat /lib-src/a.txt", "date +%s%N"))
    space.apply()
    before = space.content("app")
    assert space.plan("--rebuild", "base")["app"] == ("cascade", [("parent", "base")])
    said = space.apply("--rebuild", "base")
    assert re.search(r"built    base .* 2 steps, 0 cached", said)
    assert space.stale() == {}
    redone = space.content("app")
    assert redone != before, "the child stands on the parent's older result"
    # And it stays on that parent when only the child changes.
    space.write("work/app/main.txt", "app 2\n")
    space.apply()
    assert space.content("app").split("\n")[0] == redone.split("\n")[0]


def test_what_is_too_old_is_built_again_without_the_cache_and_then_is_not(space: TestSpace) -> None:
    # Without a step of its own an image is as old as its base, whenever it was built.
    space.write("tpl/other.j2", "FROM {{ images[0][1] }}\nENV A=1\n")
    space.write("tpl/base.j2", (space.folder / "tpl/base.j2").read_text().replace("cat /lib-src/a.txt", "date +%s%N"))
    space.apply()
    assert space.stale() == {}
    before = space.content("app")
    spec = space.folder / "stacks.yaml"
    text = spec.read_text()
    assert "    template: other.j2\n" in text
    spec.write_text(text.replace("    template: other.j2\n", "    template: other.j2\n    refresh: 1h\n"))
    assert space.stale() == {"other": "age"}
    assert "1 built, 2 unchanged" in space.apply()
    assert space.stale() == {}
    spec.write_text(text.replace("    template: base.j2\n", "    template: base.j2\n    refresh: 1h\n"))
    assert space.stale() == {}
    docker("image", "rm", space.reference("base"), space.image("base"))
    assert re.search(r"built    base .* 2 steps, 0 cached", space.apply())
    assert space.content("app") != before
    assert space.stale() == {}


def test_a_wrong_guess_is_told_and_what_compose_built_before_is_none(space: TestSpace) -> None:
    space.write("tpl/other.j2", "FROM {{ images[0][1] }}\nCOPY other/x.txt /x\n")
    space.apply()
    before = docker("image", "inspect", space.image("other"), "--format", "{{.Id}}").stdout
    # A file that is sent and that no step takes: it changes the fingerprint and not the image.
    space.write("work/other/more.txt", "1\n")
    assert space.stale() == {"other": "context"}
    said = space.apply()
    assert "note: the plan guessed wrong of other: `tasker-build why --steps` says what" in said
    assert docker("image", "inspect", space.image("other"), "--format", "{{.Id}}").stdout != before, "the label is another"
    told = space.run("why", "--steps")
    assert told.returncode == 1
    assert "wrong guess: needless: other was predicted to change (context)" in told.stdout
    assert "please report it" in told.stdout
    # Another image that BuildKit happens to have: no step runs, and nobody guessed wrong.
    space.write("work/other/x.txt", "other 2\n")
    assert "guessed" not in space.apply()
    docker("image", "rm", space.reference("other"), space.image("other"))
    space.write("work/other/x.txt", "other 3\n")
    assert "guessed" not in space.apply()
    space.write("work/other/x.txt", "other 2\n")
    assert re.search(r"built    other .* cached", said := space.apply()), said
    assert "guessed" not in said
    assert space.run("why", "--steps").returncode == 0


def test_a_build_that_failed_is_remembered_until_one_ends_well(space: TestSpace) -> None:
    file = space.folder / "tpl/other.j2"
    text = file.read_text()
    file.write_text(text + "RUN exit 3\n")
    assert space.run("apply", "other").returncode == 1
    _, reasons = space.plan()["other"]
    assert [kind for kind, _ in reasons] == ["new", "failed-before"]
    assert re.fullmatch(r"its last build failed: run \d{8}T\d{6}-\d+, \d{4}-\d\d-\d\d \d\d:\d\d UTC", reasons[1][1])
    file.write_text(text)
    space.apply()
    assert space.stale() == {}


def test_an_engine_without_images_or_records_builds_anew(space: TestSpace) -> None:
    space.apply()
    space.clean()
    assert space.stale() == {"base": "missing", "app": "missing", "other": "missing"}
    subprocess.run(["rm", "-rf", str(space.folder / ".tasker-build")], check=True)
    assert space.stale() == {"base": "new", "app": "new", "other": "new"}


def test_without_a_record_a_change_is_still_seen_and_says_so(space: TestSpace) -> None:
    space.apply()
    subprocess.run(["rm", "-rf", str(space.folder / ".tasker-build")], check=True)
    assert space.stale() == {}
    space.write("work/app/main.txt", "app 2\n")
    assert space.plan()["app"] == ("rebuild", [("context", "no record here: group only")])


def test_a_failure_stops_its_descendants_and_nobody_else(space: TestSpace) -> None:
    space.write("tpl/base.j2", BASE_BROKEN)
    done = space.run("apply")
    assert done.returncode == 1
    assert "1 built, 1 failed, 1 skipped" in done.stdout
    assert "skipped  app  (because of base)" in done.stderr
    lines = done.stderr.rstrip().split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("base failed at ["))
    assert lines[start + 1] == "  docker/base/Dockerfile:5"
    assert any("the pan is on fire" in line for line in lines[start:])
    assert lines[-1].startswith("  log .tasker-build/runs/")
    assert "the pan is on fire" in Path(space.folder, lines[-1].removeprefix("  log ")).read_text()
    # The next run goes on where this one stopped.
    assert set(space.stale()) == {"base", "app"}


BASE_BROKEN = """\
ARG SYSTEM_IMAGE={{ images[0][1] }}
FROM {{ image("system") }} AS builder
COPY lib/ /lib-src/
RUN echo "the pan is on fire" && exit 3
"""


def _children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


def _wait_for_build(process: subprocess.Popen[str]) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if children := _children(process.pid):
            time.sleep(1.0)
            return children
        time.sleep(0.1)
    raise AssertionError("no build was started")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopping_ends_the_children_and_the_next_run_goes_on(space: TestSpace, number: signal.Signals, code: int) -> None:
    slow = (space.folder / "tpl/base.j2").read_text().replace("sleep 1", f"sleep {300 + number}")
    space.write("tpl/base.j2", slow)
    process = subprocess.Popen(
        space.command("apply", "base", "other"), cwd=space.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = _wait_for_build(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    deadline = time.monotonic() + 5
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_alive, children))
    if number is not signal.SIGKILL:
        assert "The next apply goes on from here." in errors
        assert "Traceback" not in errors
    space.write("tpl/base.j2", slow.replace(f"sleep {300 + number}", "sleep 0"))
    space.apply()
    assert space.stale() == {}


def test_a_second_apply_is_refused_and_names_the_first(space: TestSpace) -> None:
    slow = (space.folder / "tpl/base.j2").read_text().replace("sleep 1", "sleep 290")
    space.write("tpl/base.j2", slow)
    process = subprocess.Popen(
        space.command("apply", "base"), cwd=space.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not _children(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        done = space.run("apply")
        assert done.returncode == 5
        assert f"process {process.pid}" in done.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def test_secrets_reach_the_step_and_nothing_else(space: TestSpace) -> None:
    canary = "canary-7c1d9f"
    space.write("token", canary)
    spec = (space.folder / "stacks.yaml").read_text()
    space.write(
        "stacks.yaml", spec.replace("    context: [other]", "    context: [other]\n    secrets: [{id: token, required: true}]")
    )
    # BuildKit's key knows no secret: an earlier run of this test must not have left this very step.
    space.write("tpl/other.j2", OTHER_SECRET.replace("wc -c", f": {space.project}; wc -c"))
    refused = space.run("apply", "other")
    assert refused.returncode == 5
    assert "TASKER_BUILD_TOKEN" in refused.stderr
    done = space.run("apply", "other", env={"TASKER_BUILD_TOKEN": str(space.folder / "token")})
    assert done.returncode == 0, done.stderr
    reference = space.image("other")
    assert docker("run", "--rm", reference, "cat", "/length").stdout.strip() == str(len(canary))
    assert canary not in docker("image", "inspect", reference).stdout + docker("history", "--no-trunc", reference).stdout
    found = subprocess.run(
        ["grep", "-rl", canary, str(space.folder / ".tasker-build")], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    # A new value is no reason by itself; a new version of it is, and its step runs again.
    space.write("token", canary * 2)
    assert (
        space.run("plan", "--detailed-exitcode", "other", env={"TASKER_BUILD_TOKEN": str(space.folder / "token")}).returncode == 0
    )
    spec = (space.folder / "stacks.yaml").read_text()
    space.write("stacks.yaml", spec.replace("required: true}", 'required: true, version: "2"}'))
    done = space.run("apply", "other", env={"TASKER_BUILD_TOKEN": str(space.folder / "token")})
    assert done.returncode == 0, done.stderr
    assert docker("run", "--rm", space.image("other"), "cat", "/length").stdout.strip() == str(2 * len(canary))


OTHER_SECRET = """\
ARG RUNTIME_IMAGE={{ images[0][1] }}
FROM {{ image("runtime") }}
COPY other/ /other/
RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length
"""


def _executed(text: str, marker: str) -> list[str]:
    """RUN steps of a plain buildx or compose progress that ran and were not cached."""
    names = dict(re.findall(rf"^#(\d+) (\[.*RUN echo \"{marker}.*)$", text, re.MULTILINE))
    return [name for number, name in names.items() if not re.search(rf"^#{number} CACHED", text, re.MULTILINE)]


def _compose_build(space: TestSpace) -> str:
    file = str(space.folder / "work/docker/docker-compose.tiny.yml")
    done = docker("compose", "--progress", "plain", "-f", file, "build")
    return done.stdout + done.stderr


def test_apply_and_compose_share_one_cache_both_ways(space: TestSpace) -> None:
    # An ARG in a stage others are built from would be inherited there: see docs/adr/0001.
    space.run("render")
    space.apply()
    assert _executed(_compose_build(space), space.project) == []
    plan = space.plan()
    assert {action for action, _ in plan.values()} == {"retag"}
    assert "which we did not build" in plan["app"][1][0][1]

    space.write("work/app/main.txt", "app 2\n")
    space.run("render")
    assert len(_executed(_compose_build(space), space.project)) == 1
    said = space.apply()
    assert re.search(r"built    app .*", said)
    logs = max((space.folder / ".tasker-build/runs").iterdir())
    assert f"{space.project} app" not in (logs / "app.log").read_text()


@pytest.mark.skipif("TASKER_TEST_PRUNE" not in os.environ, reason="empties the engine's build cache (TASKER_TEST_PRUNE=1)")
def test_an_evicted_cache_does_not_rebuild_a_parent_whose_image_is_there(space: TestSpace) -> None:
    slow = (space.folder / "tpl/base.j2").read_text().replace("sleep 1", "sleep 5")
    space.write("tpl/base.j2", slow)
    space.apply()
    # A filtered prune keeps what images share, so it has to be the whole cache.
    docker("builder", "prune", "--all", "--force")
    space.write("work/app/main.txt", "app 2\n")
    said = space.apply()
    assert "note     app: the build cache of base is gone; going on from its image" in said
    assert "1 built, 2 unchanged" in said
    assert space.content("app") == "lib 1\napp 2\nplain\n"
    assert space.stale() == {}
