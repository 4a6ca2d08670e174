"""Querysets that read as English: ``Run.objects.active()``, ``.due()``, ``.blocked()``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import models

from . import clock
from .statuses import ACTIVE_RUN, TERMINAL_RUN, StepStatus, WaitStatus

if TYPE_CHECKING:
    from .models import Hook, Run, Step, Wait, Worker  # noqa: F401


class RunQuerySet(models.QuerySet["Run"]):
    def active(self) -> Self:
        """Runs that have not ended."""
        return self.filter(status__in=sorted(ACTIVE_RUN))

    def ended(self) -> Self:
        return self.filter(status__in=sorted(TERMINAL_RUN))

    def due(self, now: datetime | None = None) -> Self:
        """Runs that a worker should advance now."""
        return self.filter(wake_at__lte=now or clock.now())

    def blocked(self) -> Self:
        """Runs parked because the code at hand does not fit their log."""
        return self.active().exclude(blocked_reason="")

    def with_attributes(self, **attributes: str) -> Self:
        """Runs that carry all these attributes."""
        found = self
        for key, value in attributes.items():
            if self._has_containment():
                found = found.filter(attributes__contains={key: value})
            else:
                found = found.filter(**{f"attributes__{key}": value})
        return found

    def _has_containment(self) -> bool:
        from django.db import connections

        return bool(connections[self.db].features.supports_json_field_contains)


class StepQuerySet(models.QuerySet["Step"]):
    def claimable(self, now: datetime | None = None) -> Self:
        return self.filter(status=StepStatus.PENDING, available_at__lte=now or clock.now())

    def running(self) -> Self:
        return self.filter(status=StepStatus.RUNNING)


class HookQuerySet(models.QuerySet["Hook"]):
    def active(self) -> Self:
        return self.filter(disposed_at__isnull=True)


class WaitQuerySet(models.QuerySet["Wait"]):
    def open(self) -> Self:
        return self.filter(status=WaitStatus.WAITING)


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self, **_: Any) -> Self:
        return self.filter(stopped_at__isnull=True)
