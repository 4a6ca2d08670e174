"""One thread per process that looks at rows for everybody who waits in it.

A thousand readers of streams and callers of webhooks that wait cost one thread, one database connection, and a query or
two for each look, however many they are. Whoever waits asks a :class:`Source` a question and is called when there is an
answer: a ring of ``news`` makes the lookout look at once, and without one it looks every now and then all the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Protocol

from django.db import connections

from ..store import database
from . import listener

logger = logging.getLogger(__name__)

#: what a source says when a question has no answer yet
NOTHING = object()
#: seconds after which the thread ends, and gives its connection back, when nobody waits any more
LINGER = 5.0
#: questions that one look takes on
_BATCH = 500


class Question(Protocol):
    @property
    def keys(self) -> Sequence[str]:
        """The payloads of ``NEWS`` after which the answer may have come."""


class Source(Protocol):
    def look(self, questions: Sequence[Any]) -> Sequence[Any]:
        """For each question its answer, an exception for the one who asked, or :data:`NOTHING`."""


class Ticket:
    """One question of one waiter. ``call`` gets the answer, once, from the lookout's thread."""

    __slots__ = ("bells", "call", "question", "source")

    def __init__(self, source: Source, question: Question, call: Callable[[Any], None]) -> None:
        self.source, self.question, self.call = source, question, call
        self.bells = ExitStack()


class Lookout:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[Ticket, listener.Bell | None] = {}
        self._dirty: dict[Ticket, None] = {}
        self._rung = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def ask(self, source: Source, question: Question, call: Callable[[Any], None]) -> Ticket:
        ticket = Ticket(source, question, call)
        bell: listener.Bell | None = None
        for key in question.keys:
            bell = ticket.bells.enter_context(listener.subscription(key, partial(self._ring, ticket)))
        with self._lock:
            self._tickets[ticket] = bell
            self._dirty[ticket] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="workflows-lookout", daemon=True)
                self._thread.start()
        self._rung.set()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        with self._lock:
            self._tickets.pop(ticket, None)
            self._dirty.pop(ticket, None)
        ticket.bells.close()

    def stop(self) -> None:
        """End the thread and close its connection; it comes back with the next question."""
        thread = self._thread
        self._stopping = True
        self._rung.set()
        if thread is not None:
            thread.join(10)
        self._stopping = False

    def _ring(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket in self._tickets:
                self._dirty[ticket] = None
        self._rung.set()

    def _run(self) -> None:
        idle_since, pause, next_poll = time.monotonic(), 0.05, 0.0
        try:
            while not self._stopping:
                self._rung.clear()
                tickets = self._due(time.monotonic() >= next_poll)
                if tickets and not self._look(tickets):
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
            if self._tickets:
                return False
            self._thread = None
            return True

    def _due(self, everybody: bool) -> list[Ticket]:
        with self._lock:
            due = list(self._tickets if everybody else self._dirty)
            self._dirty.clear()
            return due

    def _poll(self) -> float | None:
        """Seconds until everybody's rows are looked at without a ring; None when nobody waits."""
        with self._lock:
            bells = list(self._tickets.values())
        return min((bell.poll for bell in bells if bell is not None), default=listener.FAST_POLL) if bells else None

    def _look(self, tickets: Sequence[Ticket]) -> bool:
        by_source: dict[Source, list[Ticket]] = defaultdict(list)
        for ticket in tickets:
            by_source[ticket.source].append(ticket)
        for source, group in by_source.items():
            for start in range(0, len(group), _BATCH):
                batch = group[start : start + _BATCH]
                try:
                    answers = source.look([ticket.question for ticket in batch])
                except Exception as error:  # noqa: BLE001 - the database is away: they all go on waiting
                    logger.debug("A look at what is waited for failed and is tried again: %s", error)
                    for ticket in tickets:
                        self._ring(ticket)
                    return False
                for ticket, answer in zip(batch, answers, strict=True):
                    if answer is not NOTHING:
                        self._answer(ticket, answer)
        return True

    def _answer(self, ticket: Ticket, answer: Any) -> None:
        with self._lock:
            known = self._tickets.pop(ticket, self) is not self
            self._dirty.pop(ticket, None)
        if known:
            with suppress(RuntimeError):  # the event loop of the one who asked is closed
                ticket.call(answer)

    def _forget_connection(self) -> None:
        with suppress(Exception):
            connections[database.alias()].close()


_lookout = Lookout()
_pid = os.getpid()


def lookout() -> Lookout:
    """The process's lookout. Threads do not survive a fork."""
    global _lookout, _pid
    if _pid != os.getpid():
        _lookout, _pid = Lookout(), os.getpid()
    return _lookout


def wait(source: Source, question: Question, timeout: float | None) -> Any:
    """The answer; blocks the calling thread, which needs no database connection meanwhile.

    Raises ``TimeoutError`` after ``timeout`` seconds, and the exception that is the answer.
    """
    answers: list[Any] = []
    answered = threading.Event()

    def take(answer: Any) -> None:
        answers.append(answer)
        answered.set()

    watcher = lookout()
    ticket = watcher.ask(source, question, take)
    try:
        if not answered.wait(timeout):
            raise TimeoutError
    finally:
        watcher.withdraw(ticket)
    return _given(answers[0])


async def await_answer(source: Source, question: Question, timeout: float | None) -> Any:
    """Like :func:`wait`, without blocking the event loop or a thread."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any) -> None:
        if not answer.done():
            answer.set_result(value)

    watcher = lookout()
    ticket = watcher.ask(source, question, partial(_settle_soon, loop, settle))
    try:
        async with asyncio.timeout(timeout):
            return _given(await answer)
    finally:
        watcher.withdraw(ticket)


def _settle_soon(loop: asyncio.AbstractEventLoop, settle: Callable[[Any], None], value: Any) -> None:
    loop.call_soon_threadsafe(settle, value)


def _given(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer
