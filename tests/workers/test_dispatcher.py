"""How many attempts run, how many wait, and what happens to those that wait too long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from django_workflows import step
from django_workflows.authoring.steps import Step
from django_workflows.eventlog.statuses import StepStatus
from django_workflows.serialization import Encoded
from django_workflows.store.rows import StepRow
from django_workflows.values import clock
from django_workflows.workers.attempts.attempts import (
    AlreadyRecorded,
    Attempt,
    Completed,
    Failed,
    Outcome,
    Released,
)
from django_workflows.workers.attempts.slots import AHEAD, MOST, Slots
from django_workflows.workers.attempts.step_runtime import StepRuntime
from django_workflows.workers.executors import dispatcher as module
from django_workflows.workers.executors.dispatcher import Dispatcher
from tests.support.eventually import eventually


class Steps:
    """Steps that note when they begin and wait until they may end."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.go = threading.Semaphore(0)


world = Steps()


@pytest.fixture(autouse=True)
def fresh_world() -> None:
    world.__init__()  # type: ignore[misc]


@step(name="tests.executor.waiting")
def waiting(name: str) -> str:
    world.began.append(name)
    assert world.go.acquire(timeout=30)
    return name


@step(name="tests.executor.awaiting")
async def awaiting(name: str) -> str:
    world.began.append(name)
    while not world.go.acquire(blocking=False):  # noqa: ASYNC110 - a thread releases it
        await asyncio.sleep(0.002)
    return name


class Desk:
    """A dispatcher, and what it has reported."""

    def __init__(self, concurrency: int) -> None:
        self.slots = Slots(concurrency)
        self.outcomes: list[Outcome] = []
        self.dispatcher = Dispatcher(self.slots, self)

    def report(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def try_turn(self) -> None:
        """No turn is taken here."""

    def wake(self) -> None:
        """There is no main loop."""

    def begin(self, name: str, definition: Step[Any, Any] = waiting, *, cancelled: bool = False) -> Attempt:
        now = clock.now()
        row = StepRow(
            f"step_{name}", "wrun_x", f"step:{name}:1", definition.name, StepStatus.RUNNING,
            Encoded(f'{{"args":["{name}"],"kwargs":{{}}}}'), None, None, 1, 0, 0, "default", 0, now, "wrkr_x", now, now, None,
        )  # fmt: skip
        attempt = Attempt(row, 1, "wrkr_x", definition, "tests.flow", now, {}, cancelled=cancelled)
        self.slots.occupy()
        self.dispatcher.begin(attempt)
        return attempt

    def reported(self, count: int) -> list[Outcome]:
        eventually(lambda: len(self.outcomes) >= count, f"{count} outcomes")
        return self.outcomes


@pytest.mark.parametrize("definition", [waiting, awaiting], ids=["def", "async def"])
def test_no_more_run_at_once_than_the_concurrency_says_and_the_others_follow_in_order(definition: Any) -> None:
    desk = Desk(2)
    for name in "abcd":
        desk.begin(name, definition)
    eventually(lambda: len(world.began) == 2, "two run")
    assert [attempt.step.id for attempt in desk.dispatcher.running] == ["step_a", "step_b", "step_c", "step_d"]
    world.go.release()
    eventually(lambda: len(world.began) == 3, "the third has its turn")
    assert world.began[2] == "c"
    world.go.release(3)
    assert [type(outcome) for outcome in desk.reported(4)] == [Completed] * 4
    assert world.began[3] == "d"
    eventually(lambda: desk.slots.free >= 2, "all slots are free again")


def test_what_is_no_longer_wanted_never_runs() -> None:
    desk = Desk(1)
    desk.begin("a")
    unwanted = desk.begin("b")
    desk.begin("c")
    desk.dispatcher.cancel(unwanted)
    world.go.release(2)
    outcomes = {outcome.attempt.step.id: type(outcome) for outcome in desk.reported(3)}
    assert outcomes == {"step_a": Completed, "step_b": AlreadyRecorded, "step_c": Completed}
    assert world.began == ["a", "c"]


def test_an_async_attempt_that_is_cancelled_before_its_first_step_ends_all_the_same() -> None:
    """A task that is cancelled before it has run at all is never entered: nothing in it could say that it has ended."""
    desk = Desk(1)
    desk.begin("a", awaiting, cancelled=True)
    assert [type(outcome) for outcome in desk.reported(1)] == [AlreadyRecorded]
    assert not desk.dispatcher.running
    assert desk.slots.free == 1
    assert world.began == []


def test_an_async_attempt_that_is_cancelled_again_while_its_last_chunks_are_saved_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saving = threading.Event()

    async def save_for_long(_: StepRuntime) -> None:
        saving.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(StepRuntime, "aflush", save_for_long)
    desk = Desk(1)
    attempt = desk.begin("a", awaiting)
    eventually(lambda: world.began, "it runs")
    desk.dispatcher.cancel(attempt)
    assert saving.wait(30)
    desk.dispatcher.cancel(attempt)
    assert [type(outcome) for outcome in desk.reported(1)] == [AlreadyRecorded]
    eventually(lambda: desk.slots.free == 1, "its slot is free again")


def test_what_waits_too_long_is_given_back_and_never_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOT_WAIT_LIMIT", 0.0)
    desk = Desk(1)
    desk.begin("a")
    starved = desk.begin("b")
    assert desk.dispatcher.next_deadline() == 0.0
    desk.dispatcher.check_deadlines()
    (outcome,) = desk.reported(1)
    assert isinstance(outcome, Released)
    assert outcome.attempt is starved
    world.go.release(2)
    assert isinstance(desk.reported(2)[1], Completed)
    assert world.began == ["a"]
    assert not desk.dispatcher.running


def test_a_worker_that_stops_gives_back_those_that_run_and_those_that_wait() -> None:
    desk = Desk(1)
    desk.begin("a")
    desk.begin("b")
    desk.dispatcher.release_all()
    assert {outcome.attempt.step.id for outcome in desk.outcomes} == {"step_a", "step_b"}
    assert {type(outcome) for outcome in desk.outcomes} == {Released}
    world.go.release(2)
    eventually(lambda: not desk.dispatcher.running, "the one that ran has ended")
    assert world.began == ["a"]
    assert len(desk.outcomes) == 2


def test_time_that_an_attempt_waits_is_not_taken_from_its_timeout() -> None:
    @step(name="tests.executor.hasty", timeout=60)
    def hasty(name: str) -> str:
        return waiting.fn(name)  # type: ignore[no-any-return]

    desk = Desk(1)
    desk.begin("a")
    late = desk.begin("b", hasty)
    assert late.deadline is None
    world.go.release(2)
    desk.reported(2)
    assert late.deadline is not None
    assert late.deadline - late.began_at == pytest.approx(60, abs=5)
    assert not [outcome for outcome in desk.outcomes if isinstance(outcome, Failed)]


class TestSlots:
    def test_are_as_many_as_may_run_while_nothing_is_known(self) -> None:
        assert Slots(8).free == 8

    def test_grow_where_steps_are_short(self) -> None:
        slots = Slots(8)
        for _ in range(200):
            slots.note(0.0001)
        assert slots.free == MOST * 8

    def test_are_fewer_at_once_when_a_long_step_comes(self) -> None:
        slots = Slots(8)
        for _ in range(200):
            slots.note(0.0001)
        slots.note(10.0)
        assert slots.free == 8

    def test_hold_no_more_than_can_be_expected_to_have_its_turn_soon(self) -> None:
        slots = Slots(8)
        for _ in range(2000):
            slots.note(AHEAD * 0.99)
        assert slots.free == 16

    def test_are_none_when_the_worker_stops(self) -> None:
        slots = Slots(8)
        slots.close()
        assert slots.free == 0
        assert slots.take(1) == 0

    def test_are_never_less_than_none(self) -> None:
        slots = Slots(2)
        for _ in range(5):
            slots.occupy()
        assert slots.free == 0
        assert slots.take(1) == 0
