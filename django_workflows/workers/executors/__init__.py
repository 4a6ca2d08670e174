"""Where attempts run, behind one small protocol.

::

    turn ─ begin, cancel ─▶ dispatcher ─┬▶ threads      ``def`` steps: a pool that grows, none waits while one is idle
                            who runs    └▶ event_loop   ``async def`` steps: tasks of one asyncio loop
                            now, who        │
                            waits           ▼ attempts.pipeline
    turn ◀─ report, try_turn, wake ─ dispatcher ◀─ end

    protocol     Executor (begin, cancel), Ends (how an executor says that an attempt has ended), Turns (what the
                 dispatcher asks of the turn)
    dispatcher   as many attempts at a time as ``slots.concurrency`` says; deadlines; what has waited too long
    threads, event_loop
                 run one attempt after another through ``attempts.pipeline``

No executor knows the engine. Each claims nothing by itself: the turn has started the step in the log before it begins.
"""
