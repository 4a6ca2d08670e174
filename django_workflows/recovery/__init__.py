"""What one does with a log that is there: replay it, put its rows right, continue from it, carry it elsewhere.

::

    replay_log   whether this code fits a log, cut at every place; and which event led to which decision (a trace)
       │
       ├── retry_plan ─▶ retry    a failed run continues from the step that failed it, under the same ids
       └── fork                   a new run begins with a copy of another's log, up to a step

    rebuild      the rows that a log implies, by ``eventlog.fold``: for forks, imports and repair alike
    repair       half-written states, put right from the log
    export       runs as JSON: out, in again, and replayed before a deploy

What is written here is held to the rules of ``verify`` by its tests. Nothing here runs a step.
"""
