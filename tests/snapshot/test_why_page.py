"""docs/why.md: what `plan` and `why` say of one change each to the example stack; `pytest tests/snapshot --snapshot-update` writes it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tasker_build.plan.places import with_places
from tasker_build.plan.planner import Observed, make_plan
from tasker_build.plan.situation import Situation
from tasker_build.plan.why import explain
from tasker_build.plan.words import unique_reference
from tasker_build.project import Project
from tasker_build.spec.model import TargetName
from tasker_build.view.plan import plan_text
from tasker_build.view.why import explanation_text
from tasker_build.work.planning import plan_project
from tests.conftest import REPOSITORY
from tests.unit.tiny import TinyEngine, build_all, edit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

PAGE = REPOSITORY / "docs/why.md"
WORKER = "deploy/workers/rust"
WORK = "examples/tasker"
NOW = 1_700_000_000 + 9 * 86_400 + 5 * 3_600
"""Nine days after everything was built."""
HEAD = """\
# What happens when I change …

Everything below is what the commands print on the example stack, everything built; a test writes this page and compares it
(`make snap`). Only the ids of images and the digests of files are replaced by others that stay the same.
"""


class Stack:
    """A copy of the example, everything built, and a page that grows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(REPOSITORY / WORK, root / WORK, ignore=shutil.ignore_patterns("target", ".tasker-build"), symlinks=True)
        for name in ("stacks.yaml", "stacks.lock"):
            shutil.copy(REPOSITORY / name, root)
        self.renew()

    def renew(self) -> None:
        """Build everything anew on another engine."""
        self.engine = TinyEngine()
        for number, base in enumerate(Project.open([self.root / "stacks.yaml"]).spec.bases.values()):
            self.engine.put(f"sha256:{number:064x}", [base], None)
        shutil.rmtree(self.root / ".tasker-build", ignore_errors=True)
        build_all(self.engine, self.root, revision="4f1d0c2b7a91" * 3 + "0000")

    def plan(self, *forced: str) -> str:
        plan = plan_project(Project.open([self.root / "stacks.yaml"]), self.engine, (), forced)
        command = "tasker-build plan" + "".join(f" --rebuild {name}" for name in forced)
        return f"$ {command}\n{plan_text(plan, show_kept=False, details=False)}"

    def why(self, name: str) -> str:
        project = Project.open([self.root / "stacks.yaml"])
        observed = Observed(images=self.engine.images())
        records = project.records.builds(project.order)
        every = frozenset(project.order)
        plan = make_plan(
            project.spec.project,
            tuple(project.wanted.values()),
            observed,
            history=replace(project.records.history(), records=records),
            selected=every,
            now=NOW,
        )
        plan = with_places(plan, project.places)
        lines = {
            target: (f"{WORK}/docker/{project.spec.targets[target].dockerfile}", [step.line for step in file.instructions])
            for target, file in project.dockerfiles.items()
        }
        situation = Situation(
            spec=project.spec,
            wanted=project.wanted,
            observed=observed,
            records=records,
            plan=plan,
            places=project.places,
            lines=lines,
        )
        return f"$ tasker-build why {name}\n{explanation_text(explain(TargetName(name), situation))}"

    def reference(self, name: str) -> str:
        item = Project.open([self.root / "stacks.yaml"]).wanted[TargetName(name)]
        return unique_reference(item.image, item.facts.fingerprint)


def page(root: Path) -> str:
    stack = Stack(root)
    sections = [HEAD, _block("nothing at all", [stack.plan()])]

    def part(title: str, change: Callable[[], object], *ask: Callable[[], str], text: str = "") -> None:
        change()
        sections.append(_block(title, [question() for question in ask or (stack.plan,)], text))

    def file(path: str, old: str, new: str) -> Callable[[], None]:
        return lambda: edit(root, path, old, new)

    def back(path: str) -> None:
        shutil.copy(REPOSITORY / path, root / path)

    source = f"{WORK}/workers/rust/src/lib.rs"
    part("a source file", file(source, "", "// more\n"), stack.plan, lambda: stack.why(WORKER))
    back(source)
    test = f"{WORK}/tests/docker_integration/all_workflows_test.rs"

    def nothing_that_counts() -> None:
        edit(root, test, "", "// x\n")
        edit(root, "stacks.yaml", "\ntargets:\n", "\n# why\ntargets:\n")
        for path in (root / WORK).rglob("*"):
            os.utime(path, follow_symlinks=False)

    part(
        "a test, the times of all files, a comment in the spec",
        nothing_that_counts,
        text="Tests are no part of an image, times and comments of none.",
    )
    back(test)
    back("stacks.yaml")
    part(
        "the lock file of the workspace",
        file(f"{WORK}/Cargo.lock", "version = 4", "version = 3"),
        stack.plan,
        lambda: stack.why(WORKER),
    )
    back(f"{WORK}/Cargo.lock")
    value = "      RUST_BACKTRACE: "
    part(
        "a value of the spec",
        file("stacks.yaml", f"{value}full", f"{value}short"),
        stack.plan,
        lambda: stack.why("dev/orchestration"),
    )
    back("stacks.yaml")
    part(
        "a version that a base hangs on",
        file("stacks.yaml", 'rust: "1.89"', 'rust: "1.90"'),
        stack.plan,
        lambda: stack.why("build"),
    )
    back("stacks.yaml")
    part(
        "a version of a tool, which is not pinned any more",
        file("stacks.yaml", "wheel:maturin@1.16.0", "wheel:maturin@1.16.1"),
        stack.plan,
        lambda: stack.why("deploy/workers/python"),
    )
    back("stacks.yaml")

    base = "debian:trixie-slim"
    part(
        "nothing, but a base has moved",
        lambda: stack.engine.put("sha256:" + "d" * 64, [base], None),
        stack.plan,
        lambda: stack.why(WORKER),
    )
    stack.renew()
    part("nothing, but an image is gone", lambda: list(map(stack.engine.remove, _names(stack, "postgres"))))
    stack.renew()
    part("nothing, but a tag was moved", lambda: stack.engine.put("sha256:" + "e" * 64, ["jcoletaylor/tasker-pgmq:latest"], None))
    stack.renew()

    def forge() -> None:
        image = stack.engine.image(stack.reference("build"))
        assert image is not None
        stack.engine.put("sha256:" + "f" * 64, [stack.reference("build")], image.label)

    part("nothing, but an image was made again by hand under our tag", forge, stack.plan)
    stack.renew()
    _age_and_failure(stack, part, file, back)
    stack.renew()
    part("nothing, and ask for a rebuild", lambda: None, lambda: stack.plan("postgres"))

    def edit_without_records() -> None:
        edit(root, source, "", "// more\n")
        shutil.rmtree(root / ".tasker-build")

    text = "The images say what kind of thing changed; which files, only the record of a build on this machine knows."
    part(
        "a source file, with no record of the last build", edit_without_records, stack.plan, lambda: stack.why(WORKER), text=text
    )
    return _steady("\n".join(sections), root)


def _age_and_failure(
    stack: Stack, part: Callable[..., None], file: Callable[[str, str, str], Callable[[], None]], back: Callable[[str], None]
) -> None:
    source = f"{WORK}/workers/rust/src/lib.rs"
    refresh = file("stacks.yaml", "\n  postgres:\n    kind", "\n  postgres:\n    refresh: 7d\n    kind")
    text = """\
A target with `refresh: 7d` is built again once its image is older than that, for what its steps fetch from elsewhere. All of them
run then: such a target takes no step of its own from BuildKit's cache, and what stands on it is built on the new image."""
    part("nothing, but an image has become older than `refresh` allows", refresh, stack.plan, text=text)
    back("stacks.yaml")

    def edit_what_failed() -> None:
        edit(stack.root, source, "", "// more\n")
        Project.open([stack.root / "stacks.yaml"]).records.note_failure(TargetName(WORKER), "20300112T101112-1")

    part("a source file, and the last build failed", edit_what_failed, stack.plan, lambda: stack.why(WORKER))
    back(source)


def _names(stack: Stack, name: str) -> Sequence[str]:
    image = stack.engine.image(stack.reference(name))
    return image.references if image else ()


def _block(title: str, answers: Sequence[str], text: str = "") -> str:
    body = "\n\n".join(answers)
    return f"## … {title}\n\n{text + chr(10) * 2 if text else ''}```console\n{body}\n```\n"


def _steady(text: str, root: Path) -> str:
    """The page without what depends on every byte of the example: each id becomes one that only counts where it stands."""
    found: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        return found.setdefault(match[0], sha256(str(len(found)).encode()).hexdigest()[:12])

    return re.sub(r"(?<![\w.])[0-9a-f]{12}(?!\w)", stand_in, text.replace(f"{root}/", ""))


def test_the_page_is_what_the_commands_say(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker_build.work.planning.time", SimpleNamespace(time=lambda: NOW))
    written = page(tmp_path)
    if request.config.getoption("--snapshot-update"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written
