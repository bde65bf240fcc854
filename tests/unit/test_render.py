"""Rendering: same bytes everywhere, mistakes located in the template, stamps that tell whose a file is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasker_build.ecosystems.cargo.record import Cargo, selection_flags
from tasker_build.ecosystems.closure import make_closures
from tasker_build.render import TemplateText, render, stamp_state, stamped
from tasker_build.spec.model import TargetName
from tests.conftest import HEAD, REPOSITORY, load_text, problems_of

if TYPE_CHECKING:
    from tasker_build.errors import Problem
    from tasker_build.rendered import Tree

SPEC = (
    HEAD
    + "bases: {debian: debian}\ntargets:\n  app: {template: app.j2, from: {runtime: debian}, env: {A: 'x\"$y'}, context: [src]}\n"
)
PATHS = ("src/a.rs", "x/y.txt")


def tree(templates: dict[str, str], text: str = SPEC) -> Tree:
    spec = load_text(text)
    texts = {name: TemplateText(text=body, file=f"templates/{name}") for name, body in templates.items()}
    return render(spec, texts, make_closures(spec, {}, PATHS), {}, PATHS)


def rendered(body: str, **more: str) -> str:
    """The Dockerfile of `app` without its stamp."""
    return (
        tree({"app.j2": body, **{name.replace("_", ".") + ".j2": text for name, text in more.items()}})
        .dockerfiles[TargetName("app")]
        .split("\n", 1)[1]
    )


def failing(body: str, **more: str) -> tuple[Problem, ...]:
    return problems_of(lambda: rendered(body, **more))


def test_a_template_asks_for_images_by_role_and_quotes_values() -> None:
    body = "{% for a, r, n in images %}ARG {{ a }}={{ r }}\n{% endfor %}FROM {{ image('runtime') }}\nENV A={{ target.env.A | dockerfile }}\n"
    assert rendered(body) == 'ARG RUNTIME_IMAGE=debian\nFROM ${RUNTIME_IMAGE}\nENV A="x\\"\\$y"\n'


def test_copies_are_path_by_path() -> None:
    assert rendered("{% for words in copies(closure.runtime) %}COPY {{ words }}\n{% endfor %}") == "COPY src/ src/\n"
    assert (
        rendered("{% for words in copies(['x/y.txt', 'src']) %}COPY {{ words }}\n{% endfor %}")
        == "COPY src/ src/\nCOPY x/y.txt x/\n"
    )


def test_paths_with_spaces_can_be_copied() -> None:
    spec = load_text(SPEC.replace("[src]", "['my file']"))
    texts = {
        "app.j2": TemplateText(text="{% for words in copies(closure.runtime) %}COPY {{ words }}\n{% endfor %}", file="app.j2")
    }
    text = render(spec, texts, make_closures(spec, {}, ["my file"]), {}, ["my file"]).dockerfiles[TargetName("app")]
    assert "COPY my file" not in text


@pytest.mark.parametrize(
    ("body", "code", "line", "words"),
    [
        ("FROM a\n{{ nope }}\n", "T002", 2, "'nope' is undefined"),
        ("FROM a\n\n{{ target.nope }}\n", "T002", 3, "has no attribute 'nope'"),
        ("FROM a\n{{ vars.x.y }}\n", "T002", 2, "has no attribute 'x'"),
        ("FROM a\n{{ image('builder') }}\n", "T002", 2, "target `app` has no `builder` in its `from` (it has: runtime)"),
        ("FROM a\n{{ fail('no such thing') }}\n", "T002", 2, "no such thing"),
        ("FROM a\n{{ 'a\\nb' | dockerfile }}\n", "T002", 2, "line break"),
        ("FROM a\n{{ 1 / 0 }}\n", "T002", 2, "division by zero"),
        ("FROM a\n{% for x in range(10 ** 9) %}{% endfor %}\n", "T002", 2, "Range too big"),
        ("FROM a\n{{ ''.__class__.__mro__ }}\n", "T002", 2, "unsafe"),
        ("FROM a\n{{ cycler.__init__.__globals__ }}\n", "T002", 2, "unsafe"),
        ("FROM a\n{% if %}\n", "T003", 2, "Expected an expression"),
        ("FROM a\n{% for x in y %}\n", "T003", 2, "for"),
        ("FROM a\n{{ x | nope }}\n", "T003", 2, "No filter named 'nope'"),
        ("{% include 'app.j2' %}", "T002", 1, "recursion"),
    ],
)
def test_mistakes_stand_at_their_line_of_the_template(body: str, code: str, line: int, words: str) -> None:
    (problem,) = failing(body)
    assert (problem.code, str(problem.span).rsplit(":", 1)[0]) == (code, f"templates/app.j2:{line}")
    assert words in problem.message


def test_a_mistake_in_an_included_template_says_by_way_of_what() -> None:
    (problem,) = failing("FROM a\n{% include 'part.j2' %}\n", part="x\n{{ nope }}\n")
    assert str(problem.span) == "templates/part.j2:2:1"
    assert problem.notes == ("by way of templates/app.j2:2 > templates/part.j2:2",)


def test_missing_templates_are_named_with_what_is_near() -> None:
    (problem,) = failing("FROM a\n{% include 'prat.j2' %}\n", part="")
    assert (problem.code, problem.message) == ("T002", "no template `prat.j2`")
    assert "did you mean `part.j2`" in problem.hints[0]
    (problem,) = problems_of(lambda: tree({"ap.j2": ""}))
    assert (problem.code, problem.message, str(problem.span)) == ("T001", "no template `app.j2`", "stacks.yaml:5:19")
    assert problem.hints == ("did you mean `ap.j2`?",)


def test_mistakes_of_all_templates_are_reported_in_one_run() -> None:
    text = SPEC + "  two: {template: two.j2}\nfiles: {f: three.j2}\n"
    assert len(problems_of(lambda: tree({"app.j2": "{{ a }}", "two.j2": "{% if %}", "three.j2": "{{ b }}"}, text))) == 3


def test_the_templates_of_a_target_are_known_with_all_they_include() -> None:
    found = tree(
        {"app.j2": "{% import 'part.j2' as p %}FROM a\n", "part.j2": "{% include 'deep.j2' %}", "deep.j2": "", "other.j2": ""}
    )
    assert list(found.templates[TargetName("app")]) == ["app.j2", "deep.j2", "part.j2"]


def test_every_target_gets_its_ignore_file_and_files_their_mode() -> None:
    text = SPEC + "files: {run.sh: {template: run.j2, mode: '0755'}, i.sql: run.j2}\n"
    files = tree({"app.j2": "FROM a\n", "run.j2": "#!/bin/sh\nx\n"}, text).files
    assert sorted(files) == ["app/Dockerfile", "app/Dockerfile.dockerignore", "i.sql", "run.sh"]
    assert (files["run.sh"].mode, files["i.sql"].mode) == (0o755, 0o644)
    assert files["run.sh"].text.startswith("#!/bin/sh\n# Rendered by tasker-build from run.j2")


def test_selections_are_told_to_cargo_in_one_way() -> None:
    assert selection_flags(Cargo(packages=("a", "b"))) == "--release -p a -p b"
    chosen = Cargo(packages=("a",), features=("x", "y"), default_features=False, profile="dev")
    assert selection_flags(chosen) == "--profile dev -p a --no-default-features --features x,y"


# Stamps.


@pytest.mark.parametrize("path", ["Dockerfile", "run.sh", "x.sql", "docker-compose.yml"])
@pytest.mark.parametrize("text", ["a\nb\n", "#!/bin/sh\necho\n", "", "one line"])
def test_a_stamped_file_is_ours_until_somebody_edits_it(path: str, text: str) -> None:
    file = stamped(path, text, "some/template.j2")
    assert stamp_state(file.text) == "ours"
    assert stamp_state(file.text + "# mine\n") == "edited"
    assert stamp_state(text) == "foreign"
    assert file.text.endswith("\n")
    assert ("-- Rendered" in file.text) == path.endswith(".sql")


def test_a_newer_template_is_still_ours() -> None:
    """The stamp tells a hand edit from a template that moved on: both differ, only one is refused."""
    assert stamp_state(stamped("f", "old\n", "t").text) == stamp_state(stamped("f", "new\n", "t").text) == "ours"
    edited = stamped("f", "a\nb\n", "t").text.replace("\nb\n", "\nc\n")
    assert stamp_state(edited) == "edited"


# The same bytes everywhere (R21).

_CODE = """
import hashlib, sys
from pathlib import Path
from tasker_build.project import Project
project = Project.open([Path(sys.argv[1]) / "stacks.yaml"])
rows = [(p, f.text, f.mode) for p, f in project.tree.files.items()] + [(n, w.facts.fingerprint) for n, w in project.wanted.items()]
sys.stdout.write(hashlib.sha256(repr(rows).encode()).hexdigest())
"""
_MIXES = [
    {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC", "umask": "022"},
    {"PYTHONHASHSEED": "4711", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu", "umask": "077"},
    {"PYTHONHASHSEED": "99", "LC_ALL": "POSIX", "TZ": "America/St_Johns", "umask": "000", "HOME": "/nonexistent", "USER": "x"},
]


def test_render_and_fingerprints_are_the_same_under_any_hash_seed_locale_zone_and_umask() -> None:
    running = []
    for i, mix in enumerate(_MIXES):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **{k: v for k, v in mix.items() if k != "umask"}}
        where = "/" if i else str(REPOSITORY)
        command = [sys.executable, "-c", _CODE, str(REPOSITORY)]
        running.append(subprocess.Popen(command, env=environment, cwd=where, stdout=subprocess.PIPE, umask=int(mix["umask"], 8)))
    outputs = {process.communicate()[0] for process in running}
    assert len(outputs) == 1
    assert len(outputs.pop()) == 64
