"""The engine: a body suspended on its own event loop, moved by the events of its log. It knows no Django.

::

    Execution.deliver(record)            history      which records a replay is fed, and the look ahead
      │ settles one awaitable            runtime      primitives ─▶ decisions; hooks, children: their state
      ▼                                  decisions    staged ─▶ committed ─▶ taken ─▶ matched with the log
    DurableLoop.drain()                  matching     is this the recorded decision? both sides in words
      │ the body runs to quiescence      loop, futures, determinism   asyncio without a world
      ▼                                  sandbox      no threads, sockets or garbage collection meanwhile
    Execution.take() ─▶ commands         teardown     a dropped body goes without a sound
                                         payloads, outcome   values and ends, read and written

Why decisions are monotone, and what that rests on, is in ``docs/reliability.md``.
"""

from . import sandbox
from .execution import Execution, ExecutionSettings

__all__ = ["Execution", "ExecutionSettings", "sandbox"]
