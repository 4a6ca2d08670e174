"""How a body ended, as a command."""

from __future__ import annotations

import asyncio
from typing import Any

from .. import exceptions
from ..eventlog.commands import CompleteRun, ContinueAsNew, EndRun, FailRun
from ..exceptions import WorkflowError
from ..serialization import Encoded, dumps, encode_error


class Continuation(BaseException):
    """Raised by ``continue_as_new()``: not an error, so that ``except Exception`` lets it pass."""

    def __init__(self, input: Encoded) -> None:
        super().__init__("The run continues as a new one. Do not catch BaseException around continue_as_new().")
        self.input = input


def conclude(main: asyncio.Task[Any], exit: BaseException | None, cause: int) -> EndRun:
    """What the finished main task, or a ``SystemExit`` of any task, means for the run."""
    error = exit or _exception(main)
    if error is None:
        try:
            return CompleteRun("", output=dumps(main.result()), cause=cause)
        except Exception as refused:  # noqa: BLE001  (encoders of registered types are user code)
            error = refused
    if (continuation := _continuation(error)) is not None:
        return ContinueAsNew("", input=continuation.input, cause=cause)
    return FailRun("", error=encode_error(error), error_code=error_code(error), cause=cause, raised=error)


def _continuation(error: BaseException) -> Continuation | None:
    """The first one, also where a ``TaskGroup`` has put it into a group."""
    if isinstance(error, Continuation):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_continuation, error.exceptions)), None)
    return None


def _exception(main: asyncio.Task[Any]) -> BaseException | None:
    try:
        return main.exception()
    except asyncio.CancelledError as cancelled:
        return cancelled


def error_code(error: BaseException) -> str:
    """``user_error``, or the code of the library's own error class that it is."""
    for cls in type(error).__mro__:
        if cls.__module__ == exceptions.__name__ and issubclass(cls, WorkflowError) and cls is not WorkflowError:
            return cls.code
    return "user_error"
