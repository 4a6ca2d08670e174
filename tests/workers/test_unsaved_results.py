"""What an attempt reported is kept, whatever the database says, until it is recorded or its lease refuses it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from django_workflows.models import Event, Run, Step, Worker
from django_workflows.serialization import Encoded
from django_workflows.store import claims
from django_workflows.upkeep import worker_rows
from django_workflows.verify import verify_runs
from django_workflows.workers.attempts.attempts import Attempt, Completed
from django_workflows.workers.turn import refusals
from django_workflows.workers.turn.adoption import settle_unheld
from django_workflows.workers.turn.advancer import ConnectionLostError
from tests.support.eventually import eventually
from tests.support.lone_worker import LoneWorker
from tests.support.refusals import refusing, sql, table_locked
from tests.workers import bodies


@pytest.fixture
def worker() -> Iterator[LoneWorker]:
    worker = LoneWorker(slots=8)
    yield worker
    worker.advancer.bodies.clear()
    worker.advancer.connection.close()


def _begin(worker: LoneWorker, runs: int = 1) -> list[Attempt]:
    """The first attempts of that many runs of one step each."""
    for _ in range(runs):
        bodies.adding.start(1)
    worker.advancer.turn()
    begun, worker.executor.begun = worker.executor.begun, []
    assert len(begun) == runs
    return begun


def _report(worker: LoneWorker, attempts: list[Attempt]) -> None:
    for attempt in attempts:
        worker.slots.free_slots()
        worker.advancer.report(Completed(attempt, Encoded("1")))


def _turn(worker: LoneWorker) -> None:
    worker.advancer.inbox.hurry()
    worker.advancer.turn(claim=False)


def _count(type: str) -> int:
    return Event.objects.filter(type=type).count()


@contextmanager
def _column_missing() -> Iterator[None]:
    sql("ALTER TABLE django_workflows_step RENAME COLUMN output TO gone")
    try:
        yield
    finally:
        sql("ALTER TABLE django_workflows_step RENAME COLUMN gone TO output")


REFUSALS = {
    **{
        f"{table} locked {mode}": lambda table=table, mode=mode: table_locked(table, mode)
        for table in ("event", "step", "run")
        for mode in ("SHARE", "ACCESS EXCLUSIVE")
    },
    "disk full": lambda: refusing("53100", "NEW.type = 'step_completed'"),
    "out of memory": lambda: refusing("53200", "NEW.type = 'step_completed'"),
    "refused by a trigger of the project": lambda: refusing("P0001", "NEW.type = 'step_completed'"),
    "disk full for the step's row": lambda: refusing("53100", "NEW.status = 'completed'", table="step"),
    "column missing": _column_missing,
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_results_outlast_a_database_that_refuses_them(worker: LoneWorker, refusal: str) -> None:
    attempts = _begin(worker, 4)
    with REFUSALS[refusal]():
        _report(worker, attempts)
        for _ in range(3):
            _turn(worker)
        unsaved = worker.advancer.refusals.unsaved
        assert unsaved is not None
        assert unsaved.count == 4
        assert len(worker.advancer.held()) == 4
    eventually(lambda: _turn(worker) or _count("run_completed") == 4, "all results are recorded")
    assert _count("step_completed") == 4
    assert _count("step_started") == 4, "no step was run again"
    assert not _count("step_failed")
    assert not worker.executor.begun
    assert worker.advancer.refusals.unsaved is None
    assert worker.slots.free == 8


def test_results_outlast_a_server_that_is_read_only(worker: LoneWorker) -> None:
    attempts = _begin(worker, 3)
    name = connection.settings_dict["NAME"]
    _report(worker, attempts)
    sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        worker.advancer.connection.close()
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="read-only"):
                _turn(worker)
    finally:
        sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    _turn(worker)  # on a connection that was opened since: a session remembers that it was read-only
    assert _count("step_completed") == _count("step_started") == 3
    assert worker.advancer.refusals.unsaved is None


def test_a_value_that_cannot_be_stored_fails_its_step_and_no_other(worker: LoneWorker) -> None:
    attempts = _begin(worker, 3)
    with refusing("22021", f"NEW.type = 'step_completed' AND NEW.run_id = '{attempts[1].run_id}'"):
        _report(worker, attempts)
        _turn(worker)
    assert _count("step_completed") == 2
    assert _count("step_failed") == 1
    assert Run.objects.get(pk=attempts[1].run_id).status == "failed"


def test_a_run_whose_rows_contradict_is_parked_and_its_result_is_kept(worker: LoneWorker) -> None:
    attempts = _begin(worker, 3)
    damaged = attempts[0].run_id
    with refusing("23514", f"NEW.type = 'step_completed' AND NEW.run_id = '{damaged}'"):
        _report(worker, attempts)
        _turn(worker)
        assert _count("step_completed") == 2, "the others go on"
        assert Run.objects.get(pk=damaged).blocked_reason
        assert worker.advancer.held() == [(attempts[0].step.id, 1)]
    _turn(worker)
    assert _count("step_completed") == 3
    assert Run.objects.get(pk=damaged).status == "completed"


def test_a_result_that_its_lease_refuses_is_not_kept(worker: LoneWorker) -> None:
    (attempt,) = _begin(worker)
    with refusing("53100", "NEW.type = 'step_completed'"):
        _report(worker, [attempt])
        _turn(worker)
        Step.objects.update(worker_id=None)
    _turn(worker)
    assert worker.advancer.inbox.is_empty
    assert not _count("step_completed")
    Step.objects.update(worker_id=attempt.worker_id)


def test_a_worker_with_too_many_unsaved_results_takes_no_more_work(
    worker: LoneWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = _begin(worker, 2)
    monkeypatch.setattr(refusals, "MAX_KEPT", 1)
    with refusing("53100", "NEW.type = 'step_completed'"):
        _report(worker, attempts)
        _turn(worker)
        bodies.adding.start(1)
        worker.advancer.refusals.claim_at = 0.0
        worker.advancer.inbox.hurry()  # also where they are tried again in that very turn
        assert worker.advancer.turn() == 0
        monkeypatch.setattr(refusals, "MAX_KEPT", 10)
        worker.advancer.refusals.claim_at = 0.0
        assert worker.advancer.turn() == 1
    _turn(worker)
    _report(worker, worker.executor.begun)
    _turn(worker)


def test_an_outage_is_said_once_and_its_end_too(worker: LoneWorker, caplog: pytest.LogCaptureFixture) -> None:
    attempts = _begin(worker, 2)
    caplog.set_level(logging.INFO, refusals.logger.name)
    with refusing("53100", "NEW.type = 'step_completed'"):
        _report(worker, attempts)
        for _ in range(5):
            _turn(worker)
    _turn(worker)
    lines = [record.getMessage() for record in caplog.records if record.name == refusals.logger.name]
    assert len(lines) == 2
    assert "to be saved since" in lines[0]
    assert "no space is left on the server's disk" in lines[0]
    assert "saved again" in lines[1]


# --- what is recorded and what is held ---------------------------------------------------------------------------------


def _unheld(worker: LoneWorker) -> list[claims.Running]:
    advancer = worker.advancer
    with advancer.paused(), advancer.connection.lent():
        survey = claims.survey(
            worker.scope, worker.worker_id, advancer.held(), timedelta(seconds=30), advancer.connection.execute
        )
    return list(survey.unheld)


def test_a_survey_names_the_attempts_that_are_recorded_and_not_held(worker: LoneWorker) -> None:
    first, second = _begin(worker, 2)
    assert not _unheld(worker)
    del worker.advancer.in_flight[first.step.id]
    assert _unheld(worker) == [claims.Running(first.run_id, first.step.id, 1)]
    _report(worker, [second])
    assert len(_unheld(worker)) == 1, "an outcome that waits to be recorded is held"


def test_an_attempt_that_was_begun_and_is_forgotten_is_lost_and_never_begun_again(worker: LoneWorker) -> None:
    (attempt,) = _begin(worker)
    del worker.advancer.in_flight[attempt.step.id]
    worker.slots.free_slots()
    assert settle_unheld(worker.advancer, _unheld(worker)) == 1
    step = Step.objects.get()
    assert (step.status, step.losses, step.failures) == ("pending", 1, 0)
    assert not worker.executor.begun
    assert worker.advancer.claim_steps()
    assert [attempt.number for attempt in worker.executor.begun] == [2]
    assert not _unheld(worker)


def test_an_attempt_whose_start_was_recorded_without_our_hearing_of_it_is_begun(worker: LoneWorker) -> None:
    (attempt,) = _begin(worker)
    # as after a commit whose answer was lost: it is in the log, and this process has begun nothing
    del worker.advancer.in_flight[attempt.step.id]
    worker.slots.free_slots()
    worker.advancer._settlement.begun.clear()
    assert settle_unheld(worker.advancer, _unheld(worker)) == 1
    assert [(again.step.id, again.number) for again in worker.executor.begun] == [(attempt.step.id, 1)]
    assert not _unheld(worker)
    assert worker.slots.free == 7


def test_what_a_process_has_begun_is_forgotten_when_its_end_is_recorded(worker: LoneWorker) -> None:
    attempts = _begin(worker, 3)
    assert worker.advancer.has_begun(attempts[0].step.id, 1)
    _report(worker, attempts)
    _turn(worker)
    assert not worker.advancer._settlement.begun


def test_verify_names_a_step_that_its_live_worker_does_not_hold(worker: LoneWorker, settings: Any) -> None:
    settings.DJANGO_WORKFLOWS = {**settings.DJANGO_WORKFLOWS, "HEARTBEAT_INTERVAL": 0.05, "POLL_INTERVAL": 0.05}
    worker_rows.register_worker(
        worker.worker_id, worker.scope, concurrency=8, lock_key=0, lock_trusted=False, listening=False, skew=0.0
    )
    (attempt,) = _begin(worker)

    def found(load: int) -> list[str]:
        assert worker_rows.beat(worker.worker_id, load)
        return [violation.what for violation in verify_runs([attempt.run_id]) if "holds no step" in violation.what]

    eventually(lambda: found(0), "the rule sees it")
    assert not found(1)
    with refusing("53100", "NEW.type = 'step_completed'"):
        _report(worker, [attempt])
        _turn(worker)
        assert worker_rows.beat(worker.worker_id, 0, worker.advancer.refusals.unsaved)
        assert Worker.objects.get().unsaved_reason == "no space is left on the server's disk"
        assert not [v for v in verify_runs([attempt.run_id]) if "holds no step" in v.what], "its result is kept"
    _turn(worker)
