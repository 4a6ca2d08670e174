"""Questions that people ask about runs: what does one wait for, what happened when, what is stalled. Read-only.

::

    about one run    timeline ──▶ lanes (strokes from the log) ──▶ scale (the time axis) ──▶ timeline_rows (bars, words)
                     waiting   why it does not continue        actions  which verbs would do something
                     reasons   the same for one run, with the workers that are alive
    about a list     run_filter  conditions  ·  keyset  pages  ·  search  what a person means by a text
    about all        overview    statistics  ·  counts  exact or estimated  ·  workers  who lives, who serves what
                     health      what is stalled, with advice: ``workflows doctor``
    for all          redaction   secret tokens hidden from those who may not use them
                     text        names, times, durations and tokens as people read them

Nothing here writes, and nothing decodes a payload into objects: a page has to open also where the class of a value is
gone. Every query is bounded, so that an answer takes as long at 10^6 runs as at 10^3.
"""
