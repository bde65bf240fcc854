"""What may stand in a spec: for editors, shells and pages, whatever stands there now."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.errors import SpecError
from tasker_build.spec.load import load_language
from tasker_build.spec.nodes import parse
from tasker_build.spec.read import DEFAULT_SPEC, kind_files, read_sources, template_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasker_build.spec.language import Language


def language_here(files: Sequence[Path]) -> Language:
    """What may stand in the spec of these files; where there is none yet, or nobody can read it, what may stand in any.

    Raises:
        SpecError: kinds of the project with mistakes.
    """
    files = files or (Path(DEFAULT_SPEC),)
    sources: tuple[tuple[str, bytes], ...] = ()
    with suppress(SpecError):
        found = read_sources(files)
        for name, data in found:
            parse(data, name)
        sources = found
    return load_language(
        sources or [(str(files[0]), b"{}")], lambda templates: kind_files(template_folders(templates, files[0].parent))
    )
