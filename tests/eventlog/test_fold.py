"""The fold of a log: what its run and its entities have become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_workflows import CorruptedEventLogError
from django_workflows.eventlog import events
from django_workflows.eventlog.events import TYPES, Event, Record
from django_workflows.eventlog.fold import attributes_of, fold

START = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = {"type": "ValueError", "message": "no", "args": [], "traceback": "", "cause": None}
CREATED = events.RunCreated("w", [], {}, "default", 0, {"a": "1"}, None, None, "5eed")


def log(*told: Event | tuple[str, Event]) -> list[Record]:
    """Records a second apart, the run's creation before them; entities' events with their correlation ids."""
    pairs = [("", CREATED), *(one if isinstance(one, tuple) else ("", one) for one in told)]
    return [
        Record(n, event.type, correlation_id, event.encode(), START + timedelta(seconds=n))
        for n, (correlation_id, event) in enumerate(pairs, 1)
    ]


def step(*more: Event, name: str = "step:a:1") -> list[tuple[str, Event]]:
    return [(name, event) for event in (events.StepCreated("a", [], {}, "default"), *more)]


class TestEndOfTheRun:
    def test_closes_what_is_open_but_a_running_step(self) -> None:
        found = fold(
            log(
                *step(),
                *step(events.StepStarted(1, "w1"), name="step:b:1"),
                ("wait:1", events.WaitCreated(START)),
                ("hook:1", events.HookCreated("t", False, None)),
                ("child:1", events.ChildStarted("w", "wrun_1", [], {})),
                events.RunCompleted(None),
            )
        )
        assert {key: entity.status for key, entity in found.steps.items()} == {
            "step:a:1": "cancelled",
            "step:b:1": "running",
        }
        assert (found.waits["wait:1"].status, found.hooks["hook:1"].status) == ("cancelled", "disposed")
        assert found.hooks["hook:1"].ended_at == START + timedelta(seconds=8)
        assert (found.open_steps, found.open_children, found.status) == (["step:b:1"], ["child:1"], "completed")

    def test_a_running_step_may_end_after_it(self) -> None:
        found = fold(
            log(
                *step(events.StepStarted(1, "w1")),
                events.RunCancelled(None, None, None),
                *step(events.StepCompleted(1, 5))[1:],
            )
        )
        assert found.steps["step:a:1"].status == "completed"
        assert found.status == "cancelled"

    def test_a_hook_in_conflict_is_no_entity(self) -> None:
        assert fold(log(("hook:1", events.HookConflict("t", "wrun_1")))).hooks == {}


class TestRetry:
    def test_opens_again_what_the_end_closed_and_what_failed(self) -> None:
        found = fold(
            log(
                *step(events.StepStarted(1, "w1"), events.StepFailed(1, ERROR)),  # 2, 3, 4
                ("wait:1", events.WaitCreated(START)),
                events.RunFailed(ERROR, "user_error"),  # 6
                events.RunRetried([4, 6]),
            )
        )
        failed = found.steps["step:a:1"]
        assert (failed.status, failed.attempt, failed.failures, failed.worker) == ("pending", 1, 0, None)
        assert failed.available_at == START + timedelta(seconds=7)
        assert (found.open_waits, found.terminal, found.life) == (["wait:1"], None, 1)

    def test_ends_what_it_leaves_out(self) -> None:
        found = fold(
            log(
                *step(events.StepStarted(1, "w1")),  # 2, 3
                ("child:1", events.ChildStarted("w", "wrun_1", [], {})),  # 4
                events.RunFailed(ERROR, "user_error"),
                events.RunRetried([2, 3, 4, 5]),
            )
        )
        assert found.steps["step:a:1"].status == "cancelled"
        assert found.open_children == found.open_steps == []

    def test_what_an_earlier_retry_left_out_stays_ended(self) -> None:
        found = fold(
            log(
                ("wait:1", events.WaitCreated(START)),  # 2
                events.RunFailed(ERROR, "user_error"),
                events.RunRetried([2, 3]),
                events.RunFailed(ERROR, "user_error"),
                events.RunRetried([5]),
            )
        )
        assert (found.waits["wait:1"].status, found.life) == ("cancelled", 2)

    def test_before_the_run_began_leaves_it_pending(self) -> None:
        assert fold(log(events.RunFailed(ERROR, "x"), events.RunRetried([2]))).status == "pending"

    def test_takes_attributes_back(self) -> None:
        told = log(
            ("attributes:1", events.AttributesSet({"a": None, "b": "2"})),
            ("attributes:2", events.AttributesSet({"b": "3"})),
            events.RunFailed(ERROR, "x"),
            events.RunRetried([3, 4]),
        )
        assert fold(told).attributes == attributes_of(told) == {"b": "2"}


def example(type: str) -> Event:
    """An event of this type, every field with some value that its kind may have."""
    values: dict[str, Any] = {"attributes": {}, "attempt": 1, "skipped": [], "error": ERROR}
    cls: Any = TYPES[type]
    made: Event = cls(**{name: values.get(name) for name in cls.fields})
    return made


@pytest.mark.parametrize("type", TYPES)
def test_every_event_is_folded_in(type: str) -> None:
    subject = TYPES[type].traits.entity.value
    opening = {
        "step": step()[0][1],
        "wait": events.WaitCreated(START),
        "hook": events.HookCreated("t", False, None),
        "child": events.ChildStarted("w", "c", [], {}),
    }.get(subject)
    told = [] if opening is None or TYPES[type].traits.opens else [(f"{subject}:1", opening)]
    found = fold(log(*told, (f"{subject}:1" if opening else "", example(type))))
    assert found.last is not None
    assert found.last.type == type


def test_a_strange_type_is_refused_with_its_name() -> None:
    strange = Record(2, "step_teleported", "step:a:1", "{}", START)
    with pytest.raises(CorruptedEventLogError, match="Event 2 has a strange type, 'step_teleported'"):
        fold([*log(), strange])
    with pytest.raises(CorruptedEventLogError, match="newer version"):
        _ = strange.is_decision
