"""Waiting for what another process writes, and waking those who wait.

::

    listener   one thread per process that hears NOTIFY and calls the waiters of a key
    watcher    one thread per process that polls the rows for everything that is waited for, in batches
    results    a run's status and result: poll, wait for a notification or a moment, poll again

A notification is a hint. Every waiter polls before it waits and again after a bounded time, so losing every NOTIFY costs
time and nothing else. No waiter holds a database connection or a transaction while it waits.
"""
