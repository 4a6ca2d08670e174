from __future__ import annotations

import asyncio
from typing import Any

import pytest

from django_workflows.authoring.handles import RunHandle
from django_workflows.authoring.primitives import race, sleep
from django_workflows.authoring.workflows import workflow
from django_workflows.exceptions import RunCancelledError, RunFailedError, WorkflowSandboxError

from .steps import a
from .support import Run, check_replays, finish


@workflow(name="tests.child")
async def child(x: int) -> Any: ...


def test_a_child_is_started_at_once_and_its_result_awaited_as_an_event() -> None:
    @workflow
    async def parent() -> Any:
        handle = await child.astart(1)
        await a(handle)
        return [await handle.aresult(), await handle.aresult()]

    run = Run(parent).start()
    (run_id,) = run.log.open_children
    assert run.types == ["child_started", "step_created"]
    assert run.records[3].payload["args"] == [RunHandle(run_id)]
    run.complete("a")
    run.end_child(run_id, {"n": [1]})
    assert run.output == [{"n": [1]}, {"n": [1]}]
    check_replays(run)


def test_each_reader_gets_a_copy_of_its_own() -> None:
    @workflow
    async def parent() -> Any:
        handle = await child.astart(1)
        first, second = await asyncio.gather(handle.aresult(), handle.aresult())
        first.append("changed")
        return [first, second, await handle.aresult()]

    run = Run(parent).start()
    run.end_child(next(iter(run.log.open_children)), [1])
    assert run.output == [[1, "changed"], [1], [1]]


def test_a_child_that_ends_before_it_is_awaited() -> None:
    @workflow
    async def parent() -> Any:
        handle = await child.astart(1)
        await a()
        return await handle.aresult(timeout="1h")

    run = Run(parent).start()
    run.end_child(next(iter(run.log.open_children)), "early")
    run.complete("a")
    assert run.output == "early"
    check_replays(run)


def test_a_failed_child_raises_run_failed_with_its_own_exception_as_the_cause() -> None:
    @workflow
    async def parent() -> Any:
        handle = await child.astart(1)
        caught = []
        for _ in range(2):
            try:
                await handle.aresult()
            except RunFailedError as error:
                caught.append(error)
        assert caught[0] is not caught[1]
        return [caught[0].run_id == handle.id, caught[0].error_type, caught[0].message, repr(caught[0].__cause__)]

    run = Run(parent).start()
    run.end_child(next(iter(run.log.open_children)), error=LookupError("gone"))
    assert run.output == [True, "LookupError", "gone", "LookupError('gone')"]
    check_replays(run)


def test_a_cancelled_child_raises_run_cancelled() -> None:
    @workflow
    async def parent() -> Any:
        handle = await child.astart(1)
        try:
            await handle.aresult()
        except RunCancelledError as error:
            return error.run_id == handle.id

    run = Run(parent).start()
    run.end_child(next(iter(run.log.open_children)), cancelled=True)
    assert run.output is True
    check_replays(run)


def test_giving_up_on_a_child_does_not_cancel_it() -> None:
    @workflow
    async def parent() -> Any:
        handle = await child.astart(1)
        try:
            await handle.aresult(timeout=5)
        except TimeoutError:
            pass
        return await handle.aresult()

    run = Run(parent).start()
    run.pass_time()
    run.end_child(next(iter(run.log.open_children)), "in the end")
    assert run.output == "in the end"
    assert not [kind for kind, _ in run.decided if "cancel" in kind]
    check_replays(run)


def test_a_child_started_in_the_last_drain_is_started() -> None:
    @workflow
    async def parent() -> Any:
        return await child.using(detached=True, queue="slow").astart(1)

    run = Run(parent).start()
    assert run.types == ["child_started", "run_completed"]
    assert run.output == RunHandle(run.records[2].payload["child"])
    check_replays(run)


def test_options_reach_the_services_and_keys_are_refused() -> None:
    @workflow
    async def parent() -> Any:
        with pytest.raises(WorkflowSandboxError, match="exactly once"):
            child.using(idempotency_key="k").astart(1)
        handles = await child.using(priority=5, attributes={"n": 1}).astart_many([((1,), {}), ((2,), {})])
        return len(handles)

    run = Run(parent)
    from django_workflows.eventlog import events

    run.log.append(events.RunStarted(None, ""))
    run.execution.deliver(run.records[1])
    first, second, end = run.execution.take()
    assert first.options == second.options == {"priority": 5, "attributes": {"n": "1"}}
    assert (first.correlation_id, second.correlation_id) == ("child:child:1", "child:child:2")
    assert end.output == "2"


def test_only_own_children_can_be_awaited() -> None:
    @workflow
    async def parent() -> Any:
        await RunHandle("wrun_stranger").aresult()

    assert "step" in Run(parent).start().error["message"]


@pytest.mark.parametrize("verb", ["status", "result", "cancel", "stream", "astatus", "acancel", "astream"])
def test_other_verbs_of_a_handle_belong_into_steps(verb: str) -> None:
    @workflow
    async def parent() -> Any:
        getattr(await child.astart(1), verb)()

    run = Run(parent).start()
    assert f"handle.{verb}()" in run.error["message"]


def test_racing_children() -> None:
    @workflow
    async def parent() -> Any:
        one, two = await child.astart(1), await child.astart(2)
        return await race(one.aresult(), two.aresult(), sleep(60))

    run = Run(parent).start()
    run.end_child(list(run.log.open_children)[1], "two")
    assert run.output == "two"
    check_replays(run)


def test_a_child_that_ends_after_its_parent_changes_nothing() -> None:
    @workflow
    async def parent() -> Any:
        await child.astart(1)

    run = Run(parent).start()
    run.end_child(next(iter(run.log.open_children)), 1)
    assert run.types[-1] == "child_completed"
    finish(run)
