"""The classes that the traps use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone, translation

from django_workflows import step, workflow


class CannotBeRebuilt(Exception):
    """Its constructor needs arguments that its ``args`` do not hold."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one}-{two}")


class CannotBeEncoded(Exception):
    def __init__(self) -> None:
        super().__init__(object(), {1, (2, object())})


class CannotBeShown(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class CannotBeRead(Exception):
    def __init__(self, *args: Any) -> None:
        if args:
            raise ValueError("not from args")


@step(max_retries=0)
def raising(kind: str) -> None:
    makers: dict[str, Callable[[], Exception]] = {
        "rebuilt": lambda: CannotBeRebuilt(1, 2),
        "encoded": CannotBeEncoded,
        "shown": CannotBeShown,
        "read": CannotBeRead,
        "group": lambda: ExceptionGroup("g", [ValueError("a"), CannotBeRebuilt(1, 2)]),
        "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    }
    error = makers[kind]()
    raise error


@workflow
async def passing_on(kind: str) -> None:
    await raising(kind)


@workflow
async def catching(kind: str) -> str:
    try:
        await raising(kind)
    except Exception as error:
        return type(error).__name__
    return ""


@workflow
async def raising_itself(kind: str) -> None:
    raising.fn(kind)


@step
def echo(value: Any) -> Any:
    return value


@workflow
async def echoing(value: Any) -> Any:
    return await echo(value)


@step
def ambient_in_step() -> list[str]:
    return [translation.get_language() or "", str(timezone.get_current_timezone())]


@workflow
async def ambient() -> list[list[str]]:
    return [[translation.get_language() or "", str(timezone.get_current_timezone())], await ambient_in_step()]


@step
def big(size: int) -> str:
    return "x" * size


@workflow
async def too_big(size: int) -> int:
    return len(await big(size))
