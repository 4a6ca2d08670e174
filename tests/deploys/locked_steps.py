"""Steps that other modules refer to."""

from __future__ import annotations

from django_workflows import step


@step(name="locked.check")
def check() -> bool:
    return True


@step(name="locked.stamp")
def stamp() -> str:
    return "stamped"
