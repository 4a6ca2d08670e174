"""Which runs a list shows: the conditions of REST, admin and command line, turned into one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.db.models import QuerySet

from ..authoring.registry import workflow_names
from ..models import Run
from ..models.querysets import RunQuerySet, attribute_is
from .search import used_workflows

Rows = TypeVar("Rows", bound=QuerySet[Run])


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Conditions that must all hold; what is empty or None is no condition.

    ``statuses``, ``workflows`` (full names), ``queues``: one of these. ``attributes``: every pair. ``since`` and
    ``until``: created at ``since`` or later, and before ``until``. ``blocked``: parked runs only, without those that were
    unblocked and are about to be tried again.
    """

    statuses: Sequence[str] = ()
    workflows: Sequence[str] = ()
    queues: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    blocked: bool = False

    def apply(self, runs: Rows) -> Rows:
        """Those of ``runs`` that fit."""
        if self.statuses:
            runs = runs.filter(status__in=self.statuses)
        if self.workflows:
            runs = runs.filter(workflow__in=self.workflows)
        if self.queues:
            runs = runs.filter(queue__in=self.queues)
        if self.attributes:
            runs = runs.filter(*(attribute_is(key, value, runs.db) for key, value in self.attributes.items()))
        if self.since is not None:
            runs = runs.filter(created_at__gte=self.since)
        if self.until is not None:
            runs = runs.filter(created_at__lt=self.until)
        # blocked_until has a partial index, blocked_reason none
        return runs.filter(blocked_until__isnull=False) if self.blocked else runs

    def runs(self) -> RunQuerySet:
        """All runs that fit, in no order."""
        found: RunQuerySet = self.apply(Run.objects.all())
        return found


def parse_attribute(text: str) -> tuple[str, str]:
    """``"customer=c1"`` -> ``("customer", "c1")``; the value may be empty and may contain ``=``.

    Raises:
        ValueError: there is no ``=``, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"An attribute has the form key=value, not {text!r}.")
    return key, value


def workflows_called(name: str) -> list[str]:
    """The full names that a person means by ``name``: that very name, else all that end with ``.name``."""
    known = sorted({*used_workflows(), *workflow_names()})
    return [name] if name in known else [full for full in known if full.endswith(f".{name}")]
