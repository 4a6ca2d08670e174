"""Counts of large tables that take no time: exact while they are small, the planner's estimate beyond."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from ..models import Run
from ..store import database

#: rows that are counted one by one
EXACT = 10_000


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; ``exact`` is False where it is the planner's estimate."""

    value: int
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.value:,}" if self.exact else f"≈ {_rounded(self.value):,}"


def _rounded(value: int) -> int:
    """Two digits: an estimate is no better than that."""
    size: int = 10 ** max(len(str(value)) - 2, 0)
    return round(value / size) * size


def bounded(rows: QuerySet[Run], limit: int = EXACT) -> int:
    """How many rows, but at most ``limit``."""
    return rows.order_by().values("pk")[:limit].count()


def count_by_status(statuses: list[str]) -> dict[str, Count]:
    """Runs of each status: exact up to ``EXACT``, beyond that the planner's estimate."""
    runs = Run.objects
    if database.connection().vendor != "postgresql":
        return {status: Count(runs.filter(status=status).count()) for status in statuses}
    shares, total = _statistics()
    found = {}
    for status in statuses:
        exact = bounded(runs.filter(status=status), EXACT + 1)
        estimate = max(int(shares.get(status, 0.0) * total), exact)
        found[status] = Count(exact) if exact <= EXACT else Count(estimate, exact=False)
    return found


_STATISTICS = """
SELECT c.reltuples::bigint, s.most_common_vals::text::text[], s.most_common_freqs
FROM pg_class c LEFT JOIN pg_stats s ON s.tablename = c.relname AND s.attname = 'status'
WHERE c.oid = 'django_workflows_run'::regclass
"""


def _statistics() -> tuple[dict[str, float], int]:
    with database.connection().cursor() as cursor:
        cursor.execute(_STATISTICS)
        row = cursor.fetchone()
    total, values, shares = row or (0, None, None)
    return dict(zip(values or [], shares or [], strict=False)), max(int(total), 0)
