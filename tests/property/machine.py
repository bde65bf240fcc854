"""Everything that may happen to a workspace, its spec and its images, step by step, on an engine that a subclass brings along.

After every apply each image is compared with a clean build, made from the folder as it is by means that share nothing with
fingerprints; before it, the machine knows by its own books which targets have a reason to be built.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tasker_build.build.events import Built, Failed
from tasker_build.plan.installation import host_platform
from tasker_build.plan.words import unique_reference
from tasker_build.project import Project
from tasker_build.work.building import execute
from tasker_build.work.order import Order
from tasker_build.work.planning import plan_project
from tests.property.interpreter import mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.engine.api import Engine
    from tasker_build.plan.words import Plan

COUNTS: Counter[str] = Counter()
"""Steps, applies and builds of all runs, for the summary."""

BASES = {"linux": b"linux", "tools": b"tools"}
HEAD = "ARG SYSTEM_IMAGE={{ images[0][1] }}\nFROM ${SYSTEM_IMAGE} AS made\nWORKDIR /t\n"
COPIES = "{% for words in copies(closure.roots) %}\nCOPY {{ words }}\n{% endfor %}\n"
RUN = "RUN (echo %s; echo $NAME ${FLAVOUR-unset}; find . -type f -o -type l | sort | xargs -d '\\n' stat -c '%%A %%s %%n') > made-%s.txt\n"
TEMPLATES = {
    "base.j2": HEAD + "ENV NAME={word}\nARG FLAVOUR\n" + COPIES + RUN % ("{{ target.name }} {word}", "base"),
    "child.j2": (
        "ARG PARENT_IMAGE={{ images[0][1] }}\nARG SYSTEM_IMAGE={{ images[1][1] }}\n"
        "FROM ${PARENT_IMAGE} AS work\nWORKDIR /t\nARG FLAVOUR\n"
        + COPIES
        + RUN % ("{{ target.name }} {word}", "{{ target.name }}")
        + "FROM ${SYSTEM_IMAGE} AS made\nWORKDIR /t\nCOPY --from=work /t/ out/\n"
        "RUN --mount=type=secret,id=token echo finish > finished.txt\n"
    ),
    "pair.j2": HEAD + COPIES + RUN % ("pair {word}", "pair") + "FROM made AS more\n" + RUN % ("more {other}", "more"),
}
FOLDERS = ["lib", "lib/common", "mid", "leaf", "lone"]
NAMES = ["keep.txt", "a.txt", "sub/c.txt", "sub", "x y.txt", "é.txt"]
TARGETS = ["base", "mid", "leaf", "lone", "first", "second", "extra"]
IGNORES = {
    "": (),
    "**/a.txt": ("lib/a.txt", "lib/common/a.txt", "mid/a.txt", "leaf/a.txt", "lone/a.txt"),
    "lone/sub": ("lone/sub",),
}
FILE = st.builds(lambda folder, name: f"{folder}/{name}", st.sampled_from(FOLDERS), st.sampled_from(NAMES))
LOSABLE = FILE.filter(lambda path: not path.endswith("keep.txt"))  # a context with nothing in it is a mistake of the spec
TARGET = st.sampled_from(TARGETS)
WORD = st.sampled_from(["one", "two", "three"])


@dataclass(frozen=True)
class Made:
    """What the machine noted of an image that an apply made."""

    target: str
    stands_on: Mapping[str, str]  # parent or base → image id
    salt: str  # what the spec says that leaves no trace in the files of an image


class Machine(RuleBasedStateMachine):
    """A workspace, a spec and an engine, and everything that may happen to them."""

    project = "p"
    engine: Engine
    platforms: tuple[str | None, ...] = (None, host_platform())
    """What a spec may say; this machine's own platform is what it means where it says nothing."""

    # What an engine has to bring along.

    def start(self) -> None:
        raise NotImplementedError

    def set_base(self, name: str, data: bytes) -> None:
        """Make a base, or another one under its name."""
        raise NotImplementedError

    def clean(self, target: str, text: str, files: Mapping[str, bytes], args: Mapping[str, str], stage: str | None) -> str:
        """Build a target from nothing, on what was built clean before; returns what it holds."""
        raise NotImplementedError

    def content(self, image_id: str) -> str:
        """What an image holds."""
        raise NotImplementedError

    def forge(self, reference: str) -> None:
        """Put another image under a name, which inherits the label of the one that has it."""
        raise NotImplementedError

    def untag(self, reference: str) -> None:
        raise NotImplementedError

    def names(self) -> dict[str, str]:
        return {reference: image.id for image in self.engine.images() for reference in image.references}

    # The workspace and its spec.

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="never-stale-"))
        self.work = self.folder / "work"
        self.words = dict.fromkeys(TEMPLATES, "one")
        self.comment = self.other = self.token = "one"
        self.args: dict[str, str | None] = dict.fromkeys(TARGETS)
        self.ignore, self.network, self.version, self.extra, self.reverse = "", "default", "latest", False, False
        self.platform: str | None = None
        self.stages = ["made", "more"]
        self.made: dict[str, Made] = {}
        self.forged: set[str] = set()
        self.saved: dict[str, Any] | None = None
        self.steps = 0
        self.start()
        for name, data in BASES.items():
            self.set_base(name, data)
        for folder in FOLDERS:
            self.write(f"{folder}/keep.txt", "keep")
        self.write("elsewhere/x.txt", "nobody reads this")
        self.write("Cargo.lock", "version = 4\n")
        self.write_spec()
        self.apply()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            os.environ.pop("TASKER_BUILD_TOKEN", None)
            shutil.rmtree(self.folder)
        COUNTS["runs"] += 1

    def reference(self, base: str) -> str:
        return f"{self.project}-base-{base}:1"

    def write(self, path: str, text: str) -> None:
        """Write a file whatever was in its place: a link, a folder, a file where a folder is needed."""
        file = self.work / path
        self.clear(file)
        for parent in (*file.relative_to(self.work).parents,):
            if (self.work / parent).is_file():
                (self.work / parent).unlink()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def clear(self, file: Path) -> None:
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        elif file.is_symlink() or file.is_file():
            file.unlink()

    def plain(self, path: str) -> Path | None:
        """The plain file that has a path, if one has."""
        file = self.work / path
        return file if file.is_file() and not file.is_symlink() else None

    def write_spec(self) -> None:
        """Write spec, templates and manifests as they should be now; JSON is YAML."""
        secrets = [{"id": "token", "version": self.token}]
        cook = {"kind": "cargo-chef", "template": "pair.j2", "from": {"system": "tools"}, "file": "pair/Dockerfile"}
        targets: dict[str, dict[str, Any]] = {
            "base": {"template": "base.j2", "from": {"system": "linux"}, "context": ["lib"], "secrets": secrets},
            "mid": {
                "template": "child.j2",
                "from": {"parent": "base", "system": "tools"},
                "context": ["mid"],
                "secrets": ["token"],
            },
            "leaf": {"template": "child.j2", "from": {"parent": "mid", "system": "linux"}, "context": ["leaf", "lib/common"]},
            "lone": {"template": "base.j2", "from": {"system": "tools"}, "context": ["lone"], "network": self.network},
            "first": {**cook, "stage": self.stages[0]},
            "second": {**cook, "stage": self.stages[1]},
        }
        if self.extra:
            targets["extra"] = {"template": "child.j2", "from": {"parent": "first", "system": "linux"}, "context": ["lone"]}
        if self.platform:
            targets["lone"]["platforms"] = [self.platform]
        for name, value in self.args.items():
            if value is not None and name in targets:
                targets[name]["args"] = {"FLAVOUR": value}
        spec = {
            "version": 1,
            "project": self.project,
            "workspace": "work",
            "templates": "tpl",
            "sources": {"ignore": [self.ignore] if self.ignore else []},
            "bases": {name: self.reference(name) for name in BASES},
            "targets": targets,
        }
        (self.folder / "tpl").mkdir(exist_ok=True)
        text = json.dumps(_turned(spec) if self.reverse else spec, indent=1)
        (self.folder / "stacks.yaml").write_text(f"# {self.comment}\n{text}\n")
        for name, body in TEMPLATES.items():
            filled = body.replace("{word}", self.words[name]).replace("{other}", self.other)
            (self.folder / "tpl" / name).write_text(f"# {self.comment}\n{filled}")
        if not (self.work / "Cargo.toml").exists():
            self.write("Cargo.toml", "[workspace]\nmembers = []\n")

    def salt(self, name: str) -> str:
        return json.dumps(
            [self.token if name == "base" else "", *((self.network, self.platform or host_platform()) if name == "lone" else ())]
        )

    # Applying, and what must be true of it.

    def apply(self, *selection: str, forced: tuple[str, ...] = ()) -> None:
        COUNTS["applies"] += 1
        project = Project.open([self.folder / "stacks.yaml"], version=self.version)
        holds = self.clean_builds(project)
        may = self.may_build(project, holds, forced)
        plan = plan_project(project, self.engine, selection, forced)
        self.execute(project, plan, may)
        tags = {str(step.target): f"{step.image}:{step.tags[0]}" for step in plan.steps if step.tags}
        names = self.names()
        for name in selection or tuple(map(str, project.order)):
            image_id = names[tags[name]]
            assert self.content(image_id) == holds[name], f"{name} is stale"
            assert self.made[image_id].salt == self.salt(name), f"{name} is stale: the spec says something else"
            for parent in (parent for parent in tags if parent in self.made[image_id].stands_on):
                assert self.made[image_id].stands_on[parent] == names[tags[parent]], f"{name} stands on an older {parent}"
        again = plan_project(project, self.engine, selection)
        assert not again.changed, f"after an apply nothing is left to do: {again.steps}"
        if not selection:
            self.forged -= {reference for reference in self.forged if names.get(reference) in self.made}

    def execute(self, project: Project, plan: Plan, may: set[str]) -> None:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        predicted = {step.target for step in plan.steps if step.action.builds}
        needless = {step.target: step.reasons for step in plan.steps if step.action.builds and step.target not in may}
        assert not needless, f"a needless rebuild: {needless}"
        before = self.names()
        events = list(execute(project, self.engine, plan, Order(jobs=2), run=run, secrets={}))
        assert not [event for event in events if isinstance(event, Failed)]
        for step in plan.steps:
            if step.image_id and not step.action.builds:
                project.records.adopt([(project.wanted[step.target], step.image_id)])
        built = {event.target: event.image_id for event in events if isinstance(event, Built)}
        assert set(built) == predicted, "the plan says what apply does"
        assert plan.changed or self.names() == before
        COUNTS["builds"] += len(built)
        after = self.names()
        for name in (name for name in project.order if name in built):
            # By the unique name: a partial apply leaves the names for people of what it does not build wherever they were moved.
            wanted = {str(parent): project.wanted[parent] for parent in project.parents(name)}
            parents = {parent: after[unique_reference(item.image, item.facts.fingerprint)] for parent, item in wanted.items()}
            bases = {base: after[base] for base in project.wanted[name].bases}
            self.made[built[name]] = Made(name, {**parents, **bases}, self.salt(name))

    def clean_builds(self, project: Project) -> dict[str, str]:
        """What each image should hold: its own rendered Dockerfile, from the files of the folder, parents first."""
        holds: dict[str, str] = {}
        files = {
            file.relative_to(self.work).as_posix(): _entry(file)
            for file in self.work.rglob("*")
            if "target" not in file.relative_to(self.work).parts
        }
        files = {path: data for path, data in files.items() if not within(path, IGNORES[self.ignore])}
        for name in project.order:
            target = project.spec.targets[name]
            roots = target.context or ("Cargo.toml", "Cargo.lock")
            context = {p: data for p, data in files.items() if within(p, roots)}
            holds[name] = self.clean(name, project.tree.dockerfiles[name], context, target.args, target.stage)
        return holds

    def may_build(self, project: Project, holds: Mapping[str, str], forced: tuple[str, ...]) -> set[str]:
        """Targets with a reason to be built: forced, no image of ours that holds this, or made on what is there no more."""
        names = self.names()
        good: dict[str, set[str]] = {}
        may: set[str] = set()
        for name in project.order:
            parents = project.parents(name)
            good[name] = {
                image_id
                for reference, image_id in names.items()
                if reference.startswith(f"{self.project}-{name}:tb-") and (made := self.made.get(image_id)) is not None
                if made.target == name and made.salt == self.salt(name) and self.content(image_id) == holds[name]
                if all(made.stands_on[parent] in good[parent] for parent in parents)
                if all(names.get(base) == found for base, found in made.stands_on.items() if base not in parents)
            }
            if name in forced or not good[name] or any(parent in may for parent in parents):
                may.add(name)
        return may

    # What changes an image.

    @rule(path=FILE, text=WORD)
    def edit(self, path: str, text: str) -> None:
        if not path.endswith("/sub"):
            self.write(path, text)

    @rule(path=LOSABLE)
    def remove(self, path: str) -> None:
        self.clear(self.work / path)

    @rule(path=LOSABLE, other=LOSABLE)
    def rename(self, path: str, other: str) -> None:
        if file := self.plain(path):
            text = file.read_text()
            self.clear(file)
            self.write(other, text)

    @rule(path=FILE)
    def make_executable(self, path: str) -> None:
        if file := self.plain(path):
            file.chmod(file.stat().st_mode ^ 0o111)

    @rule(path=FILE, mode=st.sampled_from([0o600, 0o664, 0o4755, 0o644]))
    def choose_a_mode(self, path: str, mode: int) -> None:
        if (self.work / path).exists() and not (self.work / path).is_symlink():
            (self.work / path).chmod(mode | (0o111 if (self.work / path).is_dir() else 0))

    @rule(folder=st.sampled_from(FOLDERS))
    def make_an_empty_folder(self, folder: str) -> None:
        (self.work / folder / "empty" / "deep").mkdir(parents=True, exist_ok=True)

    @rule(folder=st.sampled_from(FOLDERS), name=st.sampled_from(["a.txt", "sub", "sub/c.txt"]))
    def link(self, folder: str, name: str) -> None:
        self.write(f"{folder}/{name}", "")
        (self.work / folder / name).unlink()
        (self.work / folder / name).symlink_to("../keep.txt" if "/" in name else "keep.txt")

    @rule(word=WORD)
    def change_manifest(self, word: str) -> None:
        self.write("Cargo.toml", f'[workspace]\nmembers = []\n[workspace.metadata]\nword = "{word}"\n')

    @rule(name=st.sampled_from(sorted(TEMPLATES)), word=WORD)
    def change_template(self, name: str, word: str) -> None:
        self.words[name] = word
        self.write_spec()

    @rule(word=WORD)
    def change_another_stage(self, word: str) -> None:
        self.other = word
        self.write_spec()

    @rule(name=TARGET, value=st.sampled_from([None, "", "plain", "spicy"]))
    def change_argument(self, name: str, value: str | None) -> None:
        self.args[name] = value
        self.write_spec()

    @rule(word=WORD)
    def change_version_of_a_secret(self, word: str) -> None:
        self.token = word
        self.write_spec()

    @rule(network=st.sampled_from(["default", "none"]))
    def change_network(self, network: str) -> None:
        self.network = network
        self.write_spec()

    @rule(which=st.integers(0, 2))
    def change_platform(self, which: int) -> None:
        self.platform = self.platforms[which % len(self.platforms)]
        self.write_spec()

    @rule()
    def swap_stages(self) -> None:
        self.stages.reverse()
        self.write_spec()

    @rule(pattern=st.sampled_from(sorted(IGNORES)))
    def change_what_is_ignored(self, pattern: str) -> None:
        self.ignore = pattern
        self.write_spec()

    @rule()
    def add_or_remove_a_target(self) -> None:
        self.extra = not self.extra
        self.write_spec()

    @rule(name=st.sampled_from(sorted(BASES)), data=st.sampled_from([b"old", b"new"]))
    def replace_base(self, name: str, data: bytes) -> None:
        self.set_base(name, data)

    # What happens to images behind our back.

    def references_of(self, name: str, unique: bool) -> list[str]:  # noqa: FBT001
        return [r for r in sorted(self.names()) if r.startswith(f"{self.project}-{name}:") and (":tb-" in r) == unique]

    def is_recorded(self, name: str, image_id: str) -> bool:
        record = self.folder / ".tasker-build/targets" / f"{name}.json"
        return record.exists() and image_id in record.read_text()

    @rule(name=TARGET, unique=st.booleans())
    def lose_a_name(self, name: str, unique: bool) -> None:  # noqa: FBT001
        for reference in self.references_of(name, unique):
            self.untag(reference)

    @rule(name=TARGET, unique=st.booleans())
    def make_by_hand(self, name: str, unique: bool) -> None:  # noqa: FBT001
        names = self.names()
        for reference in self.references_of(name, unique):
            # Only a record can tell an image that was made by hand under our unique tag and carries our label.
            if not unique or self.is_recorded(name, names[reference]):
                self.forge(reference)
                if unique:
                    self.forged.add(reference)

    @rule(name=TARGET, other=TARGET, unique=st.booleans())
    def move_a_tag(self, name: str, other: str, unique: bool) -> None:  # noqa: FBT001
        names = self.names()
        others = self.references_of(other, unique=False)
        for reference in self.references_of(name, unique)[-1:] if others and name != other else ():
            self.engine.tag(names[others[0]], reference)

    @rule(name=st.sampled_from(TARGETS[:-1]))
    def force(self, name: str) -> None:
        self.apply(forced=(name,))

    @rule(name=st.sampled_from(TARGETS[:-1]))
    def force_alone(self, name: str) -> None:
        self.apply(name, forced=(name,))

    @rule(name=st.sampled_from(TARGETS[:-1]))
    def apply_one(self, name: str) -> None:
        self.apply(name)

    @rule()
    def forget_records(self) -> None:
        if not self.forged:
            shutil.rmtree(self.folder / ".tasker-build", ignore_errors=True)

    # What changes nothing.

    STATE = ("words", "comment", "other", "token", "args", "ignore", "network", "platform", "stages", "extra", "reverse")

    @rule()
    def check_out(self) -> None:
        """Leave for another state of everything and come back: `git stash`, `git switch` there and back; times are new."""
        if self.saved is None:
            shutil.copytree(self.work, self.folder / "saved", symlinks=True)
            self.saved = {name: json.loads(json.dumps(getattr(self, name))) for name in self.STATE}
            return
        shutil.rmtree(self.work)
        (self.folder / "saved").rename(self.work)
        for name, value in self.saved.items():
            setattr(self, name, value)
        self.saved = None
        self.write_spec()

    @rule(path=FILE)
    def touch(self, path: str) -> None:
        if file := self.plain(path):
            os.utime(file)

    @rule(word=WORD)
    def change_comments(self, word: str) -> None:
        self.comment = word
        self.write_spec()

    @rule()
    def turn_keys(self) -> None:
        self.reverse = not self.reverse
        self.write_spec()

    @rule(text=WORD)
    def edit_what_nobody_reads(self, text: str) -> None:
        self.write("elsewhere/x.txt", text)
        self.write("lone/target/debris.o", text)

    @rule()
    def move_the_checkout(self) -> None:
        moved = Path(tempfile.mkdtemp(prefix="never-stale-")) / "else where"
        self.folder.rename(moved)
        self.folder, self.work = moved, moved / "work"

    @rule()
    def have_a_secret_or_not(self) -> None:
        if os.environ.pop("TASKER_BUILD_TOKEN", None) is None:
            os.environ["TASKER_BUILD_TOKEN"] = __file__

    @rule(version=st.sampled_from(["latest", "1.2"]))
    def change_version(self, version: str) -> None:
        self.version = version

    @invariant()
    def applies_every_other_step(self) -> None:
        if hasattr(self, "folder"):
            COUNTS["steps"] += 1
            self.steps += 1
            if self.steps % 2:
                self.apply()


def _turned(value: Any) -> Any:
    """The same value with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(item) for item in value] if isinstance(value, list) else value


def within(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def _entry(file: Path) -> bytes:
    """A file or folder as it should arrive: a mark for its kind, then its bytes or where it leads."""
    if file.is_symlink():
        return b"l" + os.fsencode(file.readlink())
    mode = stat.S_IMODE(file.stat().st_mode)
    return mark(mode, is_folder=True) if file.is_dir() else mark(mode) + file.read_bytes()
