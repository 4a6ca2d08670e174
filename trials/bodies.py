"""The workflows of the trials."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from django.db import connection

from django_workflows import create_hook, create_webhook, get_step_metadata, race, sleep, step, workflow
from tests.shop.models import Ledger, Order


@workflow
async def seed_load(token: str) -> list[str]:
    """Eight rounds of one hook's next payload against half a second; two parallel sleeps when the sleep wins."""
    hook = create_hook(token)
    said = []
    for _ in range(8):
        winner = await race(_next(hook), _timer(0.5))
        said.append(winner)
        if winner == "timer":
            await asyncio.gather(sleep(0.1), sleep(0.1))
    return said


async def _next(hook: Any) -> str:
    return f"payload {await hook}"


async def _timer(seconds: float) -> str:
    await sleep(seconds)
    return "timer"


@step(retry_delay=0.01)
def effect(key: str) -> str:
    """At least once: the ledger records each attempt."""
    Ledger.objects.create(key=key, note=str(get_step_metadata().attempt))
    time.sleep(0.01)
    return key


@step(retry_delay=0.01)
async def async_effect(key: str) -> str:
    await Ledger.objects.acreate(key=key, note=str(get_step_metadata().attempt))
    await asyncio.sleep(0.01)
    return key


@step(atomic=True, retry_delay=0.01)
def exactly_once(key: str) -> int:
    row = Order.objects.create(customer=key)
    time.sleep(0.005)
    return row.pk


@workflow
async def six_steps(key: str) -> list[Any]:
    done: list[Any] = [await effect(f"{key}:1")]
    done.append(await exactly_once(f"{key}:2"))
    done += await asyncio.gather(effect(f"{key}:3"), async_effect(f"{key}:4"))
    await sleep(0.05)
    done.append(await exactly_once(f"{key}:5"))
    done.append(await effect(f"{key}:6"))
    return done


@step
def noop(x: int) -> int:
    return x


@workflow
async def wide(n: int) -> int:
    return sum(await asyncio.gather(*[noop(i) for i in range(n)]))


@workflow
async def long(n: int) -> int:
    total = 0
    for i in range(n):
        total += await noop(i)
    return total


@workflow
async def unread(token: str, gate: str, n: int) -> int:
    hook, other = create_hook(token), create_hook(gate)
    await other
    return sum([await hook for _ in range(n)])


@workflow
async def posted(token: str, rounds: int) -> int:
    """Two steps gathered, then a webhook, repeatedly."""
    for number in range(rounds):
        await asyncio.gather(noop(1), noop(2))
        webhook = create_webhook(token=f"{token}.{number}")
        await webhook
        webhook.dispose()
    return rounds


@workflow
async def swapping(first: str, second: str) -> str:
    one = create_hook(first)
    conflict = await one.get_conflict()
    two = create_hook(second)
    other = await two.get_conflict()
    await sleep(0.05)
    one.dispose()
    two.dispose()
    return f"{conflict is None} {other is None}"


@workflow
async def looping() -> None:
    while True:
        pass


@workflow
async def leaving() -> None:
    os._exit(13)


_seen = 0


@workflow
async def diverging() -> int:
    """Diverges on replay: what it decides depends on the process it runs in."""
    return await noop(os.getpid())


@step(retry_delay=0.01)
def long_effect(key: str, seconds: float) -> str:
    Ledger.objects.create(key=key, note=str(get_step_metadata().attempt))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.02)
    return key


@workflow
async def slow_step(key: str, seconds: float) -> str:
    return await long_effect(key, seconds)


@workflow
async def sleeper(seconds: float) -> None:
    await sleep(seconds)


@step
def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@step(atomic=True, retry_delay=0.01, max_retries=0)
def once(key: str) -> int:
    """No retry: a broken connection must not count as a failure."""
    row = Order.objects.create(customer=key)
    time.sleep(0.005)
    return row.pk


@workflow
async def outlasting(key: str) -> list[int]:
    """Nothing here may notice that the database was down."""
    first = await once(f"{key}:1")
    second = await noop(2)
    await sleep(0.05)
    return [first, second, await once(f"{key}:3")]


@step(max_retries=0)
def filed(number: int) -> int:
    """Begins without the database: a line of a file for each attempt."""
    attempt = get_step_metadata()
    with Path(os.environ["TRIAL_LEDGER"]).open("a") as ledger:
        ledger.write(f"{attempt.step_id} {attempt.attempt}\n")
    time.sleep(0.05)
    return number


@workflow
async def filing(key: str) -> int:
    """Six steps that must not notice that the database refused what they reported."""
    total = await filed(1) + await filed(2)
    total += sum(await asyncio.gather(filed(3), filed(4), filed(5)))
    await sleep(0.05)
    return total + await filed(6)
