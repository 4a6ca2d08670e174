"""When a failed step is tried again: pure arithmetic."""

from __future__ import annotations

import random as stdlib_random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from . import durations
from .validation import naming


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff. Delays may be given in any form that ``sleep()`` takes; they are kept as seconds.

    The delay after failure *n* (from 1) is ``retry_delay * backoff ** (n - 1)``, at most ``max_retry_delay``; with
    ``jitter`` a random part of that between nothing and all of it ("full jitter"), so that steps that failed together
    do not come back together. Raises ``ValueError`` or ``TypeError`` naming the option.
    """

    max_retries: int = 3
    retry_delay: float = 1.0
    backoff: float = 2.0
    max_retry_delay: float = 300.0
    jitter: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int):
            raise TypeError(f"max_retries is a whole number, not {self.max_retries!r}. Use 0 for no retries.")
        if self.max_retries < 0:
            raise ValueError(f"max_retries cannot be negative: {self.max_retries}. Use 0 for no retries.")
        for name in ("retry_delay", "max_retry_delay"):
            object.__setattr__(self, name, naming(name, durations.seconds, getattr(self, name)))
        if isinstance(self.backoff, bool) or not isinstance(self.backoff, (int, float)):
            raise TypeError(f"backoff is a number, not {self.backoff!r}.")
        if not 1 <= self.backoff <= sys.float_info.max:
            raise ValueError("backoff is a finite factor of at least 1: each delay is that times the one before.")
        object.__setattr__(self, "backoff", float(self.backoff))
        if not isinstance(self.jitter, bool):
            raise TypeError(f"jitter is True or False, not {self.jitter!r}.")

    def delay(self, failures: int, random: Callable[[], float] = stdlib_random.random) -> timedelta:
        """How long to wait after this many failures (from 1). ``random`` gives numbers in ``[0, 1)``."""
        if failures < 1:
            raise ValueError(f"There is a delay only after a failure: failures is {failures}.")
        try:
            seconds = min(self.retry_delay * self.backoff ** (failures - 1), self.max_retry_delay)
        except OverflowError:
            seconds = self.max_retry_delay if self.retry_delay else 0.0
        return min(timedelta(seconds=seconds * random() if self.jitter else seconds), durations.LONGEST)

    def exhausted(self, failures: int) -> bool:
        """Whether this many failures are more than the policy forgives. Lost workers are not failures."""
        return failures > self.max_retries
