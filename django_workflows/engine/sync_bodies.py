"""Workflow bodies that are plain ``def`` functions, on the same loop and the same log as those with ``await``.

::

    the loop's thread                          the thread of sync bodies, one in the process
    drive(): a coroutine, a task of the loop   SyncStack: the function on a greenlet of its own
       │ ── begin, or the answer ────────────▶    │ runs until it has to wait for something,
       │ ◀── what it waits for, or its end ───    │ a step, say, and hands that over
       ▼ awaits it

A greenlet can only be resumed by the thread that began it, while turns are taken by any thread of a worker; hence the
thread. The two take turns and never run at the same time, so nothing here needs a lock, and everything that a body asks
for is asked in the same order as with ``await``: the logs are equal.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import datetime
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from greenlet import getcurrent, greenlet

from ..authoring.options import StartOptions
from ..authoring.runtime import RUNTIME, CallableStep, HookPort, Named, Runtime, WorkflowMetadata
from ..values.durations import Duration
from ..values.per_process import PerProcess
from . import sandbox
from .teardown import keep

if TYPE_CHECKING:
    from .runtime import BodyRuntime

#: waits that a body may still begin while it is closed, before it is abandoned where it stands
_ATTEMPTS = 100
_ABANDONED: Any = object()


class SyncRuntime(Runtime):
    """The runtime in a plain ``def`` body: asks the body's own runtime, and waits for the answer."""

    in_body = True
    is_sync = True
    place = "in a workflow body"

    def __init__(self, inner: BodyRuntime) -> None:
        self._inner = inner
        self.run_id = inner.run_id
        self._refused = 0

    @property
    def replaying(self) -> bool:  # type: ignore[override]
        return self._inner.replaying

    def log_context(self) -> dict[str, Any]:
        return self._inner.log_context()

    def wait(self, awaitable: Any) -> Any:
        """Hand over to the loop until the awaitable has a result, or raises."""
        if self._inner.dead:
            self._refuse(awaitable)
        parent = getcurrent().parent
        assert parent is not None
        return parent.switch(awaitable)

    def _refuse(self, awaitable: Any) -> None:
        """The body is being closed: what it waits for never comes."""
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        self._refused += 1
        if self._refused > _ATTEMPTS:
            keep(getcurrent())
            parent = getcurrent().parent
            assert parent is not None
            parent.switch(_ABANDONED)
        raise GeneratorExit

    settle = wait

    def spawn(self, call: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        return drive(SyncStack(self, call, copy_context()))

    def open_sync(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        return self.spawn(lambda: fn(*args, **kwargs))

    # --- what the body's own runtime answers -------------------------------------------------------------------------

    def call_step(self, step: CallableStep, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.wait(self._inner.call_step(step, args, kwargs))

    def sleep(self, delay: Duration | datetime) -> Any:
        return self.wait(self._inner.sleep(delay))

    def start_child(self, workflow: Named, options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.wait(self._inner.start_child(workflow, options, args, kwargs))

    def child_result(self, run_id: str, timeout: Duration | None) -> Any:
        return self.wait(self._inner.child_result(run_id, timeout))

    def create_hook(self, *, token: str | None, is_webhook: bool, metadata: Any, options: dict[str, Any]) -> HookPort:
        return self._inner.create_hook(token=token, is_webhook=is_webhook, metadata=metadata, options=options)

    def webhook_url(self, token: str) -> str:
        return self._inner.webhook_url(token)

    def now(self) -> datetime:
        return self._inner.now()

    def uuid4(self) -> UUID:
        return self._inner.uuid4()

    def random(self) -> Random:
        return self._inner.random()

    def patched(self, patch: str) -> bool:
        return self._inner.patched(patch)

    def continue_as_new(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseException:
        return self._inner.continue_as_new(args, kwargs)

    def metadata(self) -> WorkflowMetadata:
        return self._inner.metadata()

    def set_attributes(self, attributes: dict[str, str | None]) -> None:
        self._inner.set_attributes(attributes)

    def aset_attributes(self, attributes: dict[str, str | None]) -> Any:
        return self.wait(self._inner.aset_attributes(attributes))


def open_sync(inner: BodyRuntime, fn: Callable[..., Any], args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
    """The coroutine that runs a plain function as a body, or as part of one. It begins when it is awaited."""
    if inner.sync is None:
        inner.sync = SyncRuntime(inner)
    around = copy_context()
    around.run(RUNTIME.set, inner.sync)
    return drive(SyncStack(inner.sync, lambda: fn(*args, **kwargs), around))


async def drive(stack: SyncStack) -> Any:
    """Run a plain function to its end, awaiting for it what it waits for."""
    waits_for = stack.begin()
    while not stack.ended:
        try:
            value = await waits_for
        except BaseException as error:  # noqa: BLE001 - for the function, whatever it is
            waits_for = stack.throw(error)
        else:
            waits_for = stack.send(value)
    return waits_for


class SyncStack:
    """A plain function on a stack of its own. Each method runs it until it waits for something or ends.

    They return what it waits for, or with :attr:`ended` what it returned; what it raises, they raise.
    """

    __slots__ = ("_call", "_context", "_greenlet", "_runtime")

    def __init__(self, runtime: SyncRuntime, call: Callable[[], Any], around: Context) -> None:
        self._runtime, self._call, self._context = runtime, call, around
        self._greenlet: greenlet | None = None

    @property
    def ended(self) -> bool:
        return self._greenlet is None or self._greenlet.dead

    def begin(self) -> Any:
        def begin() -> Any:
            self._greenlet = body = greenlet(self._call)
            body.gr_context = self._context
            return body.switch()

        return self._run(begin)

    def send(self, value: Any) -> Any:
        body = self._greenlet
        assert body is not None
        return self._run(lambda: body.switch(value))

    def throw(self, error: BaseException) -> Any:
        body = self._greenlet
        assert body is not None
        if isinstance(error, GeneratorExit) and (sys.is_finalizing() or _thread().is_current()):
            keep(body)  # freed at a moment of Python's choosing, when its thread cannot be asked
            self._greenlet = None
            raise error
        return self._run(lambda: body.throw(type(error), error, error.__traceback__))

    def _run(self, call: Callable[[], Any]) -> Any:
        loop = self._runtime._inner.loop

        def guarded() -> Any:
            with sandbox.draining():
                asyncio._set_running_loop(loop)  # so that asyncio.run() and the like are refused here, too
                try:
                    return call()
                finally:
                    asyncio._set_running_loop(None)

        answer = _thread().run(guarded)
        if answer is _ABANDONED:
            self._greenlet = None
            raise GeneratorExit
        return answer


class _Thread:
    """The thread that sync bodies run on. The caller that hands it a call waits for the answer."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[tuple[bool, Any]]]] = SimpleQueue()
        thread = threading.Thread(target=self._loop, name="workflows-sync", daemon=True)
        with sandbox.lifted():  # the body asks for it, and the engine gives it
            thread.start()
        self._thread = thread

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def run(self, call: Callable[[], Any]) -> Any:
        answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._work.put((call, answers))
        returned, value = answers.get()
        if returned:
            return value
        try:
            raise value
        finally:
            del value  # it refers to this frame

    def _loop(self) -> None:
        while True:
            call, answers = self._work.get()
            try:
                answer = True, call()
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                answer = False, error
            answers.put(answer)
            del call, answers, answer


_thread = PerProcess(_Thread)
