"""Write docs/reference.md from the field table; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.ecosystems.cargo import record as cargo
from tasker_build.spec import kinds, model
from tasker_build.spec.fields import ListOf, MapOf, Record
from tasker_build.work.language import language_here

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent / "reference.md"
RECORDS = {
    "Top level": model.Spec,
    "`targets.NAME`": model.Target,
    "`targets.NAME.cargo`": cargo.Cargo,
    "`targets.NAME.user`": model.User,
    "`healthcheck` of targets and services": model.Healthcheck,
    "`targets.NAME.secrets[]`": model.Secret,
    "`stacks.NAME`": model.Stack,
    "`stacks.NAME.services.NAME`": model.Service,
    "`files.PATH`": model.FileSpec,
    "`toolchain`": model.Toolchain,
    "`toolchain.sccache`": cargo.Sccache,
    "`sources`": model.Sources,
    "`contract.NAME`": model.Variable,
    "`suppress[]`": model.Suppression,
}


LANGUAGE = language_here([PAGE.parent / "none.yaml"])


def records(record: Record) -> Iterator[Record]:
    """A record and all that stand in it."""
    yield record
    for _, row, _ in record.rows():
        inner = row.type
        while isinstance(inner, (MapOf, ListOf)):
            inner = inner.value if isinstance(inner, MapOf) else inner.item
        if isinstance(inner, Record):
            yield from records(inner)


def page() -> str:
    """The reference page."""
    lines = [
        "# Reference: keys of the spec",
        "",
        "Written by docs/gen_reference.py from the field table that also validates the spec (`tasker-build schema` prints it as JSON Schema).",
        "Unknown keys are errors; `x-…` keys at the top are free. `{{ name }}` in a text stands for a value of `vars`.",
        "Overlays (`-f a.yaml -f b.yaml`), `defaults` and `extends` merge mappings key by key, replace lists and values, and `~` takes a key away.",
    ]
    for title, cls in RECORDS.items():
        lines += ["", f"## {title}", "", "| key | | meaning |", "|---|---|---|", *_rows(cls)]
    lines += [
        "",
        "## Kinds",
        "",
        "| kind | template | what for |",
        "|---|---|---|",
        *(f"| `{kind.name}` | `{kind.template}` | {kind.description} |" for kind in LANGUAGE.kinds.values()),
        "",
        "A project adds kinds, or replaces these, in `kinds.yaml` of its own `templates` folder: the name of each, with these keys.",
        "",
        "| key | | meaning |",
        "|---|---|---|",
        *_rows(kinds.Kind),
    ]
    return "\n".join(lines) + "\n"


def _rows(cls: type) -> Iterator[str]:
    record = next(record for record in (kinds.ROW, *records(LANGUAGE.spec)) if record.cls is cls)
    for name, row, required in record.rows():
        nested = " (a record)" if isinstance(row.type, Record) else ""
        yield f"| `{name}` | {'required' if required else ''} | {row.doc}{nested} |"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is behind the field table: python docs/gen_reference.py"
        )
    PAGE.write_text(page(), encoding="utf-8")
