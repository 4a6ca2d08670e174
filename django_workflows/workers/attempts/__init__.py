"""One attempt at a step, from its arguments to its outcome. Nothing here knows the turn, or where the attempt runs.

::

    attempts      Attempt (the row as it was claimed, its lease) ─▶ Outcome (how it went)
    pipeline      load ─▶ run, the only line of user code ─▶ classify; ``def`` and ``async def``
    atomic        the same where the step and its end are one transaction
    step_runtime  what user code may ask meanwhile: metadata, streams, attributes, answers to webhooks
    surroundings  the middleware around the function
    chunk_buffer  chunks of streams, gathered for a moment and saved before the step's end
    forked        the end of a process that a step has forked
    slots         how many attempts a worker begins at a time

Everything that an attempt writes carries its lease, the worker's id and the attempt's number, and is refused when that is
no longer current.
"""
