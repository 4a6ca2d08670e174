"""Which steps, child workflows and patches a body refers to, itself or through functions of its project.

A name that stands for a step or for a collection of steps counts, called or not. A step that is only found at run
time, by a name that is put together, say, is not seen.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from ..authoring import primitives
from ..authoring.steps import Step
from ..authoring.workflows import Workflow
from .names import Names, is_a
from .sources import Source, is_same_project, read_source, walk

#: attributes by which a body starts another workflow as a run of its own
_STARTS = frozenset({"astart", "astart_many", "using"})


@dataclass(slots=True)
class References:
    """Names of what a body mentions: steps; workflows that it starts as children; patches."""

    steps: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    patches: set[str] = field(default_factory=set)


def references(fn: Callable[..., Any]) -> References | None:
    """What this function and those of its project that it mentions refer to. None: its source cannot be read."""
    body = inspect.unwrap(fn)
    if not isinstance(body, FunctionType) or read_source(body) is None:
        return None
    found = References()
    waiting, seen = [body], {body}
    while waiting:
        function = waiting.pop()
        source = read_source(function)
        if source is None:
            continue
        for thing, attribute in _mentioned(function, source):
            for other in _note(thing, attribute, found):
                if other not in seen and is_same_project(other, body):
                    seen.add(other)
                    waiting.append(other)
    return found


def mentions(fn: Callable[..., Any], wanted: object) -> bool:
    """Whether this function names ``wanted``, whatever it calls it; False where its source cannot be read."""
    function = inspect.unwrap(fn)
    source = read_source(function) if isinstance(function, FunctionType) else None
    return source is not None and any(thing is wanted for thing, _ in _mentioned(function, source))


def _note(thing: Any, attribute: str | None, found: References) -> list[FunctionType]:
    """Note what a mentioned object is; return the functions that have to be read because of it."""
    if is_a(thing, _Patch):
        found.patches.add(thing.name)
    elif is_a(thing, Step):
        found.steps.add(thing.name)
    elif is_a(thing, Workflow):
        if attribute not in _STARTS:  # called inline: its steps are in the same log
            inline = inspect.unwrap(thing.fn)
            return [inline] if isinstance(inline, FunctionType) else []
        found.children.add(thing.name)
    elif is_a(thing, list, tuple, set, frozenset, dict):
        items = thing.values() if is_a(thing, dict) else thing
        return [function for item in items if is_a(item, Step, Workflow) for function in _note(item, None, found)]
    elif is_a(thing, FunctionType):
        return [thing]
    return []


@dataclass(frozen=True, slots=True)
class _Patch:
    name: str


def _mentioned(function: FunctionType, source: Source) -> Iterator[tuple[Any, str | None]]:
    """Objects that the code names, each with the attribute that is taken of it, if one is."""
    names = Names(function, source.tree)
    owners: set[ast.AST] = set()  # parts of a dotted name whose end has been looked at
    for statement in source.tree.body:
        for node in walk(statement):
            if isinstance(node, ast.Call) and names.value(node.func) is primitives.patched:
                yield from ((_Patch(value), None) for value in _texts(node))
            if node in owners or not isinstance(node, ast.Attribute | ast.Name):
                continue
            if isinstance(node, ast.Attribute):
                owner = names.value(node.value)
                if is_a(owner, Step, Workflow):
                    owners.add(node.value)
                    yield owner, node.attr
                    continue
            yield names.value(node), None


def _texts(call: ast.Call) -> Iterator[str]:
    """The name that a call of ``patched()`` has written out."""
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
