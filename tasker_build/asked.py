"""What templates asked of targets while they rendered: whatever the spec says and no template asked for was dropped.

Also what a template that extends another one writes and nobody prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from jinja2 import TemplateRuntimeError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tasker_build.errors import Problem, nearest
from tasker_build.spec.model import Healthcheck, Target, User

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from tasker_build.errors import Span
    from tasker_build.spec.model import TargetName

_Node = TypeVar("_Node", bound=nodes.Node)

BUILT_IN = "built-in/"
"""Before the name of a built-in template that a template of the project hides: the one it may extend."""
_ABSENT = {"user": User, "healthcheck": Healthcheck}
"""Keys of a target that are None when the spec does not set them → what templates ask of them."""


class Hooks(dict[str, str]):
    """The hooks of a target, which remember the names that a template asks for."""

    def __init__(self, hooks: Mapping[str, str], asked: set[str]) -> None:
        super().__init__(hooks)
        self._asked = asked

    def __contains__(self, name: object) -> bool:
        self._asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dictionary."""
        self._asked.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self._asked.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:
        """As of a dictionary."""
        self._asked.update(super().keys())
        return super().keys()

    def values(self) -> Any:
        """As of a dictionary."""
        self._asked.update(super().keys())
        return super().values()

    def items(self) -> Any:
        """As of a dictionary."""
        self._asked.update(super().keys())
        return super().items()


class Asked(ImmutableSandboxedEnvironment):
    """An environment that notes what its templates ask of targets."""

    def __init__(self, names: Collection[str], **options: Any) -> None:
        super().__init__(**options)
        self.names = names
        self.keys: dict[TargetName, set[str]] = {}
        self.hooks: dict[TargetName, set[str]] = {}
        self._target = ""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As of the sandbox."""
        return self._noted(obj, attribute) or super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As of the sandbox: filters such as `map` ask in this way."""
        return self._noted(obj, argument) or super().getitem(obj, argument)

    def join_path(self, template: str, parent: str) -> str:
        """The template that a template means by a name: by its own, the built-in one that it hides."""
        hidden = BUILT_IN + template
        return hidden if template == parent and hidden in self.names else template

    def _noted(self, obj: Any, name: Any) -> Any:
        if type(obj) is Target:
            self._target = obj.name
            self.keys.setdefault(obj.name, set()).add(name)
            if name == "hooks":
                return Hooks(obj.hooks, self.hooks.setdefault(obj.name, set()))
        elif obj is None and self._target:
            lacking = next((key for key, record in _ABSENT.items() if isinstance(name, str) and hasattr(record, name)), "")
            if lacking:
                message = f"target `{self._target}` has no `{lacking}`, and the template asks for its `{name}`: set `{lacking}`"
                raise TemplateRuntimeError(message)
        return None


def unknown_hooks(targets: Sequence[Target], asked: Mapping[TargetName, Collection[str]]) -> Iterator[Problem]:
    """The hooks that no template of the targets has: their lines would be in no image.

    A hook that several targets inherit from one place has to fit one of them.
    """
    fits = {target.at.get(f"hooks.{name}") for target in targets for name in target.hooks if name in asked.get(target.name, ())}
    for target in targets:
        known = sorted(asked.get(target.name, ()))
        for name in target.hooks:
            place = target.at.get(f"hooks.{name}", target.span)
            if place not in fits and name not in known:
                has = f"{target.template_name} has the hooks: {', '.join(known) or 'none'}"
                yield Problem(
                    code="T005",
                    message=f"the template of target `{target.name}` has no hook `{name}`",
                    span=place,
                    hints=(*nearest(name, known), has),
                )


class Above(NamedTuple):
    """A template that extends another, and all names of blocks that those above it have."""

    name: str
    blocks: Collection[str]


def unprinted(tree: nodes.Template, above: Above, place: Callable[[int], Span]) -> Iterator[Problem]:
    """What a template that extends others writes and they do not print.

    Args:
        tree: the parsed template.
        above: the template it extends.
        place: line → where it is in the template.
    """
    for block in _outermost(tree.body, nodes.Block):
        if block.name not in above.blocks:
            known = sorted(above.blocks)
            yield Problem(
                code="T006",
                message=f"`{above.name}` has no block `{block.name}`: what it holds would be in no file",
                span=place(block.lineno),
                hints=nearest(block.name, known) or (f"its blocks: {', '.join(known) or 'none'}",),
            )
    for output in _outermost(tree.body, nodes.Output):
        written = next((part for part in output.nodes if not _is_blank(part)), None)
        if written is not None:
            text = written.data if isinstance(written, nodes.TemplateData) else ""
            blank = text[: len(text) - len(text.lstrip())]
            yield Problem(
                code="T007",
                message=f"this stands outside of every block: a template that extends `{above.name}` prints only its blocks",
                span=place(written.lineno + blank.count("\n")),
                hints=(f"move it into a block: {', '.join(sorted(above.blocks)) or 'there is none'}",),
            )


def _is_blank(part: nodes.Node) -> bool:
    return isinstance(part, nodes.TemplateData) and not part.data.strip()


def _outermost(body: Sequence[nodes.Node], kind: type[_Node]) -> Iterator[_Node]:
    """The nodes of a kind that stand in no block, macro or assignment, in the order of the text."""
    for node in body:
        if isinstance(node, kind):
            yield node
        elif isinstance(node, nodes.If | nodes.For | nodes.With | nodes.Scope | nodes.ScopedEvalContextModifier):
            yield from _outermost(list(node.iter_child_nodes()), kind)
