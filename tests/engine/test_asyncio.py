"""Every construct of asyncio that the public contract names, made durable."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_workflows.authoring.primitives import now, race, sleep
from django_workflows.authoring.workflows import workflow
from django_workflows.serialization import loads
from django_workflows.values import durations

from .steps import a, b, c
from .support import START, Run, check_replays, count_up, finish

FIRST_DRAIN = START + timedelta(milliseconds=2)


def test_steps_in_sequence_get_the_recorded_results() -> None:
    @workflow
    async def body(x: int) -> Any:
        first = await a(x)
        second = await b(first)
        return [first, second]

    run = finish(Run(body, 1), {"a": lambda x: x + 1, "b": lambda x: x * 10})
    assert run.output == [2, 20]
    assert run.decided == [("step_created", "step:a:1"), ("step_created", "step:b:1"), ("run_completed", "")]
    check_replays(run)


def test_gather_starts_all_at_once_and_keeps_the_order_of_its_arguments() -> None:
    @workflow
    async def body() -> Any:
        return await asyncio.gather(a(1), b(2), a(3))

    run = Run(body).start()
    assert run.open_steps == ["step:a:1", "step:b:1", "step:a:2"]
    run.complete("step:a:2", "third")
    run.complete("step:b:1", "second")
    run.complete("step:a:1", "first")
    assert run.output == ["first", "second", "third"]
    check_replays(run)


def test_gather_raises_the_first_failure_and_leaves_the_others_running() -> None:
    @workflow
    async def body() -> Any:
        try:
            await asyncio.gather(a(), b())
        except ValueError as error:
            return [str(error), await c()]

    run = Run(body).start()
    run.fail("b", ValueError("no"))
    assert run.open_steps == ["step:a:1", "step:c:1"]
    run.complete("c", "cleaned")
    assert run.output == ["no", "cleaned"]
    check_replays(run)


def test_a_task_group_cancels_the_rest_when_one_fails() -> None:
    @workflow
    async def body() -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(5):
                    group.create_task(a(n))
        except ExceptionGroup as errors:
            return [repr(error) for error in errors.exceptions]

    run = Run(body).start()
    run.fail("step:a:3", KeyError("x"))
    assert run.output == ["KeyError('x')"]
    assert "step_cancelled" not in run.types  # implied by the end of the run
    check_replays(run)


def test_steps_cancelled_by_a_task_group_are_recorded_in_the_order_of_their_creation() -> None:
    @workflow
    async def body() -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(5):
                    group.create_task(a(n))
        except* KeyError:
            pass
        return await b()

    run = Run(body).start()
    run.fail("step:a:3", KeyError("x"))
    cancelled = [cid for kind, cid in run.decided if kind == "step_cancelled"]
    assert sorted(cancelled) == ["step:a:1", "step:a:2", "step:a:4", "step:a:5"]
    run.complete("b", 1)
    check_replays(run)


@pytest.mark.parametrize("when", [asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED])
def test_wait_returns_sets_whose_order_is_the_same_on_every_replay(when: str) -> None:
    @workflow
    async def body() -> Any:
        tasks = [asyncio.create_task(a(n), name=str(n)) for n in range(20)]
        done, pending = await asyncio.wait(tasks, return_when=when)
        for task in pending:
            task.cancel()
        return await b([task.get_name() for task in done], [task.get_name() for task in pending])

    run = Run(body).start()
    for _ in range(20):
        if "step:b:1" in run.open_steps:
            break
        run.complete(run.open_steps[len(run.open_steps) // 2], 1)
    run.complete("b", 1)
    check_replays(run)


def test_as_completed_yields_in_the_order_of_events() -> None:
    @workflow
    async def body() -> Any:
        return [await item for item in asyncio.as_completed([a(1), b(2), c(3)])]

    run = Run(body).start()
    assert run.open_steps == ["step:a:1", "step:b:1", "step:c:1"]
    for name in "bca":
        run.complete(name, name)
    assert run.output == ["b", "c", "a"]
    check_replays(run)


def test_as_completed_over_raw_coroutines_starts_them_in_the_order_of_its_arguments() -> None:
    async def helper(n: int) -> Any:
        return await a(n)

    @workflow
    async def body() -> Any:
        return [await item for item in asyncio.as_completed([helper(n) for n in range(50)])]

    run = Run(body).start()
    inputs = [record.payload["args"] for record in run.records if record.type == "step_created"]
    assert inputs == [[n] for n in range(50)]
    run.execution.close()


def test_wait_for_gives_the_result_or_times_out_and_cancels_the_step() -> None:
    @workflow
    async def body() -> Any:
        first = await asyncio.wait_for(a(), 5)
        try:
            await asyncio.wait_for(b(), 5)
        except TimeoutError:
            return [first, await c()]

    run = Run(body).start()
    run.complete("a", 1)
    run.pass_time()
    run.complete("c", 2)
    assert run.output == [1, 2]
    kinds = [kind for kind, _ in run.decided]
    assert kinds.count("wait_cancelled") == 1
    assert kinds.count("step_cancelled") == 1
    check_replays(run)


def test_timeout_is_a_durable_wait_of_its_length() -> None:
    @workflow
    async def body() -> Any:
        try:
            async with asyncio.timeout(timedelta(days=3).total_seconds()):
                await a()
        except TimeoutError:
            return now()

    run = Run(body).start()
    assert run.log.open_waits == {"wait:1": FIRST_DRAIN + timedelta(days=3)}
    run.pass_time()
    assert run.output == next(record.created_at for record in run.records if record.type == "wait_completed")
    check_replays(run)


def test_a_timeout_can_be_rescheduled() -> None:
    @workflow
    async def body() -> Any:
        async with asyncio.timeout(10) as scope:
            await a()
            scope.reschedule(asyncio.get_running_loop().time() + 100)
            await b()
        return "in time"

    run = Run(body).start()
    run.complete("a")
    assert list(run.log.open_waits) == ["wait:2"]
    run.complete("b")
    assert run.output == "in time"
    check_replays(run)


def test_a_timeout_that_is_over_cancels_at_once() -> None:
    @workflow
    async def body() -> Any:
        try:
            async with asyncio.timeout(0):
                await a()
        except TimeoutError:
            return "late"

    run = Run(body).start()
    assert run.output == "late"
    assert run.types == ["run_completed"]


def test_shield_keeps_the_step_alive() -> None:
    @workflow
    async def body() -> Any:
        task = asyncio.ensure_future(a())
        try:
            async with asyncio.timeout(1):
                await asyncio.shield(task)
        except TimeoutError:
            pass
        return await task

    run = Run(body).start()
    run.pass_time()
    assert run.open_steps == ["step:a:1"]
    run.complete("a", "late but there")
    assert run.output == "late but there"
    check_replays(run)


def test_queue_event_lock_semaphore_condition_and_barrier_work_between_tasks() -> None:
    @workflow
    async def body() -> Any:
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        ready, lock, slots, seen = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(2), []
        condition, barrier = asyncio.Condition(), asyncio.Barrier(2)

        async def produce() -> None:
            for n in range(3):
                await queue.put(await a(n))
            ready.set()
            async with condition:
                condition.notify_all()
            await barrier.wait()

        async def consume() -> None:
            for _ in range(3):
                async with lock, slots:
                    seen.append(await queue.get())
            await ready.wait()
            await barrier.wait()

        async def listen() -> None:
            async with condition:
                await condition.wait_for(ready.is_set)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
            group.create_task(listen())
        return seen

    run = finish(Run(body), {"a": lambda n: n * n})
    assert run.output == [0, 1, 4]
    check_replays(run)


def test_a_semaphore_limits_how_many_steps_are_open() -> None:
    @workflow
    async def body() -> Any:
        slots = asyncio.Semaphore(2)

        async def one(n: int) -> Any:
            async with slots:
                return await a(n)

        return await asyncio.gather(*(one(n) for n in range(5)))

    run = Run(body).start()
    assert run.open_steps == ["step:a:1", "step:a:2"]
    finish(run, {"a": lambda n: -n})
    assert run.output == [0, -1, -2, -3, -4]
    check_replays(run)


def test_cancelling_a_task_cancels_its_step_and_runs_its_cleanup() -> None:
    @workflow
    async def body() -> Any:
        async def careful() -> Any:
            try:
                await a()
            finally:
                await b()

        task = asyncio.create_task(careful())
        await c()
        task.cancel("enough")
        try:
            await task
        except asyncio.CancelledError as error:
            return error.args

    run = Run(body).start()
    run.complete("c")
    assert run.open_steps == ["step:b:1"]
    run.complete("b")
    assert run.output == ("enough",)
    check_replays(run)


def test_a_step_that_is_requested_and_cancelled_in_one_drain_leaves_no_trace() -> None:
    @workflow
    async def body() -> Any:
        task = asyncio.create_task(a())
        nap = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(0)
        task.cancel()
        nap.cancel()
        await asyncio.wait([task, nap])
        return await b()

    run = Run(body).start()
    assert run.types == ["step_created"]
    run.complete("b", 1)
    check_replays(run)


def test_a_cancel_of_a_step_that_has_ended_meanwhile_is_never_recorded() -> None:
    @workflow
    async def body() -> Any:
        first = await race(a(), b())
        return [first, await c()]

    run = Run(body).start()
    run.log.complete_step("a", "a")  # both are in the log before either is delivered
    run.log.complete_step("b", "b")
    run.advance()
    assert run.types == ["step_created", "step_created", "step_completed", "step_completed", "step_created"]
    run.complete("c", "c")
    assert run.output == ["a", "c"]
    check_replays(run)


def test_call_later_and_its_handle() -> None:
    @workflow
    async def body() -> Any:
        loop = asyncio.get_running_loop()
        seen: list[Any] = []
        done = loop.create_future()
        loop.call_later(10, seen.append, "ten")
        loop.call_later(5, seen.append, "five")
        loop.call_later(7, seen.append, "never").cancel()
        loop.call_later(0, seen.append, "at once")
        loop.call_at(loop.time() + 11, done.set_result, None)
        later = loop.call_later(99, seen.append, "never")
        await asyncio.sleep(1)
        later.cancel()
        await done
        return seen

    run = finish(Run(body))
    assert run.output == ["at once", "five", "ten"]
    assert ("wait_cancelled", "wait:5") in run.decided
    check_replays(run)


def test_a_delay_that_is_no_number_is_refused() -> None:
    @workflow
    async def body() -> Any:
        await asyncio.sleep(float("nan"))

    assert Run(body).start().error["type"] == "ValueError"


@pytest.mark.parametrize("limit", [float("inf"), 1e18])
def test_a_limit_without_end_is_none(limit: float) -> None:
    """As in asyncio, infinite means never; so does what the calendar cannot hold."""

    @workflow
    async def body() -> Any:
        async with asyncio.timeout(limit):
            await asyncio.wait_for(sleep(5), limit)
        return "slept"

    run = finish(Run(body))
    assert run.output == "slept"
    check_replays(run)


@pytest.mark.parametrize("delay", [float("inf"), timedelta.max, datetime.max.replace(tzinfo=UTC)])
def test_a_sleep_without_end_is_a_wait_that_a_person_may_end(delay: Any) -> None:
    @workflow
    async def body() -> Any:
        await sleep(delay)
        return "woken"

    run = Run(body).start()
    assert run.types == ["wait_created"]
    assert loads(run.records[-1].data)["due_at"] == durations.NEVER
    run.pass_time(woken=True)
    assert run.output == "woken"
    check_replays(run)


@pytest.mark.parametrize("delay", [0, 0.0, -5])
def test_asyncio_sleep_of_nothing_makes_no_wait(delay: float) -> None:
    @workflow
    async def body() -> Any:
        await asyncio.sleep(delay)

    assert Run(body).start().types == ["run_completed"]


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [(90, 90), (0.5, 0.5), (timedelta(hours=1), 3600), ("1h 30m", 5400), ("2w", 1_209_600)],
)
def test_sleep_takes_every_form_of_a_duration(delay: Any, seconds: float) -> None:
    @workflow
    async def body() -> Any:
        await sleep(delay)
        return now()

    run = Run(body).start()
    assert run.log.open_waits["wait:1"] == FIRST_DRAIN + timedelta(seconds=seconds)
    run.pass_time()
    assert run.output == run.records[-2].created_at
    check_replays(run)


def test_sleep_until_a_time_waits_for_it_or_returns_at_once() -> None:
    @workflow
    async def body() -> Any:
        await sleep(datetime(2020, 1, 1, tzinfo=UTC))
        await sleep(0)
        await sleep(datetime(2030, 1, 1, tzinfo=UTC))

    run = Run(body).start()
    assert list(run.log.open_waits.values()) == [datetime(2030, 1, 1, tzinfo=UTC)]
    run.pass_time()
    assert run.output is None


@pytest.mark.parametrize(
    ("delay", "error"),
    [(-1, "ValueError"), (datetime(2030, 1, 1), "ValueError"), ("soon", "ValueError"), (object, "TypeError")],  # noqa: DTZ001
)
def test_sleep_refuses_what_it_cannot_read_at_the_call(delay: Any, error: str) -> None:
    @workflow
    async def body() -> Any:
        try:
            sleep(delay)
        except (ValueError, TypeError) as refused:
            return type(refused).__name__

    assert Run(body).start().output == error


def test_a_woken_sleep_ends_early() -> None:
    @workflow
    async def body() -> Any:
        await sleep("1h")
        return now()

    run = Run(body).start()
    run.pass_time(woken=True)
    assert run.output < START + timedelta(seconds=1)


def test_race_gives_the_first_and_cancels_the_rest() -> None:
    @workflow
    async def body() -> Any:
        first = await race(a(), sleep(1), b())
        return [first, await c()]

    run = Run(body).start()
    run.pass_time()
    assert run.decided[3:] == [
        ("step_cancelled", "step:a:1"),
        ("step_cancelled", "step:b:1"),
        ("step_created", "step:c:1"),
    ]
    run.complete("c", "c")
    assert run.output == [None, "c"]
    check_replays(run)


def test_race_raises_what_the_first_raises_and_waits_for_the_cleanup_of_the_rest() -> None:
    async def slow() -> None:
        try:
            await b()
        finally:
            await c()

    @workflow
    async def body() -> Any:
        try:
            await race(a(), slow())
        except LookupError as error:
            return error.args

    run = Run(body).start()
    run.fail("a", LookupError("gone"))
    assert run.open_steps == ["step:c:1"]
    run.complete("c")
    assert run.output == ("gone",)
    check_replays(run)


def test_a_race_of_nothing_is_refused() -> None:
    @workflow
    async def body() -> Any:
        await race()

    assert Run(body).start().error["type"] == "ValueError"


def test_a_cancelled_race_cancels_all_its_runners() -> None:
    @workflow
    async def body() -> Any:
        async with asyncio.timeout(1):
            await race(a(), b())

    run = Run(body).start()
    run.pass_time()
    assert run.error["type"] == "TimeoutError"
    check_replays(run)


def test_a_step_coroutine_is_lazy_and_awaited_once() -> None:
    @workflow
    async def body() -> Any:
        a("never awaited")
        call = b()
        await call
        try:
            await call
        except RuntimeError as error:
            return str(error)

    run = Run(body).start()
    assert run.open_steps == ["step:b:1"]
    run.complete("b")
    assert run.output == f"cannot reuse already awaited coroutine {b.name}()"


def test_steps_fit_where_asyncio_takes_coroutines() -> None:
    @workflow
    async def body() -> Any:
        call = a()
        assert asyncio.iscoroutine(call)
        task = asyncio.create_task(call, name="charge")
        assert task.get_name() == "charge"
        assert asyncio.current_task() in asyncio.all_tasks()
        return await asyncio.wait_for(asyncio.ensure_future(task), 10)

    run = finish(Run(body), {"a": 5})
    assert run.output == 5
    check_replays(run)


def test_a_task_cancelled_before_it_began_requests_nothing() -> None:
    @workflow
    async def body() -> Any:
        task = asyncio.create_task(a())
        task.cancel()
        done, _ = await asyncio.wait([task])
        return [item.cancelled() for item in done]

    run = Run(body).start()
    assert run.output == [True]
    assert run.types == ["run_completed"]


def test_tasks_left_behind_by_the_body_are_dropped_with_what_they_requested_last() -> None:
    @workflow
    async def body() -> Any:
        left = asyncio.create_task(a())
        also = asyncio.create_task(sleep(5))
        await asyncio.sleep(0)
        return [left.done(), also.done()]

    run = Run(body).start()
    assert run.output == [False, False]
    assert run.types == ["run_completed"]
    check_replays(run)


def test_a_workflow_called_in_a_body_runs_inline() -> None:
    @workflow
    async def inner(n: int) -> Any:
        return await a(n)

    @workflow
    async def outer() -> Any:
        return [await inner(1), await inner(2)]

    run = finish(Run(outer), {"a": lambda n: n * 7})
    assert run.output == [7, 14]
    assert [cid for _, cid in run.decided[:2]] == ["step:a:1", "step:a:2"]


def test_an_async_generator_in_a_body() -> None:
    @workflow
    async def body() -> Any:
        async def numbers() -> Any:
            for n in range(3):
                yield await a(n)

        return [n async for n in numbers()]

    run = finish(Run(body), {"a": count_up()})
    assert run.output == [1, 2, 3]
    check_replays(run)
