"""Steps for the engine's tests. Their functions never run: the log holds their outcomes."""

from __future__ import annotations

from typing import Any

from django_workflows.authoring.steps import step


@step
def charge(order: int = 0) -> Any: ...


@step
def refund(order: int = 0) -> Any: ...


@step
def a(*args: Any) -> Any: ...


@step
def b(*args: Any) -> Any: ...


@step
def c(*args: Any) -> Any: ...
