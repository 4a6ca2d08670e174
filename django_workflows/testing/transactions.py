"""Inside a test's transaction, the two things that a commit would do.

Under ``TestCase`` nothing is ever committed. A worker's step, on the other hand, runs in autocommit: a statement that
fails spoils nothing after it, and ``on_commit`` callbacks are called. Without these two, code that is right in
production would fail in its test, and code that is wrong would pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..workers.attempts import pipeline

logger = logging.getLogger(__name__)

_SAVEPOINTS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")


def _inside_a_test() -> list[BaseDatabaseWrapper]:
    return [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]


@contextmanager
def commits() -> Iterator[None]:
    """What is registered with ``on_commit`` in the block is called at its end, as after a commit."""
    before = {connection: len(connection.run_on_commit) for connection in _inside_a_test()}
    yield
    for connection, count in before.items():
        while len(connection.run_on_commit) > count:
            callbacks: list[Any] = connection.run_on_commit[count:]
            del connection.run_on_commit[count:]
            for _, call, robust in callbacks:
                _call(call, robust)


def _call(callback: Callable[[], Any], robust: bool) -> None:
    try:
        callback()
    except Exception:
        if not robust:
            raise
        logger.exception("An on_commit() callback failed.")


class _Autocommit:
    """Gives each statement outside of the step's own ``atomic`` blocks a savepoint: a transaction of its own."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._depth = len(connection.savepoint_ids)

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        connection: BaseDatabaseWrapper = context["connection"]
        if len(connection.savepoint_ids) != self._depth or str(sql).startswith(_SAVEPOINTS):
            return execute(sql, params, many, context)
        connection.needs_rollback = False  # set by a statement that failed before: in autocommit that is over
        if connection.vendor != "postgresql":  # elsewhere a statement that fails leaves its transaction as it was
            return execute(sql, params, many, context)
        with transaction.atomic(using=connection.alias):
            return execute(sql, params, many, context)


@contextmanager
def autocommit() -> Iterator[None]:
    """Statements in the block succeed and fail one by one, as they do without a transaction around them."""
    with ExitStack() as stack:
        inside = [connection for connection in _inside_a_test() if not connection.needs_rollback]
        for connection in inside:
            stack.enter_context(connection.execute_wrapper(_Autocommit(connection)))
        if inside:
            marking = _marking({connection.alias: len(connection.savepoint_ids) for connection in inside})
            stack.enter_context(mock.patch.object(transaction, "mark_for_rollback_on_error", marking))
        yield
        for connection in inside:
            if connection.in_atomic_block:
                connection.needs_rollback = False


def _marking(depths: dict[str, int]) -> Callable[..., Any]:
    """``mark_for_rollback_on_error()`` as it is in autocommit: it marks the step's own ``atomic`` blocks only."""
    mark = transaction.mark_for_rollback_on_error

    @contextmanager
    def marking(using: str | None = None) -> Iterator[None]:
        connection = transaction.get_connection(using)
        if len(connection.savepoint_ids) == depths.get(connection.alias):
            yield
        else:
            with mark(using):
                yield

    return marking


@contextmanager
def kept_open() -> Iterator[None]:
    """Connections stay open in the block: attempts close old ones, and an open transaction looks like one to them."""
    with mock.patch.object(pipeline, "close_old_connections"):
        yield
