"""Names to definitions. Filled by the decorators when the modules that use them are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from .definitions import Step, Workflow


class Definition(Protocol):
    name: str
    #: ``(module, qualified name)`` of the function: the same after a module is loaded again
    origin: tuple[str, str]
    #: ``module:line``, for messages
    place: str


_D = TypeVar("_D", bound=Definition)

_workflows: dict[str, Workflow[Any, Any]] = {}
_steps: dict[str, Step[Any, Any]] = {}


def register_workflow(workflow: Workflow[Any, Any]) -> None:
    """Make the workflow known under its name. Raises ``ValueError`` naming both places when the name is taken."""
    _register(_workflows, workflow, "workflows")


def register_step(step: Step[Any, Any]) -> None:
    """Make the step known under its name. Raises ``ValueError`` naming both places when the name is taken."""
    _register(_steps, step, "steps")


def _register(table: dict[str, _D], definition: _D, what: str) -> None:
    known = table.get(definition.name)
    if known is not None and known.origin != definition.origin:
        raise ValueError(
            f"Two {what} are named {definition.name!r}: one in {known.place}, one in {definition.place}. "
            "Give one of them another name=."
        )
    table[definition.name] = definition  # the same function once more: its module was loaded again


def find_workflow(name: str) -> Workflow[Any, Any] | None:
    """The workflow of this name, or None if this process does not know it."""
    return _workflows.get(name)


def find_step(name: str) -> Step[Any, Any] | None:
    """The step of this name, or None if this process does not know it."""
    return _steps.get(name)


def workflow_names() -> list[str]:
    return sorted(_workflows)


def step_names() -> list[str]:
    return sorted(_steps)


@contextmanager
def isolated(*, empty: bool = False) -> Iterator[None]:
    """For tests: what is registered inside is forgotten at the end. ``empty``: begin with nothing registered."""
    saved = dict(_workflows), dict(_steps)
    if empty:
        _workflows.clear()
        _steps.clear()
    try:
        yield
    finally:
        _workflows.clear()
        _workflows.update(saved[0])
        _steps.clear()
        _steps.update(saved[1])
