"""From an attempt to its outcome: what the function raised, what our own writes met, and what a deadline means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections

from django_workflows import FatalError, RetryableError, get_writable, step, workflow
from django_workflows.models import Event, Run, Step, Stream, StreamChunk
from django_workflows.serialization import loads
from django_workflows.workers.attempts.attempts import AlreadyRecorded, Attempt, Completed, Failed, Lost, Outcome
from django_workflows.workers.attempts.pipeline import arun_attempt, run_attempt
from tests.shop.models import Order
from tests.support.eventually import eventually
from tests.support.lone_worker import LoneWorker
from tests.support.refusals import refusing

#: what the step under test does
ACT: list[Callable[[], Any]] = []


def _act() -> Any:
    return ACT[-1]()


@step(name="tests.attempts.plain", max_retries=2, retry_delay=0.01, timeout=0.2)
def plain() -> Any:
    return _act()


@step(name="tests.attempts.aplain", max_retries=2, retry_delay=0.01, timeout=0.2)
async def aplain() -> Any:
    return await _act()


@step(name="tests.attempts.atomic", max_retries=0, atomic=True)
def atomically() -> Any:
    return _act()


@workflow(name="tests.attempts.flow")
async def flow(which: str) -> Any:
    return await {"plain": plain, "aplain": aplain, "atomic": atomically}[which]()


@pytest.fixture
def worker() -> Iterator[LoneWorker]:
    worker = LoneWorker(slots=8)
    yield worker
    worker.advancer.bodies.clear()
    worker.advancer.connection.close()
    ACT.clear()


def _begin(worker: LoneWorker, which: str) -> Attempt:
    flow.start(which)
    worker.advancer.turn()
    return worker.executor.begun.pop()


def _outcome(worker: LoneWorker, which: str, act: Callable[[], Any]) -> Outcome:
    ACT.append(act)
    attempt = _begin(worker, which)
    return asyncio.run(arun_attempt(attempt)) if which == "aplain" else run_attempt(attempt)


def _record(worker: LoneWorker, outcome: Outcome) -> None:
    worker.slots.free_slots()
    worker.advancer.report(outcome)
    worker.advancer.turn(claim=False)


def _raise(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def _failed(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Failed)
    return dict(loads(outcome.error))


# --- groups ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "fatal"),
    [
        ([ValueError(), FatalError("no")], True),
        ([ValueError(), ExceptionGroup("in", [FatalError("no")])], True),
        ([ValueError(), KeyError()], False),
    ],
)
def test_a_group_is_fatal_if_any_of_its_leaves_is(worker: LoneWorker, errors: list[Exception], fatal: bool) -> None:
    outcome = _outcome(worker, "plain", _raise(ExceptionGroup("several", errors)))
    assert isinstance(outcome, Failed)
    assert outcome.fatal is fatal


def test_a_group_waits_for_the_last_of_its_leaves(worker: LoneWorker) -> None:
    later = ExceptionGroup(
        "several", [RetryableError(retry_after=5), ExceptionGroup("in", [RetryableError(retry_after=60)])]
    )
    _record(worker, _outcome(worker, "plain", _raise(later)))
    (event,) = Event.objects.filter(type="step_retrying")
    assert event.payload["retry_at"] - event.created_at == pytest.approx(
        timedelta(seconds=60), abs=timedelta(seconds=1)
    )


def test_an_instant_to_try_again_is_compared_by_the_databases_clock(
    worker: LoneWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    when = datetime.now(UTC) + timedelta(hours=2)
    # this process's clock is an hour behind
    monkeypatch.setattr("django_workflows.values.clock.now", lambda: datetime.now(UTC) - timedelta(hours=1))
    outcome = _outcome(worker, "plain", _raise(RetryableError(retry_after=when)))
    assert isinstance(outcome, Failed)
    assert outcome.retry_after == (when,)
    monkeypatch.undo()
    _record(worker, outcome)
    (event,) = Event.objects.filter(type="step_retrying")
    assert event.payload["retry_at"] == when


def test_a_naive_instant_fails_the_step_with_what_is_wrong(worker: LoneWorker) -> None:
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 - the mistake under test
    outcome = _outcome(worker, "plain", _raise(RetryableError(retry_after=naive)))
    assert isinstance(outcome, Failed)
    assert outcome.fatal


# --- deadlines ---------------------------------------------------------------------------------------------------------


def test_an_async_step_past_its_limit_fails_with_what_it_was(worker: LoneWorker) -> None:
    error = _failed(_outcome(worker, "aplain", lambda: asyncio.sleep(30)))
    assert error["type"] == "django_workflows.exceptions.StepTimeoutError"
    assert error["message"] == "Attempt 1 of step tests.attempts.aplain did not end within 0.2 s."
    assert error["attributes"] == {"step": "tests.attempts.aplain", "limit": timedelta(seconds=0.2), "attempt": 1}
    assert "CancelledError" in str(error["cause"])


def test_a_timeout_of_the_function_itself_stays_what_it_is(worker: LoneWorker) -> None:
    async def act() -> None:
        raise TimeoutError("the server of the shop")

    error = _failed(_outcome(worker, "aplain", act))
    assert (error["type"], error["message"]) == ("TimeoutError", "the server of the shop")


# --- atomic ------------------------------------------------------------------------------------------------------------


def _order() -> int:
    return Order.objects.create(customer="c").pk


def test_an_atomic_step_records_its_own_end(worker: LoneWorker) -> None:
    assert isinstance(_outcome(worker, "atomic", _order), AlreadyRecorded)
    assert Step.objects.get().status == "completed"


def test_an_atomic_step_that_closes_its_connection_fails_with_advice(worker: LoneWorker) -> None:
    def act() -> None:
        _order()
        connections.close_all()

    error = _failed(_outcome(worker, "atomic", act))
    assert "close no connections in it" in error["message"].lower()
    assert not Order.objects.exists()


def test_a_value_of_an_atomic_step_that_cannot_be_stored_is_its_failure(worker: LoneWorker) -> None:
    with refusing("22021", "NEW.type = 'step_completed'"):
        assert isinstance(_outcome(worker, "atomic", _order), Failed)


@pytest.mark.parametrize("state", ["53100", "23514", "21000"])
def test_what_the_store_refuses_of_our_own_is_no_failure_of_an_atomic_step(worker: LoneWorker, state: str) -> None:
    ACT.append(_order)
    attempt = _begin(worker, "atomic")
    with refusing(state, "NEW.type = 'step_completed'"):
        outcome = run_attempt(attempt)
    assert isinstance(outcome, Lost)
    _record(worker, outcome)
    row = Step.objects.get()
    assert (row.status, row.failures, row.losses) == ("pending", 0, 1)
    assert row.available_at > Event.objects.get(type="step_retrying").created_at
    assert "rolled back" in row.error["message"]


def test_a_refusal_that_the_function_met_is_its_own_failure(worker: LoneWorker) -> None:
    def act() -> None:
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = '55P03'; END $$")

    assert "busy" in _failed(_outcome(worker, "atomic", act))["message"]


def test_an_error_that_the_function_caught_in_its_transaction_is_its_own_failure(worker: LoneWorker) -> None:
    def act() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        except Exception:
            return

    assert isinstance(_outcome(worker, "atomic", act), Failed)


def test_a_constraint_of_the_functions_own_rows_at_the_commit_is_its_own_failure(worker: LoneWorker) -> None:
    def act() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_workflows_streamchunk (run_id, stream, index, data, created_at) "
                "VALUES ('wrun_none', 's', 0, '1', now())"
            )

    assert "foreign key" in _failed(_outcome(worker, "atomic", act))["message"]


def test_lost_attempts_at_an_atomic_step_have_a_bound(worker: LoneWorker, settings: Any) -> None:
    settings.DJANGO_WORKFLOWS = {**settings.DJANGO_WORKFLOWS, "MAX_LOSSES": 2}

    def act() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    outcome = _outcome(worker, "atomic", act)
    assert isinstance(outcome, Lost)
    _record(worker, outcome)
    eventually(worker.advancer.claim_steps, "the next attempt is due")
    again = run_attempt(worker.executor.begun.pop())
    assert isinstance(again, Lost)
    _record(worker, again)
    row = Step.objects.get()
    assert (row.status, row.attempt, row.failures, row.losses) == ("failed", 2, 0, 2)
    assert row.error["type"].endswith("WorkerLostError")
    assert Run.objects.get().status == "failed"


# --- streams -----------------------------------------------------------------------------------------------------------


def test_a_stream_that_a_failed_attempt_closed_is_written_on_by_the_next(worker: LoneWorker) -> None:
    def say() -> None:
        stream = get_writable()
        stream.write("hello")
        stream.close()
        if len(ACT) == 1:
            raise ConnectionError("after the close")

    failed = _outcome(worker, "plain", say)
    assert Stream.objects.get().closed_at is not None, "readers see it at once"
    _record(worker, failed)
    eventually(worker.advancer.claim_steps, "the next attempt is due")
    ACT.append(say)
    done = run_attempt(worker.executor.begun.pop())
    assert isinstance(done, Completed)
    _record(worker, done)
    assert list(StreamChunk.objects.order_by("index").values_list("index", flat=True)) == [0, 1]
    assert Stream.objects.get().closed_at is not None
    assert Run.objects.get().status == "completed"


def test_a_stream_that_an_attempt_closed_stays_closed_for_that_attempt_and_for_others(worker: LoneWorker) -> None:
    def say_on() -> None:
        stream = get_writable()
        stream.close()
        stream.write("too late")

    assert "is closed" in _failed(_outcome(worker, "plain", say_on))["message"]
