"""Workflows whose steps keep a ledger and fail on request."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from django_workflows import (
    FatalError,
    RunHandle,
    continue_as_new,
    create_hook,
    get_step_metadata,
    get_workflow_metadata,
    patched,
    random,
    set_attributes,
    sleep,
    step,
    uuid4,
    workflow,
)


class World:
    """``ledger``: (step, argument) in the order of execution; ``broken``: arguments at which ``act`` fails."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.reset()

    def reset(self) -> None:
        self.ledger: list[tuple[str, Any]] = []
        self.ids: list[tuple[str, str]] = []
        self.broken: set[Any] = set()
        self.bug = False

    def note(self, name: str, what: Any) -> None:
        with self.lock:
            self.ledger.append((name, what))
            self.ids.append((str(what), get_step_metadata().step_id))
            self.lock.notify_all()

    def wait_for(self, what: Any) -> None:
        """Until some step has been given ``what``."""
        with self.lock:
            assert self.lock.wait_for(lambda: what in self.done(), timeout=20)

    def done(self) -> list[Any]:
        return [what for _, what in self.ledger]


WORLD = World()


class Refused(Exception):
    """What the outside world says."""


@step(max_retries=0)
def act(what: Any) -> Any:
    WORLD.note("act", what)
    if what in WORLD.broken:
        raise Refused(f"no {what} today")
    return what


@step(max_retries=0)
def outlast(what: Any) -> str:
    """Ends after another step has begun."""
    WORLD.note("outlast", f"outlasting {what}")
    WORLD.wait_for(what)
    return f"after {what}"


@workflow
async def overlapping() -> list[Any]:
    async def branch() -> Any:
        await act("x1")
        return await act("x2")

    return await asyncio.gather(outlast("x2"), branch())


@workflow
async def outlasting() -> list[Any]:
    return await asyncio.gather(outlast("x"), act("x"))


@workflow(timeout="1h")
async def bounded() -> str:
    await act("begin")
    await sleep("30d")
    return "slept"


@workflow
async def three_steps() -> list[Any]:
    return [await act("a"), await act("b"), await act("c")]


@workflow
async def cleaning_up() -> str:
    await act("reserve")
    try:
        await act("charge")
    except Refused:
        await act("release")
        raise
    return await act("ship")


@workflow
async def failing_cleanup() -> str:
    try:
        await act("charge")
    except Refused:
        await act("refund")
    return "refunded"


@workflow
async def branches() -> list[Any]:
    """Two branches beside each other, each of two steps."""

    async def branch(name: str) -> Any:
        await act(f"{name}1")
        return await act(f"{name}2")

    results = await asyncio.gather(branch("x"), branch("y"), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@workflow
async def group() -> str:
    async with asyncio.TaskGroup() as tasks:
        for name in ("p", "q", "r"):
            tasks.create_task(act(name))
    return "all"


@workflow
async def tallied() -> list[Any]:
    """What follows depends on which step failed: it cannot be kept when the failure is revoked."""
    results = await asyncio.gather(act("m"), act("n"), return_exceptions=True)
    bad = [str(result) for result in results if isinstance(result, Refused)]
    await act(f"report {len(bad)}")
    if bad:
        raise FatalError("; ".join(bad)) from next(r for r in results if isinstance(r, Refused))
    return results


@workflow
async def buggy() -> str:
    await act("before")
    if WORLD.bug:
        raise KeyError("a bug of the body")
    return await act("after")


@workflow
async def handled_then_buggy() -> str:
    try:
        await act("optional")
    except Refused:
        await act("instead")
    await act("main")
    if WORLD.bug:
        raise ValueError("a bug of the body")
    return "done"


@workflow
async def hooked(token: str) -> Any:
    hook = create_hook(token)
    await act("announce")
    return await hook


@workflow
async def attributed() -> dict[str, str]:
    set_attributes(stage="one")
    try:
        await act("work")
    except Refused:
        set_attributes(stage="broken", broken="yes")
        await act("mourn")
        raise
    set_attributes(stage="two")
    return {"stage": "two"}


@workflow
async def drawing() -> list[Any]:
    """Random numbers of the run's own seed, before and after a step."""
    first = str(uuid4())
    await act("draw")
    return [first, random().randint(0, 10**9), await act("last")]


@workflow
async def waiting_long() -> str:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep("1d"))
        tasks.create_task(act("now"))
    return "slept"


# --- children --------------------------------------------------------------------------------------------------------


@workflow
async def leaf(n: Any) -> Any:
    return n


@workflow
async def acting_leaf(what: Any) -> Any:
    return await act(what)


@workflow
async def parent(count: int) -> list[Any]:
    handles = [await leaf.astart(n) for n in range(count)]
    return [await handle.aresult() for handle in handles]


@workflow
async def parent_of(what: Any) -> Any:
    return await (await acting_leaf.astart(what)).aresult()


@workflow
async def fibonacci(n: int) -> int:
    if n < 2:
        return n
    left, right = await fibonacci.astart(n - 1), await fibonacci.astart(n - 2)
    return sum(await asyncio.gather(left.aresult(), right.aresult()))


@step
def know(handle: RunHandle[Any]) -> str:
    return handle.status()


@workflow
async def handing_on() -> list[Any]:
    """A handle is a value: awaited twice, passed to a step, returned."""
    handle = await leaf.astart(7)
    twice = await asyncio.gather(handle.aresult(), handle.aresult())
    return [*twice, await know(handle), handle]


@workflow
async def sleeper() -> str:
    try:
        await sleep("1d")
    except asyncio.CancelledError:
        await act("cleanup")
        raise
    return "slept"


@workflow
async def guardian(detached: bool = False) -> str:
    handle = await sleeper.using(detached=detached).astart()
    return await handle.aresult()


@workflow
async def many_sleepers(count: int) -> None:
    for handle in await sleeper.astart_many([((), {})] * count):
        await handle.aresult()


@workflow
async def child_then_step() -> list[Any]:
    handle = await leaf.astart(3)
    return [await act("side"), await handle.aresult()]


@workflow
async def sleeping_child_then_step() -> None:
    handle = await sleeper.astart()
    await act("side")
    await handle.aresult()


@workflow
async def branching(first: bool) -> list[Any]:
    return [await act("left" if first else "right"), await act("end")]


# --- long lives ------------------------------------------------------------------------------------------------------


@workflow(timeout="2h")
async def counter(n: int, limit: int) -> int:
    set_attributes(lap=n)
    await act(n)
    if n < limit:
        continue_as_new(n + 1, limit)
    return n


@workflow
async def parent_of_counter(limit: int) -> int:
    return await (await counter.astart(1, limit)).aresult()


@workflow
async def endless() -> None:
    while True:
        await act("again")


@workflow
async def collecting(token: str) -> list[Any]:
    hook = create_hook(token)
    await act("listening")
    return [await hook for _ in range(10_000)]


@workflow(retention="1h")
async def short_lived() -> str:
    return "gone soon"


@workflow
async def patched_later() -> list[Any]:
    done = [await act("one")]
    if patched("with-two"):
        done.append(await act("two"))
    done.append(await act("three"))
    return done


@workflow
async def stubborn_counter(n: int) -> None:
    """Continues as new even when it is cancelled."""
    try:
        await sleep("1d")
    except asyncio.CancelledError:
        continue_as_new(n + 1)


@workflow
async def hooked_behind(token: str) -> Any:
    """Has a hook, and waits for something else."""
    create_hook(token)
    await sleep("1d")


@workflow
async def confiding(first: str, *, other: str) -> str:
    set_attributes(note=first)
    create_hook(f"door-of-{first.replace(' ', '-')}", metadata={"to": first})
    await act(first)
    return await act(other)


@workflow
async def parent_tagging(what: str) -> Any:
    handle = await acting_leaf.using(attributes={"customer": "child"}).astart(what)
    return await handle.aresult()


@workflow
async def telling_its_id() -> list[Any]:
    return [await act(get_workflow_metadata().run_id), await act("more")]


@workflow
async def echo(token: str) -> Any:
    return await create_hook(token)
