"""One thread per process that polls the rows for all waiters in it.

A thousand readers of streams and callers of webhooks that wait cost one thread, one database connection, and a query or
two for each poll, however many they are. A waiter puts a question to a :class:`Source` and is called when there is an
answer: a notification of ``CHANGED`` makes the watcher poll at once, and without one it polls every now and then.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Protocol

from ..store import database
from ..values.per_process import PerProcess
from . import listener

logger = logging.getLogger(__name__)

#: what a source says when a question has no answer yet
NOTHING = object()
#: seconds after which the thread ends, and closes its connection, when nothing is waited for
LINGER = 5.0
#: questions that one poll of a source takes
_BATCH = 500


class Question(Protocol):
    """What is waited for, as its source understands it."""

    @property
    def keys(self) -> Sequence[str]:
        """The payloads of ``CHANGED`` after which the answer may have come."""


class Source(Protocol):
    """Reads the answers to many questions at once."""

    def poll(self, questions: Sequence[Any]) -> Sequence[Any]:
        """For each question its answer, an exception for the caller, or :data:`NOTHING`."""


class Subscription:
    """One question of one waiter. ``call`` gets the answer, once, from the watcher's thread."""

    __slots__ = ("call", "question", "source", "waiters")

    def __init__(self, source: Source, question: Question, call: Callable[[Any], None]) -> None:
        self.source, self.question, self.call = source, question, call
        self.waiters = ExitStack()


class Watcher:
    """Polls the sources for the open subscriptions. Its thread begins with the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: dict[Subscription, listener.Waiter | None] = {}
        self._dirty: dict[Subscription, None] = {}
        self._rung = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def watch(self, source: Source, question: Question, call: Callable[[Any], None]) -> Subscription:
        """Have ``call`` get the answer, once, from the watcher's thread; :meth:`cancel` afterwards in any case."""
        subscription = Subscription(source, question, call)
        waiter: listener.Waiter | None = None
        for key in question.keys:
            waiter = subscription.waiters.enter_context(listener.subscription(key, partial(self._ring, subscription)))
        with self._lock:
            self._subscriptions[subscription] = waiter
            self._dirty[subscription] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="workflows-watcher", daemon=True)
                self._thread.start()
        self._rung.set()
        return subscription

    def cancel(self, subscription: Subscription) -> None:
        """End the subscription, answered or not."""
        with self._lock:
            self._subscriptions.pop(subscription, None)
            self._dirty.pop(subscription, None)
        subscription.waiters.close()

    def stop(self) -> None:
        """End the thread and close its connection; it comes back with the next question."""
        thread = self._thread
        self._stopping = True
        self._rung.set()
        if thread is not None:
            thread.join(10)
        self._stopping = False

    def _ring(self, subscription: Subscription) -> None:
        with self._lock:
            if subscription in self._subscriptions:
                self._dirty[subscription] = None
        self._rung.set()

    def _run(self) -> None:
        idle_since, pause, next_poll = time.monotonic(), 0.05, 0.0
        try:
            while not self._stopping:
                self._rung.clear()
                subscriptions = self._due(time.monotonic() >= next_poll)
                if subscriptions and not self._poll_sources(subscriptions):
                    self._forget_connection()
                    time.sleep(pause)
                    pause = min(pause * 2, 5.0)
                    continue
                pause, now = 0.05, time.monotonic()
                poll = self._poll()
                if poll is not None:
                    idle_since = now
                    next_poll = min(next_poll, now + poll) if next_poll > now else now + poll
                elif now - idle_since >= LINGER and self._may_end():
                    return
                self._rung.wait(LINGER if poll is None else max(0.0, next_poll - now))
        finally:
            self._forget_connection()
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _may_end(self) -> bool:
        with self._lock:
            if self._subscriptions:
                return False
            self._thread = None
            return True

    def _due(self, all_of_them: bool) -> list[Subscription]:
        with self._lock:
            due = list(self._subscriptions if all_of_them else self._dirty)
            self._dirty.clear()
            return due

    def _poll(self) -> float | None:
        """Seconds until all rows are polled without a notification; None when nothing is waited for."""
        with self._lock:
            waiters = list(self._subscriptions.values())
        return (
            min((waiter.poll for waiter in waiters if waiter is not None), default=listener.FAST_POLL)
            if waiters
            else None
        )

    def _poll_sources(self, subscriptions: Sequence[Subscription]) -> bool:
        by_source: dict[Source, list[Subscription]] = defaultdict(list)
        for subscription in subscriptions:
            by_source[subscription.source].append(subscription)
        for source, group in by_source.items():
            for start in range(0, len(group), _BATCH):
                batch = group[start : start + _BATCH]
                try:
                    answers = source.poll([subscription.question for subscription in batch])
                except Exception as error:  # noqa: BLE001 - the database is away: all of them keep waiting
                    logger.debug("Polling for waiters failed and is tried again: %s", error)
                    for subscription in subscriptions:
                        self._ring(subscription)
                    return False
                for subscription, answer in zip(batch, answers, strict=True):
                    if answer is not NOTHING:
                        self._answer(subscription, answer)
        return True

    def _answer(self, subscription: Subscription, answer: Any) -> None:
        with self._lock:
            known = self._subscriptions.pop(subscription, self) is not self
            self._dirty.pop(subscription, None)
        if known:
            with suppress(RuntimeError):  # the caller's event loop is closed
                subscription.call(answer)

    def _forget_connection(self) -> None:
        with suppress(Exception):
            database.connection().close()


#: the process's watcher
process_watcher = PerProcess(Watcher)


def wait(source: Source, question: Question, timeout: float | None) -> Any:
    """The answer; blocks the calling thread, which needs no database connection meanwhile.

    Raises ``TimeoutError`` after ``timeout`` seconds, and the exception that is the answer.
    """
    answers: list[Any] = []
    answered = threading.Event()

    def take(answer: Any) -> None:
        answers.append(answer)
        answered.set()

    watcher = process_watcher()
    subscription = watcher.watch(source, question, take)
    try:
        if not answered.wait(timeout):
            raise TimeoutError
    finally:
        watcher.cancel(subscription)
    return _given(answers[0])


async def await_answer(source: Source, question: Question, timeout: float | None) -> Any:
    """Like :func:`wait`, without blocking the event loop or a thread."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any) -> None:
        if not answer.done():
            answer.set_result(value)

    watcher = process_watcher()
    subscription = watcher.watch(source, question, partial(_settle_soon, loop, settle))
    try:
        async with asyncio.timeout(timeout):
            return _given(await answer)
    finally:
        watcher.cancel(subscription)


def _settle_soon(loop: asyncio.AbstractEventLoop, settle: Callable[[Any], None], value: Any) -> None:
    loop.call_soon_threadsafe(settle, value)


def _given(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer
