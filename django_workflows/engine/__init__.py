"""The engine: a body suspended on its own event loop, moved by the events of its log. It knows no Django.

::

    execution: deliver(record)           history      which records a replay is fed, and the look ahead
      │ arrivals settles one awaitable   runtime      primitives ─▶ decisions; hooks, children: their state
      ▼                                  sync_bodies  the same for bodies that are a plain def
    loop: drain()                        decisions    staged ─▶ committed ─▶ taken ─▶ matched with the log
      │ the body runs to quiescence      matching     is this the recorded decision? both sides in words
      ▼                                  futures, determinism   asyncio whose order is that of the log
    execution: take() ─▶ commands        sandbox      no threads, sockets or garbage collection meanwhile
                                         teardown     closing a dropped body has no effects
                                         payloads, outcome   values and ends, read and written
                                         tracing      which event led to which decision

Why decisions are monotone, and what that rests on, is in ``docs/reliability.md``.
"""

from . import sandbox
from .execution import Execution, ExecutionSettings

__all__ = ["Execution", "ExecutionSettings", "sandbox"]
