"""A turn: what is ready now goes through four stages, and each run of it is one :class:`~.work.Work`.

::

    advancer ─ who takes the turn, and when
       │
       ▼ gather     inbox             outcomes by run, timers that are due, steps that may start now ─▶ Work
       │
       ▼ decide     bodies            suspended bodies, cached; those that fit the log are used as they are
       │            replay_cache      for the others: catch up, or replay from the first event
       │            transition_steps  record arrivals (outcomes), deliver, record decisions, start steps
       │
       ▼ write      fenced            all runs with a cached body, few statements, no lock; what the fence refuses,
       │                              and what is due, goes on to
       │            locked            one transaction under the runs' locks; if it fails, one by one;
       │                              parking: repaired, or parked with a reason
       │            doubts            workflows whose runs do not fit after a deploy: tried a few at a time
       │            refusals          what the store refuses is kept in the inbox and tried again; since when, why
       ▼ settle     settlement        attempts begin, bodies are cached, others are notified
                    load              many runs at once: a turn gathers for a moment

    work, worker    the value that passes through; what a turn asks of the worker around it
    adoption        attempts that the log says are running here, and that are not: begun if they never were, else lost

``fenced`` decides a part while the server writes the part before and the steps of the part before that begin. Nothing is
locked between two turns: a killed worker's transaction rolls back and its runs are still due.
"""
