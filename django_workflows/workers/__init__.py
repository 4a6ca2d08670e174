"""Where engine and services meet: bodies are advanced, steps are run.

::

    supervisor ── forks and watches ──▶ process ── one main loop ──▶ advancer   one turn = what is ready now, in few statements
                                            │                           │ bodies    suspended bodies, kept while their log fits
                                            │                           ▼
                                            ├── doorbell   LISTEN    executor   thread pool (def), event loop (async def)
                                            └── upkeep     heartbeat, rescue, outbox, pruning

Nobody holds a lease between two advances of a run: a killed worker's transaction rolls back and the run is still due. Only
attempts of steps are leased, to this worker and this attempt.
"""
