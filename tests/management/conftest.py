from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.core.management import call_command

from django_workflows.testing.plugin import workflows

__all__ = ["Answer", "Manage", "manage", "workflows"]


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


Manage = Callable[..., Answer]


@pytest.fixture
def manage() -> Manage:
    """``manage("list", "--json")`` runs ``manage.py workflows list --json``. ``CommandError`` is not caught."""

    def run(*arguments: str) -> Answer:
        out, code = io.StringIO(), 0
        try:
            call_command("workflows", *arguments, stdout=out, stderr=out)
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(out.getvalue(), code)

    return run
