"""Waiting for a state that can be observed, with a deadline. The only place where tests pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.01


def eventually(look: Callable[[], T], what: str, *, timeout: float = 30.0) -> T:
    """The first truthy answer of ``look``. AssertionError, naming ``what``, when there is none within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout:g} s: {what}.")
        time.sleep(PAUSE)
