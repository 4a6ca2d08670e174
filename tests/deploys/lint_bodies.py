"""Bodies with something wrong in them. ``# W010`` marks a line on which a warning is expected."""

# ruff: noqa: ASYNC210, ASYNC221, ASYNC230, ASYNC240, ASYNC251, C416, DTZ001, DTZ003, DTZ005, DTZ011, E722, PLC0208
# ruff: noqa: PTH123

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import secrets
import subprocess
import threading
import time
import uuid
from datetime import date, datetime
from pathlib import Path
from random import choice
from time import sleep as pause

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache
from django.core.mail import send_mail
from django.db import connection, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone

from django_workflows import now, race, sleep, step, uuid4, workflow
from django_workflows import random as own_random
from tests.shop.models import Order


@step(name="lint.act")
def act(*args: object) -> int:
    return len(args)


@workflow(name="lint.child")
async def child() -> None:
    await act()


@workflow(name="lint.clocks")
async def clocks() -> object:
    first = datetime.now()  # W010
    second = dt.datetime.utcnow()  # W010
    third = time.time()  # W010
    fourth = timezone.now()  # W010
    fifth = date.today()  # W010
    from time import monotonic

    return [first, second, third, fourth, fifth, monotonic()]  # W010


@workflow(name="lint.chance")
async def chance() -> object:
    values = [random.random(), choice("ab")]  # W011
    values.append(secrets.token_hex())  # W011
    values.append(os.urandom(2))  # W011
    return values, uuid.uuid4()  # W012


@workflow(name="lint.orm")
async def orm(pk: int) -> None:
    order = await Order.objects.aget(pk=pk)  # W013
    with transaction.atomic():  # W013
        order.status = "paid"
    await order.asave()  # W013
    get_object_or_404(Order, pk=pk)  # W013
    cache.get("x")  # W013
    connection.cursor()  # W013


@workflow(name="lint.outside")
async def outside() -> None:
    with open("x"):  # W014
        pass
    Path("x").read_text()  # W014
    subprocess.run(["true"], check=False)  # W014
    send_mail("a", "b", "c", [])  # W014
    import requests

    requests.get("https://example.com")  # W014


@workflow(name="lint.blocking")
async def blocking() -> None:
    time.sleep(1)  # W015
    pause(1)  # W015
    await asyncio.to_thread(print)  # W016
    await sync_to_async(print)()  # W016
    threading.Thread(target=print).start()  # W016
    child.start()  # W020
    act.call()  # W020


@workflow(name="lint.catching")
async def catching() -> None:
    try:
        await act()
    except:  # W017
        pass
    try:
        await act()
    except (ValueError, BaseException):  # W017
        pass
    try:
        await act()
    except BaseException:
        await act()
        raise
    try:
        await act()
    except asyncio.CancelledError:
        await act()


@workflow(name="lint.sets")
async def sets(names: list[str]) -> None:
    for name in set(names):  # W018
        await act(name)
    await asyncio.gather(*[act(name) for name in {"a", "b"}])  # W018
    unique = {name for name in names}
    for name in unique:  # W018
        await act(name)
    for name in list(unique | {"c"}):  # W018
        await act(name)
    for name in sorted(set(names)):
        await act(name)
    for number in {1, 2, 3}:
        await act(number)


@workflow(name="lint.unawaited")
async def unawaited() -> None:
    act(1)  # W019
    sleep(5)  # W019
    child.astart()  # W019
    asyncio.gather(act(2), act(3))  # W019
    pending = act(4)
    await pending


@workflow(name="lint.environment")
async def environment() -> object:
    return [settings.DEBUG, os.environ["HOME"], os.getenv("HOME")]  # W021


def helper() -> float:
    return deeper() + 1


def deeper() -> float:
    return time.time()  # W010


@workflow(name="lint.helped")
async def helped() -> float:
    return helper()


@workflow(name="lint.silenced")
async def silenced() -> object:
    first = time.time()  # workflows: ignore[W010]
    second = random.random()  # workflows: ignore
    third = time.time()  # workflows: ignore[W011]  # W010
    fourth = choice(  # workflows: ignore[W015, W011]
        "ab"
    )
    return first, second, third, fourth


@workflow(name="lint.innocent")
async def innocent(values: list[str]) -> object:
    @step(name="lint.nested")
    def nested() -> float:
        return time.time()

    time_ = now()
    await sleep("5m")
    number = own_random().random()
    winner = await race(act(1), asyncio.sleep(3))
    datetime = {"now": 1}
    return time_, number, winner, uuid4(), datetime["now"], await nested(), dt.datetime(2026, 1, 1), values
