"""Workflows for tests that run real worker processes. Their side effects are in the ledger."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from django_workflows import (
    FatalError,
    RetryableError,
    create_hook,
    get_step_metadata,
    get_workflow_metadata,
    get_writable,
    race,
    sleep,
    step,
    workflow,
)
from tests.shop.models import Ledger, Order

#: the longest that a step waits which a test will interrupt
LONG = 60.0


def note(key: str, note: str = "") -> None:
    Ledger.objects.create(key=key, note=note or str(os.getpid()))


def wait_for_note(key: str) -> None:
    """Wait, as a slow step does, until the test says so in the ledger."""
    deadline = time.monotonic() + LONG
    while not Ledger.objects.filter(key=key).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(key)
        time.sleep(0.02)


@step(retry_delay=0.01)
def add(a: int, b: int) -> int:
    return a + b


@step(retry_delay=0.01)
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@workflow
async def adding(n: int) -> int:
    total = 0
    for _ in range(n):
        total = await add(total, 1)
    return total


@workflow
async def fanning(n: int) -> int:
    return sum(await asyncio.gather(*[add(i, 1) if i % 2 else aadd(i, 1) for i in range(n)]))


@step(retry_delay=0.01)
def held(key: str) -> int:
    """Records each attempt, and returns when the test records ``go:<key>``."""
    note(f"began:{key}", str(get_step_metadata().attempt))
    wait_for_note(f"go:{key}")
    return get_step_metadata().attempt


@workflow
async def holding(key: str) -> int:
    return await held(key)


@step(retry_delay=0.01)
def held_by_file(path: str) -> int:
    """Like ``held``, without the database: returns when the file is there."""
    note(f"began:{path}", str(get_step_metadata().attempt))
    deadline = time.monotonic() + LONG
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return get_step_metadata().attempt


@workflow
async def holding_by_file(path: str) -> int:
    return await held_by_file(path)


@step(retry_delay=0.01)
async def aheld(key: str) -> str:
    await Ledger.objects.acreate(key=f"began:{key}")
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        await Ledger.objects.acreate(key=f"cancelled:{key}")
        raise
    return "late"


@workflow
async def racing(key: str, seconds: float) -> Any:
    winner = await race(aheld(key), asyncio.sleep(seconds, "timer"))
    await add(1, 1)  # a cancel decided in the very drain in which the body returns would not be recorded
    return winner


@workflow
async def racing_blocked(key: str, seconds: float) -> Any:
    return await race(held(key), asyncio.sleep(seconds, "timer"))


@workflow
async def hooked(token: str, count: int = 1) -> list[Any]:
    hook = create_hook(token)
    return [await hook for _ in range(count)]


@workflow
async def unread(token: str, gate: str) -> int:
    hook, other = create_hook(token), create_hook(gate)
    count = await other
    return sum([await hook for _ in range(count)])


@workflow
async def sleeping(seconds: float) -> str:
    await sleep(seconds)
    return "slept"


@workflow
async def cleaning(key: str) -> str:
    hook = create_hook(f"never:{key}")
    try:
        await hook
    except asyncio.CancelledError:
        await leave(f"cleaned:{key}")
        raise
    return "received"


@step
def leave(key: str) -> None:
    note(key)


# --- failing ---------------------------------------------------------------------------------------------------------


@step(max_retries=2, retry_delay=0.01)
def failing(key: str) -> None:
    note(f"tried:{key}", str(get_step_metadata().attempt))
    raise ValueError(f"no luck with {key}")


@workflow
async def failing_run(key: str) -> None:
    await failing(key)


@step(retry_delay=0.01)
def fatal(key: str) -> None:
    note(f"tried:{key}")
    raise FatalError("never")


@workflow
async def catching(key: str) -> str:
    try:
        await fatal(key)
    except FatalError as error:
        return f"caught {error}"
    return "?"


@step
def later(key: str) -> int:
    note(f"tried:{key}")
    if get_step_metadata().attempt == 1:
        raise RetryableError("busy", retry_after=0.2)
    return get_step_metadata().attempt


@workflow
async def retrying(key: str) -> int:
    return await later(key)


@step(timeout=timedelta(seconds=0.3), max_retries=1, retry_delay=0.01)
def too_slow(key: str) -> str:
    note(f"began:{key}", str(get_step_metadata().attempt))
    if get_step_metadata().attempt == 1:
        wait_for_note(f"go:{key}")
        return "late"
    return "in time"


@workflow
async def timing_out(key: str) -> str:
    return await too_slow(key)


@step
def exiting(code: int) -> None:
    raise SystemExit(code)


@workflow
async def exiting_run() -> None:
    try:
        await exiting(3)
    except BaseException as error:
        raise ValueError(f"{type(error).__name__}") from None


# --- atomic ----------------------------------------------------------------------------------------------------------


@step(atomic=True, retry_delay=0.01)
def order(customer: str) -> int:
    return Order.objects.create(customer=customer).pk


@workflow
async def ordering(customer: str) -> int:
    return await order(customer)


@step(atomic=True, max_retries=1, retry_delay=0.01)
def broken_order(customer: str) -> None:
    Order.objects.create(customer=customer)
    raise ValueError("after the write")


@workflow
async def ordering_badly(customer: str) -> None:
    await broken_order(customer)


@step(atomic=True, max_retries=1, retry_delay=0.01)
def deferred_violation(key: str) -> None:
    """Breaks a deferred constraint, which PostgreSQL reports at the commit."""
    note(f"tried:{key}")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_workflows_streamchunk (run_id, stream, index, data, created_at) "
            "VALUES ('wrun_none', 's', 0, '1', now())"
        )


@workflow
async def violating(key: str) -> None:
    await deferred_violation(key)


@step(atomic=True, max_retries=1, retry_delay=0.01)
def poisoned(key: str) -> str:
    """Catches an IntegrityError without a savepoint, after which its transaction accepts no statement."""
    note(f"tried:{key}")
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_workflows_worker (id) VALUES (NULL)")
    except Exception:
        pass
    return "committed?"


@workflow
async def poisoning(key: str) -> str:
    return await poisoned(key)


@step(atomic=True, retry_delay=0.01)
def held_order(key: str) -> int:
    row = Order.objects.create(customer=key)
    with transaction.atomic():
        pass
    os.environ.setdefault("HELD", "")
    began = threading.Event()
    began.set()
    _tell(f"began:{key}")
    wait_for_note(f"go:{key}")
    return row.pk


@workflow
async def holding_order(key: str) -> int:
    return await held_order(key)


def _tell(key: str) -> None:
    """A note that does not wait for the step's own transaction."""
    from django.db import connections

    def write() -> None:
        note(key)
        connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


# --- streams and metadata --------------------------------------------------------------------------------------------


@step
def writing(count: int) -> None:
    out = get_writable()
    for number in range(count):
        out.write(number)
    out.close()


@workflow
async def streaming(count: int) -> str:
    await writing(count)
    return get_workflow_metadata().run_id


# --- poison ----------------------------------------------------------------------------------------------------------


@workflow
async def looping() -> None:
    while True:
        pass


@workflow
async def leaving() -> None:
    os._exit(13)


@workflow
async def recursing() -> None:
    def deeper() -> None:
        deeper()

    deeper()


@workflow
async def stubborn(key: str) -> None:
    """Its ``finally`` never ends: the process hangs when the body is closed."""
    try:
        await sleep(3600)
    finally:
        while True:
            pass


@step(retry_delay=0.01)
def killing(key: str) -> int:
    """Takes its worker process down the first time."""
    note(f"began:{key}", str(get_step_metadata().attempt))
    if get_step_metadata().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return get_step_metadata().attempt


@workflow
async def killing_run(key: str) -> int:
    return await killing(key)
