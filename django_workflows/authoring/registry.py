"""Names to definitions. Filled by the decorators when the modules that use them are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .steps import STEPS, Step
from .workflows import WORKFLOWS, Workflow


def find_workflow(name: str) -> Workflow[Any, Any] | None:
    """The workflow of this name, or None if this process does not know it."""
    return WORKFLOWS.find(name)


def find_step(name: str) -> Step[Any, Any] | None:
    """The step of this name, or None if this process does not know it."""
    return STEPS.find(name)


def workflow_names() -> list[str]:
    """The names of all workflows that this process knows, sorted."""
    return WORKFLOWS.names()


def step_names() -> list[str]:
    """The names of all steps that this process knows, sorted."""
    return STEPS.names()


@contextmanager
def isolated(*, empty: bool = False) -> Iterator[None]:
    """For tests: what is registered inside is forgotten at the end. ``empty``: begin with nothing registered."""
    with WORKFLOWS.isolated(empty=empty), STEPS.isolated(empty=empty):
        yield
