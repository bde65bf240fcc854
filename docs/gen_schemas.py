"""Write the schemas of the documents that `--format json` prints; `--check` only compares. plan.json is kept by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "schemas"

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WORD: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
ACTION: Schema = {"enum": ["keep", "create", "rebuild", "cascade", "retag", "forget"]}


def said(schema: Schema, description: str) -> Schema:
    """A schema with a description."""
    return schema | {"description": description}


def rows(**fields: Schema) -> Schema:
    """A list of records."""
    return {"type": "array", "items": record(**fields)}


def record(**fields: Schema) -> Schema:
    """An object; every field is always there, and there may be more of them one day."""
    return {"type": "object", "required": list(fields), "properties": fields}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def plan_definition(name: str) -> Schema:
    """A definition of the saved plan's schema."""
    found: Schema = json.loads((FOLDER / "plan.json").read_text(encoding="utf-8"))["$defs"][name]
    return found


PREVIEW: Schema = {
    "project": TEXT,
    "changed": said(FLAG, "whether applying the plan would do anything"),
    "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
}
GUESSES = rows(target=TEXT, verdict={"enum": ["needless", "missed"]}, message=TEXT)
UNCOMMITTED = said(maybe(FLAG), "files were not as that commit has them; null: no commit is known")
STANDING = rows(
    name=said(TEXT, "a target, or the reference of a base"),
    id=TEXT,
    references=said(TEXTS, "its names now"),
    now=said(WORD, "the image that has the name now, where that is another"),
)
IMAGE = record(
    id=TEXT,
    references=TEXTS,
    digests=said(TEXTS, "name@digest: what registries call it"),
    created=said({"type": ["integer", "null"]}, "seconds since 1970"),
    project=WORD,
    target=WORD,
    platform=WORD,
    fingerprint=WORD,
    run=said(WORD, "the run that built it, where that was here"),
    revision=said(WORD, "the Git commit of the workspace then"),
    uncommitted=UNCOMMITTED,
)
STEPS_RUN = rows(target=TEXT, name=TEXT, cached=FLAG, seconds=SECONDS)
CONTAINER = record(
    service=TEXT,
    container=TEXT,
    image=TEXT,
    state=said(TEXT, "created, running, exited … as the engine says it"),
    health=said(WORD, "healthy, unhealthy or starting, where the image has a health check"),
    exit_code=said({"type": ["integer", "null"]}, "where it has ended"),
    ports=said(TEXTS, "address:port->port/protocol"),
)
CHECKER_FINDING: Schema = {
    "checker": TEXT,
    "path": said(TEXT, "from the spec's output folder"),
    "line": {"type": "integer"},
    "message": TEXT,
    "level": said({"enum": ["error", "warning", "advice"]}, "an error fails, a warning with --strict only, advice never"),
    "origin": said(WORD, "the template or the place in the spec that the line comes from"),
    "cost": said(WORD, "the price in words"),
    "price": maybe(
        record(
            steps=said(COUNT, "steps of the file itself that run again"),
            targets=said(TEXTS, "targets that are built again because of it, in build order"),
            seconds=said(maybe(SECONDS), "of all those steps; null: no duration is recorded"),
            avoidable_seconds=said(maybe(SECONDS), "the part of them that need not be"),
            unmeasured_steps=said(COUNT, "steps without a recorded duration"),
        )
    ),
}


def schemas() -> dict[str, Schema]:
    """Document → its schema."""
    return {
        "error": _document(
            "error",
            "What any command prints with `--format json` when it has no other answer. Standard error says the same to people, and the exit code is what it is without `--format`.",
            kind={"enum": ["failed", "input", "engine", "refused", "usage", "bug", "interrupted", "terminated"]},
            exit_code={"type": "integer"},
            message=TEXT,
            hints=said(TEXTS, "what to do"),
            problems=rows(
                code=TEXT,
                message=TEXT,
                file=WORD,
                line=said({"type": ["integer", "null"]}, "from 1"),
                column=said({"type": ["integer", "null"]}, "from 1"),
                length=said({"type": ["integer", "null"]}, "characters on that line"),
                label=WORD,
                notes=TEXTS,
                hints=TEXTS,
            ),
        ),
        "preview": _document("preview", "What `plan --format json` prints.", **PREVIEW),
        "graph": _document(
            "graph",
            "What `plan --graph --format json` prints and `plan --graph=FILE.json` writes.",
            nodes=rows(target=TEXT, action=ACTION, reasons=said(TEXTS, "kinds")),
            edges=rows(parent=TEXT, child=TEXT),
        ),
        "apply": _document(
            "apply",
            "What `apply --format json` prints, and the summary.json of a run under .tasker-build/runs.",
            project=TEXT,
            run=said(WORD, "the folder under .tasker-build/runs; null where nothing was run"),
            revision=said(WORD, "the Git commit of the workspace"),
            uncommitted=UNCOMMITTED,
            exit_code={"type": "integer"},
            plan=record(format={"const": "tasker-build preview"}, version={"const": 1}, **PREVIEW),
            results={
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["target", "result"],
                    "properties": {
                        "target": TEXT,
                        "result": {"enum": ["kept", "retagged", "built", "failed", "skipped"]},
                        "image": said(TEXT, "built: its id"),
                        "seconds": said(SECONDS, "built: how long it took"),
                        "run": said(COUNT, "built: steps that ran"),
                        "cached": said(COUNT, "built: steps that BuildKit had"),
                        "as_before": said(
                            {"type": ["boolean", "null"]},
                            "built, no step ran: but for its label it is the image it was to differ from",
                        ),
                        "sccache": said(
                            maybe(record(requests=COUNT, hits=COUNT, misses=COUNT)), "built: what the compiler cache told"
                        ),
                        "steps": STEPS_RUN,
                        "tags": said(TEXTS, "retagged: the names that were moved"),
                        "refused": said(FLAG, "failed: stopped for safety"),
                        "failure": record(
                            message=TEXT,
                            step=said(TEXT, "the instruction that failed"),
                            place=said(TEXT, "file:line of it"),
                            tail=said(TEXTS, "its last lines"),
                            log=said(TEXT, "the file that has all of it"),
                        ),
                        "because": said(TEXT, "skipped: the target that failed"),
                    },
                },
            },
        ),
        "why": _why(),
        "ls": _document(
            "ls",
            "What `ls --format json` prints: targets in build order.",
            project=TEXT,
            targets=rows(target=TEXT, kind=WORD, image=TEXT),
        ),
        "explain": _document(
            "explain",
            "What `explain CODE --format json` prints.",
            code=TEXT,
            checker=said(WORD, "whose rule it is; null: ours"),
            page=said(WORD, "what explains it, when the rule is another checker's"),
            area=WORD,
            meaning=WORD,
            example=WORD,
            cure=WORD,
        ),
        "render": _document(
            "render",
            "What `render --format json` prints, with `--check` and without.",
            folder=TEXT,
            check=said(FLAG, "nothing was to be written"),
            different=said(COUNT, "files that were not as they are rendered"),
            files=rows(
                path=said(TEXT, "from `folder`"),
                state=said({"enum": ["same", "missing", "behind", "mode", "edited", "foreign", "orphan"]}, "before"),
                touched=said(FLAG, "it was written or removed"),
                diff=said(TEXTS, "the lines of a unified difference, from the disk to what is rendered"),
            ),
        ),
        "check": _document(
            "check",
            "What `check --format json` prints.",
            ok=FLAG,
            targets=COUNT,
            files=COUNT,
            checkers=rows(checker=TEXT, files=COUNT, missing=said(WORD, "why it did not run"), findings=rows(**CHECKER_FINDING)),
            suppressed=said(TEXTS, "rules that are left out on purpose"),
            suppressed_by_spec=rows(
                check=said(TEXT, "the rule"),
                path=said(TEXT, "the files it is for, a pattern"),
                why=TEXT,
                place=said(TEXT, "file:line:column of the spec"),
                findings=said(COUNT, "how many it took"),
            ),
        ),
        "doctor": _document(
            "doctor",
            "What `doctor --format json` prints.",
            ok=said(FLAG, "everything that is required is there"),
            checks=rows(name=TEXT, ok=FLAG, required=FLAG, said=TEXT, help=WORD),
        ),
        "env-status": _document(
            "env-status",
            "What `env status|up|down STACK --format json` prints: how the stack is then.",
            project=TEXT,
            stack=TEXT,
            containers={"type": "array", "items": CONTAINER},
            absent=said(TEXTS, "services that have no container"),
        ),
        "db-status": _document(
            "db-status",
            "What `db status|start|stop|restart|reset|restore --format json` prints: how the database is then.",
            stack=TEXT,
            service=TEXT,
            database=TEXT,
            ready=said(FLAG, "it accepts connections"),
            port=said(COUNT, "the host's: the one that is published, or the one that would be"),
            answers=said(FLAG, "that port accepts connections"),
            container=maybe(CONTAINER),
            dump=said(WORD, "the dump that `reset` kept, or that `restore` put back"),
        ),
        "db-test": _document(
            "db-test",
            "What `db test --format json` prints when everything passed; a check that fails is an error.",
            stack=TEXT,
            passed=said(TEXTS, "what was tried"),
        ),
        "lock": _lock(),
        "cleanup": _document(
            "cleanup",
            "What `cleanup LEVEL --format json` prints; with `--dry-run` nothing is removed.",
            level=TEXT,
            endpoint=said(TEXT, "the engine"),
            removed=FLAG,
            things=rows(kind={"enum": ["container", "network", "volume", "image"]}, name=TEXT),
            machine_wide=said({"type": "array", "items": TEXTS}, "commands that go beyond what is the spec's"),
        ),
    }


def _document(name: str, description: str, **fields: Schema) -> Schema:
    head: dict[str, Schema] = {"format": {"const": f"tasker-build {name}"}, "version": {"const": 1}}
    schema = _titled(name, description) | record(**head, **fields)
    return schema | ({"$defs": {"step": plan_definition("step")}} if "#/$defs/step" in json.dumps(fields) else {})


def _titled(name: str, description: str) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"tasker-build {name}",
        "description": f"{description} Fields are only ever added within one version.",
    }


def _why() -> Schema:
    head: dict[str, Schema] = {"format": {"const": "tasker-build why"}, "version": {"const": 1}}
    target = record(
        **head,
        kind={"const": "target"},
        target=TEXT,
        action=ACTION,
        fingerprint=TEXT,
        chain=rows(
            target=TEXT,
            depth=said(COUNT, "0: the target asked about"),
            action=ACTION,
            above=said(FLAG, "explained further up already"),
            causes=rows(kind=TEXT, evidence=TEXT, details=TEXTS, place=said(WORD, "file:line:column of the spec")),
        ),
        not_the_cause=TEXTS,
        compared_with=maybe(IMAGE),
        built_on=STANDING,
    )
    targets = record(**head, kind={"const": "targets"}, targets={"type": "array", "items": target})
    path = record(
        **head,
        kind={"const": "path"},
        **{"from": TEXT, "to": TEXT},
        path=said(TEXTS, "child first, a base last; empty where neither needs the other"),
        edges=rows(target=TEXT, parent=TEXT, role=TEXT, place=TEXT),
    )
    base = record(
        **head,
        kind={"const": "base"},
        base=TEXT,
        reference=TEXT,
        place=said(TEXT, "file:line:column of the spec"),
        digest=said(WORD, "null: nothing pins it"),
        pinned_by={"enum": ["lock", "spec", None]},
        targets=said(rows(target=TEXT, role=TEXT, place=TEXT), "those that the spec builds from it"),
        through=said(TEXTS, "targets that stand on it through these"),
    )
    image = record(
        **head,
        kind={"const": "image"},
        image=IMAGE,
        ours=FLAG,
        verdict=TEXT,
        current=said(FLAG, "it is what the spec asks for now"),
        spec=said(TEXTS, "files"),
        built_on=STANDING,
    )
    steps = record(
        **head,
        kind={"const": "steps"},
        target=TEXT,
        run=said(WORD, "null: no run recorded here built it"),
        revision=WORD,
        uncommitted=UNCOMMITTED,
        predicted=maybe(record(action=TEXT, reasons=TEXTS)),
        steps=STEPS_RUN,
        first_run=said({"type": ["integer", "null"]}, "index of its first step that was not cached"),
        wrong_guesses=GUESSES,
    )
    run = record(
        **head,
        kind={"const": "run"},
        run=said(WORD, "null: no run recorded here built anything"),
        revision=WORD,
        uncommitted=UNCOMMITTED,
        targets={"type": "array", "items": steps},
        wrong_guesses=GUESSES,
    )
    return _titled(
        "why",
        "What `why --format json` prints: `why TARGET`, `why state:STATE`, `why A B`, `why BASE`, `why IMAGE` and `why --steps [TARGET]`.",
    ) | {"oneOf": [target, targets, path, base, image, steps, run]}


def _lock() -> Schema:
    radius = record(
        total=said(COUNT, "targets of the spec"),
        direct=said({"type": "object", "additionalProperties": TEXTS}, "target → the bases it stands on that move"),
        through_parents=said({"type": "object", "additionalProperties": TEXTS}, "target → its parents that are rebuilt"),
        seconds=SECONDS,
        without_duration=TEXTS,
        critical_path=TEXTS,
        critical_seconds=SECONDS,
    )
    return _document(
        "lock",
        "What `lock --format json` prints, with `--check`, `--upgrade` and `--dry-run`, too.",
        lock=said(TEXT, "the file"),
        written=FLAG,
        bases=rows(
            name=TEXT,
            reference=TEXT,
            state={"enum": ["missing", "incomplete", "pinned", "moved", "local", "local_moved", "in_spec", "unknown"]},
            old=WORD,
            new=WORD,
            platforms=said({"type": "object", "additionalProperties": TEXT}, "platform → digest"),
            note=WORD,
        ),
        rebuilds=maybe(radius),
        failures=rows(trouble=TEXT, message=TEXT),
    )


def texts() -> dict[Path, str]:
    """File → what it should say."""
    return {
        FOLDER / f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in schemas().items()
    }


if __name__ == "__main__":
    for path, text in texts().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is behind its description: python docs/gen_schemas.py")
