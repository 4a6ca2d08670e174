"""A suspended body is dropped: it runs no further, what it does while closing has no effect, and no warning is shown.

Warnings are errors in this suite, and the fixture of this folder collects garbage after each test.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from django_workflows.authoring.primitives import create_hook, now, patched, race, random, set_attributes, sleep, uuid4
from django_workflows.authoring.workflows import Workflow, workflow
from django_workflows.engine import teardown

from .steps import a, b, c
from .support import Run


def drop(run: Run) -> None:
    """Close, and see that the body decided nothing in dying."""
    execution = run.execution
    before = list(execution.runtime.decisions.pending())
    execution.close()
    assert list(execution.runtime.decisions.pending()) == before
    assert not execution.take()
    del execution
    gc.collect()


def test_finally_blocks_run_but_what_they_ask_for_has_no_effect() -> None:
    closed: list[str] = []

    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        try:
            await a()
        finally:
            hook.dispose()
            set_attributes(status="dropped")
            assert now()
            assert uuid4()
            assert random().random()
            assert patched("x") in (True, False)
            create_hook("other")
            closed.append("sync part")
            await b()
            closed.append("never")

    drop(Run(body).start())
    assert closed == ["sync part"]


def stubborn_step(again: Callable[[], Any]) -> Any:
    async def body() -> Any:
        while True:
            try:
                await again()
            except BaseException:
                pass

    return body


@pytest.mark.parametrize(
    "again",
    [
        a,
        lambda: sleep(5),
        lambda: asyncio.sleep(5),
        lambda: asyncio.gather(a(), b()),
        lambda: asyncio.wait_for(a(), 5),
        lambda: race(a(), sleep(1)),
        lambda: asyncio.get_running_loop().create_future(),
        lambda: create_hook("t"),
    ],
    ids=["step", "sleep", "asyncio.sleep", "gather", "wait_for", "race", "future", "hook"],
)
def test_a_body_that_swallows_everything_indefinitely_is_closed(again: Callable[[], Any]) -> None:
    run = Run(workflow(stubborn_step(again))).start()
    before = len(teardown.stubborn)
    drop(run)
    assert len(teardown.stubborn) == before + 1
    assert not run.execution.runtime.loop.ready


def test_a_process_that_put_such_a_body_away_still_ends() -> None:
    """Outside a workflow a step is an ordinary function: freed at the interpreter's end, the body would loop indefinitely."""
    script = """
import django
django.setup()
from tests.engine import test_teardown as tests
tests.drop(tests.Run(tests.workflow(tests.stubborn_step(tests.a))).start())
print("put away", len(tests.teardown.stubborn), flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "put away 1\n", "")


def bodies() -> list[Workflow[Any, Any]]:  # noqa: C901  (one body per construct)
    """Bodies suspended in every kind of construct."""

    async def in_gather() -> Any:
        await asyncio.gather(a(), b(), sleep(5))

    async def in_task_group() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(a())
            group.create_task(asyncio.sleep(9))
            await b()

    async def leaving_task_group() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(a())

    async def in_timeout() -> Any:
        async with asyncio.timeout(5):
            await a()

    async def in_wait() -> Any:
        await asyncio.wait([asyncio.create_task(a()), asyncio.create_task(b())], timeout=4)

    async def in_as_completed() -> Any:
        for item in asyncio.as_completed([a(), b()], timeout=3):
            await item

    async def in_shield() -> Any:
        await asyncio.shield(a())

    async def in_locks() -> Any:
        lock, queue, event = asyncio.Lock(), asyncio.Queue[Any](), asyncio.Event()
        async with lock:
            waiting = [asyncio.create_task(lock.acquire()), asyncio.create_task(event.wait())]
            await queue.get()
            await asyncio.gather(*waiting)

    async def in_hook_iteration() -> Any:
        async with create_hook("t") as hook:
            async for _ in hook:
                pass

    async def in_generator() -> Any:
        async def numbers() -> Any:
            try:
                yield await a()
                yield await b()
            finally:
                await c()

        async for _ in numbers():
            await sleep(1)

    async def in_exit_stack() -> Any:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(c)
            await stack.enter_async_context(asyncio.timeout(3))
            await a()

    async def holding_coroutines() -> Any:
        async def helper() -> Any:
            return await a()

        later = [helper() for _ in range(3)]
        one = helper()
        await b()
        for item in later:
            await item
        await one

    async def with_unstarted_task() -> Any:
        task = asyncio.create_task(sleep(3))
        await asyncio.shield(task)

    async def awaiting_a_task_in_finally() -> Any:
        task = asyncio.create_task(a())
        try:
            await b()
        finally:
            await task
            await asyncio.gather(c(), c())

    return [workflow(body) for body in list(locals().values()) if callable(body)]


@pytest.mark.parametrize("body", bodies(), ids=lambda body: body.name.rpartition(".")[2])
def test_a_body_suspended_anywhere_is_dropped_without_a_sound(body: Workflow[Any, Any]) -> None:
    run = Run(body).start()
    assert not run.execution.finished
    drop(run)
    for name in ("a", "b"):
        run = Run(body).start()
        with contextlib.suppress(LookupError):
            run.complete(name, 1)
        drop(run)


def test_a_broken_off_async_generator_is_closed_with_its_body_not_before() -> None:
    closed: list[str] = []

    async def numbers() -> Any:
        try:
            for n in range(9):
                yield n
        finally:
            closed.append("closed")

    @workflow
    async def body() -> Any:
        async for n in numbers():
            if n == 3:
                break
        gc.collect()
        await a(len(closed))
        return len(closed)

    run = Run(body).start()
    assert run.records[-1].payload["args"] == [0]
    run.complete("a")
    assert run.output == 0
    assert closed == ["closed"]


def test_an_async_generator_that_will_not_close_is_abandoned() -> None:
    async def numbers() -> Any:
        while True:
            try:
                yield 1
                await a()
            except BaseException:
                pass

    @workflow
    async def body() -> Any:
        generator = numbers()
        async for _ in generator:
            break
        await b()

    before = len(teardown.stubborn)
    drop(Run(body).start())
    assert len(teardown.stubborn) == before + 1


def test_the_bodys_own_cleanup_may_raise() -> None:
    @workflow
    async def body() -> Any:
        async def child() -> Any:
            try:
                await a()
            finally:
                raise SystemExit(5)

        task = asyncio.create_task(child())
        try:
            await b()
        finally:
            task.cancel()
            raise KeyboardInterrupt

    drop(Run(body).start())


def test_closing_happens_in_the_context_of_each_task() -> None:
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    seen: list[str] = []

    @workflow
    async def body() -> Any:
        async def child(name: str) -> Any:
            variable.set(name)
            try:
                await a()
            finally:
                seen.append(variable.get())

        await asyncio.gather(child("one"), child("two"))

    drop(Run(body).start())
    assert sorted(seen) == ["one", "two"]


def test_no_task_is_reported_as_destroyed_while_pending(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    async def body() -> Any:
        tasks = [asyncio.create_task(a()) for _ in range(3)]
        await asyncio.wait(tasks)

    run = Run(body).start()
    with caplog.at_level("DEBUG"):
        drop(run)
        del run
        gc.collect()
    assert not caplog.records


def test_dropping_many_suspended_tasks_is_linear() -> None:
    @workflow
    async def body(n: int) -> Any:
        await asyncio.gather(*(a(i) for i in range(n)))

    def spent(n: int) -> float:
        run = Run(body, n).start()
        begun = time.process_time()
        run.execution.close()
        return time.process_time() - begun

    spent(100)
    assert spent(4000) < 60 * max(spent(400), 0.001)
