"""The ten rules on which "what is decided on a prefix of the log is a prefix of what is decided on all of it" rests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from django_workflows.authoring.primitives import (
    create_hook,
    get_workflow_metadata,
    now,
    patched,
    race,
    random,
    set_attributes,
    sleep,
    uuid4,
)
from django_workflows.authoring.workflows import workflow
from django_workflows.eventlog import events

from .steps import a, b, c
from .support import START, Run, check_replays, deliver


def test_r1_each_resolution_event_has_a_drain_of_its_own() -> None:
    @workflow
    async def body() -> Any:
        first, second = asyncio.create_task(a()), asyncio.create_task(b())
        await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        return [first.done(), second.done()]

    run = Run(body).start()
    run.log.complete_step("a")
    run.log.complete_step("b")
    run.advance()
    assert run.output == [True, False]
    check_replays(run)


def test_r1_events_that_resolve_nothing_wake_no_task_and_do_not_move_the_clock() -> None:
    @workflow
    async def body() -> Any:
        task, before = asyncio.create_task(a()), now()
        await asyncio.sleep(0)
        await race(task, create_hook("t"))
        return now() - before

    run = Run(body).start()
    run.log.now += timedelta(hours=1)
    run.log.start_step("a")
    run.log.append(events.StepRetrying(1, {"type": "E"}, run.log.now), "step:a:1")
    run.log.append(events.AttributesSet({"by": "a step"}), "step:a:1")
    before = run.execution.runtime.clock
    run.advance()
    assert run.execution.runtime.clock == before
    run.complete("a")
    assert run.output >= timedelta(hours=1)
    check_replays(run)


def test_r2_a_hook_is_not_known_to_be_registered_before_its_event_is_delivered() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        asked = asyncio.create_task(hook.get_conflict())
        await a()
        return asked.done()

    run = Run(body)
    run.log.append(events.RunStarted(None, ""))
    run.execution.deliver(run.records[1])
    written = run.log.write(run.execution.take())
    registration = next(task for task in run.execution.runtime.loop.tasks if "conflict" in repr(task))
    assert not registration.done()
    deliver(run.execution, written)
    assert registration.done()
    run.complete("a")
    assert run.output is True
    check_replays(run)


def test_r2_a_conflict_written_late_decides_the_same_as_one_written_at_once() -> None:
    @workflow
    async def body() -> Any:
        nap = asyncio.create_task(sleep(1))
        await a()
        hook = create_hook("taken")
        winner = await race(hook.get_conflict(), nap)
        return [winner, await b(winner)]

    late = Run(body)
    late.log.conflicts["taken"] = "wrun_other"
    late.start()
    late.log.complete_step("a")
    late.log.complete_wait()  # in the log before the decision about the hook can be
    late.advance()
    late.complete("b", "after the nap")
    assert late.output == [None, "after the nap"]
    check_replays(late)

    prompt = Run(body)
    prompt.log.conflicts["taken"] = "wrun_other"
    prompt.start()
    prompt.complete("a")
    prompt.complete("b", "after the conflict")
    assert prompt.output == ["wrun_other", "after the conflict"]
    check_replays(prompt)


def test_r3_a_result_is_seen_only_after_every_event_before_it() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        seen = []

        async def read() -> None:
            seen.append(await hook)

        reader = asyncio.create_task(read())
        await a()
        result = list(seen)
        reader.cancel()
        return result

    run = Run(body).start()
    run.log.receive("t", "first")
    run.log.complete_step("a")
    run.advance()
    assert run.output == ["first"]
    check_replays(run)


def test_r4_a_later_read_takes_what_is_buffered_in_the_same_drain() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        await a()
        first = await hook
        second = await hook
        await b(first, second)

    run = Run(body).start()
    run.receive("t", 1)
    run.receive("t", 2)
    run.complete("a")
    assert run.types[-2:] == ["step_completed", "step_created"]
    assert run.records[-1].payload["args"] == [1, 2]


def test_r5_the_clock_is_the_time_of_the_last_resolution_and_never_goes_back() -> None:
    @workflow
    async def body() -> Any:
        times = [now()]
        await a()
        times.append(now())
        await b()
        times.append(now())
        return times

    run = Run(body).start()
    run.complete("a")
    completed = run.records[-2]
    late = run.log.complete_step("b")
    back = events.Record(late.sequence, late.type, late.correlation_id, late.data, START)
    run.records[-1] = back
    run.advance()
    assert run.output == [run.records[1].created_at, completed.created_at, completed.created_at]


def test_r5_loop_time_follows_the_clock() -> None:
    @workflow
    async def body() -> Any:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await sleep("1h")
        return [before, loop.time()]

    run = Run(body).start()
    run.pass_time()
    assert run.output == [0.0, 3600.0]


def test_r6_the_body_sees_nothing_of_the_tail() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        view = [get_workflow_metadata(), len(asyncio.all_tasks()), hook._port._payloads.__len__()]  # type: ignore[attr-defined]
        await a(view[1], view[2], view[0].attributes)
        return [await hook, get_workflow_metadata().attributes]

    run = Run(body).start()
    run.log.append(events.AttributesSet({"by": "a step"}), "step:a:1")
    run.receive("t", 1)
    run.complete("a")
    check_replays(run)
    assert run.output == [1, {"by": "a step"}]


def test_r7_no_environment_in_decisions(monkeypatch: Any) -> None:
    @workflow
    async def body() -> Any:
        return await a(str(uuid4()), random().random(), now().isoformat(), asyncio.current_task().get_name())  # type: ignore[union-attr]

    run = Run(body).start()
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    again = run.new_execution()
    again.replay(run.records)
    assert not again.take()
    first, second = Run(body).start(), Run(body).start()
    assert first.records[-1].data == second.records[-1].data


def test_r8_nothing_is_decided_after_the_end() -> None:
    @workflow
    async def body() -> Any:
        async def busy() -> None:
            try:
                while True:
                    await a()
            finally:
                set_attributes(left="behind")
                await b()

        task = asyncio.create_task(busy())
        await c()
        return task.done()

    run = Run(body).start()
    run.complete("c")
    assert run.types[-1] == "run_completed"
    run.complete("a")
    assert not run.execution.take()
    check_replays(run)


def test_r9_quiescent_means_that_no_callback_is_left() -> None:
    @workflow
    async def body() -> Any:
        for _ in range(1000):
            await asyncio.sleep(0)
        queue: asyncio.Queue[int] = asyncio.Queue()
        asyncio.get_running_loop().call_soon(queue.put_nowait, 5)
        return await a(await queue.get())

    run = Run(body).start()
    assert run.types == ["step_created"]
    assert not run.execution.runtime.loop.ready


def test_r10_what_the_body_has_abandoned_is_dropped_the_same_way_every_time() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        await race(a(), hook)
        hook.dispose()
        async with asyncio.timeout(60):
            await b()
        return now()

    run = Run(body).start()
    run.receive("t", "wins")
    run.log.open_steps["step:a:1"] = a.name
    run.log.append(events.StepFailed(1, {"type": "E", "message": "late", "args": [], "cause": None}), "step:a:1")
    run.log.append(events.HookReceived("late", None), "hook:1")
    run.advance()
    run.complete("b")
    assert run.end.type == "run_completed"
    check_replays(run)


def test_attributes_follow_the_order_of_the_log() -> None:
    @workflow
    async def body() -> Any:
        await a()
        set_attributes(owner="body")
        return await b(get_workflow_metadata().attributes["owner"])

    run = Run(body).start()
    run.log.complete_step("a")
    run.log.append(events.AttributesSet({"owner": "step"}), "step:x")  # before the body's own can be written
    run.advance()
    assert run.records[-1].payload["args"] == ["body"]
    assert run.execution.runtime.attributes == {"owner": "body"}
    check_replays(run)


def test_a_patch_is_the_one_thing_that_looks_ahead() -> None:
    @workflow
    async def body() -> Any:
        return [patched("x"), patched("x"), patched("y")]

    run = Run(body).start()
    assert run.output == [True, True, True]
    assert run.types == ["patch_recorded", "patch_recorded", "run_completed"]
