"""Questions that people ask about runs: what does it wait for, what happened when, how is the whole. Read-only.

Nothing here writes, and nothing here decodes a payload into objects: a page has to open also where the class of a value
is gone. Every query is bounded, so that an answer takes as long at 10^6 runs as at 10^3.
"""
