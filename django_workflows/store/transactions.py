"""The workflow database's transactions: a block, and the transaction of one transition that a caller asks for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import transaction

from . import database, faults

P = ParamSpec("P")
R = TypeVar("R")

#: how often a transition is done again that PostgreSQL ended to break a deadlock or a serialization conflict
TRIES = 8
#: seconds before the third try, at most; more before each later one
PAUSE = 0.02


def atomic() -> transaction.Atomic:
    """``transaction.atomic()`` on the workflow database: a transaction, or a savepoint inside the caller's."""
    return transaction.atomic(using=database.alias())


def in_transaction(verb: Callable[P, R]) -> Callable[P, R]:
    """Run ``verb`` in one transaction; again when a conflict ended it and the transaction is ours to repeat."""

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
                time.sleep(random.uniform(0, PAUSE * attempt))  # noqa: S311 - so that those in conflict come apart
        raise AssertionError("unreachable")

    return run
