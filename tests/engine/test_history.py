"""Logs that were reopened by ``retry_run``: what is left out, and that no id is used twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from django_workflows.authoring.workflows import Workflow, workflow
from django_workflows.engine import Execution
from django_workflows.eventlog import events
from django_workflows.eventlog.lives import effective, reserved_ids

from .steps import a, b, refund
from .support import Run


@workflow(name="tests.history")
async def body() -> Any:
    await a()
    try:
        results = await asyncio.gather(b(1), b(2))
    except ValueError:
        await refund()
        raise
    await refund()
    return results


def failed() -> Run:
    """A run whose step b:1 failed, after which the body cleaned up and failed."""
    run = Run(body).start()
    run.complete("a")
    run.fail("step:b:1", ValueError("no"))
    run.complete("step:b:2", "two")
    run.complete("refund")
    assert run.end.type == "run_failed"
    return run


def retry(run: Run) -> None:
    """Reopen as the services do: leave out the failure and what the body decided because of it."""
    failure = next(record for record in run.records if record.type == "step_failed")
    after = run.records[failure.sequence :]
    skipped = [failure.sequence, *(r.sequence for r in after if "refund" in r.correlation_id)]
    run.log.append(events.RunRetried(skipped))
    run.log.ended = False
    run.log.open_steps["step:b:1"] = b.name


def test_effective_leaves_out_what_was_skipped_and_earlier_ends() -> None:
    run = failed()
    assert effective(run.records) == run.records
    assert not reserved_ids(run.records)
    retry(run)
    kept = [record.type for record in effective(run.records)]
    assert kept == [
        "run_created",
        "run_started",
        "step_created",
        "step_completed",
        "step_created",
        "step_created",
        "step_completed",
    ]
    assert reserved_ids(run.records) == {"step:refund:1"}


def test_a_cancel_that_was_left_out_does_not_reserve_the_step() -> None:
    log = Run(body).log
    log.append(events.StepCreated("x", [], {}, "q"), "step:x:1")
    cancelled = log.append(events.StepCancelled(), "step:x:1")
    log.append(events.RunRetried([cancelled.sequence]))
    assert reserved_ids(log.records) == frozenset()


def test_a_cached_body_learns_that_it_is_stale() -> None:
    run = failed()
    retry(run)
    run.execution.deliver(run.records[-1])
    assert run.execution.stale
    assert run.execution.last_sequence == len(run.records)


def test_a_retried_run_resumes_at_its_failed_step_with_fresh_ids() -> None:
    run = failed()
    retry(run)
    run.restart()
    assert run.execution.last_sequence == len(run.records)
    assert not run.execution.stale
    assert run.open_steps == ["step:b:1"]
    run.complete("step:b:1", "one")
    assert run.open_steps == ["step:refund:2"]
    run.restart()
    run.complete("refund")
    assert run.output == ["one", "two"]
    run.restart()


def test_a_run_may_be_retried_again_and_again() -> None:
    run = failed()
    for life in range(3):
        retry(run)
        run.restart()
        if life < 2:
            run.fail("step:b:1", ValueError("still no"))
            assert run.open_steps == [f"step:refund:{life + 2}"]
            run.complete("refund")
            retried = [record for record in run.records if record.type == "step_failed"]
            skipped = [retried[-1].sequence]
            skipped += [r.sequence for r in run.records[retried[-1].sequence :] if "refund" in r.correlation_id]
            run.log.append(events.RunRetried(skipped))
            run.log.open_steps["step:b:1"] = b.name
            run.log.ended = False
            run.restart()
            assert run.open_steps == ["step:b:1"]
            run.log.records.pop()
            run.log.open_steps.clear()
            run.log.ended = True
    run.complete("step:b:1", "one")
    assert run.open_steps == ["step:refund:4"]


def test_reserved_ids_may_be_given_by_hand() -> None:
    run = Run(body).start()
    execution = Execution(body, run.records[0], run_id="wrun_test", reserved_ids=frozenset({"step:a:1", "step:a:2"}))
    execution.deliver(run.records[1])
    assert [command.correlation_id for command in execution.take()] == ["step:a:3"]


@pytest.mark.parametrize("name", ["shop.workflows.Order.pay", "refund v2", "a" * 255])
def test_correlation_ids_are_readable_and_short_enough(name: str) -> None:
    from django_workflows.authoring.steps import step

    @step(name=name)
    def anything() -> Any: ...

    @workflow
    async def one() -> Any:
        await anything()

    wf: Workflow[Any, Any] = one
    (correlation_id,) = Run(wf).start().open_steps
    assert correlation_id.startswith("step:")
    assert correlation_id.endswith(":1")
    assert len(correlation_id) <= 255
