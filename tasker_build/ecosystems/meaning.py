"""What manifests say, whatever their layout and comments: a digest for each of the languages they are written in."""

from __future__ import annotations

import json
import tomllib
from hashlib import sha256
from typing import Any


def toml_meaning(data: bytes) -> str:
    """Digest of what a TOML file says; one that cannot be read counts by its bytes."""
    try:
        value: Any = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return sha256(data).hexdigest()
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
