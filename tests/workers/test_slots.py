"""A worker's slots after a commit that failed, or whose answer was lost: none leaks, or it would stop taking steps."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from django.db import OperationalError

from django_workflows.authoring.registry import step_names, workflow_names
from django_workflows.models import Event, Step
from django_workflows.serialization import Encoded
from django_workflows.services import runs, steps
from django_workflows.store.claims import WorkerScope
from django_workflows.values import ids
from django_workflows.workers.attempts.attempts import Attempt, Completed
from django_workflows.workers.attempts.slots import Slots
from django_workflows.workers.link.watchdog import Watchdog
from django_workflows.workers.turn import locked as module
from django_workflows.workers.turn.advancer import Advancer, ConnectionLostError
from tests.support.runs import INPUT, started_run, transition
from tests.workers import bodies


def _advancer(begun: list[Attempt], slots: int = 4) -> Advancer:
    scope = WorkerScope(None, tuple(workflow_names()), tuple(step_names()), "v1")
    return Advancer(
        ids.worker_id(),
        scope,
        slots=Slots(slots),
        begin=begun.append,
        watchdog=Watchdog(),
    )


def _pending_steps(count: int) -> None:
    run_id = started_run()
    with transition(run_id) as t:
        for number in range(count):
            steps.create_step(t, f"step:add:{number}", bodies.add.name, INPUT, "default")
        runs.set_wake(t, undelivered=False)


def test_the_slots_of_steps_whose_claim_could_not_be_written_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _pending_steps(3)
    begun: list[Attempt] = []
    advancer = _advancer(begun)

    def broken(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_rows", broken)
        with pytest.raises(ConnectionLostError):
            advancer.claim_steps()
    assert advancer.room == 4
    assert not begun
    assert Step.objects.filter(status="pending").count() == 3
    assert advancer.claim_steps()
    assert len(begun) == 3
    assert advancer.room == 1
    advancer.connection.close()


@pytest.mark.parametrize("lost", [1, 2, 3], ids=["first", "second", "third"])
def test_a_connection_lost_between_the_statements_of_a_turn_costs_no_slot_and_no_outcome(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """While one statement is with the server, the bodies for the next are driven already and have taken slots."""
    for _ in range(36):
        bodies.adding.start(2)
    begun: list[Attempt] = []
    advancer = _advancer(begun, slots=40)
    advancer.turn()
    assert len(begun) == 36
    for attempt in begun:
        advancer.slots.free_slot()
        advancer.report(Completed(attempt, Encoded("1")))
    begun.clear()
    numbers, send = count(1), advancer.connection.send

    def breaking(text: str, values: Any) -> Any:
        answer = send(text, values)
        if next(numbers) < lost:
            return answer

        def broken() -> Any:
            answer()  # it was written, but nobody hears of it
            advancer.connection.close()
            raise OperationalError("server closed the connection unexpectedly")

        return broken

    with monkeypatch.context() as patched:
        patched.setattr(advancer.connection, "send", breaking)
        with pytest.raises(ConnectionLostError):
            advancer.turn()
    assert len(begun) == (lost - 1) * 12
    assert advancer.slots.free == 40 - len(begun)
    advancer.turn()
    advancer.connection.close()
    assert Event.objects.filter(type="step_completed").count() == 36
    assert Step.objects.filter(status="running").count() == 36
