"""Reads what a project is written in: spec files, the lock beside them, and templates. Understands none of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_build.errors import Problem, SpecError, TemplateError
from tasker_build.files.read import read_file
from tasker_build.spec.names import KINDS_FILE, lock_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_SPEC = "stacks.yaml"


def read_sources(files: Sequence[Path]) -> tuple[tuple[str, bytes], ...]:
    """Read spec files: the name of each for messages, and its content.

    Raises:
        SpecError: a file that cannot be read.
    """
    sources: list[tuple[str, bytes]] = []
    for file in files:
        try:
            sources.append((str(file), read_file(file)))
        except OSError as error:
            raise _unreadable(file, str(error.strerror).lower()) from error
    return tuple(sources)


def _unreadable(file: Path, why: str) -> SpecError:
    hint = f"name the spec with -f, or run where {DEFAULT_SPEC} is"
    return SpecError([Problem(code="S000", message=f"{file}: {why}", hints=(hint,))])


def read_lock_beside(spec_file: Path) -> bytes | None:
    """Read the lock of a spec; without one nothing is pinned.

    Raises:
        SpecError: it cannot be read.
    """
    file = lock_beside(spec_file)
    try:
        return read_file(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SpecError([Problem(code="S000", message=f"{file}: {str(error.strerror).lower()}")]) from error


def lock_beside(spec_file: Path) -> Path:
    """Where the lock of a spec is: `stacks.lock` beside `stacks.yaml`."""
    return spec_file.with_name(lock_name(spec_file.name))


def template_folders(templates: str | None, spec_folder: Path) -> tuple[Path, ...]:
    """Where templates are looked for: the project's own folder first, then the built-in ones."""
    package = Path(__file__).parent.parent
    inside = package / "templates"
    builtin = inside if inside.is_dir() else package.parent / "templates"
    return ((spec_folder / templates,) if templates else ()) + (builtin,)


def read_templates(folders: Sequence[Path]) -> Mapping[str, tuple[str, str]]:
    """Read every template: name → its text and the path people know it by; an earlier folder's hides a later one's.

    Raises:
        TemplateError: a template that is not UTF-8, or a link that leaves its folder.
    """
    texts: dict[str, tuple[str, str]] = {}
    for folder in reversed(folders):
        for place, name in sorted(_templates_in(os.fspath(folder))):
            shown = f"templates/{name}" if folder == folders[-1] else os.path.relpath(place)
            if os.path.islink(place) and not Path(place).resolve().is_relative_to(folder.resolve()):
                raise TemplateError([Problem(code="T004", message=f"the template {shown} is a link out of its folder")])
            try:
                # As BuildKit reads a Dockerfile: a byte order mark says nothing, and neither do the ends of lines.
                text = read_file(place).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
            except OSError as error:
                message = f"the template {shown} cannot be read: {str(error.strerror).lower()}"
                raise TemplateError([Problem(code="T004", message=message)]) from error
            except UnicodeDecodeError as error:
                raise TemplateError([Problem(code="T004", message=f"the template {shown} is not UTF-8")]) from error
            if name in texts:
                texts[f"built-in/{name}"] = texts[name]  # what the project's own template may extend
            texts[name] = (text, shown)
    return texts


def kind_files(folders: Sequence[Path]) -> tuple[tuple[str, bytes], ...]:
    """Read the files of kinds in folders of templates, the built-in one first: (name for messages, content) of each.

    Raises:
        SpecError: one that cannot be read.
    """
    shown = {folder / KINDS_FILE: os.path.relpath(folder / KINDS_FILE) for folder in folders}
    shown[folders[-1] / KINDS_FILE] = f"templates/{KINDS_FILE}"
    try:
        return tuple((shown[file], read_file(file)) for file in reversed(shown) if file.exists())
    except OSError as error:
        raise SpecError([Problem(code="S000", message=f"{error.filename}: {str(error.strerror).lower()}")]) from error


def _templates_in(folder: str) -> Iterator[tuple[str, str]]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".j2"):
                path = os.path.join(place, name)
                yield path, os.path.relpath(path, folder).replace(os.sep, "/")
