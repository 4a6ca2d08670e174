"""A run's vocabulary: what can happen to it, what its body may ask for, and what a log says.

::

    traits     how an event is declared: kind, entity, fields with what erasing keeps, status, sentence
    events     the events themselves, and the groups that follow from their traits
    records    an event as a row of a log
    statuses   what a run, step, wait or hook is
    commands   what a body asks for; services turn it into events
    lives      what of a log counts after ``retry_run``
    fold       from a log to what its run and its entities have become

A new event is a class in ``events`` and a verb of ``services`` that writes it. Engine, constraints, erasure, log lines,
timelines, REST schema and reference page take the rest from its traits.
"""
