"""Which event led the body to each decision of a log."""

from __future__ import annotations

import asyncio
from typing import Any

from django_workflows import patched
from django_workflows.authoring.workflows import workflow
from django_workflows.engine.tracing import Trace, trace
from django_workflows.eventlog import events

from .steps import a, b, c
from .support import Run


def traced(run: Run) -> Trace:
    return trace(run.new_execution(), run.records)


def sequence(run: Run, type: str, correlation_id: str = "") -> int:
    return next(r.sequence for r in run.records if (r.type, r.correlation_id) == (type, correlation_id))


def test_a_decision_has_the_event_that_led_to_it() -> None:
    @workflow
    async def body() -> Any:
        await asyncio.gather(a(), b())
        return await c()

    run = Run(body).start()
    run.complete("b")
    run.complete("a")
    run.complete("c", 3)
    started = sequence(run, "run_started")
    found = traced(run)
    assert found.causes == {
        sequence(run, "step_created", "step:a:1"): started,
        sequence(run, "step_created", "step:b:1"): started,
        sequence(run, "step_created", "step:c:1"): sequence(run, "step_completed", "step:a:1"),
    }
    assert found.end_cause == sequence(run, "step_completed", "step:c:1")
    assert found.divergence is None


def test_an_imposed_end_has_no_cause() -> None:
    @workflow
    async def body() -> Any:
        await a()

    run = Run(body).start()
    run.log.append(events.RunCancelled(None, None, None))
    assert traced(run).end_cause is None


def test_code_that_no_longer_fits_is_traced_as_far_as_it_does() -> None:
    @workflow(name="tracing.changing")
    async def body() -> Any:
        await a()
        await b()

    run = Run(body).start()
    run.complete("a")

    async def changed() -> Any:
        await a()
        await c()

    run.workflow.fn = changed
    found = traced(run)
    assert list(found.causes) == [sequence(run, "step_created", "step:a:1")]
    assert found.divergence is not None
    assert found.divergence.sequence == sequence(run, "step_created", "step:b:1")


def test_answers_of_patches_are_noted_and_the_execution_is_closed() -> None:
    @workflow
    async def body() -> Any:
        if patched("new-way"):
            await a()

    run = Run(body).start()
    execution = run.new_execution()
    assert trace(execution, run.records).patches == {"new-way": True}
    assert execution.closed
