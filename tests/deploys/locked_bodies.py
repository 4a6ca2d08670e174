"""Bodies that refer to steps in every way that a compiler treats differently from version to version."""

from __future__ import annotations

from typing import Any

from django_workflows import patched, race, sleep, step, workflow
from tests.deploys import locked_steps
from tests.deploys import locked_steps as other_name


@step(name="locked.pack")
def pack(box: str = "small") -> str:
    return box


@step(name="locked.weigh")
def weigh(box: str) -> int:
    return len(box)


PLAN = {"first": pack, "second": weigh}


class Depot:
    checks = (locked_steps.check,)

    @staticmethod
    async def receive() -> Any:
        return await pack()


async def helper() -> Any:
    return [await weigh(box) for box in ("a", "b")]


@workflow(name="locked.child")
async def child() -> None:
    await sleep(1)


@workflow(name="locked.inline")
async def inline() -> Any:
    return await other_name.stamp()


@workflow(name="locked.comprehensions")
async def comprehensions(boxes: list[str]) -> Any:
    return {box: await weigh(box) for box in boxes if await pack(box)}, (pack.call(box) for box in boxes)


@workflow(name="locked.attributes")
async def attributes() -> Any:
    first = await locked_steps.check.acall()
    await child.using(priority=1).astart()
    return first, await inline(), Depot.checks, await Depot.receive()


@workflow(name="locked.collections")
async def collections(name: str, *, late: bool = False) -> Any:
    return await PLAN[name]()


@workflow(name="locked.nested")
async def nested() -> Any:
    async def inner() -> Any:
        from tests.deploys.locked_steps import stamp

        return await stamp() if patched("stamps") else await helper()

    return await race(inner(), sleep("1d"))
