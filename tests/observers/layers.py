"""Middleware of a project, as the how-to shows it, and such as goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from django.utils import translation

from django_workflows import step, workflow
from django_workflows.middleware import AttemptInfo, Middleware

request_id: ContextVar[str] = ContextVar("request_id", default="")
#: what was seen, in order
SEEN: list[Any] = []


class Language(Middleware):
    def capture(self) -> dict[str, Any]:
        return {"language": translation.get_language()}

    @contextmanager
    def step(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> Iterator[None]:
        with translation.override(context.get("language")):
            SEEN.append(("language", attempt.attempt))
            yield
            SEEN.append("/language")


class RequestId(Middleware):
    def capture(self) -> dict[str, Any]:
        return {"request_id": request_id.get()} if request_id.get() else {}

    @contextmanager
    def step(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> Iterator[None]:
        token = request_id.set(context.get("request_id", ""))
        SEEN.append(("request_id", attempt.attempt))
        try:
            yield
        finally:
            request_id.reset(token)
            SEEN.append("/request_id")


class CaptureFails(Middleware):
    def capture(self) -> dict[str, Any]:
        raise LookupError("no tenant here")


class CapturesAnObject(Middleware):
    def capture(self) -> dict[str, Any]:
        return {"what": object()}


class CapturesNoDict(Middleware):
    def capture(self) -> dict[str, Any]:
        return ["de"]  # type: ignore[return-value]


class StepFails(Middleware):
    @contextmanager
    def step(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> Iterator[None]:
        if attempt.attempt == 1:
            raise ConnectionError("the tenant's schema is away")
        yield


class Swallows(Middleware):
    @contextmanager
    def step(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> Iterator[None]:
        with suppress(ValueError):
            yield


class CannotBeMade(Middleware):
    def __init__(self) -> None:
        raise OSError("no file")


def surroundings() -> list[Any]:
    return [translation.get_language(), request_id.get()]


@step(retry_delay=1)
def ask() -> list[Any]:
    return surroundings()


@step
async def ask_async() -> list[Any]:
    return surroundings()


@step(max_retries=0)
def refuses() -> None:
    raise ValueError("no")


@workflow
async def asks() -> list[Any]:
    return [await ask(), await ask_async()]


@workflow
async def starts_a_child() -> list[Any]:
    child = await asks.astart()
    return await child.aresult()  # type: ignore[no-any-return]


@workflow
async def goes_on(round: int = 0) -> list[Any]:
    if round == 0:
        from django_workflows import continue_as_new

        continue_as_new(1)
    return await ask()


@workflow
async def is_refused() -> None:
    await refuses()
