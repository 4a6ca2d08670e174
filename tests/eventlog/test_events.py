from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from django_workflows.eventlog import events
from django_workflows.eventlog.events import Kind, Record
from django_workflows.serialization import dumps, loads

AT = datetime(2026, 1, 1, tzinfo=UTC)

#: API, "Event data"; what is in parentheses is written only where it has a value
CONTRACT = {
    "run_created": "workflow args kwargs queue priority attributes idempotency_key parent seed",
    "run_started": "worker code_version",
    "run_completed": "output",
    "run_failed": "error error_code",
    "run_cancel_requested": "reason force",
    "run_timed_out": "deadline_at",
    "run_cancelled": "reason output error",
    "run_retried": "",
    "step_created": "name args kwargs queue",
    "step_started": "attempt worker",
    "step_retrying": "attempt error retry_at lost",
    "step_completed": "attempt output",
    "step_failed": "attempt error",
    "step_cancelled": "",
    "wait_created": "due_at",
    "wait_completed": "woken",
    "wait_cancelled": "",
    "hook_created": "token is_webhook metadata",
    "hook_conflict": "token owner",
    "hook_received": "payload idempotency_key",
    "hook_disposed": "",
    "child_started": "workflow child args kwargs",
    "child_completed": "child output",
    "child_failed": "child error cancelled",
    "attributes_set": "attributes",
    "patch_recorded": "patch",
}


def example(cls: type[Any], **given: Any) -> events.Event:
    values = {name: None for name in cls._names if name not in given}
    made: events.Event = cls(**values, **given)
    return made


class TestEvents:
    def test_the_types_are_those_of_the_contract(self) -> None:
        assert events.TYPES.keys() == CONTRACT.keys()

    @pytest.mark.parametrize("name", CONTRACT)
    def test_an_event_has_the_fields_of_the_contract_in_its_data(self, name: str) -> None:
        cls: Any = events.TYPES[name]
        assert " ".join(json.loads(example(cls).encode())) == CONTRACT[name]
        assert cls.type == name
        assert isinstance(cls.traits.kind, Kind)
        assert dataclasses.is_dataclass(cls)

    @pytest.mark.parametrize("name", CONTRACT)
    def test_encoded_payloads_are_spliced_in_and_come_back(self, name: str) -> None:
        value = {"$": (1, AT)}
        cls: Any = events.TYPES[name]
        plain = cls(**dict.fromkeys(cls._names, value))
        spliced = cls(**{field: dumps(value) for field in cls._names})
        assert plain.encode() == spliced.encode()
        assert loads(plain.encode()) == dict.fromkeys(cls._names, value)

    def test_optional_fields_are_written_when_they_have_a_value(self) -> None:
        created = example(events.TYPES["run_created"], forked_from="wrun_1")
        assert loads(created.encode())["forked_from"] == "wrun_1"
        assert "continued_from" not in loads(created.encode())

    def test_events_are_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            events.RunCompleted(1).output = 2  # type: ignore[misc]

    def test_decisions_and_arrivals_are_those_of_the_design(self) -> None:
        kinds = {kind: {name for name, cls in events.TYPES.items() if cls.traits.kind is kind} for kind in Kind}
        assert kinds[Kind.MARK] == {"run_created", "run_started", "run_retried"}
        assert kinds[Kind.ARRIVAL] == {
            "step_started",
            "step_retrying",
            "step_completed",
            "step_failed",
            "wait_completed",
            "hook_received",
            "child_completed",
            "child_failed",
            "run_cancel_requested",
            "run_timed_out",
        }

    def test_only_what_may_settle_an_awaitable_resolves(self) -> None:
        assert {name for name, cls in events.TYPES.items() if cls.traits.resolves} == {
            "run_cancel_requested",
            "run_timed_out",
            "step_completed",
            "step_failed",
            "wait_completed",
            "hook_created",
            "hook_conflict",
            "hook_received",
            "child_completed",
            "child_failed",
        }

    def test_the_groups_name_existing_types(self) -> None:
        for group in (
            events.CREATIONS,
            events.STEP_TERMINALS,
            events.WAIT_TERMINALS,
            events.CHILD_TERMINALS,
            events.RUN_TERMINALS,
            events.AFTER_END,
        ):
            assert set(group) <= events.TYPES.keys()


class TestRecord:
    def test_the_payload_is_the_data_decoded_once(self) -> None:
        record = Record(3, "step_completed", "step:a:1", events.StepCompleted(1, (2,)).encode(), AT)
        assert record.payload == {"attempt": 1, "output": (2,)}
        assert record.payload is record.payload
        assert repr(record) == "<3 step_completed step:a:1>"

    @pytest.mark.parametrize(
        ("type", "correlation_id", "is_decision"),
        [
            ("step_created", "step:a:1", True),
            ("step_completed", "step:a:1", False),
            ("run_created", "", False),
            ("attributes_set", "attributes:1", True),
            ("attributes_set", "step:a:1", False),
        ],
    )
    def test_attributes_are_a_decision_only_of_the_body(
        self, type: str, correlation_id: str, is_decision: bool
    ) -> None:
        assert Record(1, type, correlation_id, "{}", AT).is_decision is is_decision

    def test_a_hook_freed_from_outside_is_an_arrival(self) -> None:
        disposed = [
            Record(1, "hook_disposed", "hook:1", event.encode(), AT)
            for event in (events.HookDisposed(), events.HookDisposed(outside=True))
        ]
        assert [record.is_decision for record in disposed] == [True, False]
