"""A tiny stack in a folder and an engine in memory where it is built: base → app, with `other` beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_build.engine.api import ImageLabel
from tasker_build.engine.memory import MemoryEngine
from tasker_build.plan.facts import SCHEMA
from tasker_build.plan.words import unique_reference
from tasker_build.project import Project

if TYPE_CHECKING:
    from pathlib import Path

BASE = "debian:13"
FILES = {
    "stacks.yaml": """\
version: 1
project: demo
workspace: work
output: docker
templates: tpl
bases: {debian: "debian:13"}
targets:
  base:
    template: base.j2
    from: {system: debian}
    context: [lib]
  app:
    template: app.j2
    from: {builder: base, runtime: debian}
    context: [app]
    args: {FLAVOUR: plain}
    secrets: [token]
  other:
    template: other.j2
    from: {runtime: debian}
    context: [other]
""",
    "tpl/base.j2": "ARG SYSTEM_IMAGE={{ images[0][1] }}\nFROM {{ image('system') }}\nCOPY lib/ /lib/\nRUN cat /lib/a.txt\n",
    "tpl/app.j2": (
        "ARG BUILDER_IMAGE={{ images[0][1] }}\nARG RUNTIME_IMAGE={{ images[1][1] }}\n"
        "FROM {{ image('builder') }} AS made\nARG FLAVOUR\nCOPY app/ /app/\nRUN cat /app/main.txt > /out\n"
        "FROM {{ image('runtime') }}\nCOPY --from=made /out /out\n"
    ),
    "tpl/other.j2": "ARG RUNTIME_IMAGE={{ images[0][1] }}\nFROM {{ image('runtime') }}\nCOPY other/ /other/\nRUN cat /other/x.txt\n",
    "work/lib/a.txt": "1\n",
    "work/app/main.txt": "1\n",
    "work/other/x.txt": "1\n",
}


class TinyEngine(MemoryEngine):
    """An engine in memory that has a place and an id."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoint, self.id, self.built = "unix:///tiny.sock", "ENGINE", 0
        self.put("debian-1", [BASE], None)

    def identity(self) -> str:
        return self.id


def edit(root: Path, path: str, old: str, new: str) -> None:
    file = root / path
    text = file.read_text() if file.exists() else ""
    assert old in text
    file.write_text(text.replace(old, new) if old else text + new)


def build_all(engine: TinyEngine, root: Path, *names: str, record: bool = True, revision: str = "") -> None:
    """Put what an apply of these targets, or of all, would leave."""
    project = Project.open([root / "stacks.yaml"])
    for name, item in project.wanted.items():
        unique = unique_reference(item.image, item.facts.fingerprint)
        if (names and name not in names) or unique in engine.names:
            continue
        engine.built += 1
        image_id = f"sha256:{engine.built:02}{item.facts.fingerprint[2:]}"
        parents = {
            str(parent): engine.names[unique_reference(project.wanted[parent].image, project.wanted[parent].facts.fingerprint)]
            for parent in item.parents
        }
        label = ImageLabel(
            schema=SCHEMA,
            project=project.spec.project,
            target=name,
            platform=item.platform,
            fingerprint=item.facts.fingerprint,
            groups=item.facts.groups,
            built_on=parents | {base: engine.names[base] for base in item.bases if base in engine.names},
        )
        engine.put(image_id, [unique, *(f"{item.image}:{tag}" for tag in item.tags)], label, 1_700_000_000 + engine.built)
        if record:
            run = f"2030010{engine.built}T000000-1"
            project.records.remember(item, image_id, run=run, revision=revision, engine=engine.identity())
