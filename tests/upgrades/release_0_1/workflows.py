"""The workflows of the dumps of release 0.1.0. Frozen: see this package's first lines.

``UPGRADES_CODE`` makes them other code for a while, as a deploy does; only the script that makes the dumps sets it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from django_workflows import (
    EntityConflictError,
    FatalError,
    HookConflictError,
    RetryableError,
    RunCancelledError,
    RunFailedError,
    RunHandle,
    WebhookRequest,
    WebhookResponse,
    continue_as_new,
    create_hook,
    create_webhook,
    get_step_metadata,
    get_workflow_metadata,
    get_writable,
    now,
    patched,
    race,
    random,
    set_attributes,
    sleep,
    step,
    uuid4,
    workflow,
)

from .values import Approval, every_value, large_text

CODE = set(os.environ.get("UPGRADES_CODE", "").split(","))

# --- steps -----------------------------------------------------------------------------------------------------------


@step(name="upgrades.note", retry_delay=0)
def note(word: Any) -> Any:
    return word


@step(name="upgrades.anote", retry_delay=0)
async def anote(word: Any) -> Any:
    return word


@step(name="upgrades.book", atomic=True, retry_delay=0)
def book(order_id: int, *, by: str = "card") -> dict[str, Any]:
    set_attributes(booked=by)
    return {"order": order_id, "by": by}


@step(name="upgrades.fail", max_retries=2, retry_delay=0)
def fail(how: str) -> None:
    if how == "fatal":
        raise FatalError("declined", 51)
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise ValueError(f"{how} on attempt {get_step_metadata().attempt}") from cause


@step(name="upgrades.linger", timeout=0.1, max_retries=0)
async def linger() -> None:
    await asyncio.Event().wait()


@step(name="upgrades.flaky", max_retries=1)
def flaky(pause: Any) -> str:
    attempt = get_step_metadata().attempt
    if attempt == 1:
        raise RetryableError("not yet", retry_after=pause)
    return f"attempt {attempt}"


@step(name="upgrades.hold", retry_delay=0)
def hold(word: str) -> str:
    """The first attempt never returns: its worker is killed under it."""
    attempt = get_step_metadata().attempt
    if attempt == 1:
        threading.Event().wait()
    return f"{word}, attempt {attempt}"


@step(name="upgrades.charge", max_retries=0)
def charge() -> str:
    if "broken" in CODE:
        raise ConnectionError("the bank is closed")
    return "charged"


@step(name="upgrades.write", retry_delay=0)
def write(values: list[Any], *, stream: str = "default", close: bool = False) -> int:
    writable = get_writable(stream)
    for value in values:
        writable.write(value)
    if close:
        writable.close()
    return len(values)


@step(name="upgrades.answer", retry_delay=0)
def answer(request: WebhookRequest) -> str:
    try:
        request.respond_with(WebhookResponse(201, {"echo": request.text}))
    except EntityConflictError:
        return "too late"
    return "answered"


# --- ends ------------------------------------------------------------------------------------------------------------


@workflow(name="upgrades.orders", queue="slow")
async def orders(order_id: int, *, express: bool = False) -> dict[str, Any]:
    set_attributes(order=str(order_id), gone="soon")
    booked = await book(order_id, by="invoice")
    set_attributes(gone=None)
    sent = await asyncio.gather(note("box"), anote("mail"), note({"express": express}))
    metadata = get_workflow_metadata()
    return {
        "booked": booked,
        "sent": sent,
        "moments": now() >= metadata.started_at,
        "ids": [str(uuid4()), str(uuid4())],
        "drawn": [random().random(), random().randrange(10**9)],
        "attributes": metadata.attributes,
    }


@workflow(name="upgrades.values")
async def values(given: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    if token is not None:
        given["from outside"] = await create_hook(token=token, metadata=every_value())
    return {"echo": await note(given), "async": await anote(every_value()), "large": await note(large_text())}


@workflow(name="upgrades.branches")
async def branches(token: str | None) -> list[Any]:
    """Tasks, groups, timeouts, races and locks, and after them perhaps a wait with a branch beside it."""
    found: list[Any] = []
    lock = asyncio.Lock()

    async def branch(number: int) -> None:
        async with lock:
            found.append(await note(number))

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(branch(number))
    found.append(await race(sleep("9d"), note("faster")))
    try:
        async with asyncio.timeout(0.05):
            await create_hook(metadata="never resumed")
    except TimeoutError:
        found.append("timed out")
    done, pending = await asyncio.wait(
        [asyncio.ensure_future(note("one")), asyncio.ensure_future(sleep("9d"))], return_when=asyncio.FIRST_COMPLETED
    )
    found.append([len(done), len(pending)])
    for task in pending:
        task.cancel()
    if token is not None:
        left, right = await asyncio.gather(create_hook(token=token), note("beside"))
        found += [left, right, random().randrange(10**9), str(uuid4())]
    return found


@workflow(name="upgrades.failing")
async def failing(how: str) -> Any:
    if how == "body":
        nothing: dict[str, Any] = {}
        return nothing["missing"]
    if how == "unstorable":
        return threading.Event
    if how == "step timeout":
        return await linger()
    if how == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(fail("left"))
            group.create_task(fail("right"))
    if how == "caught":
        try:
            await fail("fatal")
        except FatalError as error:
            return [str(error), list(error.args)]
    return await fail(how)


@workflow(name="upgrades.waiting")
async def waiting(token: str) -> Any:
    """Waits for one payload; told to end before, it cleans up."""
    try:
        payload = await create_hook(token=token, metadata={"for": token})
    except asyncio.CancelledError:
        await note("cleaned up")
        raise
    return await note({"received": payload})


@workflow(name="upgrades.collecting")
async def collecting(token: str, wanted: int) -> list[Any]:
    found: list[Any] = []
    async with create_hook(token=token) as hook:
        async for payload in hook:
            found.append(await note(payload))
            if len(found) == wanted:
                break
    return found


@workflow(name="upgrades.approving")
async def approving(token: str) -> Any:
    return await create_hook(token=token, schema=Approval)


@workflow(name="upgrades.conflicting")
async def conflicting(token: str) -> list[Any]:
    hook = create_hook(token=token)
    owner = await hook.get_conflict()
    try:
        await hook
    except HookConflictError:
        return [owner, "taken"]
    return [owner, "mine"]


@workflow(name="upgrades.sleeping")
async def sleeping(until: Any) -> Any:
    await note("before")
    await sleep(until)
    return await anote("rested")


# --- webhooks --------------------------------------------------------------------------------------------------------


@workflow(name="upgrades.listening")
async def listening(token: str, how: str) -> list[Any]:
    if how == "respond":
        webhook = create_webhook(token=token, respond_with=WebhookResponse(299, "fixed", {"X-Shop": "yes"}))
    elif how == "signed":
        webhook = create_webhook(token=token, verify="github")
    else:
        webhook = create_webhook(token=token, metadata={"how": how})
    request = await webhook
    return [webhook.url, request.method, request.query, dict(request.headers), request.body]


@workflow(name="upgrades.answering")
async def answering(token: str) -> list[Any]:
    request = await create_webhook(token=token, respond_with="manual")
    return [request.text, await answer(request)]


# --- attempts --------------------------------------------------------------------------------------------------------


@workflow(name="upgrades.recovering")
async def recovering(pause: Any) -> Any:
    return await flaky(pause)


@workflow(name="upgrades.held", queue="held")
async def held(word: str) -> str:
    return await hold(word)


@workflow(name="upgrades.charging")
async def charging(token: str | None = None) -> list[Any]:
    """Its charge fails while the bank is closed; ``retry_run`` gives it another life."""
    reserved = await note("reserved")
    try:
        charged = await charge()
    except ConnectionError:
        set_attributes(sorry="yes")
        await note("released")
        raise
    payload = await create_hook(token=token) if token is not None else None
    return [reserved, charged, payload]


# --- code that changes -----------------------------------------------------------------------------------------------


@workflow(name="upgrades.parking")
async def parking(token: str) -> list[Any]:
    first = await note("another" if "misfit" in CODE else "first")
    payload = await create_hook(token=token)
    return [first, payload, await note("last")]


@workflow(name="upgrades.patching")
async def patching(token: str) -> list[Any]:
    found = ["old"]
    if "unpatched" not in CODE and patched("second-look"):
        found = [await note("patched")]
    payload = await create_hook(token=token)
    if "unpatched" not in CODE and patched("second-look"):
        found.append(await note("patched again"))
    return [*found, payload]


# --- several runs ----------------------------------------------------------------------------------------------------


@workflow(name="upgrades.child")
async def child(how: str, token: str = "") -> Any:
    if how == "fail":
        await fail("fatal")
    if how == "continue":
        continue_as_new("wait", token)
    if how == "wait":
        return await create_hook(token=token)
    return await note(["child", how])


@workflow(name="upgrades.parent")
async def parent(how: str, token: str = "", *, detached: bool = False) -> Any:
    handle: RunHandle[Any] = await child.using(detached=detached, attributes={"child": how}).astart(how, token)
    try:
        return {"child": handle, "result": await handle.aresult()}
    except RunFailedError as error:
        return {"child": handle, "failed": error.error_type, "cause": repr(error.__cause__)}
    except RunCancelledError:
        return {"child": handle, "cancelled": True}


@workflow(name="upgrades.held_child", queue="held")
async def held_child() -> str:
    return "the child is done"


@workflow(name="upgrades.held_parent", queue="held")
async def held_parent() -> Any:
    handle: RunHandle[Any] = await held_child.astart()
    return await handle.aresult()


@workflow(name="upgrades.forking")
async def forking(number: int, *, wait: bool = False) -> list[Any]:
    drawn = random().randrange(10**9)
    first = await note(["first", number])
    second = await note(["second", number])
    payload = await create_hook() if wait else None
    return [drawn, first, second, payload, random().randrange(10**9)]


@workflow(name="upgrades.continuing")
async def continuing(left: int, token: str, total: int = 0) -> Any:
    total += await note(left)
    if left:
        continue_as_new(left - 1, token, total)
    return [total, await create_hook(token=token) if token else None]


@workflow(name="upgrades.streaming")
async def streaming(token: str) -> int:
    written = await write([1, "two", b"three", every_value()])
    written += await write(["closed"], stream="log", close=True)
    payload = await create_hook(token=token)
    return written + await write([payload], close=True)


# --- plain functions -------------------------------------------------------------------------------------------------


@workflow(name="upgrades.plain")
def plain(token: str) -> list[Any]:
    first = note("plain")
    return [first, create_hook(token=token).wait()]
