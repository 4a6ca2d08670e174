"""A worker's slots after a commit that failed, or whose answer was lost: none leaks, or it would stop taking steps."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from django.db import OperationalError

from django_workflows.models import Event, Step
from django_workflows.serialization import Encoded
from django_workflows.services import runs, steps
from django_workflows.workers.attempts.attempts import Completed
from django_workflows.workers.turn import locked as module
from django_workflows.workers.turn.advancer import ConnectionLostError
from tests.support.lone_worker import LoneWorker
from tests.support.runs import INPUT, started_run, transition
from tests.workers import bodies


def _pending_steps(count: int) -> None:
    run_id = started_run()
    with transition(run_id) as t:
        for number in range(count):
            steps.create_step(t, f"step:add:{number}", bodies.add.name, INPUT, "default")
        runs.set_wake(t, undelivered=False)


def test_the_slots_of_steps_whose_claim_could_not_be_written_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _pending_steps(3)
    worker = LoneWorker(slots=4)
    advancer, begun = worker.advancer, worker.executor.begun

    def broken(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_rows", broken)
        with pytest.raises(ConnectionLostError):
            advancer.claim_steps()
    assert worker.slots.free == 4
    assert not begun
    assert Step.objects.filter(status="pending").count() == 3
    assert advancer.claim_steps()
    assert len(begun) == 3
    assert worker.slots.free == 1
    advancer.connection.close()


@pytest.mark.parametrize("lost", [1, 2, 3], ids=["first", "second", "third"])
def test_a_connection_lost_between_the_statements_of_a_turn_costs_no_slot_and_no_outcome(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """While one statement is with the server, the bodies for the next are driven already and have taken slots."""
    for _ in range(36):
        bodies.adding.start(2)
    worker = LoneWorker(slots=40)
    advancer, begun = worker.advancer, worker.executor.begun
    advancer.turn()
    assert len(begun) == 36
    for attempt in begun:
        worker.slots.free_slots()
        advancer.report(Completed(attempt, Encoded("1")))
    begun.clear()
    numbers, send = count(1), advancer.connection.send

    def breaking(text: str, values: Any) -> Any:
        answer = send(text, values)
        if next(numbers) < lost:
            return answer

        def broken() -> Any:
            answer()  # it was written, but the answer is lost
            advancer.connection.close()
            raise OperationalError("server closed the connection unexpectedly")

        return broken

    with monkeypatch.context() as patched:
        patched.setattr(advancer.connection, "send", breaking)
        with pytest.raises(ConnectionLostError):
            advancer.turn()
    assert len(begun) == (lost - 1) * 12
    assert worker.slots.free == 40 - len(begun)
    assert len(advancer.inbox.unrecorded()) == 36 - len(begun), "what is known to be committed is not repeated"
    advancer.turn()
    advancer.connection.close()
    assert Event.objects.filter(type="step_completed").count() == 36
    assert Step.objects.filter(status="running").count() == 36
