"""The workflow database: what is read, locked and gathered, and how it is written. No lifecycle word stands here.

::

    database     alias, connection, the database's clock, NOTIFY
    transactions atomic(), in_transaction(): a block of the workflow database, and a verb that opens one
    faults       what a database error means: gone, locked, deadlocked, full, read-only
    columns      a row class -> its columns with their SQL types
    rows         RunRow, StepRow, WaitRow, HookRow: what a locked run and its open entities look like in memory
    locking      lock_run(), lock_runs(); reading open entities under the lock
    transition   what one transaction does to one locked run, gathered in memory
    event_log    append(), which owns the sequence; read(), which gives gap-free prefixes
    write        transitions -> tables, then NOTIFY and observers; through one of
    write_sql    one PostgreSQL statement for all of them, fenced by each run's ``last_sequence``
    write_orm    the readable reference, and the way on SQLite
    committed    the one seam after the commit: what has happened, to the observers
    claims       what a worker asks: which runs are due, which steps can be claimed, what comes next
    limits       what may be stored: sizes, payloads that a hook's serializer accepts
    code_version which code this process runs
    webhook_url  from a webhook's token to its address
    orm_guard    no queries from inside a body

A transition changes rows in memory first and is written at the end, all or nothing: under the run's lock, or as one
statement fenced by ``last_sequence``. A column is declared on its row class, once; the statements follow.
"""
