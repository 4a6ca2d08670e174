"""What the code defines, as far as runs that are under way depend on it: names, signatures, steps, patches.

Which steps a workflow uses is read from its compiled body and from the functions of the same package that it calls:
names that it mentions and that are steps, or collections of steps. A step that is only found at run time is not seen.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..authoring import primitives, registry
from ..authoring.definitions import Step, Workflow

FORMAT = 1

#: attributes by which a body starts another workflow as a run of its own
_STARTS = frozenset({"astart", "astart_many", "using"})


@dataclass(slots=True)
class References:
    """Names of what a body mentions: steps; workflows that it starts as children; patches."""

    steps: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    patches: set[str] = field(default_factory=set)


def describe() -> dict[str, Any]:
    """Everything that a lock file holds, in sorted order, of plain JSON values."""
    return {
        "format": FORMAT,
        "workflows": {name: _workflow(name) for name in registry.workflow_names()},
        "steps": {name: {"arguments": _arguments(_step(name).signature)} for name in registry.step_names()},
    }


def _step(name: str) -> Step[..., Any]:
    step = registry.find_step(name)
    assert step is not None
    return step


def _workflow(name: str) -> dict[str, Any]:
    workflow = registry.find_workflow(name)
    assert workflow is not None
    found = references(workflow.fn)
    return {
        "arguments": _arguments(workflow.signature),
        "steps": sorted(found.steps),
        "children": sorted(found.children),
        "patches": sorted(found.patches),
    }


def _arguments(signature: inspect.Signature) -> str:
    """``(order_id, box=…, *, note=…)``: what decides whether recorded arguments still fit."""
    plain = [
        parameter.replace(annotation=parameter.empty, default=parameter.empty if _is_required(parameter) else _DEFAULT)
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


class _Default:
    def __repr__(self) -> str:
        return "…"


_DEFAULT = _Default()


# --- reading bodies --------------------------------------------------------------------------------------------------


def references(fn: Callable[..., Any]) -> References:
    """What this function and those of its package that it calls mention."""
    found = References()
    body = inspect.unwrap(fn)
    package = getattr(body, "__module__", "").partition(".")[0]
    seen: set[Any] = set()
    waiting: list[Any] = [body]
    while waiting:
        function = waiting.pop()
        if function in seen or not isinstance(function, FunctionType):
            continue
        seen.add(function)
        for code in _codes(function.__code__):
            for thing, before_attribute in _mentioned(code, function):
                waiting.extend(_note(thing, before_attribute, found, package))
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _note(thing: Any, attribute: str | None, found: References, package: str) -> list[Any]:
    """Note what a mentioned object is; return the functions that are to be read because of it."""
    if isinstance(thing, _Patch):
        found.patches.add(thing.name)
    elif isinstance(thing, Step):
        found.steps.add(thing.name)
    elif isinstance(thing, Workflow):
        if attribute not in _STARTS:
            return [inspect.unwrap(thing.fn)]  # called inline: its steps are in the same log
        found.children.add(thing.name)
    elif isinstance(thing, list | tuple | set | frozenset):
        return [function for item in thing for function in _note_item(item, found)]
    elif isinstance(thing, dict):
        return [function for item in thing.values() for function in _note_item(item, found)]
    elif isinstance(thing, FunctionType) and thing.__module__.partition(".")[0] == package:
        return [thing]
    return []


def _note_item(item: Any, found: References) -> list[Any]:
    return _note(item, None, found, "") if isinstance(item, Step | Workflow) else []


@dataclass(frozen=True, slots=True)
class _Patch:
    name: str


def _mentioned(code: CodeType, function: FunctionType) -> Iterator[tuple[Any, str | None]]:
    """Objects that the code names, each with the attribute that is taken of it next, if one is."""
    enclosed = _closure(function)
    thing: Any = None
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and thing is not None:
            if isinstance(thing, ModuleType):
                thing = getattr(thing, name, None)
                continue
            yield thing, name
            thing = None
            continue
        if thing is primitives.patched and instruction.opname == "LOAD_CONST" and isinstance(name, str):
            yield _Patch(name), None
        elif thing is not None and instruction.opname not in ("PRECALL", "PUSH_NULL", "CACHE"):
            yield thing, None
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            thing = function.__globals__.get(name)
        elif instruction.opname in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
            thing = enclosed.get(name)
        elif instruction.opname not in ("PRECALL", "PUSH_NULL", "CACHE"):
            thing = None
    if thing is not None:
        yield thing, None


def _closure(function: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return found
