"""Schedules: which instants come next, and one transaction for each tick.

::

    timing     a row's instants and their jitter: pure functions of the row
    rows       creating and changing schedules; the locks under which that happens
    ticks      due schedules -> runs: lock the row, make the run, move ``next_at``; any worker, no leader
    catchup    which of the missed ticks are made up
    overlap    what a tick does that meets an earlier run which has not ended
    backfill   runs for instants of the past, in bounded batches
    declared   what the code declares, written to the database by the worker that started last

A tick has happened when its transaction has: its run carries the instant in its idempotency key, so that nothing makes
it twice. ``next_at`` is the instant itself; ``due_at`` is when to make it.
"""
