"""Workers among long transactions, hot tokens and connections that break: no other run waits, nothing is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from django.db import connection, connections, transaction

from django_workflows import api
from django_workflows.models import Event, Step, Worker
from django_workflows.store import event_log, locking
from tests.shop.models import Ledger, Order
from tests.support.eventually import eventually
from tests.support.processes import Workers
from tests.support.runs import add_hook, started_run, transition, types
from tests.support.sessions import Session
from tests.workers import bodies

MODULE = bodies.__name__
FAST: dict[str, Any] = {"HEARTBEAT_INTERVAL": 0.5, "HEARTBEAT_TIMEOUT": 2.0, "POLL_INTERVAL": 0.2}


def _noted(key: str) -> bool:
    return Ledger.objects.filter(key=key).exists()


def _go(key: str) -> None:
    Ledger.objects.create(key=f"go:{key}")


def test_a_transaction_that_holds_one_run_holds_up_no_other() -> None:
    """``resume_hook`` joins its caller's transaction, which may be a slow request; its run's step ends meanwhile."""
    with Workers(MODULE, settings=FAST) as workers:
        run = bodies.holding.start("h")
        eventually(lambda: _noted("began:h"), "the step runs")
        (before,) = workers.rows()

        def go() -> None:
            _go("h")

        with transaction.atomic():
            locking.lock_run(run.id)
            Session(go).outcome()
            others = Session(lambda: [bodies.adding.start(5).result(20) for _ in range(5)])
            assert others.outcome() == [5] * 5
            assert Step.objects.get(run_id=run.id).status == "running"
        assert run.result(30) == 1
        (after,) = workers.rows()
        assert after.pk == before.pk, "the worker was never taken for dead"


def test_a_token_that_is_being_decided_holds_up_no_other_run() -> None:
    owner = started_run()
    with Workers(MODULE, settings=FAST):
        with transaction.atomic():
            locked = locking.lock_whole_run(owner)
            add_hook(locked, "contested")  # not committed: its owner is not decided yet
            waiting = Session(lambda: bodies.hooked.start("contested").id).outcome()
            others = Session(lambda: [bodies.adding.start(5).result(20) for _ in range(5)])
            assert others.outcome() == [5] * 5
            transaction.set_rollback(True)
        eventually(lambda: "hook_created" in types(waiting), "the token is won")
        api.resume_hook("contested", 7)
        assert api.get_run(waiting).result(30) == [7]


def test_a_run_makes_progress_under_continuous_resumes() -> None:
    """The fence must not starve the writer of decisions: conflicts are retried in place, from the fresh log."""
    count = 200
    with Workers(MODULE, processes=2, settings=FAST):
        run = bodies.hooked.start("hot", count)
        eventually(lambda: "hook_created" in types(run.id), "the hook is there")

        def resume(first: int) -> None:
            for number in range(first, count, 4):
                api.resume_hook("hot", number)
            connections.close_all()

        threads = [threading.Thread(target=resume, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(run.result(60)) == list(range(count))
    assert types(run.id).count("hook_received") == count


def test_every_read_of_a_log_is_a_gap_free_prefix_of_the_next() -> None:
    """Ids made by clocks would let readers skip events, or see recorded events change."""
    run_id = started_run()
    with transition(run_id) as t:
        add_hook(t, "read")
    sessions = [Session(lambda: [api.resume_hook("read", n) for n in range(25)]) for _ in range(4)]
    before: list[tuple[int, str]] = []
    while any(session.is_alive() for session in sessions):
        log = [(record.sequence, record.data) for record in event_log.read(run_id)]
        assert [sequence for sequence, _ in log] == list(range(1, len(log) + 1))
        assert log[: len(before)] == before
        before = log
    for session in sessions:
        session.outcome()
    assert Event.objects.filter(run_id=run_id, type="hook_received").count() == 100


def _end_open_transactions() -> bool:
    with connection.cursor() as cursor:  # the step polls for permission to continue: it is not always idle
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
        )
        return bool(cursor.fetchall())


def test_a_connection_that_breaks_in_an_atomic_step_is_no_failure_of_the_step() -> None:
    """A failure to save a result must not be recorded as the step's failure."""
    with Workers(MODULE, settings=FAST):
        run = bodies.holding_order.start("broken")
        eventually(lambda: _noted("began:broken"), "the step is inside its transaction")
        eventually(_end_open_transactions, "a session in the middle of its transaction has been ended")
        _go("broken")
        run.result(30)
    step = Step.objects.get()
    assert step.failures == 0
    assert step.attempt >= 2
    assert Order.objects.filter(customer="broken").count() == 1
    # at once it would fail in the same way, and the log would grow
    for event in Event.objects.filter(type="step_retrying"):
        assert event.payload["lost"]
        assert event.payload["retry_at"] > event.created_at


def test_a_worker_whose_sessions_are_all_ended_keeps_its_steps(tmp_path: Path) -> None:
    """It reconnects before other workers declare it dead."""
    with Workers(MODULE, processes=2, settings={**FAST, "HEARTBEAT_TIMEOUT": 10.0}) as workers:
        gate = tmp_path / "go"
        run = bodies.holding_by_file.start(str(gate))
        eventually(lambda: _noted(f"began:{gate}"), "the step runs")
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            eventually(lambda: all(row.lock_trusted for row in workers.rows()), "they listen again")
            assert bodies.adding.start(2).result(30) == 2
        gate.touch()
        assert run.result(30) == 1
    assert Step.objects.get(run_id=run.id).losses == 0
    assert Worker.objects.count() == 2
