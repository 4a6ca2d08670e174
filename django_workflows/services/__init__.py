"""The only writers. Commands in, events out.

Every lifecycle transition is one function here, in five beats: **lock** the run row, **check** under the lock, **change**
the entity, **record** the event, set the **wake**. The caller opens the transaction; functions here require it.

::

    creation      NewRun -> its row and ``run_created``, one statement for any number of runs
    start_options what the options of a start come to: queue, delay, timeout, attributes
    idempotency   which caller an idempotency key belongs to
    contexts      what the middleware captured for a run
    runs          start, cancel, time out, end, block, unblock; when a worker should advance the run next
    steps         create, start, complete, fail, retry, lose, release, cancel; the lease of an attempt
    waits         create, complete, wake, cancel
    hooks         a token won or lost, payloads received, disposed
    children      a body starts a run of its own
    attributes    searchable text, merged under the run's lock
    decisions     a body's commands -> those verbs
    continuation  a run ends and hands over to a new one
    outbox        messages from one run's transition to another run: a child has ended, a parent was cancelled

A transition never locks a second run. What concerns another run goes through the outbox, each message in a transaction of
its own.
"""
