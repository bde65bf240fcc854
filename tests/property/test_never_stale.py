"""Whatever is edited, moved or made by hand: after an apply every image is what a clean build gives, and nothing was built in vain."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tasker_build.cli.planning import plan_project
from tasker_build.executor import Built, Executor
from tasker_build.project import Project

from .interpreter import InterpretingEngine, Layers, interpret

if TYPE_CHECKING:
    from tasker_build.plan import Plan

# The nightly figure is 10 000 steps: TASKER_EXAMPLES=200 gives 200 runs of 50.
EXAMPLES = int(os.environ.get("TASKER_EXAMPLES", "12"))
STEPS = 50

SPEC = """\
version: 1
project: p
workspace: work
templates: tpl
bases: {{linux: "linux:1", tools: "tools:2"}}
targets:
  base:
    template: base.j2
    from: {{system: linux}}
    context: [lib]
  mid:
    template: child.j2
    from: {{parent: base, system: tools}}
    context: [mid]
    args: {{FLAVOUR: "{flavour}"}}
  leaf:
    template: child.j2
    from: {{parent: mid, system: linux}}
    context: [leaf, lib/common]
    args: {{FLAVOUR: plain}}
  lone:
    template: base.j2
    from: {{system: tools}}
    context: [lone]
"""
BASE = """\
# {comment}
ARG SYSTEM_IMAGE={{{{ images[0][1] }}}}
FROM ${{SYSTEM_IMAGE}} AS made
ENV NAME={word}
{{% for words in copies(closure.runtime) %}}
COPY {{{{ words }}}}
{{% endfor %}}
RUN make {{{{ target.name }}}} {word}
"""
CHILD = """\
# {comment}
ARG PARENT_IMAGE={{{{ images[0][1] }}}}
ARG SYSTEM_IMAGE={{{{ images[1][1] }}}}
FROM ${{PARENT_IMAGE}} AS work
ARG FLAVOUR
{{% for words in copies(closure.runtime) %}}
COPY {{{{ words }}}}
{{% endfor %}}
RUN make {{{{ target.name }}}} {word}
FROM ${{SYSTEM_IMAGE}} AS made
COPY --from=work / /out/
RUN finish
"""
FOLDERS = ["lib", "lib/common", "mid", "leaf", "lone"]
NAMES = ["keep.txt", "a.txt", "sub/c.txt"]
FILE = st.builds(lambda folder, name: f"{folder}/{name}", st.sampled_from(FOLDERS), st.sampled_from(NAMES))
TARGET = st.sampled_from(["base", "mid", "leaf", "lone"])
WORD = st.sampled_from(["one", "two", "three"])


class Stack(RuleBasedStateMachine):
    """A workspace, a spec and an engine, and everything that may happen to them."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="never-stale-"))
        self.engine = InterpretingEngine({"linux:1": b"linux", "tools:2": b"tools"})
        self.template = {"base": ["x", "one"], "child": ["x", "one"]}
        self.flavour = "plain"
        self.bases = {"linux:1": b"linux", "tools:2": b"tools"}
        for folder in FOLDERS:
            self.write(f"{folder}/keep.txt", "keep")
        self.write("elsewhere/x.txt", "nobody reads this")
        self.write_spec()
        self.expects_nothing = False
        self.steps = 0
        self.apply()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def write(self, path: str, text: str) -> None:
        file = self.folder / "work" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def write_spec(self) -> None:
        (self.folder / "tpl").mkdir(exist_ok=True)
        (self.folder / "stacks.yaml").write_text(SPEC.format(flavour=self.flavour))
        for name, text in (("base", BASE), ("child", CHILD)):
            comment, word = self.template[name]
            (self.folder / f"tpl/{name}.j2").write_text(text.format(comment=comment, word=word))

    def project(self) -> Project:
        return Project.open([self.folder / "stacks.yaml"])

    def apply(self, forced: tuple[str, ...] = ()) -> None:
        project = self.project()
        plan = plan_project(project, self.engine, (), forced)
        self.run(project, plan)
        self.check(project)
        self.expects_nothing = True

    def run(self, project: Project, plan: Plan) -> None:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        predicted = {step.target for step in plan.steps if step.action.builds}
        before = self.engine.names.copy()
        events = list(Executor(project, self.engine, plan, jobs=2, run=run, secrets={}).execute())
        assert {event.target for event in events if isinstance(event, Built)} == predicted, "the plan says what apply does"
        if self.expects_nothing:
            assert predicted == set(), "a needless rebuild"
            assert self.engine.names == before

    def check(self, project: Project) -> None:
        """Compare every image with a clean build of its own Dockerfile, parents first, from the workspace as it is."""
        images = {reference: Layers({"/base": data}) for reference, data in self.bases.items()}
        work = self.folder / "work"
        for name in project.order:
            closure = project.closures[name]
            context = {
                str(file.relative_to(work)): (b"x" if os.access(file, os.X_OK) else b"-") + file.read_bytes()
                for root in closure.roots
                for file in ([work / root] if (work / root).is_file() else (work / root).rglob("*"))
                if file.is_file() and "target" not in file.parts
            }
            target = project.spec.targets[name]
            made = interpret(project.tree.dockerfiles[name], context, images, target.args, None)
            images[project.spec.image_reference(target)] = made
            there = self.engine.named()[project.spec.image_reference(target)]
            assert there.files == made.files, f"{name} is stale"
        assert not plan_project(project, self.engine, ()).changed, "after an apply nothing is left to do"

    # What changes an image.

    @rule(path=FILE, text=WORD)
    def edit(self, path: str, text: str) -> None:
        self.write(path, text)
        self.expects_nothing = False

    @rule(path=FILE)
    def remove(self, path: str) -> None:
        if "keep" not in path:  # a context with nothing in it is a mistake of the spec
            (self.folder / "work" / path).unlink(missing_ok=True)
        self.expects_nothing = False

    @rule(path=FILE, other=FILE)
    def rename(self, path: str, other: str) -> None:
        source, target = self.folder / "work" / path, self.folder / "work" / other
        if source.is_file() and "keep" not in path:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        self.expects_nothing = False

    @rule(path=FILE)
    def make_executable(self, path: str) -> None:
        file = self.folder / "work" / path
        if file.is_file():
            file.chmod(file.stat().st_mode ^ 0o111)
        self.expects_nothing = False

    @rule(name=st.sampled_from(["base", "child"]), word=WORD)
    def change_template(self, name: str, word: str) -> None:
        self.template[name][1] = word
        self.write_spec()
        self.expects_nothing = False

    @rule(word=WORD)
    def change_argument(self, word: str) -> None:
        self.flavour = word
        self.write_spec()
        self.expects_nothing = False

    @rule(reference=st.sampled_from(["linux:1", "tools:2"]), data=st.sampled_from([b"old", b"new"]))
    def replace_base(self, reference: str, data: bytes) -> None:
        self.bases[reference] = data
        self.engine.set_base(reference, data)
        self.expects_nothing = False

    # What happens to images behind our back.

    @rule(name=TARGET, unique=st.booleans())
    def lose_a_name(self, name: str, unique: bool) -> None:  # noqa: FBT001
        for reference in [r for r in self.engine.names if r.startswith(f"p-{name}:") and (":tb-" in r) == unique]:
            self.engine.remove(reference)
        self.expects_nothing = False

    @rule(name=TARGET, under_unique_tag=st.booleans())
    def make_by_hand(self, name: str, under_unique_tag: bool) -> None:  # noqa: FBT001
        references = [r for r in self.engine.names if r.startswith(f"p-{name}:") and (":tb-" in r) == under_unique_tag]
        for reference in references:
            image = self.engine.stored[self.engine.names[reference]]
            layers = self.engine.layers[image.id].copy()
            layers.files["/by-hand"] = b"1"
            self.engine.store(layers, [reference], image.label)
        self.expects_nothing = False

    @rule(name=TARGET)
    def force(self, name: str) -> None:
        self.expects_nothing = False
        self.apply((name,))

    # What changes nothing.

    @rule(path=FILE)
    def touch(self, path: str) -> None:
        file = self.folder / "work" / path
        if file.is_file():
            os.utime(file)
            file.chmod(file.stat().st_mode ^ 0o020)

    @rule(name=st.sampled_from(["base", "child"]), word=WORD)
    def change_comment(self, name: str, word: str) -> None:
        self.template[name][0] = word
        self.write_spec()

    @rule(text=WORD)
    def edit_what_nobody_reads(self, text: str) -> None:
        self.write("elsewhere/x.txt", text)
        self.write("lone/target/debris.o", text)

    @invariant()
    def applies_every_other_step(self) -> None:
        if hasattr(self, "folder"):
            self.steps += 1
            if self.steps % 2:
                self.apply()


Stack.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestNeverStale = Stack.TestCase
