"""The queries that a worker repeats go through an index, whatever the tables looked like when they were planned.

A statement is planned once per session. Planned on an empty table it must not choose a scan of the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from django_workflows.models import Hook, Run
from django_workflows.serialization import Encoded
from django_workflows.services import creation, hooks, runs, steps, waits
from django_workflows.services.creation import NewRun
from django_workflows.store import claims, database, locking, write_sql
from django_workflows.store.claims import WorkerScope
from django_workflows.store.event_log import read_many
from django_workflows.store.transition import Transition
from django_workflows.workers.link.connection import AdvancingConnection
from django_workflows.workers.link.prepared import to_text
from tests.support.runs import INPUT, add_hook, add_step, add_wait, new_run, started_run, transition
from tests.workers import bodies

SCOPE = WorkerScope(None, (bodies.adding.name, "tests.by_hand"), (bodies.add.name, "tests.work"), "v1")


@pytest.fixture(autouse=True)
def verified(transactional_db: None) -> None:
    """Rows made by hand do not obey the rules."""


class Planner:
    """Runs statements on a worker's own session, and keeps the plans that it would continue to use."""

    def __init__(self, advancing: AdvancingConnection) -> None:
        self._advancing = advancing
        self._count = 0
        self.plans: list[str] = []

    def execute(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        self._count += 1
        first, *others = text.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))
        given = [None if (value := to_text(item)) is None else value.decode() for item in values]
        with connection.cursor() as cursor:
            cursor.execute(f"PREPARE looked_at_{self._count} AS {numbered}")
            marks = ", ".join(["%s"] * len(given))
            cursor.execute(f"EXPLAIN EXECUTE looked_at_{self._count}" + (f"({marks})" if given else ""), given)
            self.plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return self._advancing.execute(text, values)


@pytest.fixture
def planner(transactional_db: None) -> Iterator[Planner]:
    advancing = AdvancingConnection()
    with advancing.lent():
        yield Planner(advancing)
    advancing.close()


def _filled() -> None:
    """Runs that have ended, and a few that sleep."""
    rows = [
        {
            "id": f"wrun_{n:026}",
            "workflow": "tests.by_hand",
            "queue": "default",
            "status": "completed",
            "input": {},
            "seed": "s",
        }
        for n in range(3000)
    ]
    now = database.now()
    Run.objects.bulk_create(
        [Run(**row, created_at=now, last_event_at=now, completed_at=now, last_sequence=2) for row in rows]
    )
    for _ in range(3):
        new_run(run_after=timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _claim(planner: Planner) -> None:
    with transaction.atomic():
        claims.claim_due_runs(SCOPE, 16, planner.execute)


def _claim_these(planner: Planner) -> None:
    with transaction.atomic():
        claims.claim_these_runs(SCOPE, ["wrun_x"], planner.execute)


def _lock(planner: Planner) -> None:
    with transaction.atomic():
        claims.lock_for_outcomes(["wrun_x"], planner.execute)


def _claim_steps(planner: Planner) -> None:
    claims.claimable_steps(SCOPE, 16, planner.execute)


def _look(planner: Planner) -> None:
    claims.survey(SCOPE, "wrkr_1", [("step_1", 1)], timedelta(seconds=15), planner.execute)


def _read_logs(planner: Planner) -> None:
    read_many([("wrun_x", 0)], planner.execute)


def _resume(planner: Planner) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "execute", planner.execute)
        assert hooks.receive_at_once("unknown", Encoded("1")) is None


def _busy(count: int) -> list[Transition]:
    """Transitions that touch every table: outcomes, new steps, waits due and new."""
    found = []
    for number in range(count):
        run_id = started_run()
        with transition(run_id) as t:
            steps.start_step(t, add_step(t, 1), "wrkr_1")
            add_wait(t, 1, seconds=0.0)
            add_hook(t, f"token {number} of {run_id}")
        with transaction.atomic():
            (locked,) = claims.lock_for_outcomes([run_id], database.execute)
        found.append(_prepared(locked))
    return found


def _prepared(t: Transition) -> Transition:
    locking.read_entities([t.entities])
    steps.complete_step(t, t.entities.steps["step:work:1"], Encoded("1"))
    waits.complete_due_waits(t)
    steps.start_step(t, add_step(t, 2), "wrkr_1")
    add_wait(t, 2)
    runs.set_wake(t, undelivered=False)
    return t


def _write_one(planner: Planner) -> None:
    assert write_sql.write_fenced(_busy(1), planner.execute)


def _write_many(planner: Planner) -> None:
    assert len(write_sql.write_fenced(_busy(3), planner.execute)) == 3


def _start(planner: Planner) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "execute", planner.execute)
        creation.create_runs([NewRun(workflow="tests.by_hand", input=INPUT, queue="default")])


STATEMENTS = [
    _claim, _claim_these, _lock, _claim_steps, _look, _read_logs, _resume, _write_one, _write_many, _start,
]  # fmt: skip
INDEXES = {
    _claim: "workflows_run_due",
    _claim_steps: "workflows_step_claimable",
    _look: "workflows_run_due",
    _read_logs: "django_workflows_event_pkey",
    _resume: "workflows_hook_",
}


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("ask", STATEMENTS, ids=lambda ask: ask.__name__.strip("_"))
def test_no_table_is_read_from_end_to_end(ask: Callable[[Planner], None], filled: bool, planner: Planner) -> None:
    if filled:
        _filled()
    ask(planner)
    assert planner.plans
    for plan in planner.plans:
        for table in ("run", "step", "event", "hook", "wait"):
            assert f"Seq Scan on django_workflows_{table}" not in plan, plan
    assert INDEXES.get(ask, "") in "\n".join(planner.plans), planner.plans


def test_a_hook_is_found_by_its_token_through_an_index(planner: Planner) -> None:
    with transition(started_run()) as t:
        add_hook(t, "here")
    assert "workflows_hook_" in Hook.objects.active().filter(token="here").explain()
