"""What the code defines, as far as runs that are under way depend on it: names, signatures, steps, patches."""

from __future__ import annotations

import inspect
from typing import Any

from ..authoring import registry
from ..authoring.steps import Step
from .references import references

#: 2: bodies are read from source, so that the file is the same under every version of Python
FORMAT = 2


def describe() -> dict[str, Any]:
    """What a lock file holds: names, signatures, and what each body refers to, as JSON values in sorted order.

    A workflow whose source cannot be read has None for its steps, children and patches.
    """
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
        "steps": None if found is None else sorted(found.steps),
        "children": None if found is None else sorted(found.children),
        "patches": None if found is None else sorted(found.patches),
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
