"""Bodies that are ``def`` functions: the same log as with ``await``, event by event."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from django_workflows import (
    FatalError,
    RunFailedError,
    WorkflowSandboxError,
    continue_as_new,
    create_hook,
    get_workflow_metadata,
    now,
    patched,
    race,
    random,
    set_attributes,
    sleep,
    step,
    uuid4,
    workflow,
)
from django_workflows import sync as plain
from django_workflows.authoring import registry
from django_workflows.models import Event, Run
from django_workflows.testing import Workflows, assert_replays, survives_crash_everywhere
from django_workflows.testing.plugin import workflows
from tests.shop.models import Ledger, Order

pytest.importorskip("greenlet")
pytestmark = [pytest.mark.sqlite, pytest.mark.django_db]
__all__ = ["workflows"]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with registry.isolated():
        yield


@step(name="sync.add")
def add(a: int, b: int) -> int:
    return a + b


@step(name="sync.aadd")
async def aadd(a: int, b: int) -> int:
    return a + b


@step(name="sync.fail", max_retries=0)
def fail(word: str) -> None:
    raise FatalError(word)


@step(name="sync.write", atomic=True)
def write(key: str) -> None:
    Ledger.objects.create(key=key)


@workflow(name="sync.child")
async def child(n: int) -> int:
    return await add(n, n)


# --- the same thing twice --------------------------------------------------------------------------------------------


async def steps_async(n: int) -> list[int]:
    total = [await add(n, 1), await aadd(n, 2)]
    try:
        await fail("no")
    except FatalError:
        total.append(await add(0, 0))
    return total


def steps_sync(n: int) -> Any:
    total = [add(n, 1), aadd(n, 2)]
    try:
        fail("no")
    except FatalError:
        total.append(add(0, 0))
    return total


async def gather_async(n: int) -> Any:
    async def branch(k: int) -> int:
        await sleep("5m")
        return await add(k, 1)

    both = await asyncio.gather(add(n, 1), branch(n), fail("x"), return_exceptions=True)
    return [both[0], both[1], str(both[2])]


def gather_sync(n: int) -> Any:
    def branch(k: int) -> Any:
        sleep("5m")
        return add(k, 1)

    both = plain.gather(partial(add, n, 1), lambda: branch(n), partial(fail, "x"), return_exceptions=True)
    return [both[0], both[1], str(both[2])]


async def race_async(n: int) -> Any:
    first = await race(sleep("1h"), add(n, 1))
    try:
        async with asyncio.timeout(600):
            await sleep("1h")
    except TimeoutError:
        return [first, "late"]


def race_sync(n: int) -> Any:
    first = plain.race(lambda: sleep("1h"), lambda: add(n, 1))
    try:
        with plain.timeout(600):
            sleep("1h")
    except TimeoutError:
        return [first, "late"]


async def hooks_async(n: int) -> Any:
    got = []
    async with create_hook(f"tok:{n}") as hook:
        assert await hook.get_conflict() is None
        got.append(await hook)
        async for payload in hook:
            got.append(payload)
            if payload == "end":
                break
    return got


def hooks_sync(n: int) -> Any:
    got = []
    with create_hook(f"tok:{n}") as hook:
        assert hook.get_conflict() is None  # type: ignore[comparison-overlap]
        got.append(hook.wait())
        for payload in hook:
            got.append(payload)
            if payload == "end":
                break
    return got


async def children_async(n: int) -> Any:
    handle = await child.astart(n)
    return [await handle.aresult(), await child(n)]


def children_sync(n: int) -> Any:
    handle = child.start(n)
    return [handle.result(), child(n)]


async def values_async(n: int) -> Any:
    set_attributes(customer=n)
    before = now()
    await sleep("1d")
    assert (now() - before).days == 1
    assert get_workflow_metadata().attributes == {"customer": str(n)}
    return [uuid4().version, random().random() < 1, patched("x")]


def values_sync(n: int) -> Any:
    set_attributes(customer=n)
    before = now()
    sleep("1d")
    assert (now() - before).days == 1
    assert get_workflow_metadata().attributes == {"customer": str(n)}
    return [uuid4().version, random().random() < 1, patched("x")]


async def failing_async(n: int) -> None:
    await add(n, 1)
    raise ValueError("boom")


def failing_sync(n: int) -> None:
    add(n, 1)
    raise ValueError("boom")


async def cancelled_async(n: int) -> None:
    try:
        await sleep("1d")
    finally:
        await add(n, 1)


def cancelled_sync(n: int) -> None:
    try:
        sleep("1d")
    finally:
        add(n, 1)


async def continued_async(n: int) -> int:
    await add(n, 1)
    if n:
        continue_as_new(n - 1)
    return n


def continued_sync(n: int) -> int:
    add(n, 1)
    if n:
        continue_as_new(n - 1)
    return n


def resumed(workflows: Workflows, run: Any) -> None:
    for payload in ("one", "two", "end"):
        workflows.resume("tok:3", payload)


def cancelled(workflows: Workflows, run: Any) -> None:
    workflows.run_until_idle()
    run.cancel("enough")


def log(run_id: str) -> list[tuple[str, str, str]]:
    """The log without what differs between any two runs: times, ids, seeds, and the names of the two workflows."""
    return [
        (event.type, event.correlation_id, _plain(event.data))
        for event in Event.objects.filter(run_id=run_id).order_by("sequence")
    ]


def _plain(data: str) -> str:
    values = {k: v for k, v in json.loads(data).items() if k not in ("workflow", "seed", "worker", "error", "due_at")}
    return re.sub(r"(wrun|wrkr)_\w{26}|\d{4}-\d\d-\d\dT[\d:.+Z]+", "", json.dumps(values))


@pytest.mark.parametrize(
    ("awaiting", "waiting", "script"),
    [
        (steps_async, steps_sync, None),
        (gather_async, gather_sync, None),
        (race_async, race_sync, None),
        (hooks_async, hooks_sync, resumed),
        (children_async, children_sync, None),
        (values_async, values_sync, None),
        (failing_async, failing_sync, None),
        (cancelled_async, cancelled_sync, cancelled),
        (continued_async, continued_sync, None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_logs_are_equal(
    workflows: Workflows,
    awaiting: Callable[[int], Any],
    waiting: Callable[[int], Any],
    script: Callable[[Workflows, Any], None] | None,
) -> None:
    logs, runs = [], []
    both = [workflow(name=f"sync.{fn.__name__}")(fn) for fn in (awaiting, waiting)]
    for this, other in (both, reversed(both)):
        run = workflows.start(this, 3)
        if script is not None:
            script(workflows, run)
        workflows.drive(run)
        assert_replays(run)
        assert_replays(run, workflow=other)
        logs.append(log(run.id))
        runs.append(Run.objects.get(pk=run.id))
    assert logs[0] == logs[1]
    assert len(logs[0]) > 3
    assert runs[0].status == runs[1].status
    assert _plain(json.dumps({"output": runs[0].output})) == _plain(json.dumps({"output": runs[1].output}))


# --- on its own ------------------------------------------------------------------------------------------------------


def test_a_def_body_survives_crashes_everywhere() -> None:
    @workflow(name="sync.robust")
    def robust(n: int) -> Any:
        plain.gather(*[partial(write, str(k)) for k in range(n)])
        sleep("1h")
        return add(1, 2)

    assert survives_crash_everywhere(robust, 2)


def test_it_runs_on_whichever_thread_takes_the_turn(workflows: Workflows) -> None:
    """A greenlet belongs to its thread, but a body that is kept is resumed from any thread."""
    from django_workflows.engine import Execution
    from django_workflows.store.event_log import read

    @workflow(name="sync.threads")
    def threads(n: int) -> Any:
        total = 0
        for k in range(n):
            total = add(total, k)
        return total

    run = workflows.start(threads, 3)
    workflows.result(run)
    records = read(run.id)
    execution = Execution(threads, records[0], run_id=run.id)
    for record in records[1:]:
        thread = threading.Thread(target=execution.deliver, args=(record,))
        thread.start()
        thread.join()
    assert execution.finished
    assert execution.last_sequence == len(records)


def test_a_body_that_is_closed_runs_its_cleanup_without_effect(workflows: Workflows) -> None:
    seen: list[str] = []

    @workflow(name="sync.dropped")
    def dropped() -> None:
        try:
            sleep("1d")
        except Exception:
            seen.append("an Exception")
            raise
        finally:
            seen.append("finally")
            add(1, 1)
            seen.append("never")

    run = workflows.start(dropped)
    workflows.run_until_idle()
    before = log(run.id)
    workflows.crash()
    assert seen == ["finally"]
    assert log(run.id) == before
    workflows.result(run)
    assert seen == ["finally", "finally", "never"]


def test_a_body_that_will_not_go_is_left_where_it_stands(workflows: Workflows) -> None:
    @workflow(name="sync.stubborn")
    def stubborn() -> None:
        while True:
            try:
                sleep("1d")
            except BaseException:
                continue

    workflows.start(stubborn)
    workflows.run_until_idle()
    workflows.crash()  # returns
    gc.collect()


def test_an_async_body_and_a_def_body_call_each_other_inline(workflows: Workflows) -> None:
    @workflow(name="sync.inner")
    def inner(n: int) -> Any:
        return add(n, 1)

    @workflow(name="sync.outer")
    async def outer(n: int) -> int:
        return await aadd(await inner(n), 1)

    @workflow(name="sync.outermost")
    def outermost(n: int) -> Any:
        return [outer(n), add.call(n, 5)]

    assert workflows.run(outermost, 1) == [3, 6]


def test_the_database_and_other_loops_are_refused(workflows: Workflows) -> None:
    @workflow(name="sync.orm")
    def orm() -> int:
        return Order.objects.count()

    @workflow(name="sync.orm_async")
    async def orm_async() -> int:
        return Order.objects.count()

    @workflow(name="sync.loop")
    def loop() -> None:
        coroutine = asyncio.sleep(0)
        try:
            asyncio.run(coroutine)
        finally:
            coroutine.close()

    @workflow(name="sync.thread")
    def thread() -> None:
        threading.Thread(target=print).start()

    for refused in (orm, orm_async, thread):
        with pytest.raises(RunFailedError) as caught:
            workflows.run(refused)
        assert isinstance(caught.value.__cause__, WorkflowSandboxError)
    with pytest.raises(RunFailedError, match="cannot be called from a running event loop"):
        workflows.run(loop)


def test_what_is_for_def_bodies_says_so_elsewhere(workflows: Workflows) -> None:
    @workflow(name="sync.mixed_up")
    async def mixed_up() -> None:
        plain.gather(lambda: 1)

    @workflow(name="sync.mixed_hook")
    async def mixed_hook() -> None:
        create_hook("x").wait()

    with pytest.raises(RunFailedError, match=r"in an `async def` use asyncio\.gather\(\)"):
        workflows.run(mixed_up)
    with pytest.raises(RunFailedError, match="plain `def`"):
        workflows.run(mixed_hook)
    with pytest.raises(WorkflowSandboxError):
        plain.race(lambda: 1)


def test_without_greenlet_a_plain_def_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_workflows.authoring.workflows.find_spec", lambda name: None)
    with pytest.raises(TypeError, match=r"Install django-durable-workflows\[greenlet\]"):

        @workflow
        def refused() -> None: ...
