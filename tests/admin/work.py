"""Workflows that the engine really runs, for the pages to show."""

from __future__ import annotations

import asyncio
from typing import Any

from django_workflows import create_hook, set_attributes, step, workflow

#: the bank's next answer: an exception is raised, anything else is returned
ANSWERS: list[Any] = []


@step(max_retries=2, retry_delay=1.0)
def charge(order: int) -> str:
    answer = ANSWERS.pop(0) if ANSWERS else f"ch_{order}"
    if isinstance(answer, Exception):
        raise answer
    return str(answer)


@step
def send_receipt(charge_id: str) -> str:
    return f"receipt for {charge_id}"


@workflow
async def count_stock(order: int) -> int:
    return order * 2


@workflow
async def fulfil(order: int) -> dict[str, Any]:
    charge_id = await charge(order)
    set_attributes(charge=charge_id)
    child = await count_stock.astart(order)
    stock = await child.aresult()
    hook = create_hook(token=f"packed:{order}")
    try:
        async with asyncio.timeout(3 * 86_400):
            packed = await hook
    except TimeoutError:
        return {"status": "refunded"}
    receipt = await send_receipt(charge_id)
    return {"packed": packed, "stock": stock, "receipt": receipt}
