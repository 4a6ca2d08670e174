"""Questions about all runs at once: what is stalled and why, and does every log and table obey the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async

from .. import verify
from ..inspection import health, reasons
from ..inspection.health import Finding, Severity, Snapshot
from ..inspection.reasons import Reason
from ..models import Run
from ..store import database
from ..verify import Violation

__all__ = [
    "Finding",
    "Reason",
    "Severity",
    "Snapshot",
    "Violation",
    "adiagnose",
    "aexplain",
    "averify_runs",
    "blocked_runs",
    "count_unknown",
    "diagnose",
    "explain",
    "iterate_violations",
    "now",
    "take_snapshot",
    "verify_runs",
]


def now() -> datetime:
    """The database's time, by which runs live; this process's clock may differ from it."""
    return database.now()


def diagnose() -> list[Finding]:
    """What is stalled or at risk, the gravest first; each finding has a code, a sentence and an advice."""
    return health.diagnose()


def explain(run_id: str) -> list[Reason]:
    """Why the run does not continue, the most telling reason first; [] when it has ended.

    Raises:
        RunNotFoundError: there is no such run.
    """
    return reasons.explain(run_id)


def take_snapshot() -> Snapshot:
    """The database's time, and which workers are alive or silent by it."""
    return health.take_snapshot()


def verify_runs(
    run_ids: Iterable[str] | None = None, *, replay: bool = False, since: timedelta | None = None
) -> list[Violation]:
    """Hold runs to the rules of the log; returns what is wrong, run by run. [] is good.

    ``run_ids``: which; None for all, or for those created in the last ``since``. ``replay``: cut each log everywhere
    and replay it in another process, if its workflow can be imported there. One cold replay here is always done.
    """
    return verify.verify_runs(run_ids, replay=replay, since=since)


def iterate_violations(
    run_ids: Iterable[str] | None = None, *, replay: bool = False, since: timedelta | None = None
) -> Iterator[Violation]:
    """As :func:`verify_runs`, one violation at a time; memory does not grow with the number of runs."""
    return verify.iterate_violations(run_ids, replay=replay, since=since)


def count_unknown(run_ids: Iterable[str] | None = None, since: timedelta | None = None) -> dict[str, int]:
    """Names of workflows that this process does not know, with their number of runs: their logs cannot be replayed."""
    return verify.count_unknown(run_ids, since)


def blocked_runs(run_ids: Iterable[str] | None = None) -> list[Run]:
    """Runs that are parked because the code does not fit them, oldest first. ``run_ids``: only of these."""
    return verify.blocked_runs(run_ids)


adiagnose = sync_to_async(diagnose)
aexplain = sync_to_async(explain)
averify_runs = sync_to_async(verify_runs)
