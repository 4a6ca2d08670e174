"""An order that shows its progress to the customer: a stream to the page, two webhooks from outside."""

from __future__ import annotations

import asyncio
from typing import Any

from django_workflows import WebhookResponse, create_webhook, get_writable, step, workflow

from . import provider

THANKS = WebhookResponse(
    200,
    "<!doctype html><title>Thank you</title><p>Thank you. Your order is being processed; you can close this page.</p>",
    {"Content-Type": "text/html; charset=utf-8"},
)


@step
def tell(text: str, **more: Any) -> None:
    """One line on the customer's page."""
    get_writable().write({"text": text, **more})


@step
def ask_provider(callback: str, amount: str) -> None:
    """The provider takes the request and calls back, signed, when the money has moved."""
    provider.ask(callback, amount)


@step
async def pack(what: str) -> None:
    """A step that takes a while writes as it goes."""
    progress = get_writable()
    for percent in range(0, 101, 20):
        await progress.awrite({"text": f"Packing {what}", "percent": percent})
        await asyncio.sleep(0.3)


@workflow
async def live_order(what: str) -> str:
    await tell(f"We have your order: {what}.")
    async with create_webhook(respond_with=THANKS) as approval:
        await tell("A manager has to approve it.", approve=approval.url)
        async for request in approval:
            if request.method == "POST":  # a GET may be a preview, or a scanner that follows links
                break
    payment = create_webhook(verify="standard:payments")
    await tell("Approved. The payment provider is asked.")
    await ask_provider(payment.url, "25.00")
    received = await payment  # a request without a valid signature never gets here
    await tell(f"Paid: {received.json()['amount']} €. The signature was good.")
    await pack(what)
    await tell("On its way to you.")
    return "shipped"
