"""A run's streams for doors that pass the chunks on as stored; their values are read with ``run.stream()``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async

from ..store import database
from ..streams import reading
from ..streams.pages import MAX_CHUNKS, Page

__all__ = ["Page", "afollow", "follow", "read_page", "release"]

#: gives the caller's database connections back, as both ways of following do before they wait
release = database.release_connections


def read_page(run_id: str, name: str, start_index: int = 0, limit: int = MAX_CHUNKS) -> Page:
    """The chunks that are there from ``start_index`` on, without waiting; negative: counted back from the tail.

    Raises:
        RunNotFoundError: there is no such run.
    """
    return reading.read_page(run_id, name, start_index, limit)


def follow(run_id: str, name: str, start_index: int = 0, beat: float | None = None) -> Iterator[Page | None]:
    """The stream page by page as it is written; the last one is ``done``. None whenever ``beat`` seconds bring nothing.

    Gives back the caller's database connections first: it may wait for hours, and needs none of its own meanwhile.

    Raises:
        RunNotFoundError: there is no such run, or it was pruned while it was followed.
        InAtomicBlockError: it would have to wait, inside ``transaction.atomic()``.
    """
    database.release_connections()
    yield from reading.pages(run_id, name, start_index, beat)


async def afollow(
    run_id: str, name: str, start_index: int = 0, beat: float | None = None
) -> AsyncIterator[Page | None]:
    """Like :func:`follow`, in async code; it holds no thread either."""
    await sync_to_async(database.release_connections)()
    async for page in reading.apages(run_id, name, start_index, beat):
        yield page
