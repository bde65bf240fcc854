"""Spec and template texts and closures → every file they stand for. Reads and writes no disk, clock or environment."""

from __future__ import annotations

import functools
import json
import posixpath
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2

from tasker_build import compose
from tasker_build.asked import Above, Asked, unknown_hooks, unprinted
from tasker_build.environments.owned import Owned
from tasker_build.errors import Problem, Span, TemplateError, nearest
from tasker_build.quoting import FILTERS
from tasker_build.rendered import File, Tree
from tasker_build.spec.model import TargetName, image_variable
from tasker_build.tree import draw_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasker_build.ecosystems.closure import Closure
    from tasker_build.spec.model import FileSpec, Spec, Stack, Target, Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateText:
    """One template: its text and the path people know it by."""

    text: str
    file: str


def render(
    spec: Spec,
    templates: Mapping[str, TemplateText],
    closures: Mapping[TargetName, Closure],
    models: Mapping[str, Any],
    paths: Sequence[str],
    *,
    everything: bool = True,
    cache: jinja2.BytecodeCache | None = None,
) -> Tree:
    """Render the files of the spec.

    Args:
        spec: the spec.
        templates: name → template.
        closures: what each target needs.
        models: ecosystem → what its scan of the workspace found.
        paths: the files of the workspace.
        everything: False renders only what images are built from: all that a plan needs.
        cache: compiled templates; they take longer to compile than to render.

    Raises:
        TemplateError: a template that is missing, broken or asks for something the spec does not give it.
    """
    renderer = _Renderer(spec, templates, closures, models, frozenset(paths))
    renderer.environment.bytecode_cache = cache
    return renderer.tree(everything=everything)


class _Undefined(jinja2.StrictUndefined):
    """StrictUndefined that remembers what was asked of what, for did-you-mean."""

    def asked(self) -> tuple[str, Any]:
        return str(self._undefined_name), self._undefined_obj


class _Renderer:
    def __init__(
        self,
        spec: Spec,
        templates: Mapping[str, TemplateText],
        closures: Mapping[TargetName, Closure],
        models: Mapping[str, Any],
        paths: frozenset[str],
    ) -> None:
        self.spec, self.templates, self.closures, self.models, self.paths = spec, templates, closures, models, paths
        self.used: set[str] = set()
        self.problems: list[Problem] = []
        self.digests: dict[str, str] = {}
        self.named: dict[str, list[str]] = {}  # template → those it names
        self.environment = Asked(
            templates,
            loader=jinja2.FunctionLoader(self._load),
            undefined=_Undefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            extensions=["jinja2.ext.do"],
        )
        self.environment.filters.update(FILTERS)
        for ecosystem in spec.ecosystems.values():
            self.environment.filters.update(ecosystem.filters())
        self.environment.filters["dirname"] = posixpath.dirname
        # Known to macros of imported templates, too.
        self.environment.globals.update(oldest_compose=compose.OLDEST, url_safe=compose.URL_SAFE)
        self.sharing: dict[str, list[Target]] = {}
        for target in spec.targets.values():
            if target.enabled:
                self.sharing.setdefault(target.dockerfile, []).append(target)
        self.common = self._common()

    def _load(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        if name not in self.templates:
            return None
        self.used.add(name)
        template = self.templates[name]
        return template.text, template.file, lambda: True

    def tree(self, *, everything: bool) -> Tree:
        files: dict[str, File] = {}
        dockerfiles: dict[TargetName, str] = {}
        used: dict[TargetName, Mapping[str, str]] = {}
        included_by: dict[TargetName, Mapping[str, str]] = {}
        enabled = {name: target for name, target in self.spec.targets.items() if target.enabled}
        for name, target in enabled.items():
            first = self._siblings(target)[0].name
            if first in dockerfiles:
                dockerfiles[name], used[name], included_by[name] = dockerfiles[first], used[first], included_by[first]
                continue
            self.used = {target.template_name}
            text = self._render(target.template_name, target.at.get("template", target.span), self._target_context(target))
            file = stamped(target.dockerfile, text, target.template_name)
            dockerfiles[name] = file.text
            included_by[name] = self._chain(target.template_name)
            used[name] = {part: self._template_digest(part) for part in sorted(included_by[name])}
            files[target.dockerfile] = file
            ignore = f"{target.dockerfile}.dockerignore"
            files[ignore] = stamped(ignore, self.closures[name].ignore_file(), "the closure of the target")
        asked = {name: frozenset(keys) for name, keys in self.environment.keys.items()}
        if not self.problems:
            # A template that failed did not come to ask for all of its hooks.
            self.problems += unknown_hooks(list(enabled.values()), self.environment.hooks)
            self.problems += self._unprinted(sorted({name for row in included_by.values() for name in row}))
        if everything:
            files.update(self._other_files())
        if self.problems:
            raise TemplateError(self.problems)
        return Tree(
            files=dict(sorted(files.items())), dockerfiles=dockerfiles, templates=used, included_by=included_by, asked=asked
        )

    def _unprinted(self, names: Iterable[str]) -> Iterator[Problem]:
        for name in names:
            if not (extended := self._extended(name)):
                continue
            blocks: set[str] = set()
            above = extended
            while above in self.templates:
                blocks |= self.environment.get_template(above).blocks.keys()
                above = self._extended(above)
            place = functools.partial(self._span, self.templates[name].file)
            yield from unprinted(self.environment.parse(self.templates[name].text), Above(extended, blocks), place)

    def _extended(self, name: str) -> str:
        """The template that one extends; "" where it extends none, or one whose name is computed."""
        match = _EXTENDS.search(self.templates[name].text)
        return self.environment.join_path(match[1], name) if match else ""

    def _other_files(self) -> Iterator[tuple[str, File]]:
        for stack in self.spec.stacks.values():
            if stack.enabled:
                yield stack.compose_file, self._stack(stack)
        for path, spec_file in self.spec.files.items():
            about = self.spec.stacks[spec_file.stack] if spec_file.stack else None
            if about is None or about.enabled:
                yield path, self._file(path, spec_file, about)

    def _template_digest(self, name: str) -> str:
        if name not in self.digests:
            self.digests[name] = sha256(self.templates[name].text.encode()).hexdigest()
        return self.digests[name]

    def _chain(self, first: str) -> Mapping[str, str]:
        """The templates of the last render, each with the one that asks for it ("" for the first).

        A compiled one is not loaded again, so its references are followed here; a name that is computed is the first one's.
        """
        found: dict[str, str] = {}
        for start in (first, *sorted(self.used)):
            todo = [(start, first if found else "")]
            while todo:
                name, above = todo.pop(0)
                if name in self.templates and name not in found:
                    found[name] = above
                    if name not in self.named:
                        named = _NAMED.findall(self.templates[name].text)
                        self.named[name] = [self.environment.join_path(part, name) for part in named]
                    todo += [(part, name) for part in self.named[name]]
        return found

    def _stack(self, stack: Stack) -> File:
        template = "compose/stack.yml.j2"
        context = self.common | {
            "stack": stack,
            "services": compose.stack_services(self.spec, stack, self.closures),
            "build_secrets": compose.build_secrets(self.spec, stack),
        }
        return stamped(stack.compose_file, self._render(template, stack.span, context), template)

    def _file(self, path: str, file: FileSpec, stack: Stack | None) -> File:
        context = self.common | {"path": path, "stack": stack, "options": dict(file.vars), "files": self._paths()}
        if stack is not None:
            context["services"] = compose.stack_services(self.spec, stack, self.closures)
        text = self._render(file.template, file.at["template"], context)
        return stamped(path, text, file.template, int(file.mode, 8))

    def _paths(self) -> list[str]:
        """Every rendered file that people look at: ignore files are left out."""
        paths = {target.dockerfile for target in self.spec.targets.values() if target.enabled}
        paths |= {stack.compose_file for stack in self.spec.stacks.values() if stack.enabled}
        return sorted(paths | set(self.spec.files))

    def _common(self) -> dict[str, Any]:
        """What every template may ask for; made once, for no template can change it."""
        offered: dict[str, Any] = {}
        for name, ecosystem in self.spec.ecosystems.items():
            offered |= ecosystem.offers(self.spec, self.models.get(name))
        return offered | {
            "spec": self.spec,
            "project": self.spec.project,
            "vars": dict(self.spec.vars),
            "image_reference": self.spec.image_reference,
            "image_variable": image_variable,
            "builders": compose.builders(self.spec),
            "owned": Owned.of(self.spec),
            "stack_services": lambda stack: compose.stack_services(self.spec, stack, self.closures),
            "variables": compose.variables,
            "published": compose.published(self.spec),
            "resources": compose.resources,
            "runs": lambda stack: compose.runs(self.spec, stack),
            "draw_tree": draw_tree,
            "relative": lambda path, start: posixpath.relpath(path, posixpath.dirname(start) or "."),
            "fail": self._fail,
        }

    @staticmethod
    def _fail(message: str) -> NoReturn:
        """Let a template refuse what the spec asks of it."""
        raise jinja2.TemplateRuntimeError(message)

    def _target_context(self, target: Target) -> dict[str, Any]:
        def image(role: str) -> str:
            if role not in target.from_:
                known = ", ".join(target.from_) or "none"
                raise jinja2.TemplateRuntimeError(f"target `{target.name}` has no `{role}` in its `from` (it has: {known})")
            return f"${{{argument(role)}}}"

        def tool(name: str) -> Tool:
            found = self.spec.tool(name)
            if found is None:
                example = f"tools: {{{name}: wheel:{name}@VERSION}}"
                raise jinja2.TemplateRuntimeError(
                    f"target `{target.name}` needs the tool `{name}`, which `tools` of the spec does not name: {example}"
                )
            return found

        closure = self.closures[target.name]
        return self.common | {
            "target": target,
            "image": image,
            "tool": tool,
            "images": [(argument(role), self._reference(name), name) for role, name in sorted(target.from_.items())],
            "closure": closure,
            "copies": self._copies,
            "siblings": self._siblings(target),
            "toolchain": self.spec.toolchain,
        }

    def _copies(self, paths: Iterable[str], folder: str = "./") -> list[str]:
        """What COPY lines say to bring files and folders to the same places below `folder`; each file's own folder one line."""
        lines: list[tuple[list[str], str]] = []
        files: dict[str, list[str]] = {}
        for path in sorted(paths):
            if path in self.paths:
                files.setdefault(posixpath.dirname(path), []).append(path)
            else:
                lines.append(([f"{path}/"], f"{path}/"))
        lines += [(group, f"{name}/" if name else "") for name, group in files.items()]
        return [
            _copy_words(sources, folder + to if folder != "./" else to or folder)
            for sources, to in sorted(lines, key=lambda line: line[1])
        ]

    def _reference(self, name: str) -> str:
        if name in self.spec.bases:
            return self.spec.bases[name]
        return self.spec.image_reference(self.spec.targets[TargetName(name)])

    def _siblings(self, target: Target) -> list[Target]:
        """The enabled targets that share a target's Dockerfile, itself included: each is a stage of it."""
        return self.sharing[target.dockerfile]

    def _render(self, name: str, place: Span, context: Mapping[str, Any]) -> str:
        if name not in self.templates:
            known = nearest(name, self.templates)
            self.problems.append(Problem(code="T001", message=f"no template `{name}`", span=place, hints=known))
            return ""
        try:
            return self.environment.get_template(name).render(context)
        except jinja2.TemplateNotFound as error:
            near = nearest(str(error.name), self.templates)
            self.problems.append(self._problem(error, f"no template `{error.name}`", near))
        except jinja2.UndefinedError as error:
            self.problems.append(self._problem(error, str(error.message)))
        except jinja2.TemplateSyntaxError as error:
            broken = self.templates.get(error.name or name)
            file = broken.file if broken else str(error.filename or name)
            span = self._span(file, error.lineno)
            self.problems.append(Problem(code="T003", message=str(error.message), span=span))
        except (jinja2.TemplateError, ValueError, TypeError, RecursionError, ArithmeticError) as error:
            self.problems.append(self._problem(error, str(error)))
        return ""

    def _problem(self, error: BaseException, message: str, hints: tuple[str, ...] = ()) -> Problem:
        files = {template.file for template in self.templates.values()}
        trail: list[tuple[str, int]] = []
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename in files:
                trail.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
            traceback = traceback.tb_next
        span = self._span(*trail[-1]) if trail else None
        shown = [f"{file}:{line}" for file, line in trail]
        if len(shown) > _LONGEST_WAY:
            shown[_LONGEST_WAY - 1 : -1] = ["…"]
        chain = " > ".join(shown)
        return Problem(
            code="T002",
            message=message,
            span=span,
            hints=hints,
            notes=(f"by way of {chain}",) if len(trail) > 1 else (),
        )

    def _span(self, file: str, line: int) -> Span:
        text = next((template.text for template in self.templates.values() if template.file == file), "")
        lines = text.split("\n")
        shown = lines[line - 1] if 0 < line <= len(lines) else ""
        start = len(shown) - len(shown.lstrip())
        return Span(file=file, line=line, col=start + 1, length=len(shown.strip()), text=shown)


def _copy_words(sources: Sequence[str], destination: str) -> str:
    """The words of a COPY; the JSON form if a blank would split one or a sign would say something."""
    words = [*sources, destination]
    if not any(re.search(r"[\s\[\]*?\\\"'$`]|^(-|#|!|<<)", word) for word in words):
        return " ".join(words)
    return json.dumps([*map(_source, sources), _expanded(destination)], ensure_ascii=False)


def _source(path: str) -> str:
    """A path as a source of COPY: it is a pattern, in which variables are expanded; one that starts with `<<` is a file below."""
    pattern = re.sub(r"[*?\\]", r"[\\\g<0>]", path.replace("[", "[[]"))
    pattern = re.sub(r"^!", "[!]", pattern)  # a client that sends a folder would take it for an exception
    return ("./" if path.startswith("<<") else "") + _expanded(pattern)


def _expanded(word: str) -> str:
    """A word that is itself after BuildKit has expanded variables and taken quotes away."""
    return re.sub(r"[\\\"'$]", r"\\\g<0>", word)


def argument(role: str) -> str:
    """The build argument that names the image of a role: `builder` → `BUILDER_IMAGE`."""
    return f"{role.upper()}_IMAGE"


_LONGEST_WAY = 8
"""Templates that a message names on the way to a mistake: those that call each other without end make thousands."""
_EXTENDS = re.compile(r"{%[-+]?\s*extends\s+[\"']([^\"']+)[\"']\s*[-+]?%}")
_NAMED = re.compile(r"{%-?\s*(?:include|extends|import|from)\s+[\"']([^\"']+)")
_COMMENTS = {".sql": ("-- ", ""), ".md": ("<!-- ", " -->")}
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=")
_STAMP_WITHIN = 4
"""The stamp is one of a file's first lines; what may stand above it is counted."""
_STAMP = re.compile(r"^(?:#|--|<!--) Rendered by tasker-build from .*; body sha256:([0-9a-f]{16})(?: -->)?$")


def stamped(path: str, text: str, origin: str, mode: int = 0o644) -> File:
    """Give a file its stamp: where it comes from and the digest of the rest, which tells a hand edit from a newer template."""
    text = text.rstrip("\n") + "\n"
    start, end = _COMMENTS.get(posixpath.splitext(path)[1], ("# ", ""))
    words = f"Rendered by tasker-build from {origin}: change that or the spec, not this file"
    stamp = f"{start}{words}; body sha256:{_body_digest(text)}{end}"
    lines = text.split("\n")
    # A shebang and a Dockerfile's directives only work above everything else.
    above = 0
    while above < _STAMP_WITHIN - 1 and (lines[above].startswith("#!") or _DIRECTIVE.match(lines[above])):
        above += 1
    return File(text="\n".join([*lines[:above], stamp, *lines[above:]]), mode=mode, template=origin)


def _body_digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def is_stamp(line: str) -> bool:
    """Whether a line is a stamp of ours."""
    return _STAMP.match(line) is not None


def stamp_state(text: str) -> str:
    """Say of a file's text whether it is "ours" as rendered, "edited" since, or "foreign" (no stamp)."""
    lines = text.split("\n")
    for i, line in enumerate(lines[:_STAMP_WITHIN]):
        if match := _STAMP.match(line):
            body = "\n".join(lines[:i] + lines[i + 1 :])
            return "ours" if match[1] == _body_digest(body) else "edited"
    return "foreign"
