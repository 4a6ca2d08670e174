"""Reading a run's streams: ``run.stream()`` and ``run.astream()``, and the pages below them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async

from ..exceptions import InAtomicBlockError
from ..notify import watcher
from ..serialization import loads
from ..store import database
from ..values import durations
from ..values.durations import Duration
from .pages import MAX_CHUNKS, PAGES, Page, PageQuestion


def read_page(run_id: str, name: str, start_index: int = 0, limit: int = MAX_CHUNKS) -> Page:
    """The chunks that are there from ``start_index`` on, without waiting; negative: counted back from the tail.

    Raises:
        RunNotFoundError: there is no such run.
    """
    page = _look(PageQuestion(run_id, name, start_index, limit))
    if page is not None and start_index < 0:
        start_index = page.next_index
        page = _look(PageQuestion(run_id, name, start_index, limit))
    return page or Page((), start_index, False)


def pages(run_id: str, name: str, start_index: int = 0, beat: float | None = None) -> Iterator[Page | None]:
    """The stream page by page as it is written; the last one is ``done``. None whenever ``beat`` seconds bring nothing.

    While it waits it needs no database connection of its own: one thread of the process looks for all who wait.

    Raises:
        RunNotFoundError: there is no such run.
        InAtomicBlockError: it would have to wait, inside ``transaction.atomic()``.
    """
    while True:
        question = PageQuestion(run_id, name, start_index)
        try:
            page = _look_here(question) if _in_atomic_block() else watcher.wait(PAGES, question, beat)
        except TimeoutError:
            yield None
            continue
        yield page
        if page.done:
            return
        start_index = page.next_index


async def apages(run_id: str, name: str, start_index: int = 0, beat: float | None = None) -> AsyncIterator[Page | None]:
    """Like :func:`pages`, in async code; it holds no thread either."""
    in_atomic_block = await sync_to_async(_in_atomic_block)()  # asked where the caller's connection lives
    while True:
        question = PageQuestion(run_id, name, start_index)
        try:
            if in_atomic_block:
                page = await sync_to_async(_look_here)(question)
            else:
                page = await watcher.await_answer(PAGES, question, beat)
        except TimeoutError:
            yield None
            continue
        yield page
        if page.done:
            return
        start_index = page.next_index


def _in_atomic_block() -> bool:
    return database.connection().in_atomic_block


def _look(question: PageQuestion) -> Page | None:
    (answer,) = PAGES.poll([question])
    if isinstance(answer, BaseException):
        raise answer
    return answer if isinstance(answer, Page) else None


def _look_here(question: PageQuestion) -> Page:
    """Look with the caller's own connection, which alone sees what its transaction has written."""
    page = _look(question)
    if page is None:
        raise InAtomicBlockError(
            "Reading a stream inside transaction.atomic() would wait for chunks that cannot be seen before that "
            "transaction ends. Read it after the block."
        )
    return page


def stream(run_id: str, name: str, start_index: int = 0, timeout: Duration | None = None) -> Iterator[Any]:
    """The values of a stream from ``start_index`` on, as they are written, until it is closed or the run ends.

    A negative ``start_index`` counts back from the tail at the first look. A stream that has not begun is waited for.

    Raises:
        RunNotFoundError: there is no such run. TimeoutError: nothing has come for ``timeout``.
        InAtomicBlockError: it would have to wait, inside ``transaction.atomic()``.
    """
    for page in pages(run_id, name, start_index, durations.timeout_seconds(timeout)):
        for _, text in _chunks(page, timeout):
            yield loads(text)


async def astream(
    run_id: str,
    name: str,
    start_index: int = 0,
    timeout: Duration | None = None,
) -> AsyncIterator[Any]:
    """Like :func:`stream`, in async code."""
    async for page in apages(run_id, name, start_index, durations.timeout_seconds(timeout)):
        for _, text in _chunks(page, timeout):
            yield loads(text)


def _chunks(page: Page | None, timeout: Duration | None) -> Any:
    if page is None:
        raise TimeoutError(f"Nothing was written to the stream for {timeout}; the run continues, read again later.")
    return page.chunks


__all__ = ["Page", "apages", "astream", "pages", "read_page", "stream"]
