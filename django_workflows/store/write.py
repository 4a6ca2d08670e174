"""From transitions to tables: all rows of one or several transitions, all or nothing for each run.

Two ways give the same rows (a test proves it): ``write_orm`` is the readable reference, through the ORM;
``write_sql`` is one PostgreSQL statement for all of them, fenced by each run's ``last_sequence``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import transaction

from ..models import Outbox
from . import committed, database, write_orm, write_sql
from .database import Execute
from .transition import Transition


def write(transitions: Sequence[Transition]) -> None:
    """Store what was done to locked runs, in the caller's transaction, and notify the processes that it concerns."""
    write_rows(transitions)
    notify_others(transitions)
    for transition in transitions:
        if committed.concerns(transition):
            transaction.on_commit(partial(committed.report, [transition]), using=database.alias())


def write_rows(transitions: Sequence[Transition], execute: Execute | None = None) -> None:
    """Only store: the caller tells others and observers once it has committed. ``execute``: its own way to the server."""
    database.require_transaction()
    changed = [transition for transition in transitions if not transition.empty]
    if not changed:
        return
    if database.is_postgresql():
        write_sql.write(changed, execute)
    else:
        write_orm.write(changed)
    write_outbox(changed)


def write_outbox(transitions: Sequence[Transition]) -> None:
    """Store the messages to other runs that these transitions have gathered."""
    rows = [
        Outbox(kind=kind, run_id=transition.run.id, target=target, payload=payload, created_at=transition.now)
        for transition in transitions
        for kind, target, payload in transition.outbox
    ]
    if rows:
        Outbox.objects.bulk_create(rows)


def notify_others(transitions: Sequence[Transition], execute: Execute | None = None) -> None:
    """NOTIFY, only where another process may have to wake."""
    wake = set().union(*(transition.wake for transition in transitions))
    if wake:
        database.notify(database.WORK, wake, through=execute)
    changed = [item for transition in transitions for item in transition.changed]
    if changed:
        database.notify(database.CHANGED, changed, through=execute)
