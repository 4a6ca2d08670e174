"""What keeps the tables in order while runs come and go.

::

    worker_rows   registering workers, their heartbeats, and the rescue of the steps of those that are gone
    retention     removing ended runs whose retention is over, in bounded batches
    erasure       replacing what people put into runs, keeping the shape of their logs
"""
