"""What a turn finds in its inbox: outcomes by run, runs that were held, and steps as far as there are slots."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from django_workflows.eventlog.statuses import StepStatus
from django_workflows.serialization import Encoded
from django_workflows.store.rows import StepRow
from django_workflows.values import clock
from django_workflows.workers.attempts.attempts import AlreadyRecorded, Attempt, Completed
from django_workflows.workers.link.watchdog import Watchdog
from django_workflows.workers.turn.bodies import Bodies
from django_workflows.workers.turn.inbox import Inbox
from django_workflows.workers.turn.work import Work
from tests.workers import bodies

NO_BODIES = Bodies(10, Watchdog())


def _attempt(run_id: str, name: str) -> Attempt:
    now = clock.now()
    row = StepRow(
        f"step_{name}", run_id, f"step:{name}:1", bodies.add.name, StepStatus.RUNNING,
        Encoded('{"args":[],"kwargs":{}}'), None, None, 1, 0, 0, "default", 0, now, "wrkr_x", now, now, None,
    )  # fmt: skip
    return Attempt(row, 1, "wrkr_x", bodies.add, "tests.flow", now, {})


def _completed(run_id: str, name: str) -> Completed:
    return Completed(_attempt(run_id, name), Encoded("1"))


def _gather(inbox: Inbox, room: int = 0) -> list[Work]:
    return inbox.gather(NO_BODIES, clock.now() - timedelta(days=1), room)


def test_outcomes_of_one_run_are_one_work_in_the_order_in_which_they_came() -> None:
    inbox = Inbox()
    first, other, second = _completed("wrun_a", "1"), _completed("wrun_b", "2"), _completed("wrun_a", "3")
    inbox.put([first, other, second])
    assert inbox.unrecorded() == [first, other, second]
    assert [(work.run_id, work.outcomes) for work in _gather(inbox)] == [
        ("wrun_a", [first, second]),
        ("wrun_b", [other]),
    ]
    assert inbox.is_empty
    assert not inbox.unrecorded()


def test_a_step_that_recorded_its_own_end_lets_its_run_catch_up() -> None:
    inbox = Inbox()
    inbox.put([AlreadyRecorded(_attempt("wrun_a", "1"))])
    (work,) = _gather(inbox)
    assert work.needs_catch_up
    assert not work.outcomes


def test_a_run_that_is_held_waits_longer_each_time_and_keeps_the_order_of_its_outcomes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox, now = Inbox(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    work = Work("wrun_a", [_completed("wrun_a", "1")], ["step:x:1"])
    inbox.defer(work)
    first = inbox.next_deferred
    assert first is not None
    assert first > now
    assert not work.starts, "its run is read again before anything is started"
    assert not _gather(inbox)
    assert not inbox.is_empty
    pause, now = first - now, first
    inbox.put([_completed("wrun_a", "2")])
    (again,) = _gather(inbox)
    assert [outcome.attempt.step.id for outcome in again.outcomes] == ["step_1", "step_2"]
    assert again.tries == 1
    inbox.defer(again)
    second = inbox.next_deferred
    assert second is not None
    assert second - now == pytest.approx(2 * pause)


def test_a_held_run_with_nothing_reported_is_left_to_the_database() -> None:
    inbox = Inbox()
    inbox.defer(Work("wrun_a"))
    assert inbox.is_empty
