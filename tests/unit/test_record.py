"""Records make explanations finer; a damaged one is as if it were not there."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.plan.facts import Fact, Facts, Group
from tasker_build.plan.wanted import Wanted
from tasker_build.records import records as records_module
from tasker_build.records.durations import durations, step_durations
from tasker_build.records.records import KEPT_BUILDS, KEPT_RUNS, Records
from tasker_build.spec.model import TargetName

if TYPE_CHECKING:
    from pathlib import Path

NAME = TargetName("deploy/api")


def wanted(value: str = "1", name: TargetName = NAME) -> Wanted:
    found = Facts.of(
        iter([Fact(group=Group.ARG, label="a", value=value), Fact(group=Group.CONTEXT, label="caf\udce9", value="x")])
    )
    return Wanted(
        name=name,
        facts=found,
        image="i",
        tags=(),
        platform="p",
        parents=(),
        bases=(),
        templates={"t.j2": "1"},
        spec={"vars": "s"},
    )


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / ".tasker-build")


def test_what_was_remembered_is_known(records: Records) -> None:
    records.remember(wanted(), "sha256:1")
    ((key, known),) = records.builds([NAME]).items()
    assert key == (NAME, wanted().facts.fingerprint)
    assert (known.facts, known.image_id, known.templates, known.spec) == (
        wanted().facts.facts,
        "sha256:1",
        {"t.j2": "1"},
        {"vars": "s"},
    )


def test_an_image_found_here_is_adopted_and_never_replaces_what_a_build_noted(records: Records) -> None:
    records.adopt([(wanted(), "sha256:found")])
    records.adopt([(wanted(), "sha256:other")])
    (known,) = records.builds([NAME]).values()
    assert known.image_id == "sha256:found"


def test_nothing_is_known_before_anything_is_written_and_reading_writes_nothing(records: Records) -> None:
    assert records.builds([NAME]) == {}
    assert records.rendered() == frozenset()
    assert not records.folder.exists()


def test_the_newest_builds_are_kept(records: Records) -> None:
    for i in range(KEPT_BUILDS + 3):
        records.remember(wanted(str(i)), f"sha256:{i}")
    records.remember(wanted("5"), "sha256:again")
    ids = [known.image_id for known in records.builds([NAME]).values()]
    assert len(ids) == KEPT_BUILDS
    assert ids[-1] == "sha256:again"
    assert "sha256:0" not in ids


def test_the_folder_is_private_and_ignored_by_git(records: Records) -> None:
    records.remember(wanted(), "x")
    assert stat.S_IMODE(records.folder.stat().st_mode) == 0o700
    assert (records.folder / ".gitignore").read_text() == "*\n"
    (file,) = (records.folder / "targets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_rendered_paths_are_remembered(records: Records) -> None:
    records.note_rendered(["b", "a"])
    assert records.rendered() == {"a", "b"}
    records.note_rendered([])
    assert records.rendered() == frozenset()


def test_the_oldest_runs_make_room(records: Records) -> None:
    (records.folder / "runs").mkdir(parents=True)
    for i in range(KEPT_RUNS + 5):
        (records.folder / "runs" / f"2020010{i:02}").mkdir()
    run = records.new_run()
    assert len(list((records.folder / "runs").iterdir())) == KEPT_RUNS
    records.summarise(run, {"version": 1})
    assert json.loads((run / "summary.json").read_text()) == {"version": 1}


def test_what_a_plan_needs_is_in_the_index(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    records.remember(wanted(), "sha256:1", engine="E")
    records.note_failure(TargetName("web"), "run-1")
    monkeypatch.setattr(records_module, "read_target", lambda path: pytest.fail(f"{path} was read"))
    found = records.history()
    assert found.built == {(NAME, wanted().facts.fingerprint): ("sha256:1", "E")}
    assert found.failed == {"web": "run-1"}


def test_records_without_an_index_are_read_until_an_apply_writes_one(records: Records) -> None:
    records.remember(wanted(), "sha256:1")
    before = records.history()
    index = records.folder / "builds.json"
    index.unlink()
    assert records.history() == before
    assert not index.exists(), "reading writes nothing"
    records.adopt([])
    assert index.exists()
    assert records.history() == before


def test_a_record_that_another_version_wrote_is_read_whatever_the_index_says(records: Records) -> None:
    text = good(records)
    damage(records, text.replace("sha256:1", "sha256:2"))
    assert [image.image_id for image in records.history().built.values()] == ["sha256:2"]
    (records.folder / "targets/deploy-api.json").unlink()
    assert records.history().built == {}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 1, "files": {"deploy-api.json": [1]}}', '{"version": 2, "files": 5}']
)
def test_a_damaged_index_counts_as_none(records: Records, text: str) -> None:
    good(records)
    before = records.history()
    (records.folder / "builds.json").write_text(text)
    assert records.history() == before
    records.adopt([])
    assert records.history() == before


def good(records: Records) -> str:
    records.remember(wanted(), "sha256:1")
    return (records.folder / "targets/deploy-api.json").read_text()


def damage(records: Records, text: str) -> None:
    (records.folder / "targets/deploy-api.json").write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "null", "5", '"x"', "{", "NaN", '{"target": "deploy/api"}', '{"target": "deploy/api", "builds": 5}'),
        *('{"target": "deploy/api", "builds": [5]}', '{"target": "deploy/api", "builds": [{}]}', "\ufeff{}"),
    ],
)
def test_a_damaged_record_counts_as_none_and_is_written_anew(records: Records, text: str) -> None:
    good(records)
    damage(records, text)
    assert records.builds([NAME]) == {}
    records.remember(wanted(), "sha256:2")
    assert len(records.builds([NAME])) == 1


@pytest.mark.parametrize("key", ["fingerprint", "image", "facts", "templates", "spec", "target"])
@pytest.mark.parametrize("how", ["gone", "wrong"])
def test_a_field_that_is_gone_or_of_another_type(records: Records, key: str, how: str) -> None:
    value = json.loads(good(records))
    row = value if key == "target" else value["builds"][0]
    if how == "gone":
        del row[key]
    else:
        row[key] = {"facts": [["nogroup", "a", "b"]], "templates": 5, "target": "other", "fingerprint": ["x"]}.get(key, row[key])
    damage(records, json.dumps(value))
    harmless = how == "wrong" and key in {"image", "spec"}
    assert (records.builds([NAME]) != {}) is harmless


def test_the_record_of_another_target_is_not_taken(records: Records) -> None:
    records.remember(wanted(name=TargetName("deploy-api")), "sha256:1")
    assert records.builds([NAME]) == {}


def test_bytes_that_are_no_text_and_folders_in_the_way(records: Records) -> None:
    good(records)
    path = records.folder / "targets/deploy-api.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert records.builds([NAME]) == {}
    path.unlink()
    path.mkdir()
    assert records.builds([NAME]) == {}


def test_a_deeply_nested_record_counts_as_none(records: Records) -> None:
    good(records)
    damage(records, "[" * 100_000)
    assert records.builds([NAME]) == {}


@given(data=st.data())
def test_any_cut_or_flipped_record_is_none_or_a_record(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    records = Records(tmp_path_factory.mktemp("flipped"))
    text = good(records)
    at = data.draw(st.integers(0, len(text) - 1))
    damage(records, data.draw(st.sampled_from([text[:at], text[:at] + "#" + text[at + 1 :], text[:at] + text[at + 1 :]])))
    assert len(records.builds([NAME])) <= 1


def run_of(records: Records, day: int, *rows: object) -> None:
    run = records.folder / "runs" / f"202001{day:02}T000000-1"
    run.mkdir(parents=True)
    records.summarise(run, {"version": 1, "results": list(rows)})


def built(seconds: float, run: int, *steps: tuple[str, str, bool, float]) -> dict[str, object]:
    rows = [{"target": target, "name": name, "cached": cached, "seconds": took} for target, name, cached, took in steps]
    return {"target": "api", "result": "built", "seconds": seconds, "run": run, "cached": 3, "steps": rows}


def test_a_build_that_found_everything_cached_is_no_measure(records: Records) -> None:
    for day, (seconds, run) in enumerate([(600.0, 4), (5.0, 0), (6.0, 0), (500.0, 1), (7.0, 0)], 1):
        run_of(records, day, built(seconds, run))
    assert durations(records) == {"api": 550.0}


def test_steps_are_measured_when_they_run_whoever_was_being_built(records: Records) -> None:
    assert step_durations(records) == {}
    run_of(records, 1, built(9, 1, ("base", "[2/2] RUN a", False, 4.0), ("api", "[2/3] RUN b", False, 1.0)))
    run_of(records, 2, built(9, 1, ("base", "[2/2] RUN a", True, 0.0), ("api", "[2/3] RUN b", False, 3.0)))
    run_of(records, 3, {"target": "x", "result": "failed"}, built(9, 1, ("api", "[2/2] RUN b", False, 7.0)))
    run_of(records, 4, built(9, 1, ("api", "[2/2] RUN b", False, None)))  # type: ignore[arg-type]
    found = step_durations(records)
    assert found == {"base": {"[2/2] RUN a": 4.0}, "api": {"[2/2] RUN b": 7.0, "[2/3] RUN b": 2.0}}
    assert list(found[TargetName("api")]) == ["[2/2] RUN b", "[2/3] RUN b"]  # the newest form first
