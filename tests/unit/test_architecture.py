"""Imports go one way, heavy libraries have one door each, and `--help` loads none of them (style.md, section 2)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx as nx
import pytest

import tasker_build
from tests.conftest import HEAD, write_files

PACKAGE = Path(tasker_build.__file__).parent
RANK = {
    name: rank
    for rank, names in enumerate(
        [
            ["errors", "expansion", "ignore", "files.read", "finding", "cache", "commands", "parallel"],
            ["spec", "engine.programs", "environments.owned"],
            ["registries"],
            ["graph", "dockerfile", "engine.api", "filestate"],
            ["files.entry", "files.walk"],
            ["ecosystems"],
            ["spec.language"],
            ["spec.check", "codes"],
            ["spec.load"],
            ["quoting", "rendered", "shell", "workspace", "files", "asked"],
            [
                "duration",
                "schedule",
                "compose",
                "plan.facts",
                "context",
                "engine.memory",
                "engine.child",
                "chain",
                "tree",
            ],
            ["check.sent", "caching", "plan.words", "plan.wanted", "plan.history", "render", "engine.docker"],
            ["plan", "outline", "compiled", "output", "selector"],
            ["records", "plan.installation", "plan.memo", "plan.warm", "plan.cold"],
            ["project"],
            ["lint", "build", "check"],
            ["work", "environments"],
            ["view"],
            ["cli"],
        ]
    )
    for name in names
}
# Checking a spec asks the graph whether it has a cycle; the graph itself only names the spec's types.
EXCEPTIONS = {("spec.check", "graph")}


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        if not name.startswith("templates") and name not in {"", "__main__"}:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module, *, lazy: bool = True) -> set[str]:
    """Modules imported when the code runs: TYPE_CHECKING blocks are left out, functions only counted when `lazy`."""
    found: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef) and not lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "tasker_build" else {node.module}
        todo.extend(ast.iter_child_nodes(node))
    return found


def rank(module: str) -> int:
    return next(RANK[name] for name in (module, module.split(".", maxsplit=1)[0]) if name in RANK)


def ours(tree: ast.Module) -> set[str]:
    return {name.removeprefix("tasker_build.") for name in imports(tree) if name.startswith("tasker_build.")} - {"__version__"}


def test_every_module_has_a_place() -> None:
    assert [name for name in modules() if name != "engine" and not {name, name.split(".")[0]} & RANK.keys()] == []


def test_arrows_go_one_way() -> None:
    wrong = [
        f"{name} → {other}"
        for name, tree in modules().items()
        if name != "engine"
        for other in ours(tree)
        if other != "engine" and name.split(".")[0] != other.split(".")[0]
        if rank(other) >= rank(name) and (name, other) not in EXCEPTIONS
    ]
    assert wrong == []


def test_modules_run_without_a_circle() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from((name, other) for name, tree in modules().items() for other in ours(tree) if other != "spec")
    assert list(nx.simple_cycles(graph)) == []


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("yaml", {"spec.nodes", "quoting"}),
        ("jinja2", {"render", "compiled", "asked"}),
        ("networkx", {"graph", "selector", "schedule", "view.graph"}),
        ("docker", {"engine.docker"}),
        ("click", {"cli"}),
        ("threading", set()),
    ],
)
def test_a_library_has_its_doors(library: str, doors: set[str]) -> None:
    users = {name for name, tree in modules().items() if any(used.split(".")[0] == library for used in imports(tree))}
    assert {name for name in users if name not in doors and name.split(".")[0] not in doors} == set()


def test_the_core_knows_no_clock_environment_or_process() -> None:
    core = {
        "graph",
        "selector",
        "schedule",
        "ignore",
        "dockerfile",
        "quoting",
        "compose",
        "render",
        "asked",
        "finding",
        "shell",
        "chain",
        "caching",
    }
    core |= {name for name in modules() if name.startswith(("spec.", "plan.", "ecosystems"))}
    core -= {"spec.read", "plan.installation", "ecosystems.outside"}
    forbidden = {"os", "time", "datetime", "subprocess", "threading", "socket", "pathlib", "random", "tempfile"}
    assert {
        name: found for name in core if (found := {used.split(".")[0] for used in imports(modules()[name])} & forbidden)
    } == {}


def test_what_builds_knows_neither_project_nor_spec_nor_plan() -> None:
    forbidden = {"project", "plan", "records", "work", "spec.model", "spec.load"}
    used = {name: ours(tree) for name, tree in modules().items() if name.startswith("build.")}
    assert "build.executor" in used
    assert {
        name: found for name, other in used.items() if (found := {o for o in other if {o, o.split(".")[0]} & forbidden})
    } == {}


KNOW_ONE = {"cli.db", "cli.env", "environments", "registries.tools"}
"""Rooms that still speak of PostgreSQL's own commands, or ask cargo what a crate is."""


def test_only_ecosystems_know_one() -> None:
    """Elsewhere cargo, Rust and PostgreSQL are words in tables and help texts: nothing is named after them."""
    known = re.compile(r"cargo|(?<!t)rust|postgres", re.IGNORECASE)
    found = {
        f"{name}: {word}"
        for name, tree in modules().items()
        if name.split(".")[0] not in KNOW_ONE | {"ecosystems"} and name not in KNOW_ONE
        for node in ast.walk(tree)
        for word in names_in(node)
        if known.search(word)
    }
    assert found == set()


def names_in(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Compare):  # `kind == "cargo"` is knowledge, too
        return {str(part.value) for part in (node.left, *node.comparators) if isinstance(part, ast.Constant)}
    return {str(value) for key in ("id", "attr", "name", "arg", "module") if isinstance(value := getattr(node, key, None), str)}


def test_each_module_says_what_it_is() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_every_package_is_installed() -> None:
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(settings["packages"]) - {"tasker_build.templates"} == found


HEAVY = ("networkx", "docker", "jinja2", "yaml")
_CODE = """
import sys
sys.argv = ["tasker-build", *sys.argv[1:]]
from tasker_build.__main__ import main
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
sys.stderr.write(" ".join(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", _CODE, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "tasker_build" in loaded
    assert loaded & {*HEAVY, "requests"} == set()
    assert ("click" in loaded) == (arguments != ["--version"])


def test_a_plan_of_what_is_known_loads_nothing_heavy(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"stacks.yaml": f"{HEAD}templates: tpl\ntargets: {{a: {{template: t.j2}}}}\n", "tpl/t.j2": "FROM scratch\n"}
    )
    command = [sys.executable, "-c", _CODE, "-C", str(tmp_path), "plan", "--offline"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
    assert {"networkx", "jinja2", "yaml"} <= set(first.stderr.split())
    assert set(second.stderr.split()) & {*HEAVY, "requests", "http", "tarfile", "subprocess"} == set()


def test_the_heavy_ones_would_be_seen() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE, "schema"], capture_output=True, text=True, check=True)
    assert "yaml" in done.stderr.split()
