"""The workflow database's transactions: a block, and the transaction of one transition that a caller asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import transaction

from . import database, faults

P = ParamSpec("P")
R = TypeVar("R")

#: how often a transition that PostgreSQL ended to break a deadlock is done again
TRIES = 5


def atomic() -> transaction.Atomic:
    """``transaction.atomic()`` on the workflow database: a transaction, or a savepoint inside the caller's."""
    return transaction.atomic(using=database.alias())


def in_transaction(verb: Callable[P, R]) -> Callable[P, R]:
    """Run ``verb`` in one transaction; again when a deadlock ended it and the transaction is ours to repeat."""

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(TRIES):
            own = not database.connection().in_atomic_block
            try:
                with atomic():
                    return verb(*args, **kwargs)
            except faults.DATABASE_ERRORS as error:
                if not own or attempt == TRIES - 1 or not faults.classify(error).is_conflict:
                    raise
        raise AssertionError("unreachable")

    return run
