"""Where engine and services meet: bodies are advanced, steps are run.

::

    supervisor ── forks and watches ──▶ process ── one main loop: what is due, what time asks for, heartbeat
                                           │
                                           ├── housekeeping its own thread, for chores: rescue, outbox, orphans, prune
                                           ├── turn/        runs: gather, decide, write, settle ── which steps start
                                           │                    │ begin             ▲ report
                                           ├── executors/       ▼ threads (def), one event loop (async def)
                                           ├── attempts/    one attempt at a step: load, run, classify
                                           └── link/        connections, NOTIFY, the lock, the watchdog

No lease is held between two advances of a run: a killed worker's transaction rolls back and the run is still due. Only
attempts of steps are leased, to this worker and this attempt.
"""
