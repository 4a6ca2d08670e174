"""The bodies and steps that are measured, written as the documentation recommends."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from django_workflows import create_hook, get_workflow_metadata, get_writable, race, sleep, step, workflow

PAYLOAD = {"items": ["x" * 96 for _ in range(100)]}  # 10 KB as JSON


@step
def trivial(number: int) -> int:
    return number


@step
async def trivial_async(number: int) -> int:
    return number


@step
def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@step
def stamp(number: int) -> float:
    return time.monotonic()


@step
def slow(ledger: str, number: int, seconds: float) -> int:
    note(ledger, number)
    time.sleep(seconds)
    return number


def note(ledger: str, number: int) -> None:
    """One line per execution, in one write: what a killed worker has begun stays visible."""
    with Path(ledger).open("ab", buffering=0) as file:
        file.write(f"{number} {os.getpid()}\n".encode())


@workflow
async def sequence(steps: int) -> int:
    for number in range(steps):
        await trivial(number)
    return steps


@workflow
async def gathered(steps: int) -> int:
    return len(await asyncio.gather(*(trivial(number) for number in range(steps))))


@workflow
async def raced(steps: int) -> int:
    return await race(*(trivial(number) for number in range(steps)))


@workflow
async def payload_sequence(steps: int) -> int:
    for _ in range(steps):
        await echo(PAYLOAD)
    return steps


@workflow
async def payload_gathered(steps: int) -> int:
    return len(await asyncio.gather(*(echo(PAYLOAD) for _ in range(steps))))


@workflow
async def async_sequence(steps: int) -> int:
    for number in range(steps):
        await trivial_async(number)
    return steps


@workflow
async def stamps(steps: int) -> list[float]:
    return [await stamp(number) for number in range(steps)]


@workflow
async def hooked(token: str) -> Any:
    return await create_hook(token)


@workflow
async def inbox(token: str, payloads: int) -> int:
    hook = create_hook(token)
    for _ in range(payloads):
        await hook
    return payloads


@workflow
async def sleeper(until: datetime) -> None:
    await sleep(until)


@workflow
async def sleepers(until: datetime, count: int) -> int:
    return len(await asyncio.gather(*(sleep(until) for _ in range(count))))


@workflow
async def laborious(ledger: str, steps: int, seconds: float) -> int:
    for number in range(steps):
        await slow(ledger, number, seconds)
    return steps


# --- streams ---------------------------------------------------------------------------------------------------------


@step
def produce(stream: Any, chunks: int, size: int) -> int:
    for _ in range(chunks):
        stream.write("x" * size)
    stream.close()
    return chunks


@step(timeout=120)
def transform(run_id: str, source: str, target: Any) -> int:
    """Read one stream to its end and write each chunk to another."""
    from django_workflows.api import get_run

    count = 0
    for value in get_run(run_id).stream(source, timeout=60):
        target.write(value)
        count += 1
    target.close()
    return count


@workflow
async def one_stream(chunks: int, size: int) -> int:
    return await produce(get_writable(), chunks, size)


@workflow
async def pipeline(stages: int, chunks: int, size: int) -> int:
    run_id = get_workflow_metadata().run_id
    names = [f"stage-{number}" for number in range(stages)] + ["default"]
    work = [produce(get_writable(names[0]), chunks, size)]
    work += [transform(run_id, names[n], get_writable(names[n + 1])) for n in range(stages)]
    return (await asyncio.gather(*work))[-1]


@workflow
async def parallel_streams(streams: int, chunks: int, size: int) -> int:
    names = [f"part-{number}" for number in range(streams)]
    return sum(await asyncio.gather(*(produce(get_writable(name), chunks, size) for name in names)))


@step(timeout=120)
def merge(run_id: str, sources: list[str], target: Any) -> int:
    from django_workflows.api import get_run

    count = 0
    for source in sources:
        for value in get_run(run_id).stream(source, timeout=60):
            target.write(value)
            count += 1
    target.close()
    return count


@workflow
async def fan_out_in(streams: int, chunks: int, size: int) -> int:
    run_id = get_workflow_metadata().run_id
    names = [f"part-{number}" for number in range(streams)]
    work = [produce(get_writable(name), chunks, size) for name in names]
    return (await asyncio.gather(*work, merge(run_id, names, get_writable())))[-1]
