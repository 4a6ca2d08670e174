"""A body that uses sets, hashes and addresses wherever asyncio lets it; its log must not depend on any of them.

Run as a program it prints the log, for ``test_determinism``.
"""

from __future__ import annotations

import asyncio
import random as process_random
import sys
from typing import Any

from django_workflows.authoring.primitives import create_hook, now, race, random, sleep, uuid4
from django_workflows.authoring.workflows import workflow

from .steps import a, b, c
from .support import Run, check_replays, finish_step


@workflow(name="tests.storm")
async def storm() -> Any:
    async def helper(n: int) -> Any:
        return await a(n)

    seen = [await item for item in asyncio.as_completed([helper(n) for n in range(12)])]
    tasks = {asyncio.create_task(b(n), name=f"b{n}") for n in range(12)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    await c([task.get_name() for task in done | pending], [task.get_name() for task in pending])
    gathered = {asyncio.gather(a(n), a(-n)) for n in range(8)}
    for future in gathered:
        future.add_done_callback(lambda future: seen.append(future.result()))
    done_too, _ = await asyncio.wait(gathered)
    calls = {a(n) for n in range(8)}
    seen += [await call for call in calls]
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(9):
                group.create_task(b(n, "group"))
            group.create_task(failing())
    except* ValueError:
        pass
    async with asyncio.timeout(60):
        await race(*(sleep(n + 1) for n in range(9)), create_hook("never"))
    return await c(seen, [future.result() for future in done_too], str(uuid4()), random().random(), now())


async def failing() -> None:
    await a("fail")
    raise ValueError


def play(seed: int) -> Run:
    """Drive a run of it, arrivals in an order drawn from ``seed``."""
    arrivals = process_random.Random(seed)
    run = Run(storm).start()
    while not run.log.ended:
        if run.log.open_steps:
            names = list(run.log.open_steps)
            finish_step(run, arrivals.choice(names), {"a": lambda *args: list(args), "b": "b"})
        else:
            run.pass_time()
    return run


if __name__ == "__main__":
    junk = [object() for _ in range(process_random.randrange(100_000))]  # other addresses in each process
    for record in play(int(sys.argv[1])).records:
        print(record.sequence, record.type, record.correlation_id, record.data)  # noqa: T201
    check_replays(play(int(sys.argv[1])), every=40)
