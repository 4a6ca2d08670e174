from __future__ import annotations

import inspect

import pytest

from django_workflows import exceptions

CODES = [
    "entity_conflict",
    "fence_conflict",
    "hook_conflict",
    "hook_not_found",
    "hook_payload",
    "run_not_found",
    "run_not_active",
    "run_failed",
    "run_cancelled",
    "run_timeout",
    "step_failed",
    "step_timeout",
    "serialization",
    "payload_too_large",
    "workflow_sandbox",
    "replay_divergence",
    "corrupted_event_log",
    "max_events_exceeded",
    "stream_closed",
    "worker_lost",
    "in_atomic_block",
    "fatal",
    "retryable",
]


class TestCodes:
    def test_every_code_of_the_contract_has_its_class(self) -> None:
        assert set(CODES) <= exceptions.all_codes().keys()

    @pytest.mark.parametrize(
        "cls", [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, Exception)]
    )
    def test_an_error_is_a_workflow_error_with_the_code_of_its_name(self, cls: type[exceptions.WorkflowError]) -> None:
        assert issubclass(cls, exceptions.WorkflowError)
        words = cls.code.split("_")
        assert "".join(word.capitalize() for word in words) == cls.__name__.removesuffix("Error")
        assert exceptions.all_codes()[cls.code] is cls
        assert cls.__doc__

    def test_the_fence_is_a_conflict(self) -> None:
        assert issubclass(exceptions.FenceConflictError, exceptions.EntityConflictError)

    def test_a_project_may_derive_its_own_and_choose_the_code(self) -> None:
        class CardDeclined(exceptions.FatalError):
            pass

        class Other(exceptions.FatalError):
            code = "mine"

        assert (CardDeclined.code, Other.code) == ("card_declined", "mine")
        assert not {"card_declined", "mine"} & exceptions.all_codes().keys()


class TestFacts:
    def test_the_facts_are_attributes_and_the_sentence_is_for_people(self) -> None:
        failed = exceptions.RunFailedError("wrun_1", "KeyError", "'x'")
        assert (failed.run_id, failed.error_type, failed.message) == ("wrun_1", "KeyError", "'x'")
        assert "KeyError" in str(failed)
        step = exceptions.StepFailedError("shop.charge", "E", "m", "tb")
        assert (step.step_name, step.error_type, step.message, step.traceback) == ("shop.charge", "E", "m", "tb")
        assert exceptions.RetryableError("x", retry_after="5m").retry_after == "5m"
        assert exceptions.RunCancelledError("wrun_1", "why").reason == "why"
        divergence = exceptions.ReplayDivergenceError("step a", "step b", 7)
        assert all(part in str(divergence) for part in ("step a", "step b", "7"))

    def test_a_place_is_put_in_front(self) -> None:
        assert str(exceptions.SerializationError("no", "args[0]")) == "args[0]: no"
        assert str(exceptions.SerializationError("no")) == "no"
