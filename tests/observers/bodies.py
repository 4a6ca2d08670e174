"""Workflows whose ends are observed, and whose own lines are."""

from __future__ import annotations

import asyncio
import logging

from django_workflows import FatalError, create_hook, sleep, step, workflow

logger = logging.getLogger("shop.orders")


class CardError(Exception):
    pass


@step(max_retries=1, retry_delay=2)
def charge(card: str) -> None:
    raise CardError(f"card {card[-4:]} was declined")


@step
def greet(name: str) -> str:
    logger.info("in the step")
    return f"secret of {name}"


@step
async def greet_async() -> None:
    logger.info("in the async step")


@step
def give_up() -> None:
    raise FatalError("no retry")


@workflow
async def pays(card: str) -> None:
    await charge(card)


@workflow
async def trips() -> None:
    raise KeyError("key-4712")


@workflow
async def greets(name: str) -> str:
    logger.info("in the body")
    return await greet(name)


@workflow
async def greets_async() -> None:
    await greet_async()


@workflow
async def chats() -> None:
    """Says something at each of its turns."""
    try:
        logger.info("begun")
        await greet("a")
        logger.info("greeted")
        await sleep(5)
        logger.info("slept")
        async with create_hook(token="chat") as hook:
            await hook
            logger.info("answered")
            await asyncio.gather(greet("b"), sleep(1))
        logger.info("done")
    finally:
        logger.info("cleaned up")


@workflow
async def waits() -> None:
    await create_hook(token="door-4713")
