"""Cost grows with the work, not with its square: ratios of processor time are compared, with a wide margin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from django_workflows.authoring.primitives import create_hook
from django_workflows.authoring.workflows import workflow

from .steps import a
from .support import Run, deliver


def assert_linear(work: Callable[[int], float], small: int, factor: int = 8) -> None:
    """``factor`` times the work may take three times as long as it should, not ``factor`` times."""
    work(small)
    base = min(work(small) for _ in range(3))
    large = min(work(small * factor) for _ in range(2))
    assert large < 3 * factor * max(base, 0.0005), f"{base:.4f} s for {small}, {large:.4f} s for {small * factor}"


def timed(function: Callable[[], Any]) -> float:
    begun = time.process_time()
    function()
    return time.process_time() - begun


def test_parallel_steps() -> None:
    @workflow
    async def body(n: int) -> Any:
        return len(await asyncio.gather(*(a(i) for i in range(n))))

    def work(n: int) -> float:
        run = Run(body, n).start()
        for name in run.open_steps:
            run.log.complete_step(name)
        return timed(run.advance)

    assert_linear(work, 600)


def test_writing_a_wide_fan_out_in_bounded_batches() -> None:
    @workflow
    async def body(n: int) -> Any:
        return len(await asyncio.gather(*(a(i) for i in range(n))))

    from django_workflows.eventlog import events

    run = Run(body, 5000)
    run.log.append(events.RunStarted(None, ""))
    run.execution.deliver(run.records[1])
    batches = 0
    while batch := run.execution.take(500):
        assert len(batch) == 500
        deliver(run.execution, run.log.write(batch))
        if batches == 3:  # arrivals in between
            run.log.complete_step("step:a:7")
            deliver(run.execution, run.records[run.execution.last_sequence :])
        batches += 1
    assert batches == 10
    for name in run.open_steps:
        run.log.complete_step(name)
    run.advance()
    assert run.output == 5000


def test_unread_payloads() -> None:
    @workflow
    async def body(n: int) -> Any:
        hook = create_hook("t")
        await a()
        return [await hook for _ in range(n)][-1]

    def work(n: int) -> float:
        run = Run(body, n).start()
        for index in range(n):
            run.log.receive("t", index)
        spent = timed(run.advance) + timed(lambda: run.complete("a"))
        assert run.output == n - 1
        return spent

    assert_linear(work, 600)


def test_cold_replay_of_sequential_steps() -> None:
    @workflow
    async def body(n: int) -> Any:
        for index in range(n):
            await a(index)

    def work(n: int) -> float:
        run = Run(body, n).start()
        while not run.log.ended:
            run.complete("a")
        execution = run.new_execution()
        spent = timed(lambda: execution.replay(run.records))
        assert execution.finished
        return spent

    assert_linear(work, 300)


def test_a_long_run_keeps_no_trace_of_what_is_over() -> None:
    @workflow
    async def body() -> Any:
        for index in range(500):
            with create_hook(f"t{index}"):
                await asyncio.gather(a(), asyncio.sleep(0))

    run = Run(body).start()
    for _ in range(400):
        run.complete("a")
    runtime = run.execution.runtime
    assert len(runtime.hooks) == 1
    assert len(runtime.steps) == 1
    assert not runtime.waits
    assert len(runtime.loop.tasks) < 200
    run.execution.close()
