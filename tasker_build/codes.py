"""Every code of a problem and every name of a finding: what it means, an example, and the cure. One code, one kind of mistake.

The letter is the area: S spec and selection, T templates, W workspace, L lock, G graph. Every problem is an error: nothing is
rendered or built. Findings of `check` have names in words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AREAS = {
    "S": "spec and selection",
    "T": "templates and Dockerfiles",
    "W": "workspace",
    "L": "lock",
    "G": "graph",
    "": "check",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One kind of mistake."""

    name: str
    meaning: str
    example: str
    cure: str

    @property
    def area(self) -> str:
        """Where it arises."""
        return AREAS[self.name[0] if self.name[0].isupper() else ""]


def _codes(*rows: tuple[str, str, str, str]) -> dict[str, Code]:
    return {name: Code(name=name, meaning=meaning, example=example, cure=cure) for name, meaning, example, cure in rows}


# An example of S001 to S024 and G001 follows `version` and `project` in a spec; a test loads each of them.
CODES = _codes(
    (
        "S000",
        "The spec cannot be read: it is missing, no file, or not readable.",
        "tasker-build -f missing.yaml plan",
        "Name the spec with -f, or run the command in its folder.",
    ),
    (
        "S001",
        "The file is not valid YAML: wrong syntax, not UTF-8, or too large.",
        'targets: "unclosed',
        "Correct the line that the message shows. Save the file as UTF-8. Split a large file into overlays.",
    ),
    (
        "S002",
        "The YAML has a form that no spec has: no mapping at the top, a second document, a key that is no text.",
        "targets: {}\n---\ntargets: {}",
        "Write one document with text keys. `<<` takes a mapping or a list of mappings.",
    ),
    (
        "S003",
        "The values are nested too deep, or aliases expand to too many of them.",
        "targets: " + "[" * 45 + "]" * 45,
        "Flatten the nesting. Replace aliases of aliases by `defaults` or `extends`.",
    ),
    (
        "S004",
        "A value holds a character that terminals or shells could act on: a control character or a change of text direction.",
        'targets: {a: {template: "t\\e[31m.j2"}}',
        "Remove the character; the message shows its number.",
    ),
    ("S005", "A mapping has the same key twice.", "targets: {}\ntargets: {}", "Keep one of the two."),
    (
        "S006",
        "An alias names no anchor, or its own.",
        "targets: {a: *nobody}",
        "Define the anchor (`&name`) before the alias (`*name`) uses it.",
    ),
    ("S007", "YAML tags are not supported.", "targets: !mine {}", "Write the value without a tag."),
    (
        "S008",
        "The spec has no such key.",
        "target: {}\ntargets: {}",
        "Correct the spelling; docs/reference.md lists all keys. Keys of your own begin with `x-` and stand at the top.",
    ),
    (
        "S009",
        "A key is missing that this place needs.",
        "targets: {a: {}}",
        "Add the key that the message names.",
    ),
    (
        "S010",
        "A value has the wrong type.",
        "targets: [a, b]",
        "Write what the message asks for: a mapping, a list, or one value.",
    ),
    (
        "S011",
        "A value is outside what its key allows.",
        "targets: {a: {template: t.j2, refresh: soon}}",
        "Choose a value that fits the rule in the message.",
    ),
    (
        "S012",
        "A value without quotes is ambiguous: YAML readers disagree on what it is, or text is wanted and a number stands there.",
        "vars: {debug: yes}\ntargets: {}",
        'Put quotes around text ("yes"); write true, false or a decimal number for anything else.',
    ),
    (
        "S013",
        "A text uses a variable, or a row of a table, that `vars` does not have.",
        'targets: {a: {template: t.j2, args: {V: "{{ nobody }}"}}}',
        "Add it to `vars`, or correct the name.",
    ),
    (
        "S014",
        "A key that you choose breaks the rule for such names.",
        "targets: {Upper: {template: t.j2}}",
        "Rename it as the message says.",
    ),
    (
        "S015",
        "A name stands for nothing: no such base, target, stack, network or service.",
        "targets: {a: {template: t.j2, from: {base: nobody}}}",
        "Correct the spelling, or define what is named.",
    ),
    (
        "S016",
        "One name is both a base and a target.",
        "bases: {debian: debian:trixie-slim}\ntargets: {debian: {template: t.j2}, b: {template: t.j2, from: {base: debian}}}",
        "Rename one of them.",
    ),
    (
        "S017",
        "An enabled target stands on one that is not enabled.",
        "targets: {a: {template: t.j2, enabled: false}, b: {template: t.j2, from: {base: a}}}",
        "Enable the parent, or disable the child, too.",
    ),
    (
        "S018",
        "Two parts of the spec make the same image, file or variable. Upper and lower case do not tell them apart.",
        "targets: {a: {template: t.j2, file: x/Dockerfile}, b: {template: t.j2, file: x/Dockerfile}}",
        "Rename one of them, or give it a `file`, an `image` or a tag of its own.",
    ),
    (
        "S019",
        "An ignore pattern cannot be used: BuildKit would refuse or misread it, or an exception is too wide.",
        'sources: {ignore: ["foo["]}\ntargets: {}',
        "Correct the pattern; docs/ignore.md says how they are read.",
    ),
    (
        "S020",
        "`extends` leads back to where it began.",
        "targets: {a: {template: t.j2, extends: b}, b: {template: t.j2, extends: a}}",
        "Remove one `extends` of the circle, or move what is shared to a target that extends nothing.",
    ),
    (
        "S021",
        "An environment sets a variable that no program reads: `contract` does not have it.",
        (
            "contract: {PORT: {means: where it listens}}\n"
            "targets: {a: {template: t.j2, cargo: {packages: [a]}}}\n"
            "stacks: {s: {services: {a: {target: a, environment: {PROT: 80}}}}}"
        ),
        "Correct the spelling, add the variable to `contract`, or leave it out.",
    ),
    (
        "S022",
        "A service lacks a variable that `contract` requires.",
        (
            "contract: {PORT: {means: where it listens, required: true}}\n"
            "targets: {a: {template: t.j2, cargo: {packages: [a]}}}\n"
            "stacks: {s: {services: {a: {target: a}}}}"
        ),
        "Set the variable in the service's `environment`, or make it optional in `contract`.",
    ),
    (
        "S023",
        "`toolchain.sccache.store` stands beside a mode that is not `remote`.",
        "toolchain: {sccache: {store: redis}}\ntargets: {}",
        "Set `mode: remote`, or remove `store`.",
    ),
    (
        "S024",
        "A service has neither a `target` nor an `image`, or both.",
        "targets: {}\nstacks: {s: {services: {db: {}}}}",
        "Keep one of the two: `target` for an image that is built here, `image` for one from elsewhere.",
    ),
    (
        "S025",
        "A tag holds a placeholder that stands for nothing: the image would have it in its name, and no registry takes that.",
        'targets: {a: {template: t.j2, tags: ["{vresion}"]}}',
        "Write `{version}`, or a tag without braces.",
    ),
    (
        "S030",
        "The selection matches no target.",
        "tasker-build plan nobody",
        "`tasker-build ls` lists the targets. Quote globs, so that the shell leaves them alone.",
    ),
    (
        "S031",
        "The stack of the command is not one that it can work with: the spec lacks it, or it has no database, or several.",
        "tasker-build env up nobody",
        "Choose a stack that the message lists; for `db`, one with a single service of `kind: postgres`.",
    ),
    (
        "S032",
        "The stack has no such profile.",
        "tasker-build env up dev --profile nobody",
        "Choose a profile that the message lists.",
    ),
    (
        "S033",
        "`--since` cannot compare with the revision: Git, the checkout or the commit is not here.",
        "tasker-build plan --since nobody",
        "Fetch the commit as the hint says. A shallow clone needs more history.",
    ),
    (
        "S034",
        "`state:` names no state, or nobody may ask the engine.",
        "tasker-build ls state:nobody",
        "Choose a state that the message lists; leave out --offline.",
    ),
    (
        "S035",
        "A word is not a selection.",
        "tasker-build plan colour:red",
        "Write a name, a glob, or one of the forms that the hint lists.",
    ),
    (
        "S036",
        "The word names no saved plan that can be applied.",
        "tasker-build apply missing.json",
        "Save a plan with `tasker-build plan --out NAME.json`, and apply it by that name.",
    ),
    (
        "S037",
        "Several images have an id that begins so.",
        "tasker-build why a1b2",
        "Give more digits of the id.",
    ),
    (
        "S038",
        "`why` finds nothing of that name: no target, base or image.",
        "tasker-build why nobody",
        "`tasker-build ls` lists the targets; `docker image ls` lists the images.",
    ),
    (
        "T001",
        "A target or a file asks for a template that is not there.",
        "targets: {a: {template: missing.j2}}",
        "Put the template into the folder that `templates` names, or correct the name.",
    ),
    (
        "T002",
        "A template fails while it renders: an unknown name, a wrong type, or a mistake that the template reports itself.",
        "RUN echo {{ nobody }}",
        "Correct the line that the message shows. `by way of` lists the templates that lead to it.",
    ),
    ("T003", "A template is not valid Jinja.", "{% if %}", "Correct the line that the message shows."),
    (
        "T004",
        "A file of the templates folder cannot be used: it is a link out of the folder, or not UTF-8.",
        "templates/base.j2 -> /etc/motd",
        "Replace the link by a file; save the file as UTF-8.",
    ),
    (
        "T005",
        "A target has lines for a hook that its template does not have: they would be in no image.",
        "hooks: {after_pakages: RUN true}   with   kind: rust-service",
        "Use a hook that the message lists, or add it to a template of your own.",
    ),
    (
        "T006",
        "A template fills a block that the template it extends does not have: what the block holds would be in no file.",
        '{% extends "dockerfile/rust-service.Dockerfile.j2" %}{% block instal %}…',
        "Use a block that the message lists, or put a block of your own into one of them.",
    ),
    (
        "T007",
        "A template extends another one and writes outside of its blocks: that would be in no file.",
        '{% extends "dockerfile/rust-service.Dockerfile.j2" %}\nRUN make',
        "Move the lines into a block of the template that is extended.",
    ),
    (
        "T010",
        "A rendered Dockerfile is not valid.",
        "RUN true\nFROM scratch",
        "Correct the template that renders it. BuildKit would refuse the file, too.",
    ),
    (
        "T011",
        "A Dockerfile takes a file or folder from the context that the target does not send: the build would fail there.",
        "COPY config/ /app/config/   without   context: [config]",
        "Add the path to the `context` of the target, or correct it at the line of the template or hook that the message names.",
    ),
    (
        "T012",
        "A Dockerfile takes files from a stage that is not there: the build would fail there.",
        "FROM rust AS builder\n…\nCOPY --from=bulider /out /app",
        "Name an earlier stage of the file, or an image.",
    ),
    (
        "W001",
        "A Cargo manifest or its workspace cannot be understood.",
        '[package]\nname = "unclosed',
        "Correct the manifest; `cargo metadata` shows the same mistake.",
    ),
    (
        "W002",
        "The workspace has no such Cargo package.",
        "cargo: {packages: [nobody]}",
        "Choose a package that the message lists.",
    ),
    (
        "W003",
        "No selected package has that binary.",
        "cargo: {packages: [a], binaries: {nobody: a}}",
        "Choose a binary that the message lists, or select the package that has it.",
    ),
    (
        "W004",
        "The workspace has nothing at a path that a target needs.",
        "context: [missing]",
        "Correct the path: it starts at the workspace folder. Ignored files do not count.",
    ),
    (
        "W005",
        "A target needs a Cargo workspace, and the workspace folder has no Cargo.toml.",
        "targets: {a: {kind: rust-service}}",
        "Name the folder with `workspace` or --workspace.",
    ),
    (
        "W006",
        "No selected package makes that shared library.",
        "cargo: {packages: [a], libraries: [nobody]}",
        'Give the package `crate-type = ["cdylib"]`, or correct the name.',
    ),
    (
        "W007",
        "A variable chooses an entry of a folder (`sources.values`), and the folder has no such entry.",
        "sources: {values: {APP_ENV: config}}   with   environment: {APP_ENV: missing}",
        "Choose an entry that is there, or add it to the folder.",
    ),
    (
        "W010",
        "The workspace holds something that no context can: a socket, a pipe or a device.",
        "mkfifo src/pipe",
        "Remove it, or add it to `sources.ignore`.",
    ),
    (
        "W011",
        "A link leads out of the workspace.",
        "src/data -> /var/lib/data",
        "Replace the link by a file, or add it to `sources.ignore`.",
    ),
    (
        "W012",
        "A link leads out of the closure of a target: the build would not have what it leads to.",
        "app/data -> ../shared/data",
        "Add what it leads to to `context`, for a package to its `sources.packages`, or ignore the link.",
    ),
    (
        "W013",
        "A file or folder of the workspace cannot be read.",
        "chmod 000 src/secret",
        "Make it readable, or add it to `sources.ignore`.",
    ),
    (
        "W014",
        "The workspace is not a folder.",
        "workspace: missing",
        "Correct `workspace` in the spec, or give --workspace.",
    ),
    (
        "W015",
        "The Cargo workspace has no Cargo.lock. Images are built with --locked, so that everyone builds the same.",
        "rm Cargo.lock",
        "Run `cargo generate-lockfile` and commit the file.",
    ),
    (
        "W016",
        "Cargo.lock does not fit the manifests: it lacks a package, or has another version of one.",
        "a dependency added to a Cargo.toml, Cargo.lock not updated",
        "Run `cargo update --workspace` and commit Cargo.lock.",
    ),
    (
        "W020",
        "A .dockerignore that should count is not there, or has a pattern that BuildKit would refuse or misread.",
        "targets: {web: {template: t.j2, context: [web], dockerignore: [nowhere]}}",
        "Name a folder of the workspace that has one, or correct the pattern.",
    ),
    (
        "W021",
        "`context` names a link to a folder. COPY follows such a link: not the link arrives, but what the folder holds.",
        "context: [current]   where   current -> releases/7",
        "Name the folder itself, or a folder that holds the link: in a folder it stays a link.",
    ),
    (
        "L001",
        "`lock` knows no base and no tool of that name.",
        "tasker-build lock nobody",
        "Choose a name that the message lists.",
    ),
    (
        "G001",
        "Targets need each other in a circle.",
        "targets: {a: {template: t.j2, from: {base: b}}, b: {template: t.j2, from: {base: a}}}",
        "Remove one of the `from` entries that the message shows.",
    ),
    (
        "G002",
        "`--focus` names a target that the plan does not have.",
        "tasker-build plan --graph --focus nobody",
        "Name a target of the plan; `tasker-build ls` lists them.",
    ),
)

FINDINGS = _codes(
    (
        "sources-before-dependencies",
        "Sources are copied or mounted above a step that installs dependencies: every edit installs them again.",
        "COPY . .\nRUN pip install -r requirements.txt",
        "Copy the manifests first, install, and copy the sources below.",
    ),
    (
        "copy-all",
        "The step copies everything: any file of the context makes it run again.",
        "COPY . .",
        "Name the files and folders that the step needs.",
    ),
    (
        "changing-result",
        "The step asks for the time, a random number or the state of Git. A cached step keeps the answer of an earlier build.",
        "RUN date > /built-at",
        "Pass the value as an argument (`args:`), or write it when the container starts.",
    ),
    (
        "unpinned-download",
        "The step downloads something without a version or a checksum: the content may change, and no plan sees it.",
        "RUN curl -fsSLO https://example.org/tool.tar.gz",
        "Name a version and verify a checksum (`ADD --checksum=…`, `sha256sum --check`).",
    ),
    (
        "moving-base",
        "An image from outside has no digest and no fixed tag: the same name stands for another image tomorrow.",
        "FROM debian:latest",
        "Name the image in `bases` and pin it: `tasker-build lock`.",
    ),
    (
        "compared-times",
        "A RUN keeps outputs in a cache mount and compares times: an edit that is taken back is missed.",
        "RUN --mount=type=cache,target=/app/target cargo build",
        "Touch the files whose content differs from a list of checksums that is kept beside the outputs.",
    ),
    (
        "undeclared-argument",
        "`args:` passes an argument that no ARG of the Dockerfile declares: it has no effect.",
        "args: {VERSION: 1.2}   without   ARG VERSION",
        "Declare it with ARG above the step that uses it, or remove it from `args:`.",
    ),
    (
        "early-value",
        "An argument is declared above steps that do not use it: a new value makes them run again.",
        "ARG VERSION\nRUN make dependencies\nRUN make app VERSION=$VERSION",
        "Declare it just above the first step that uses it.",
    ),
    (
        "repeated-step",
        "The same installation runs on the same base in several places, each time after other steps: it is done several times.",
        "a/Dockerfile and b/Dockerfile: RUN apt-get install -y git",
        "Move it to the top of both files, or to a common parent.",
    ),
)

KNOWN = CODES | FINDINGS

_FOREIGN = (
    (re.compile(r"DL\d{4}"), "hadolint", "https://github.com/hadolint/hadolint/wiki/"),
    (re.compile(r"SC\d{4}"), "shellcheck", "https://www.shellcheck.net/wiki/"),
    (re.compile(r"(?:[A-Z][a-z]+){2,}"), "docker build --check", "https://docs.docker.com/reference/build-checks/"),
)


def foreign(name: str) -> tuple[str, str] | None:
    """The checker whose rule this is, and the page that explains the rule; None for no rule of another checker."""
    for pattern, checker, pages in _FOREIGN:
        if pattern.fullmatch(name):
            page = re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower() + "/" if "docker" in checker else name
            return checker, pages + page
    return None


def find(word: str) -> Code | None:
    """The code of that name, in upper or lower case."""
    return KNOWN.get(word.upper()) or KNOWN.get(word.lower())
