"""The workflows that the tests of the doors run."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import threading
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from django_workflows import (
    FatalError,
    HookNotFoundError,
    WebhookRequest,
    WebhookResponse,
    create_hook,
    create_webhook,
    get_writable,
    sleep,
    step,
    workflow,
)
from django_workflows.authoring.primitives import Writable
from django_workflows.authoring.signatures import Signature


class Approval(serializers.Serializer[Any]):
    approved = serializers.BooleanField()
    comment = serializers.CharField(max_length=20, required=False)


@dataclasses.dataclass
class Parcel:
    weight: Decimal
    packed_at: dt.datetime


@step
def echo(value: Any) -> Any:
    return value


@step(max_retries=0)
def fail(message: str) -> None:
    raise FatalError(message)


@workflow(api=True)
async def add(a: int, b: int = 1) -> int:
    return a + b


@workflow
async def private(a: int = 0) -> int:
    return a


@workflow(api=True)
async def steps_and_waits(count: int) -> list[Any]:
    found = [await echo(i) for i in range(count)]
    await sleep("1ms")
    return found


@workflow(api=True)
async def broken() -> None:
    await fail("no stock")


@workflow(api=True)
async def sleeper() -> str:
    await sleep("30d")
    return "awake"


@workflow
async def odd_values() -> Any:
    return await echo(
        {
            "parcel": Parcel(Decimal("1.50"), dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
            "bytes": b"\x00\xff",
            "set": {1},
            "tuple": (1, "x"),
            "nan": float("nan"),
            "lone": "\ud800",
            "nul": "\x00",
            "big": 10**400,
            "days": dt.timedelta(days=1, seconds=5),
            3: "key",
        }
    )


@workflow(api=True)
async def approval(token: str | None = None) -> Any:
    hook = create_hook(token=token, metadata={"for": "you"}, schema=Approval)
    return await hook


@workflow(api=True)
async def mailbox(token: str, count: int) -> list[Any]:
    hook = create_hook(token=token)
    return [await hook for _ in range(count)]


@workflow
async def receiver(token: str, count: int = 1, verify: str | None = None) -> list[WebhookRequest]:
    webhook = create_webhook(token=token, verify=verify)
    return [await webhook for _ in range(count)]


@workflow
async def strict_receiver(token: str) -> WebhookRequest:
    return await create_webhook(token=token, verify=Signature("standard", "shop", dt.timedelta(seconds=60)))


@workflow
async def greeter(token: str) -> WebhookRequest:
    answer = WebhookResponse(201, {"hello": "there"}, {"X-Shop": "yes", "Connection": "close"})
    return await create_webhook(token=token, respond_with=answer)


@step
def answer(request: WebhookRequest, text: str) -> None:
    request.respond_with(WebhookResponse(200, text, {"X-Answer": "manual"}))


@step
async def answer_async(request: WebhookRequest, text: str) -> None:
    await request.arespond_with(WebhookResponse(200, text))


@step(max_retries=0)
def answer_twice(request: WebhookRequest) -> None:
    request.respond_with(WebhookResponse(200, "first"))
    request.respond_with(WebhookResponse(200, "second"))


@workflow
async def oracle(token: str, count: int = 1, how: str = "sync") -> None:
    """Answers each question by a step."""
    webhook = create_webhook(token=token, respond_with="manual")
    for _ in range(count):
        request = await webhook
        if how == "sync":
            await answer(request, f"you asked {request.text}")
        elif how == "async":
            await answer_async(request, f"you asked {request.text}")
        elif how == "twice":
            await answer_twice(request)
        else:
            await sleep("30d")


@workflow
async def oracle_on_demand(token: str) -> str:
    """Holds its caller until the hook ``<token>-go`` is resumed."""
    webhook = create_webhook(token=token, respond_with="manual")
    go = create_hook(token=f"{token}-go")
    request = await webhook
    text = await go
    await answer(request, text)
    return text


# --- streams ---------------------------------------------------------------------------------------------------------


@step(max_retries=0)
def write_all(stream: Writable, values: list[Any], close: bool = False) -> int:
    for value in values:
        stream.write(value)
    if close:
        stream.close()
    return len(values)


@step
async def awrite_all(stream: Writable, values: list[Any], close: bool = False) -> int:
    for value in values:
        await stream.awrite(value)
    if close:
        await stream.aclose()
    return len(values)


@step(atomic=True)
def write_atomically(stream: Writable, values: list[Any]) -> None:
    for value in values:
        stream.write(value)


@step(max_retries=1, retry_delay=0)
def write_then_fail_once(stream: Writable) -> None:
    from django_workflows import get_step_metadata

    attempt = get_step_metadata().attempt
    stream.write(f"attempt {attempt}")
    if attempt == 1:
        raise ValueError("again")


@workflow(api=True)
async def writer(values: list[Any], name: str = "default", how: str = "sync", close: bool = False) -> None:
    stream = get_writable(name)
    if how == "sync":
        await write_all(stream, values, close)
    elif how == "async":
        await awrite_all(stream, values, close)
    elif how == "atomic":
        await write_atomically(stream, values)
    else:
        await write_then_fail_once(stream)


@workflow
async def choir(voices: int, length: int) -> None:
    """Several steps write to one stream at the same time."""
    stream = get_writable()
    await asyncio.gather(*(write_all(stream, [[voice, i] for i in range(length)]) for voice in range(voices)))


@workflow
async def ticker(token: str) -> None:
    """Writes one chunk for each payload of its hook; ends on ``"stop"``."""
    stream, hook = get_writable(), create_hook(token=token)
    while (value := await hook) != "stop":
        await write_all(stream, [value])


@workflow
async def patient(token: str) -> str:
    """Waits for a payload, and notices when its hook is disposed."""
    hook = create_hook(token=token)
    try:
        await hook
    except HookNotFoundError:
        hook.dispose()  # silent: it is gone already
        return await echo("freed")
    return "received"


#: lets the step below continue when it is too late
TOO_LATE = threading.Event()
REFUSALS: list[str] = []


@step(max_retries=0, timeout=0.2)
def overdue_writer(stream: Writable) -> None:
    stream.write("in time")
    TOO_LATE.wait(60)
    try:
        stream.write("too late")
        stream.close()
    except Exception as error:
        REFUSALS.append(type(error).__name__)


@workflow
async def overdue() -> str:
    try:
        await overdue_writer(get_writable())
    except TimeoutError:
        return "timed out"
    return "written"


@workflow
async def late_writer() -> str:
    """Writes again after it has closed its stream."""
    stream = get_writable()
    await write_all(stream, ["a"], close=True)
    try:
        await write_all(stream, ["b"])
    except Exception as error:
        return type(error).__name__
    return "written"


@workflow
async def hook_of_secret_token() -> Any:
    return await create_hook()


@workflow
async def tell(text: str) -> str:
    await write_all(get_writable(), [text])
    return text


@workflow
async def keep(text: str) -> None:
    """Takes an argument."""


@workflow
async def echo_many(values: list[Any]) -> None:
    await asyncio.gather(*map(echo, values))
