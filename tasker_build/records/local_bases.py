"""Bases that no registry serves, as this machine's engine has them: beside the records, never in the lock."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasker_build.files.read import read_text
from tasker_build.workspace import write_file

if TYPE_CHECKING:
    from tasker_build.records.records import Records


@dataclass(slots=True)
class LocalBases:
    """The layers of each such base when it was last seen."""

    records: Records
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)  # base → (reference, digest of its layers)
    changed: bool = False

    @classmethod
    def read(cls, records: Records) -> LocalBases:
        """Read what is known; what cannot be read is as if it were not there."""
        try:
            rows: Any = json.loads(read_text(records.folder / "local-bases.json"))["bases"]
            return cls(records, {str(name): (str(row["reference"]), str(row["layers"])) for name, row in rows.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(records)

    def write(self) -> None:
        """Write it, if there is anything new."""
        if self.changed:
            rows = {name: {"reference": reference, "layers": layers} for name, (reference, layers) in self.layers.items()}
            self.records.make()
            text = json.dumps({"version": 1, "bases": rows}, sort_keys=True, indent=1) + "\n"
            write_file(self.records.folder / "local-bases.json", text.encode(), 0o600)

    def known(self, name: str, reference: str) -> str:
        """The layers recorded for a base, "" when there are none."""
        was, layers = self.layers.get(name, ("", ""))
        return layers if was == reference else ""

    def note(self, name: str, reference: str, layers: str) -> None:
        """Record a base."""
        if self.layers.get(name) != (reference, layers):
            self.layers[name] = (reference, layers)
            self.changed = True

    def forget(self, name: str) -> None:
        """A registry serves the base now."""
        self.changed = self.layers.pop(name, None) is not None or self.changed
