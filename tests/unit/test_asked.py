"""Nothing in a template or for one is dropped in silence: hooks, blocks, text outside of blocks, keys of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasker_build.asked import Hooks
from tasker_build.ecosystems.closure import make_closures
from tasker_build.render import TemplateText, render
from tasker_build.spec.model import TargetName
from tasker_build.spec.read import read_templates
from tests.conftest import HEAD, load_text, mistakes, problems_of, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from tasker_build.errors import Problem
    from tasker_build.rendered import Tree

APP = TargetName("app")
BASE = "FROM scratch\n{% block one %}\nLABEL one=1\n{% endblock %}\n{% block two %}\n{% endblock %}\n"
PARTS = "{% macro hook(target, name) %}{% if name in target.hooks %}{{ target.hooks[name] }}{% endif %}{% endmacro %}\n"


def tree(target: str, defaults: str = "", **templates: str) -> Tree:
    spec = load_text(f"{HEAD}bases: {{debian: debian}}\n{defaults}targets:\n{target}")
    texts = {name.replace("__", "/") + ".j2": text for name, text in templates.items()}
    named = {name: TemplateText(text=text, file=f"tpl/{name}") for name, text in texts.items()}
    return render(spec, named, make_closures(spec, {}, ()), {}, ())


def refused(target: str, defaults: str = "", **templates: str) -> tuple[Problem, ...]:
    return problems_of(lambda: tree(target, defaults, **templates))


@pytest.mark.parametrize(
    "asks",
    [
        "{{ target.hooks.end }}",
        "{{ target.hooks['end'] }}",
        "{{ target.hooks.get('end', '') }}",
        "{% if 'end' in target.hooks %}RUN true{% endif %}",
        "{% for name, lines in target.hooks.items() %}{{ lines }}{% endfor %}",
        "{% for name in target.hooks %}{{ name }}{% endfor %}",
        "{{ target.hooks | length }}{{ target.hooks.values() | join }}",
        "{% import 'parts.j2' as parts %}{{ parts.hook(target, 'end') }}",
    ],
)
def test_a_hook_counts_however_a_template_asks_for_it(asks: str) -> None:
    assert tree("  app: {template: t.j2, hooks: {end: RUN x}}\n", t=f"FROM scratch\n{asks}\n", parts=PARTS)


@pytest.mark.parametrize("name", ["nosuch", "edn", "end2"])
@pytest.mark.parametrize(
    "has", ["{{ target.hooks.get('end', '') }}", "{% import 'parts.j2' as parts %}{{ parts.hook(target, 'end') }}"]
)
def test_a_hook_that_the_template_lacks_is_a_mistake(name: str, has: str) -> None:
    (problem,) = refused(f"  app: {{template: t.j2, hooks: {{{name}: RUN x}}}}\n", t=f"FROM scratch\n{has}\n", parts=PARTS)
    assert (problem.code, problem.message) == ("T005", f"the template of target `app` has no hook `{name}`")
    assert problem.span
    assert (problem.span.line, problem.span.text[problem.span.col - 1 :].startswith("RUN x")) == (5, True)
    assert problem.hints[-1] == "t.j2 has the hooks: end"
    assert (problem.hints[0] == "did you mean `end`?") == (name != "nosuch")


def test_a_hook_for_all_has_to_fit_one() -> None:
    two = "  app: {template: t.j2}\n  other: {template: plain.j2}\n"
    given = {"t": "FROM scratch\n{{ target.hooks.get('end', '') }}\n", "plain": "FROM scratch\n"}
    assert tree(two, "defaults: {targets: {hooks: {end: RUN x}}}\n", **given)
    assert {p.code for p in refused(two, "defaults: {targets: {hooks: {nosuch: RUN x}}}\n", **given)} == {"T005"}


def test_hooks_are_what_the_spec_says() -> None:
    asked: set[str] = set()
    hooks = Hooks({"a": "1"}, asked)
    assert (hooks == {"a": "1"}, list(hooks.keys()), "b" in hooks, asked) == (True, ["a"], False, {"a", "b"})


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("{% extends 'base.j2' %}\n{% block oen %}\nRUN x\n{% endblock %}\n", 2, "no block `oen`"),
        ('{%- extends "base.j2" -%}\n\n{% block nosuch %}{% endblock %}\n', 3, "no block `nosuch`"),
        ("{% extends 'base.j2' %}\n{% if true %}\n{% block three %}x{% endblock %}\n{% endif %}\n", 3, "no block `three`"),
        ("{% extends 'mid.j2' %}\n{% block nosuch %}x{% endblock %}\n", 2, "`mid.j2` has no block `nosuch`"),
        ("{% extends 'base.j2' %}\n\nRUN x\n{% block one %}{% endblock %}\n", 3, "outside of every block"),
        ("{% extends 'base.j2' %}\n{% block one %}{% endblock %}\n{{ target.name }}\n", 3, "outside of every block"),
    ],
)
def test_what_an_extending_template_writes_for_nobody_is_a_mistake(body: str, line: int, message: str) -> None:
    mid = "{% extends 'base.j2' %}{% block one %}{% block inner %}{% endblock %}{% endblock %}"
    problem = refused("  app: {template: t.j2}\n", t=body, base=BASE, mid=mid)[0]
    assert message in problem.message
    assert problem.span
    assert (problem.span.file, problem.span.line) == ("tpl/t.j2", line)
    assert problem.hints


@pytest.mark.parametrize(
    "body",
    [
        "{# what this is for #}\n{% extends 'base.j2' %}\n{% import 'parts.j2' as parts %}\n{% block one %}\n{% endblock %}\n",
        "{% extends 'base.j2' %}\n{% set a %}some text{% endset %}\n{% macro m() %}x{% endmacro %}{% block two %}{{ a }}{% endblock %}",
        "{% extends 'base.j2' %}{% block one %}{% block mine %}LABEL x=1{% endblock %}{% endblock %}",
        "{% extends 'mid.j2' %}{% block inner %}{% endblock %}{% block two %}{% endblock %}",
        "{% extends 'base' ~ '.j2' %}{% block computed %}{% endblock %}",
    ],
)
def test_what_is_printed_is_no_mistake(body: str) -> None:
    mid = "{% extends 'base.j2' %}{% block one %}{% block inner %}{% endblock %}{% endblock %}"
    assert tree("  app: {template: t.j2}\n", t=body, base=BASE, mid=mid, parts=PARTS)


def test_a_template_may_extend_the_built_in_one_that_it_hides(tmp_path: Path) -> None:
    own, built_in = tmp_path / "own", tmp_path / "templates"
    write_files(built_in, {"dockerfile/a.j2": BASE, "dockerfile/b.j2": "{% extends 'dockerfile/a.j2' %}"})
    write_files(own, {"dockerfile/a.j2": "{% extends 'dockerfile/a.j2' %}{% block two %}LABEL two=2\n{% endblock %}"})
    texts = {name: TemplateText(text=text, file=file) for name, (text, file) in read_templates((own, built_in)).items()}
    spec = load_text(f"{HEAD}targets: {{app: {{template: dockerfile/a.j2}}, b: {{template: dockerfile/b.j2}}}}\n")
    found = render(spec, texts, make_closures(spec, {}, ()), {}, ())
    for name in (APP, TargetName("b")):
        assert found.dockerfiles[name].split("\n", 1)[1] == "FROM scratch\nLABEL one=1\nLABEL two=2\n"
        assert "built-in/dockerfile/a.j2" in found.templates[name]


def test_a_template_that_extends_itself_alone_says_so_in_few_words() -> None:
    (problem,) = refused("  app: {template: t.j2}\n", t="{% extends 't.j2' %}")
    assert "recursion" in problem.message
    assert len(problem.draw()) < 1000


@pytest.mark.parametrize(("key", "word"), [("user", "gid"), ("user", "owner"), ("healthcheck", "interval")])
def test_a_template_that_needs_a_key_names_it(key: str, word: str) -> None:
    macro = "{% macro show(value) %}{{ value." + word + " }}{% endmacro %}"
    (problem,) = refused(
        "  app: {template: t.j2}\n", t="{% import 'm.j2' as m %}\nFROM a\n{{ m.show(target." + key + ") }}\n", m=macro
    )
    assert problem.message == f"target `app` has no `{key}`, and the template asks for its `{word}`: set `{key}`"


@pytest.mark.parametrize("tag", ["{vresion}", "v{Version}", "{version}-{date}", "a{b", "{}"])
def test_a_tag_with_a_placeholder_of_nothing_is_a_mistake(tag: str) -> None:
    (problem,) = mistakes(f"{HEAD}targets:\n  app:\n    template: t.j2\n    tags: [x, '{tag}']\n")
    assert problem.span
    assert (problem.code, problem.span.line, problem.hints) == ("S025", 6, ("tags know `{version}`",))
