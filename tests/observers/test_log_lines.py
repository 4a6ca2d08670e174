"""What becomes of runs and steps is in the logs: how loudly, with which exception, about which run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from django_workflows import RunFailedError, api
from django_workflows.models import Run
from django_workflows.services import runs, steps
from django_workflows.testing import Workflows
from tests.support.runs import new_run, running_step, started_run, transition

from . import bodies

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    """The records of runs and steps, and of whatever goes wrong in the worker."""
    caplog.set_level(logging.DEBUG, "django_workflows")
    names = {"django_workflows.run", "django_workflows.step", "django_workflows.worker"}
    return lambda: [record for record in caplog.records if record.name in names]


def brief(records: list[Any]) -> list[tuple[str, str]]:
    return [(record.levelname, record.name.removeprefix("django_workflows.")) for record in records]


class TestFailures:
    def test_a_retry_warns_and_the_final_failure_is_an_error_with_the_exception_itself(
        self, lines: Callable[[], list[Any]], workflows: Workflows
    ) -> None:
        with pytest.raises(RunFailedError):
            workflows.run(bodies.pays, "4000-1234")
        found = lines()
        assert brief(found) == [("WARNING", "step"), ("ERROR", "step"), ("ERROR", "run")]
        assert (
            "is tried again in 2 s: tests.observers.bodies.CardError: card 1234 was declined" in found[0].getMessage()
        )
        assert found[0].exc_info is None
        error = found[1].exc_info[1]
        assert isinstance(error, bodies.CardError)
        frames = []
        trace = error.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert frames[-1] == "charge"
        assert isinstance(found[2].exc_info[1], bodies.CardError)

    def test_a_body_that_raises_is_one_error(self, lines: Callable[[], list[Any]], workflows: Workflows) -> None:
        with pytest.raises(RunFailedError):
            workflows.run(bodies.trips)
        (record,) = lines()
        assert brief([record]) == [("ERROR", "run")]
        assert record.getMessage().endswith("of tests.observers.bodies.trips failed: KeyError: 'key-4712'")
        assert record.exc_info[2] is not None

    def test_what_another_process_raised_is_rebuilt_from_the_log(self, lines: Callable[[], list[Any]]) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            runs.fail_run(t, runs.encode_error(ValueError("far away")), "user_error")
        (record,) = lines()
        assert record.exc_info[0] is ValueError
        assert record.getMessage().endswith("failed: ValueError: far away")

    def test_a_long_message_is_cut_in_the_line(self, lines: Callable[[], list[Any]]) -> None:
        with transition(started_run()) as t:
            runs.fail_run(t, runs.encode_error(ValueError("x\ny" * 5000)), "user_error")
        text = lines()[0].getMessage()
        assert len(text) < 500
        assert "\n" not in text


class TestEnds:
    def test_of_runs_are_information_and_those_of_steps_for_debugging(
        self, lines: Callable[[], list[Any]], workflows: Workflows
    ) -> None:
        workflows.run(bodies.greets, "ann")
        found = lines()
        assert brief(found) == [("DEBUG", "step"), ("INFO", "run")]
        assert "completed in" in found[1].getMessage()

    def test_a_cancelled_run_is_said_without_the_reason(self, lines: Callable[[], list[Any]]) -> None:
        api.cancel_run(new_run(), reason="the patient's name")
        (record,) = lines()
        assert brief([record]) == [("INFO", "run")]
        assert "patient" not in record.getMessage()

    def test_no_payload_and_no_token_is_in_any_line(
        self, caplog: pytest.LogCaptureFixture, workflows: Workflows
    ) -> None:
        caplog.set_level(logging.DEBUG)
        workflows.run(bodies.greets, "ann")
        workflows.start(bodies.waits)
        workflows.run_until_idle()
        api.resume_hook("door-4713", {"pin": "4714"})
        workflows.run_until_idle()
        own = [record for record in caplog.records if record.name.startswith("django_workflows")]
        text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in own)
        assert len(own) >= 3
        assert not [word for word in ("ann", "secret", "4713", "4714") if word in text]


class TestLossesAndBlocks:
    def test_a_lost_worker_is_a_warning_that_names_it(self, lines: Callable[[], list[Any]]) -> None:
        run_id = started_run()
        step = running_step(run_id, "wwrk_gone")
        with transition(run_id) as t:
            steps.lose_step(t, t.entities.steps[step.correlation_id])
        lost, again = lines()
        assert brief([lost, again]) == [("WARNING", "step"), ("DEBUG", "step")]
        assert lost.getMessage().endswith("lost its worker wwrk_gone.")
        assert (lost.worker, lost.attempt) == ("wwrk_gone", 1)

    def test_a_step_that_is_given_back_is_no_warning(self, lines: Callable[[], list[Any]]) -> None:
        run_id = started_run()
        step = running_step(run_id, "wwrk_stops")
        with transition(run_id) as t:
            steps.release_step(t, t.entities.steps[step.correlation_id])
        assert brief(lines()) == [("DEBUG", "step")]

    def test_a_block_warns_once_and_its_end_is_said(self, lines: Callable[[], list[Any]]) -> None:
        run_id = started_run()
        for _ in range(3):
            with transition(run_id) as t:
                runs.block_run(t, "The code does not fit.", "v2")
        with transition(run_id) as t:
            runs.clear_block(t)
        assert brief(lines()) == [("WARNING", "run"), ("DEBUG", "run"), ("DEBUG", "run"), ("INFO", "run")]
        assert "is blocked: The code does not fit." in lines()[0].getMessage()

    def test_a_blocked_run_that_ends_is_unblocked_first(self, lines: Callable[[], list[Any]]) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            runs.block_run(t, "The code does not fit.", "v2")
        api.cancel_run(run_id, force=True)
        assert [record.getMessage().split(" of ")[1] for record in lines()[1:]] == [
            "tests.by_hand is no longer blocked.",
            lines()[2].getMessage().split(" of ")[1],
        ]
        assert "was cancelled" in lines()[2].getMessage()


class TestAttributes:
    def test_say_which_run_step_and_attempt_it_is(self, lines: Callable[[], list[Any]], workflows: Workflows) -> None:
        with pytest.raises(RunFailedError):
            workflows.run(bodies.pays, "4000-1234")
        step, run = Run.objects.get().steps.get(), Run.objects.get()
        failed, ended = lines()[1:]
        assert (failed.run_id, failed.workflow, failed.queue) == (run.pk, run.workflow, "default")
        assert (failed.step, failed.step_id, failed.attempt) == (step.name, step.pk, 2)
        assert failed.worker == step.worker_id
        assert (ended.run_id, ended.workflow, ended.queue) == (run.pk, run.workflow, "default")
        assert not hasattr(ended, "step")

    def test_nothing_is_said_of_what_is_rolled_back(self, lines: Callable[[], list[Any]]) -> None:
        run_id = started_run()
        with pytest.raises(RuntimeError, match="no"), transition(run_id) as t:
            runs.fail_run(t, runs.encode_error(ValueError("undone")), "user_error")
            raise RuntimeError("no")
        assert lines() == []


def test_a_handler_that_raises_harms_no_run(workflows: Workflows, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise OSError("the disk of the logs is full")

    logger, broken = logging.getLogger("django_workflows.run"), Broken()
    logger.addFilter(broken)
    caplog.set_level(logging.INFO, "django_workflows")
    try:
        assert workflows.run(bodies.greets, "ann")
    finally:
        logger.removeFilter(broken)
    assert "An observer of run_completed failed; the run continues." in caplog.text
