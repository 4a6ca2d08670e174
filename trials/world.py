"""What a trial works in: a PostgreSQL of its own, worker processes, a ledger, one seed, and the verdict at the end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.postgres import Server


@dataclass
class Report:
    """What a trial saw. ``figures`` are printed; any of ``problems`` fails it."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{key} {value}" for key, value in self.figures.items())
        lines = [
            f"{'FAILED' if self.problems else 'ok':6} {self.name}: {told}",
            *(f"       {p}" for p in self.problems[:20]),
        ]
        return "\n".join(lines)


class World:
    """``scale`` 1 is the short form; the long one multiplies counts. Everything random comes from ``chance``."""

    def __init__(self, seed: int, scale: float) -> None:
        self.seed, self.scale = seed, scale
        self.chance = random.Random(seed)
        # A crash of the server must lose no commit; the machine does not crash, so the server need not sync.
        self.server = Server(durable=False, options={"synchronous_commit": "on"})
        self.directory = Path(mkdtemp(prefix="dwf-trial-"))
        self._workers: list[Any] = []
        os.environ.update(DATABASE_URL=self.server.url, DJANGO_SETTINGS_MODULE="trials.settings")
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0, run_syncdb=True)

    def count(self, short: int, long: int) -> int:
        return long if self.scale > 1 else short

    def workers(self, *, processes: int = 2, settings: dict[str, Any] | None = None, **options: Any) -> Any:
        from tests.support.processes import Workers

        given = {"HEARTBEAT_INTERVAL": 1.0, "HEARTBEAT_TIMEOUT": 4.0, "POLL_INTERVAL": 0.5, **(settings or {})}
        options.setdefault("environment", {})
        workers = Workers(
            "trials.bodies",
            processes=processes,
            settings=given,
            settings_module="trials.settings",
            log=self.directory / "workers.log",
            **options,
        )
        self._workers.append(workers)
        return workers

    def stop_workers(self) -> None:
        for workers in self._workers:
            workers.stop()
        self._workers.clear()

    def close(self) -> None:
        from django.db import connections

        for workers in self._workers:
            workers.die()
        self._workers.clear()
        connections.close_all()
        self.server.close()

    def wait_for_ends(self, run_ids: list[str], timeout: float, chaos: Callable[[], None] = lambda: None) -> list[str]:
        """Call ``chaos`` repeatedly until all runs have ended. Returns those that have not within ``timeout``."""
        from django.db import DatabaseError, InterfaceError, connections

        from django_workflows.models import Run

        deadline = time.monotonic() + timeout
        left = run_ids
        while time.monotonic() < deadline:
            try:
                left = list(Run.objects.active().filter(pk__in=run_ids).values_list("pk", flat=True))
            except (DatabaseError, InterfaceError):
                connections.close_all()
            else:
                if not left:
                    return []
            chaos()
            time.sleep(0.05)
        return left

    def judge(self, report: Report, *, expected: str = "completed", allowed: tuple[int, ...] = ()) -> None:
        """Every run has ended as expected, and every log obeys every rule."""
        from collections import Counter

        from django_workflows.models import Run
        from django_workflows.verify import verify_runs

        statuses = Counter(Run.objects.values_list("status", flat=True))
        report.figures["runs"] = sum(statuses.values())
        if wrong := {status: n for status, n in statuses.items() if status != expected}:
            report.problems.append(f"statuses: {wrong}")
            for run in Run.objects.exclude(status=expected)[:5]:
                report.problems.append(
                    f"{run.pk}: {run.status}, {run.blocked_reason} {run.error and run.error['message']}"
                )
        violations = [violation for violation in verify_runs() if violation.rule not in allowed]
        report.figures["violations"] = len(violations)
        report.problems.extend(str(violation) for violation in violations)


def attempts_begun_once(report: Report) -> None:
    """No attempt was begun twice under one number. The ledger's note of an effect is its attempt."""
    from collections import Counter

    from tests.shop.models import Ledger

    begun = Counter(Ledger.objects.values_list("key", "note"))
    twice = [attempt for attempt, times in begun.items() if times > 1]
    report.figures["begun_twice"] = len(twice)
    if twice:
        report.problems.append(f"begun twice under one number: {twice[:3]}")


def attempts_explained(report: Report) -> None:
    """Each attempt after the first has its reason in the log: a failure or a loss, and only losses are allowed here."""
    from django_workflows.models import Event, Step

    repeated = lost = 0
    for attempt in Step.objects.filter(attempt__gt=1).values_list("attempt", flat=True):
        repeated += attempt - 1
    for event in Event.objects.filter(type="step_retrying"):
        if event.payload.get("lost"):
            lost += 1
        else:
            attempt, message = event.payload["attempt"], event.payload["error"]["message"]
            report.problems.append(f"{event.run_id}: attempt {attempt} failed: {message}")
    report.figures.update(repeated_attempts=repeated, lost_attempts=lost)
    if repeated != lost:
        report.problems.append(f"{repeated} repeated attempts, {lost} losses")
