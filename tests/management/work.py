"""Workflows for the command line to start, show and verify."""

from __future__ import annotations

import asyncio

from django_workflows import create_hook, get_step_metadata, get_writable, race, set_attributes, sleep, step, workflow


@step(max_retries=2, retry_delay=1)
def flaky(x: int) -> int:
    if get_step_metadata().attempt == 1:
        raise ValueError("not the first time")
    return 2 * x


@step
async def note(text: str) -> str:
    return text.upper()


@workflow(name="cli.everything")
async def everything(x: int, *, token: str = "the-token") -> dict[str, object]:
    doubled = await flaky(x)
    set_attributes(customer="c1")
    hook = create_hook(token=token)
    try:
        async with asyncio.timeout(3600):
            answer = await hook
    except TimeoutError:
        answer = "none"
    hook.dispose()
    notes = await asyncio.gather(note("a"), note("b"))
    await race(sleep(10), note("c"))
    return {"doubled": doubled, "answer": answer, "notes": notes}


@workflow(name="cli.failing", queue="slow")
async def failing() -> None:
    raise RuntimeError("the reason\x1b[2J")


@workflow(name="cli.sleeping")
async def sleeping(seconds: float = 3600) -> str:
    await sleep(seconds)
    return "rested"


@workflow(name="cli.busy")
async def busy(number: int) -> int:
    """Rounds of parallel steps, a race between a sleep and a hook, attributes."""
    total = 0
    for _ in range(4):
        a, b = await asyncio.gather(double(number), double(total))
        with create_hook(token=f"busy:{number}") as hook:
            await race(hook, sleep(0.2))
        total += a + b
        set_attributes(total=str(total))
    return total


@step
def double(x: int) -> int:
    return 2 * x


@workflow(name="cli.hashing")
async def hashing() -> str:
    """What no body should do: depend on the hash seed."""
    return await note(str(hash("x")))


@workflow(name="cli.parent")
async def parent(count: int) -> list[str]:
    handles = [await sleeping.astart(0.0) for _ in range(count)]
    return [await handle.aresult() for handle in handles]


@step
def stream_out(count: int) -> None:
    writable = get_writable()
    for number in range(count):
        writable.write(number)
    writable.close()


@workflow(name="cli.streaming")
async def streaming(count: int) -> None:
    await stream_out(count)
