"""A workflow that does what a tree says: every construct of asyncio that a body may use, nested arbitrarily."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from django_workflows import create_hook, now, random, set_attributes, sleep
from django_workflows import race as first_of
from django_workflows.authoring.workflows import workflow
from tests.engine.steps import a, b, charge

Tree = list[Any]
STEPS: dict[str, Any] = {"a": a, "b": b, "charge": charge}


@workflow(name="tests.growing")
async def growing(tree: Tree) -> Any:
    said = await grow(tree)
    return [said, random().random(), now().isoformat()]


async def grow(tree: Tree) -> Any:
    kind, *rest = tree
    return await _KINDS[kind](*rest)


async def _step(name: str) -> Any:
    return await STEPS[name](name)


async def _sleep(seconds: float) -> str:
    await sleep(seconds)
    return "slept"


async def _nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "napped"


async def _hook(token: str, count: int) -> list[Any]:
    from django_workflows.exceptions import HookConflictError

    with create_hook(token) as hook:
        try:
            return [await hook for _ in range(count)]
        except HookConflictError:
            return ["conflict"]


async def _note(key: str) -> None:
    set_attributes(**{key: "x"})


async def _sequence(*trees: Tree) -> list[Any]:
    return [await grow(tree) for tree in trees]


async def _gather(*trees: Tree) -> list[Any]:
    found = await asyncio.gather(*map(grow, trees), return_exceptions=True)
    return [type(item).__name__ if isinstance(item, BaseException) else item for item in found]


async def _group(*trees: Tree) -> Any:
    failed = 0
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(grow(tree)) for tree in trees]
    except* ValueError as errors:
        failed = len(errors.exceptions)
    return f"{failed} failed" if failed else [task.result() for task in tasks]


async def _race(*trees: Tree) -> Any:
    return await first_of(*map(grow, trees))


async def _limit(seconds: float, tree: Tree) -> Any:
    try:
        async with asyncio.timeout(timedelta(seconds=seconds).total_seconds()):
            return await grow(tree)
    except TimeoutError:
        return "too late"


async def _wait_for(seconds: float, tree: Tree) -> Any:
    try:
        return await asyncio.wait_for(grow(tree), seconds)
    except TimeoutError:
        return "too late"


async def _first(*trees: Tree) -> list[Any]:
    tasks = [asyncio.ensure_future(grow(tree)) for tree in trees]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return [type(task.exception()).__name__ if task.exception() else task.result() for task in done]


async def _as_completed(*trees: Tree) -> list[Any]:
    found = []
    for item in asyncio.as_completed([grow(tree) for tree in trees]):
        try:
            found.append(await item)
        except ValueError:
            found.append("failed")
    return found


async def _shield(tree: Tree) -> Any:
    return await asyncio.shield(grow(tree))


async def _cancel(first: Tree, second: Tree) -> Any:
    task = asyncio.create_task(grow(first))
    said = await grow(second)
    task.cancel()
    try:
        return [said, await task]
    except asyncio.CancelledError:
        return [said, "cancelled"]


async def _clean(tree: Tree, after: Tree) -> Any:
    try:
        return await grow(tree)
    finally:
        await grow(after)


async def _catch(tree: Tree) -> Any:
    try:
        return await grow(tree)
    except ValueError as error:
        return f"caught {error}"


async def _queue(*trees: Tree) -> list[Any]:
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    limit = asyncio.Semaphore(2)

    async def produce(tree: Tree) -> None:
        async with limit:
            try:
                await queue.put(await grow(tree))
            except ValueError:
                await queue.put("failed")

    tasks = [asyncio.create_task(produce(tree)) for tree in trees]
    found = [await queue.get() for _ in trees]
    await asyncio.gather(*tasks)
    return found


_KINDS: dict[str, Any] = {
    "step": _step,
    "sleep": _sleep,
    "nap": _nap,
    "hook": _hook,
    "note": _note,
    "sequence": _sequence,
    "gather": _gather,
    "group": _group,
    "race": _race,
    "limit": _limit,
    "wait_for": _wait_for,
    "first": _first,
    "as_completed": _as_completed,
    "shield": _shield,
    "cancel": _cancel,
    "clean": _clean,
    "catch": _catch,
    "queue": _queue,
}
