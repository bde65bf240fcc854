"""Spec texts → Spec: defaults, overlays, vars, and every mistake with its place and its next step."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasker_build.errors import SpecError
from tasker_build.spec.model import TargetName, human_tags
from tests.conftest import EIGHT_MISTAKES, HEAD, load, load_text, mistakes, places, problems_of

T = TargetName

# A spec is HEAD (two lines) and then what is given here: lines count from 3.
BAD = [
    # id, text, [(code, line, col)], words of the first message, words of its hint
    ("S2 scalar", "~", None, [("S010", 1, 1)], "wants a mapping, found", ""),
    ("S2 list", "- a\n", None, [("S010", 1, 1)], "found a list", ""),
    ("S9 number out of range", None, f"targets: {{a: {{kind: postgres, ports: [{'9' * 5000}]}}}}\n", [("S010", 3, 39)], "wants a whole number", ""),
    ("S10 sexagesimal in free data", None, "targets: {}\nvars: {p: 22:22}\n", [("S012", 4, 11)], "different things", 'write "22:22"'),
    ("S11 no as a boolean", None, "targets: {a: {kind: postgres, enabled: no}}\n", [("S012", 3, 40)], "which YAML 1.2 reads as text", "write true or false"),
    ("S11 on in free data", None, "targets: {}\nvars: {p: on}\n", [("S012", 4, 11)], "without quotes", 'write "on"'),
    ("S12 version as a number", None, "toolchain: {cargo_chef: 1.10}\ntargets: {}\n", [("S012", 3, 25)], "the number `1.10` has no quotes", 'write "1.10"'),
    ("S13 mode without quotes", None, "targets: {}\nvars: {mode: 0755}\n", [("S012", 4, 14)], "`0755` without quotes", 'write "0755"'),
    ("S14 not a number", None, "registry: .nan\ntargets: {}\n", [("S012", 3, 11)], "the number `.nan`", 'write ".nan"'),
    ("S16 line break in a word", None, 'registry: "a\\nb"\ntargets: {}\n', [("S011", 3, 11)], "must be a single line", ""),
    ("S26 two targets, one file", None, "targets:\n  a: {kind: postgres, file: x}\n  b: {kind: postgres, file: X}\n", [("S018", 5, 6)], "`b` and target `a` both make the file X", ""),
    ("S26 two targets, one image", None, "targets:\n  a: {kind: postgres, image: i}\n  b: {kind: postgres, image: i}\n", [("S018", 5, 6)], "both make the image i:{version}", ""),
    ("S26 a file and a Dockerfile", None, "targets:\n  a: {kind: postgres}\nfiles: {a/Dockerfile: x.j2}\n", [("S018", 5, 23)], "both make the file a/Dockerfile", ""),
    ("S27 own parent", None, "targets:\n  a: {kind: postgres, from: {x: a}}\n", [("G001", 4, 33)], "dependency cycle: a → a", ""),
    ("S27 cycle", None, "targets:\n  b: {kind: postgres, from: {x: c}}\n  a: {kind: postgres, from: {x: b}}\n  c: {kind: postgres, from: {x: a}}\n", [("G001", 5, 33)], "a → b → c → a", ""),
    ("S28 unknown parent", None, "bases: {debian: debian}\ntargets:\n  a: {kind: postgres, from: {x: debain}}\n", [("S015", 5, 33)], "unknown base or target `debain` in targets.a.from", "did you mean `debian`?"),
    ("S29 unknown key at the top", None, "target: {}\ntargets: {}\n", [("S008", 3, 1)], "unknown key `target` in the spec", "did you mean `targets`?"),
    ("S29 unknown key below", None, "targets:\n  a: {kind: postgres, user: {name: x, uid: 1, giid: 2}}\n", [("S008", 4, 47)], "unknown key `giid` in targets.a.user", "did you mean `gid`"),
    ("S29 unknown key far from any", None, "targets: {}\ntoolchain: {zzz: x}\n", [("S008", 4, 13)], "unknown key `zzz`", "known here: cargo_chef"),
    ("S30 list for text", None, "registry: [a]\ntargets: {}\n", [("S010", 3, 11)], "registry wants text, found a list", ""),
    ("S30 text for a number", None, "targets: {a: {kind: postgres, ports: [http]}}\n", [("S010", 3, 39)], "targets.a.ports[0] wants a whole number, found the text `http`", ""),
    ("S30 mapping for a list", None, "targets: {a: {kind: postgres, tags: {x: y}}}\n", [("S010", 3, 37)], "wants a list, found a mapping", ""),
    ("S30 list for a mapping", None, "targets: [a]\n", [("S010", 3, 10)], "targets wants a mapping, found a list", ""),
    ("S31 null for text", None, "registry: ~\ntargets: {}\n", [("S010", 3, 11)], "wants text, found nothing", ""),
    ("S31 null for a value", None, "targets: {a: {kind: postgres, env: {A: ~}}}\n", [("S010", 3, 40)], 'write "" for an empty one', ""),
    ("S34 port 0", None, "targets: {a: {kind: postgres, ports: [0]}}\n", [("S011", 3, 39)], "must be from 1 to 65535", ""),
    ("S34 port 65536", None, "targets: {a: {kind: postgres, ports: [65536]}}\n", [("S011", 3, 39)], "must be from 1 to 65535", ""),
    ("S35 platform", None, "targets: {a: {kind: postgres, platforms: [linux/amd65]}}\n", [("S011", 3, 43)], "`linux/amd65` is not known", "`linux/amd64`"),
    ("S36 image in upper case", None, "bases: {a: UPPER/x}\ntargets: {}\n", [("S011", 3, 12)], "name in lower case", ""),
    ("S36 short digest", None, "bases: {a: 'x@sha256:12'}\ntargets: {}\n", [("S011", 3, 12)], "is not valid", ""),
    ("S38 duration", None, "targets: {a: {kind: postgres, healthcheck: {interval: 10 parsecs}}}\n", [("S011", 3, 55)], "a duration such as", ""),
    ("S39 environment name", None, "targets: {a: {kind: postgres, env: {1A: x}}}\n", [("S014", 3, 37)], "not a valid environment variable", "not starting with a digit"),
    ("unknown var", None, "vars: {rust: '1'}\nregistry: x{{ ruts }}\ntargets: {}\n", [("S013", 4, 11)], "unknown var `ruts`", "did you mean `rust`?"),
    ("unknown table", None, "vars: {pg: '1', data: {'1': x}}\nregistry: 'x{{ dat[pg] }}'\ntargets: {}\n", [("S013", 4, 11)], "unknown var `dat`", "did you mean `data`?"),
    ("unknown var of a row", None, "vars: {server: '1', data: {'1': x}}\nregistry: 'x{{ data[servr] }}'\ntargets: {}\n", [("S013", 4, 11)], "unknown var `servr`", "did you mean `server`?"),
    ("no such row", None, "vars: {pg: '3', data: {'1': x, '2': z}}\nregistry: 'x{{ data[pg] }}'\ntargets: {}\n", [("S013", 4, 11)], "`data` has nothing for `3`, the value of `pg`", "it has: 1, 2"),
    ("kind or template", None, "targets: {a: {}}\n", [("S009", 3, 14)], "neither a kind nor a template", "kinds: cargo-chef"),
    ("unknown kind", None, "targets: {a: {kind: postgers}}\n", [("S011", 3, 21)], "`postgers` is not known", "did you mean `postgres`?"),
    ("extends in a circle", None, "targets:\n  a: {kind: postgres, extends: b}\n  b: {kind: postgres, extends: a}\n", [("S020", 5, 32)], "runs in a circle: a → b → a", ""),
    ("extends itself", None, "targets:\n  a: {kind: postgres, extends: a}\n", [("S020", 4, 32)], "a → a", ""),
    ("extends unknown", None, "targets:\n  api: {kind: postgres}\n  b: {kind: postgres, extends: apj}\n", [("S015", 5, 32)], "unknown target `apj` in targets.b.extends", "did you mean `api`?"),
    ("base and target", None, "bases: {a: x}\ntargets:\n  a: {kind: postgres}\n  b: {kind: postgres, from: {r: a}}\n", [("S016", 6, 33)], "both a base and a target", "rename"),
    ("needs a disabled target", None, "targets:\n  a: {kind: postgres, enabled: false}\n  b: {kind: postgres, from: {r: a}}\n", [("S017", 5, 33)], "which is not enabled", ""),
    ("service without image", None, "targets: {}\nstacks: {s: {services: {db: {}}}}\n", [("S024", 4, 29)], "needs either a `target` or an `image`", ""),
    ("unknown service", None, "targets: {}\nstacks: {s: {services: {base: {image: x}, web: {image: y, depends_on: {bsae: started}}}}}\n", [("S015", 4, 78)], "unknown service `bsae`", "did you mean `base`?"),
    ("unknown target of a service", None, "targets: {api: {kind: postgres}}\nstacks: {s: {services: {web: {target: apo}}}}\n", [("S015", 4, 39)], "unknown target `apo`", "did you mean `api`?"),
    ("unknown network", None, "targets: {}\nstacks: {s: {services: {db: {image: x, networks: [nte]}}, networks: {net: {}}}}\n", [("S015", 4, 50)], "unknown network `nte`", "did you mean `net`?"),
    ("unknown stack of a file", None, "targets: {}\nstacks: {prod: {services: {}}}\nfiles: {f: {template: t.j2, stack: prd}}\n", [("S015", 5, 36)], "unknown stack `prd`", "did you mean `prod`?"),
]  # fmt: skip
_CASES = [((case[1] if case[1] is not None else HEAD + str(case[2])), *case[3:]) for case in BAD]


@pytest.mark.parametrize("parser", ["libyaml", "python"])
@pytest.mark.parametrize(("text", "found", "message", "hint"), _CASES, ids=[case[0] for case in BAD])
def test_a_mistake_is_named_with_its_place_and_its_next_step(
    monkeypatch: pytest.MonkeyPatch, parser: str, text: str, found: list[tuple[str, int, int]], message: str, hint: str
) -> None:
    if parser == "python":
        monkeypatch.delattr(yaml, "CLoader", raising=False)
    problems = mistakes(text)
    assert places(problems) == found
    assert message in problems[0].message
    assert hint in " ".join(problems[0].hints)


@pytest.mark.parametrize("name", ["a b", "a/../b", "../a", "A", "-a", "a" * 200, "\u0430pi", "a//b", "a/", "/a", "a\u200b"])
def test_s32_target_names_follow_the_rule_and_the_message_shows_it(name: str) -> None:
    problems = mistakes(f'{HEAD}targets:\n  "{name}": {{kind: postgres}}\n')
    assert places(problems)[0] == ("S014", 4, 3)
    assert "lower case path such as" in problems[0].hints[0]


@pytest.mark.parametrize("name", ["API", "Api"])
def test_s25_a_name_in_another_case_is_refused(name: str) -> None:
    assert "S014" in [p.code for p in mistakes(f"{HEAD}targets:\n  api: {{kind: postgres}}\n  {name}: {{kind: postgres}}\n")]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "~/x", "a/..", "", "..", "a\\b"])
@pytest.mark.parametrize("key", ["file", "template"])
def test_t8_paths_stay_below_their_folder(path: str, key: str) -> None:
    text = f"{HEAD}targets:\n  a: {{kind: postgres, {key}: '{path}'}}\n"
    assert places(mistakes(text)) == [("S011", 4, len(f"  a: {{kind: postgres, {key}: ") + 1)]


@pytest.mark.parametrize("path", ["/etc/x", "../x"])
def test_t8_a_further_file_stays_below_the_output(path: str) -> None:
    assert [p.code for p in mistakes(f"{HEAD}targets: {{}}\nfiles: {{'{path}': t.j2}}\n")] == ["S014"]


@pytest.mark.parametrize("path", ["a/../../x", "..", "a/.."])
def test_t8_a_further_file_does_not_climb_out_in_the_middle(path: str) -> None:
    assert [p.code for p in mistakes(f"{HEAD}targets: {{}}\nfiles: {{'{path}': t.j2}}\n")] == ["S014"]


def test_eight_mistakes_are_eight_located_problems_in_one_run() -> None:
    found = {(code, line) for code, line, _ in places(mistakes(EIGHT_MISTAKES))}
    # The ninth, S011 on line 6, is the image reference that is left when the unknown var is taken out.
    expected = {("S008", 3), ("S013", 6), ("S011", 10), ("S015", 14), ("S010", 18), ("S011", 19), ("S014", 20), ("G001", 21)}
    assert found - {("S011", 6)} == expected


def test_a_target_with_a_bad_value_still_has_its_parents_checked() -> None:
    text = f"{HEAD}targets:\n  a: {{kind: postgres, user: {{name: [x], uid: 1}}, from: {{x: nobody}}}}\n"
    assert {p.code for p in mistakes(text)} == {"S010", "S015"}


def test_an_unknown_var_is_one_mistake() -> None:
    assert places(mistakes(f"{HEAD}bases: {{rust: 'rust:{{{{ rst }}}}'}}\ntargets: {{}}\n")) == [("S013", 3, 15)]


@pytest.mark.parametrize("version", ["17", "18"])
def test_a_var_chooses_the_row_of_a_table(version: str) -> None:
    rows = "{'17': /old, '18': '/{{ name }}'}"
    text = f"{HEAD}vars: {{name: new, pg: '17', data: {rows}}}\nregistry: 'r{{{{ data[pg] }}}}'\ntargets: {{}}\n"
    spec = load_text(text, f"vars: {{pg: '{version}'}}\n")
    assert spec.registry == {"17": "r/old", "18": "r/new"}[version]


def test_what_many_targets_inherit_is_one_mistake() -> None:
    problems = mistakes(
        f"{HEAD}defaults: {{targets: {{user: {{name: x}}}}}}\ntargets: {{a: {{kind: postgres}}, b: {{kind: postgres}}}}\n"
    )
    assert places(problems) == [("S009", 3, 28)]


def test_every_missing_key_is_named() -> None:
    assert len(mistakes("x-a: 1\n")) == 3


def test_a_mistake_at_the_top_causes_no_false_ones() -> None:
    text = "version: 2\nproject: p\nvars: {r: '1'}\nbases: {rust: 'rust:{{ r }}'}\ntargets:\n  a: {kind: postgres, from: {x: rust}}\n"
    assert places(mistakes(text)) == [("S011", 1, 10)]


def test_a_broken_base_is_not_called_unknown() -> None:
    assert places(mistakes(f"{HEAD}bases: {{rust: RUST}}\ntargets:\n  a: {{kind: postgres, from: {{x: rust}}}}\n")) == [
        ("S011", 3, 15)
    ]


def test_a_broken_service_is_not_called_unknown() -> None:
    services = "a: {image: 5}, b: {image: x, depends_on: {a: started}}"
    assert [p.code for p in mistakes(f"{HEAD}targets: {{}}\nstacks: {{s: {{services: {{{services}}}}}}}\n")] == ["S012"]


def test_a_long_chain_of_extends_is_no_crash() -> None:
    chain = "".join(f"  t{i}: {{extends: t{i + 1}}}\n" for i in range(1500))
    assert load_text(f"{HEAD}targets:\n{chain}  t1500: {{kind: postgres}}\n")


def test_t12_a_further_file_is_no_ignore_file_of_a_target() -> None:
    assert [
        p.code for p in mistakes(f"{HEAD}targets: {{a: {{kind: postgres}}}}\nfiles: {{a/Dockerfile.dockerignore: x.j2}}\n")
    ] == ["S018"]


def test_s12_numbers_in_vars_keep_the_way_they_are_written() -> None:
    spec = load_text(f"{HEAD}vars: {{v: 1.10}}\nregistry: x{{{{ v }}}}\ntargets: {{}}\n")
    assert f"x{spec.vars['v']}" == spec.registry


def test_a_var_may_use_another_var() -> None:
    spec = load_text(f"{HEAD}vars: {{a: x, b: 'y{{{{ a }}}}'}}\ntargets: {{t: {{kind: postgres, env: {{E: '{{{{ b }}}}'}}}}}}\n")
    assert spec.targets[T("t")].env == {"E": "yx"}


def test_many_problems_are_cut_and_counted() -> None:
    text = HEAD + "targets:\n" + "".join(f"  t{i}: {{kind: nope}}\n" for i in range(30))
    with pytest.raises(SpecError) as caught:
        load_text(text)
    drawn = caught.value.draw()
    assert drawn.count("error[") == 20
    assert drawn.endswith("30 errors (10 more not shown), nothing was rendered or built.")


# What a good spec means.


def test_defaults_lie_below_every_target_and_service() -> None:
    spec = load_text(
        HEAD
        + "defaults:\n  targets: {user: {name: u, uid: 5}, env: {A: a, B: b}}\n  services: {restart: always}\n"
        + "targets:\n  x: {kind: postgres, env: {B: c}}\n  y: {kind: postgres, user: ~}\n"
        + "stacks: {s: {services: {x: {target: x}, y: {target: y, restart: 'no'}}}}\n"
    )
    assert spec.targets[T("x")].env == {"A": "a", "B": "c"}
    assert spec.targets[T("y")].user is None
    user = spec.targets[T("x")].user
    assert user
    assert user.owner == "5:5"
    assert [service.restart for service in spec.stacks["s"].services.values()] == ["always", "no"]


def test_extends_takes_over_all_but_the_identity_and_later_wins() -> None:
    spec = load_text(
        HEAD
        + "targets:\n  a: {kind: postgres, image: i, file: f, enabled: false, env: {A: a, B: a}, tags: [x]}\n"
        + "  b: {kind: postgres, env: {B: b}}\n  c: {extends: [a, b], env: {C: c}}\n"
    )
    c = spec.targets[T("c")]
    assert (c.kind, c.env, c.tags) == ("postgres", {"A": "a", "B": "b", "C": "c"}, ("x",))
    assert (c.image, c.dockerfile, c.enabled) == (None, "c/Dockerfile", True)


def test_an_overlay_merges_replaces_and_takes_away() -> None:
    base = HEAD + "registry: r\ntargets:\n  a: {kind: postgres, tags: [x, y], env: {A: a, B: b}}\n"
    spec = load_text(base, "registry: ~\ntargets: {a: {tags: [z], env: {A: ~, C: c}}, b: {kind: postgres}}\n")
    assert spec.registry == ""
    assert spec.targets[T("a")].tags == ("z",)
    assert spec.targets[T("a")].env == {"B": "b", "C": "c"}
    assert list(spec.targets) == ["a", "b"]


def test_a_mistake_in_an_overlay_is_located_there() -> None:
    (problem,) = mistakes(f"{HEAD}targets: {{}}\n", "registry: [x]\n")
    assert str(problem.span) == "overlay.yaml:1:11"


def test_vars_are_put_in_and_count_as_text() -> None:
    spec = load_text(
        HEAD
        + "vars: {v: 1.10, l: [a, b]}\nbases: {x: 'i:{{ v }}-{{l}}x'}\ntargets: {t: {kind: postgres, env: {E: '{{ l }}'}}}\n".replace(
            "-{{l}}x", ""
        )
    )
    assert spec.bases == {"x": "i:1.10"}
    assert spec.targets[T("t")].env == {"E": "a,b"}


def test_environment_values_are_the_text_that_was_written() -> None:
    spec = load_text(HEAD + "targets: {t: {kind: postgres, env: {A: 1.10, B: no, C: 22:22, D: 0755, E: 'a b', F: \"\"}}}\n")
    assert spec.targets[T("t")].env == {"A": "1.10", "B": "no", "C": "22:22", "D": "0755", "E": "a b", "F": ""}


def test_short_forms_and_open_keys() -> None:
    spec = load_text(
        HEAD + "x-note: {any: [thing]}\ntargets: {t: {kind: postgres, secrets: [ca], extends: []}}\nfiles: {f: t.j2}\n"
    )
    assert [(s.id, s.required) for s in spec.targets[T("t")].secrets] == [("ca", False)]
    assert (spec.files["f"].template, spec.files["f"].mode) == ("t.j2", "0644")


def test_names_of_images_and_tags() -> None:
    spec = load_text(
        HEAD
        + "registry: reg\ntargets: {a/b: {kind: postgres, tags: ['{version}', 'x-{version}']}, c: {kind: postgres, image: img, tags: []}}\n"
    )
    assert spec.image_reference(spec.targets[T("a/b")]) == "reg/demo-a-b:latest"
    assert spec.image_reference(spec.targets[T("c")]) == "reg/img:latest"
    assert human_tags(spec.targets[T("a/b")], "1.2") == ("1.2", "x-1.2")


def test_where_things_stand_does_not_count_in_comparisons() -> None:
    text = "targets:\n  a: {kind: postgres}\n"
    assert load_text(HEAD + text) == load_text(HEAD + "# moved\n\n" + text)


def test_a_large_spec_loads_quickly() -> None:
    targets = "".join(
        f"  t{i}: {{kind: postgres, from: {{x: t{i - 1}}}}}\n" if i else "  t0: {kind: postgres}\n" for i in range(400)
    )
    began = time.monotonic()
    assert len(load_text(f"{HEAD}targets:\n{targets}").targets) == 400
    assert time.monotonic() - began < 10


# Whatever comes in.


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_spec_or_a_spec_error(data: bytes) -> None:
    try:
        load([("stacks.yaml", data)])
    except SpecError as error:
        assert error.draw().endswith("nothing was rendered or built.")  # noqa: PT017 - not raising is fine, too


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{{ x }}", "a", "x", "postgres"])
)
_KEYS = st.sampled_from(
    ["a", "x", "kind", "from", "extends", "env", "cargo", "user", "services", "template", "1", "A B", "targets"]
)
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)
_TOP = st.sampled_from(
    ["vars", "bases", "toolchain", "sources", "defaults", "targets", "stacks", "files", "registry", "output", "version"]
)


@given(st.dictionaries(_TOP, _TREES, max_size=5))
def test_any_structure_is_a_spec_or_a_spec_error(tree: dict[str, object]) -> None:
    text = yaml.safe_dump({"version": 1, "project": "demo", "targets": {}} | tree)
    try:
        load([("stacks.yaml", text.encode())])
    except SpecError as error:
        assert all(problem.span and problem.span.line > 0 for problem in error.problems)  # noqa: PT017


@given(_TREES)
def test_any_structure_as_a_target_is_a_spec_or_a_spec_error(tree: object) -> None:
    text = yaml.safe_dump({"version": 1, "project": "demo", "targets": {"a": tree, "b": {"extends": "a"}}})
    try:
        load([("stacks.yaml", text.encode())])
    except SpecError as error:
        assert error.problems  # noqa: PT017


def test_nothing_is_loaded_when_only_one_of_several_files_is_broken() -> None:
    assert problems_of(lambda: load([("a.yaml", HEAD.encode()), ("b.yaml", b"\xff")]))[0].code == "S001"
