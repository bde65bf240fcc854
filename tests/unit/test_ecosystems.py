"""An ecosystem and a kind that the package does not know: installed beside it, named by a spec, and at home everywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import tasker_build.ecosystems
from tasker_build.cli import main
from tasker_build.ecosystems import find, register
from tasker_build.errors import ProblemsError
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tests.conftest import REPOSITORY, problems_of, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOY = REPOSITORY / "tests/fixtures/toy"
CAR, BOAT = TargetName("car"), TargetName("boat")


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    yield
    sys.modules.pop("toy_ecosystem", None)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of toys; the package that knows them is installed."""
    site = shutil.copytree(TOY / "site", tmp_path / "site")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)  # `-C` goes elsewhere; this comes back
    return shutil.copytree(TOY / "work", tmp_path / "work")


def opened(box: Path) -> Project:
    return Project.open([box / "stacks.yaml"])


def run(box: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["-C", str(box), *arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_it_renders_with_its_tools_secrets_settings_and_filters(box: Path) -> None:
    text = opened(box).tree.dockerfiles[CAR]
    assert "COPY parts/car/ parts/car/\nCOPY parts/wheel/ parts/wheel/\n" in text
    assert "RUN --mount=type=secret,id=toy_key glue 1.2.3 SMALL car\nUSER 1234:1234\n" in text


def test_it_plans_with_closures_of_its_own(box: Path) -> None:
    def prints() -> dict[str, str]:
        return {str(name): item.facts.fingerprint for name, item in opened(box).wanted.items()}

    assert opened(box).closures[CAR].files(opened(box).workspace.paths) == (
        "parts/car/shape.txt",
        "parts/wheel/shape.txt",
        "toy.list",
    )
    first = prints()
    write_files(box, {"parts/wheel/shape.txt": "round\n"})
    second = prints()
    assert (first["car"] == second["car"], first["boat"] == second["boat"]) == (False, True)
    write_files(box, {"toy.list": "# said otherwise\ncar wheel\n\nboat\nwheel\n"})
    assert prints() == second


def test_a_changed_ecosystem_or_kind_is_noticed(box: Path) -> None:
    first = opened(box).wanted
    assert opened(box).wanted == first
    kinds = box / "templates/kinds.yaml"
    kinds.write_text(kinds.read_text().replace("1234", "4321"))
    assert opened(box).wanted[BOAT].facts != first[BOAT].facts
    code = box.parent / "site/toy_ecosystem.py"
    scene = opened(box)._scene
    code.write_text(code.read_text() + "# another version\n")
    assert opened(box)._scene != scene


def test_check_knows_its_mistakes(box: Path) -> None:
    spec = box / "stacks.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("{parts: [boat]}", "{parts: []}").replace("{parts: [car]}", "{partz: [car]}"))
    found = problems_of(lambda: opened(box).wanted)
    assert [(problem.code, problem.span.line if problem.span else 0) for problem in found] == [
        ("S009", 6),
        ("S008", 6),
        ("S009", 7),
    ]
    spec.write_text(text.replace("[boat]", "[bota]"))
    with pytest.raises(ProblemsError, match="no part `bota`") as caught:
        run(box, "check")
    assert "did you mean `boat`?" in caught.value.draw()
    spec.write_text(text.replace(", toy: {parts: [boat]}", ""))
    (lacking,) = problems_of(lambda: opened(box).wanted)
    assert lacking.message == "target `boat` lacks `toy`: what should be built for it?"


def test_its_kinds_are_meant_and_completed(box: Path) -> None:
    spec = box / "stacks.yaml"
    spec.write_text(spec.read_text().replace("toy-box", "toy-bx", 1))
    found = problems_of(lambda: opened(box).spec)
    assert "did you mean `toy-box`?" in found[0].hints
    properties = json.loads(run(box, "schema"))["properties"]
    target = properties["targets"]["additionalProperties"]["properties"]
    assert {"toy-box", "rust-service"} <= set(target["kind"]["enum"])
    assert target["toy"]["properties"]["parts"]["description"] == "parts to build"
    assert "toy_size" in properties["toolchain"]["properties"]


@pytest.mark.parametrize(
    ("words", "place", "said"),
    [
        ("tasker-build plan kind:toy", "2", "plain,kind:toy-box"),
        ("tasker-build plan kind : t", "4", "plain,toy-box"),  # bash takes words apart at colons
        ("tasker-build ls kind:p", "2", "plain,kind:python-pyo3\nplain,kind:postgres"),
    ],
)
def test_the_shell_completes_its_kinds(box: Path, words: str, place: str, said: str) -> None:
    environment = {"_TASKER_BUILD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
    code = "import sys; sys.argv = ['tasker-build']; from tasker_build.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=box,
        env={"PYTHONPATH": f"{REPOSITORY}:{box.parent / 'site'}", **environment},
    )
    assert done.stdout.strip() == said, done.stderr


def test_nothing_in_a_workspace_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TOY / "site", tmp_path, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find("toy") is not None
    monkeypatch.chdir(tmp_path)  # as `python -m` would have it
    assert find("toy") is None


def test_an_ecosystem_that_nobody_has_is_a_mistake(tmp_path: Path) -> None:
    shutil.copytree(TOY / "work", tmp_path, dirs_exist_ok=True)
    found = problems_of(lambda: opened(tmp_path).spec)
    assert "no ecosystem `toy` is installed, which the kind `toy-box` names" in [problem.message for problem in found]
    assert {problem.span.file for problem in found if problem.span} >= {str(tmp_path / "stacks.yaml")}


def test_one_that_cannot_be_loaded_says_why(box: Path) -> None:
    (box.parent / "site/toy_ecosystem.py").write_text("ECOSYSTEM = nowhere\n")
    (problem,) = problems_of(lambda: opened(box).spec)
    assert problem.message.startswith(
        "the installed ecosystem `toy` cannot be loaded from toy_ecosystem:ECOSYSTEM: name 'nowhere'"
    )


def test_one_may_be_registered(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find("toy")
    assert found is not None
    monkeypatch.setattr(tasker_build.ecosystems, "_REGISTERED", {})
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(box.parent / "site")])
    assert find("toy") is None
    register(found)
    assert find("toy") is found
