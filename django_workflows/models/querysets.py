"""Querysets that read as English: ``Run.objects.active()``, ``.due()``, ``.blocked()``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import connections, models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.lookups import Exact

from .. import conf
from ..eventlog.statuses import ACTIVE_RUN, TERMINAL_RUN, StepStatus, WaitStatus
from ..values import clock

if TYPE_CHECKING:
    from . import Hook, Run, Step, Wait, Worker  # noqa: F401


_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)


def _home(hints: dict[str, Any]) -> str:
    """Where a row lives: beside the row that it is asked of, or in the workflow database."""
    instance = hints.get("instance")
    found: str | None = None if instance is None else instance._state.db
    return found or str(conf.settings.DATABASE)


class PinnedQuerySet(models.QuerySet[_M_co]):
    """Reads and writes stay on the workflow database, whatever the project's routers say.

    A log that is read from a replica would be behind the lock under which it is judged. ``.using(alias)`` goes
    elsewhere all the same, and so does what is asked of a row that was read from there: its relations and its deferred
    columns.
    """

    @property
    def db(self) -> str:
        return self._db or _home(self._hints)  # type: ignore[attr-defined]


class PinnedManager(models.Manager[_M_co]):
    """Gives :class:`PinnedQuerySet`. It is the base manager of every table, for related and deferred access, too."""

    _queryset_class: type[models.QuerySet[Any]] = PinnedQuerySet

    @property
    def db(self) -> str:
        return self._db or _home(self._hints)  # type: ignore[attr-defined]


def attribute_is(key: str, value: str, alias: str) -> models.Q:
    """The condition that a run on this database carries the attribute; through the GIN index where there is one."""
    if connections[alias].features.supports_json_field_contains:
        return models.Q(attributes__contains={key: value})
    # a transform, and not attributes__<key>: the key may hold "__"
    return models.Q(Exact(KeyTextTransform(key, "attributes"), value))


class RunQuerySet(PinnedQuerySet["Run"]):
    """``Run.objects``."""

    def active(self) -> Self:
        """Runs that have not ended."""
        return self.filter(status__in=sorted(ACTIVE_RUN))

    def ended(self) -> Self:
        """Runs that are completed, failed or cancelled."""
        return self.filter(status__in=sorted(TERMINAL_RUN))

    def due(self, now: datetime | None = None) -> Self:
        """Runs that a worker should advance now."""
        return self.filter(wake_at__lte=now or clock.now())

    def blocked(self) -> Self:
        """Active runs that are parked, as no code that was there fits their log."""
        return self.active().exclude(blocked_reason="")

    def with_attributes(self, /, **attributes: str) -> Self:
        """Runs that carry all these attributes."""
        return self.filter(*(attribute_is(key, value, self.db) for key, value in attributes.items()))


class StepQuerySet(PinnedQuerySet["Step"]):
    """``Step.objects``."""

    def claimable(self, now: datetime | None = None) -> Self:
        """Pending steps whose time has come."""
        return self.filter(status=StepStatus.PENDING, available_at__lte=now or clock.now())

    def running(self) -> Self:
        """Steps with an attempt under way, its worker dead or alive."""
        return self.filter(status=StepStatus.RUNNING)


class HookQuerySet(PinnedQuerySet["Hook"]):
    """``Hook.objects``."""

    def active(self) -> Self:
        """Hooks that take payloads; their tokens are taken."""
        return self.filter(disposed_at__isnull=True)


class WaitQuerySet(PinnedQuerySet["Wait"]):
    """``Wait.objects``."""

    def open(self) -> Self:
        """Waits that are neither over nor cancelled."""
        return self.filter(status=WaitStatus.WAITING)


class WorkerQuerySet(PinnedQuerySet["Worker"]):
    """``Worker.objects``."""

    def alive(self) -> Self:
        """Workers that have not stopped, as far as their rows say: one that was killed is among them until it is noticed."""
        return self.filter(stopped_at__isnull=True)


RunManager = PinnedManager.from_queryset(RunQuerySet)
StepManager = PinnedManager.from_queryset(StepQuerySet)
HookManager = PinnedManager.from_queryset(HookQuerySet)
WaitManager = PinnedManager.from_queryset(WaitQuerySet)
WorkerManager = PinnedManager.from_queryset(WorkerQuerySet)
