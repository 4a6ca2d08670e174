"""A rolling deploy that returns figures: workers of two versions share the same runs for a while."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django_workflows.models import Run
from django_workflows.store.event_log import read
from tests.recovery import rolling
from tests.support.processes import Workers


@dataclass
class Figures:
    """The result of a rolling deploy. ``blocked``: runs that were seen parked; ``misfits``: logs that fit no version."""

    started: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    misfits: list[str] = field(default_factory=list)
    #: runs by the version whose code their log fits
    by_version: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    #: from the last start to the last end
    tail: float = 0.0


def workers(version: str, **options: Any) -> Workers:
    return Workers(
        "tests.recovery.rolling",
        environment={"ROLLING_VERSION": version},
        settings={"CODE_VERSION": f"v{version}"},
        **options,
    )


def load(figures: Figures, seconds: float, rate: float) -> None:
    """Start ``rate`` runs a second, of both workflows in turn, and watch which are parked."""
    begun, before = time.monotonic(), figures.started
    names = list(rolling.DEFINED)
    while (now := time.monotonic() - begun) < seconds:
        while figures.started - before < now * rate:
            name = names[figures.started % len(names)]
            rolling.DEFINED[name].start(figures.started)
            figures.started += 1
        watch(figures)
        time.sleep(0.02)
    figures.seconds += time.monotonic() - begun


def watch(figures: Figures) -> None:
    figures.blocked.update(Run.objects.blocked().values_list("pk", flat=True))


def finish(figures: Figures, patience: float) -> None:
    """Wait until every run has ended, then judge all logs."""
    begun = time.monotonic()
    while Run.objects.active().exists() and time.monotonic() - begun < patience:
        watch(figures)
        time.sleep(0.05)
    figures.tail = time.monotonic() - begun
    judge(figures, list(Run.objects.order_by("pk")))


def judge(figures: Figures, runs: Sequence[Run]) -> None:
    for run in runs:
        figures.statuses[run.status] = figures.statuses.get(run.status, 0) + 1
        fitting = rolling.fitting_versions(run.id, run.workflow, read(run.id))
        if not fitting:
            figures.misfits.append(run.id)
        key = "+".join(fitting) or "none"
        figures.by_version[key] = figures.by_version.get(key, 0) + 1
