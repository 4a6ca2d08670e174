"""Workflows on which the kit is tested."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from django.db import IntegrityError, transaction

from django_workflows import (
    WebhookRequest,
    WebhookResponse,
    create_hook,
    create_webhook,
    get_step_metadata,
    get_writable,
    now,
    race,
    sleep,
    step,
    workflow,
)
from tests.shop.models import Ledger, Order


@step(name="kit.charge")
def charge(order_id: int) -> str:
    return f"ch_{order_id}"


@step(name="kit.write_ledger")
def write_ledger(key: str) -> int:
    return Ledger.objects.create(key=key).pk


@step(name="kit.write_once", atomic=True)
def write_once(key: str) -> int:
    return Ledger.objects.create(key=key).pk


@step(name="kit.write_async")
async def write_async(key: str) -> int:
    return (await Ledger.objects.acreate(key=key)).pk


@step(name="kit.count_async")
async def count_async() -> int:
    return await Ledger.objects.acount()


@step(name="kit.flaky", retry_delay="10m")
def flaky() -> int:
    if get_step_metadata().attempt < 3:
        raise ConnectionError("not now")
    return get_step_metadata().attempt


@step(name="kit.slow", timeout="1h", max_retries=1, retry_delay=60)
def slow() -> str:
    return "done"


@step(name="kit.catches")
def catches() -> int:
    """Harmless in autocommit: a failed statement, then another one."""
    first = Order.objects.create(customer="first")
    for _ in range(2):
        try:
            Order.objects.create(pk=first.pk)
        except IntegrityError:
            with transaction.atomic():
                Order.objects.create(customer="second")
    return Order.objects.count()


called: list[str] = []


@step(name="kit.on_commit")
def commit_hook(word: str) -> None:
    transaction.on_commit(lambda: called.append(word))


@step(name="kit.stream")
def stream() -> None:
    writable = get_writable()
    for n in range(3):
        writable.write(n)
    writable.close()


@step(name="kit.stream_async")
async def stream_async() -> None:
    writable = get_writable()
    for n in range(3, 5):
        await writable.awrite(n)


@workflow(name="kit.streaming")
async def streaming() -> int:
    await asyncio.gather(stream_async())
    await stream()
    await sleep("1h")
    return 1


@step(name="kit.answer")
def answer(request: WebhookRequest) -> None:
    request.respond_with(WebhookResponse(201, {"got": request.json()}))


@step(name="kit.answer_async")
async def answer_async(request: WebhookRequest) -> None:
    await request.arespond_with(WebhookResponse(200, "again"))


@workflow(name="kit.answering")
async def answering(token: str) -> str:
    webhook = create_webhook(token=token, respond_with="manual")
    await answer(await webhook)
    await answer_async(await webhook)
    await webhook
    return "done"


@workflow(name="kit.simple")
async def simple(order_id: int) -> str:
    return await charge(order_id)


@workflow(name="kit.sleepy")
async def sleepy() -> float:
    started = now()
    await sleep("3d")
    await asyncio.sleep(60)
    return (now() - started) / timedelta(days=1)


@workflow(name="kit.retrying")
async def retrying() -> int:
    return await flaky()


@workflow(name="kit.waiting")
async def waiting(token: str) -> str:
    hook = create_hook(token)
    try:
        async with asyncio.timeout(3 * 86400):
            return (await hook)["box"]
    except TimeoutError:
        return "refunded"


@workflow(name="kit.for_ever")
async def for_ever(token: str) -> None:
    await create_hook(token)


@workflow(name="kit.timed")
async def timed() -> str:
    return await slow()


@workflow(name="kit.raced")
async def raced() -> str:
    return await race(slow(), asyncio.sleep(1800, "timer"))


@workflow(name="kit.both")
async def both() -> list[int]:
    return list(await asyncio.gather(write_ledger("a"), write_async("b")))


@workflow(name="kit.parent")
async def parent() -> list[str]:
    children = [await simple.astart(n) for n in range(3)]
    await sleep("1h")
    return [await child.aresult() for child in children]


@workflow(name="kit.ledger")
async def ledger() -> int:
    await write_ledger("plain")
    await sleep(60)
    await write_once("atomic")
    return 1
