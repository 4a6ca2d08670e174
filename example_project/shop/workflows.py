"""What happens to an order, from the shopping cart to the parcel: start reading at the bottom."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

from django.db.models import F

from django_workflows import FatalError, create_hook, get_step_metadata, sleep, step, workflow

from . import payments
from .models import Order, Product

#: how long a manager has before the order is cancelled
APPROVAL_TIME = timedelta(days=2)


@step(atomic=True)
def reserve_stock(order_id: int) -> None:
    """One transaction with the record of its completion: the stock goes down exactly once."""
    order = Order.objects.get(pk=order_id)
    enough = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity)
    if not enough.update(stock=F("stock") - order.quantity):
        raise FatalError("There is not enough in stock.")
    Order.objects.filter(pk=order_id).update(status=Order.Status.RESERVED)


@step(max_retries=5, retry_delay=0.5)
def charge_card(order_id: int) -> str:
    """May run more than once, if the provider is down or the worker dies, so the provider gets an idempotency key."""
    order = Order.objects.select_related("product").get(pk=order_id)
    return payments.charge(get_step_metadata().step_id, order.product.price * order.quantity)


@step(atomic=True)
def mark_paid(order_id: int, charge_id: str) -> None:
    Order.objects.filter(pk=order_id).update(status=Order.Status.PAID, charge_id=charge_id)


@step(atomic=True)
def mark_approved(order_id: int) -> None:
    Order.objects.filter(pk=order_id).update(status=Order.Status.APPROVED)


@step
def pack(order_id: int) -> str:
    time.sleep(0.6)  # packing takes a moment
    return f"box-{order_id:04}"


@step
async def notify_customer(order_id: int) -> None:
    await asyncio.sleep(0.4)  # an e-mail on its way


@step(atomic=True)
def ship(order_id: int, box: str) -> None:
    Order.objects.filter(pk=order_id).update(status=Order.Status.SHIPPED)


@step
def refund(charge_id: str) -> None:
    payments.refund(charge_id)


@step(atomic=True)
def cancel_order(order_id: int) -> None:
    order = Order.objects.get(pk=order_id)
    Product.objects.filter(pk=order.product_id).update(stock=F("stock") + order.quantity)
    Order.objects.filter(pk=order_id).update(status=Order.Status.CANCELLED)


async def approval(order_id: int) -> bool:
    """A manager's answer; a manager who does not answer has said no. Holds no worker while it waits."""
    async with create_hook(token=f"approve:{order_id}") as hook:
        try:
            async with asyncio.timeout(APPROVAL_TIME.total_seconds()):
                answer: dict[str, Any] = await hook
        except TimeoutError:
            return False
    return bool(answer.get("approved"))


@workflow
async def fulfil_order(order_id: int) -> dict[str, Any]:
    await reserve_stock(order_id)
    charge_id = await charge_card(order_id)
    await mark_paid(order_id, charge_id)
    if not await approval(order_id):
        await asyncio.gather(refund(charge_id), cancel_order(order_id))
        return {"status": "cancelled"}
    await mark_approved(order_id)
    box, _ = await asyncio.gather(pack(order_id), notify_customer(order_id))
    await sleep(3)  # until the courier comes
    await ship(order_id, box)
    return {"status": "shipped", "charge": charge_id, "box": box}
