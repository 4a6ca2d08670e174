"""The only writers. Commands in, events out.

Every lifecycle transition is one function here, in five beats: **lock** the run row, **check** under the lock, **change**
the entity, **record** the event, set the **wake**. The caller opens the transaction; functions here require it.

::

    rows        what a locked run and its open entities look like in memory
    database    alias, clock, NOTIFY: the little SQL that is not about one table
    locking     lock_run(), lock_runs(), claim_due_runs()
    transition  what one transaction does to one locked run, gathered in memory
    event_log   append(), read()
    runs steps waits hooks children attributes streams   one verb per transition
    decisions   a body's commands -> those verbs
    write       transitions -> tables: write_orm (ORM, the reference) and write_sql (one PostgreSQL statement)
    leases      worker rows, liveness, rescue
    idempotency to whom a key belongs
    contexts    what the middleware captured for a run
    outbox      what one run owes another
    retention   pruning and erasure

A transition changes rows in memory first (:class:`~.transition.Transition`) and is written at the end, all or nothing:
under the run's lock, or as one statement fenced by ``last_sequence``.
"""
