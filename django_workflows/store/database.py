"""The little SQL that is not about one table: which database, its clock, NOTIFY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .. import conf
from ..values import clock

#: the channel that wakes workers: a run is due (the payload is its id) or a step can be claimed (empty)
WORK = "django_workflows_work"
#: the channel that wakes waiters: the payload says what has changed, "<run id>", "<run id> <stream name>", "<call id>"
CHANGED = "django_workflows_news"


Rows = Sequence[tuple[Any, ...]]
Execute = Callable[[str, Sequence[Any]], Rows]


def alias() -> str:
    """The alias of the workflow database: ``DJANGO_WORKFLOWS["DATABASE"]``."""
    return str(conf.settings.DATABASE)


def connection() -> BaseDatabaseWrapper:
    """This thread's connection to the workflow database."""
    return connections[alias()]


def is_postgresql() -> bool:
    """False: SQLite, which has one writer at a time and no NOTIFY."""
    return connection().vendor == "postgresql"


def require_transaction() -> None:
    """Callees require the transaction, callers open it."""
    if not connection().in_atomic_block:
        raise transaction.TransactionManagementError("A transition needs the transaction that its caller opens.")


def sql_now(source: str = "clock_timestamp()") -> str:
    """The database's clock as an SQL expression. Tests may shift it through ``clock.advance``."""
    offset = clock.offset()
    if not offset:
        return source
    return f"({source} + interval '{offset // timedelta(microseconds=1)} microseconds')"


def now() -> datetime:
    """The database's time. On SQLite, which is embedded, that is this process's clock."""
    database = connection()
    if database.vendor != "postgresql":
        return clock.now()
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {sql_now()}::timestamptz")
        row = cursor.fetchone()
    return aware(row[0])


def aware(moment: datetime) -> datetime:
    """Times read by hand-written SQL come back naive under ``USE_TZ = False``."""
    return timezone.make_aware(moment).astimezone(UTC) if timezone.is_naive(moment) else moment


def notify(channel: str, payloads: Iterable[str] = ("",), through: Execute | None = None) -> None:
    """NOTIFY at commit. A hint only: losing it costs at most one poll interval. ``through``: another way than Django's."""
    if is_postgresql() and conf.settings.LISTEN:
        values = [channel, sorted(set(payloads))]
        (through or execute)("SELECT pg_notify(%s::text, p) FROM unnest(%s::text[]) p", values)


def execute(text: str, values: Sequence[Any]) -> Rows:
    """A hand-written statement through Django's own cursor, in the caller's transaction."""
    with connection().cursor() as cursor:
        cursor.execute(text, values)
        rows: Rows = cursor.fetchall()
        return rows


def release_connections() -> None:
    """Give back this thread's database connections before a long wait; those inside a transaction stay."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
