"""Small values with units: nothing here knows a run, a model or a setting.

::

    clock        the only wall clock, which tests move
    durations    how long: seconds, timedelta or text; and in words for people
    cron         the instants of a cron expression in a time zone, and of an interval
    retry        when a failed step is tried again
    ids          names for runs, steps, hooks, waits and workers; tokens, and which of them are secret
    attributes   a run's searchable text: how much of it, and how changes are merged
    validation   checks of options that people type
    text         text, cut to the room there is
    per_process  one object per process, for what owns threads: a forked child makes its own
"""
