"""Which workflows a worker doubts: runs of theirs, begun by other code, have just turned out not to fit its own."""

from __future__ import annotations

import time

#: seconds for which a workflow is doubted after the last run that did not fit
DOUBT_TIME = 10.0
#: of the runs that a turn may claim, one in so many is a doubtful one
SHARE = 4


class Doubts:
    """After a deploy thousands of due runs may not fit. Each has to be tried once to see that, and new runs must not wait."""

    def __init__(self) -> None:
        #: ``time.monotonic()`` until when, by the workflow's name
        self._until: dict[str, float] = {}

    def note(self, workflow: str) -> None:
        """A run of this workflow does not fit."""
        self._until[workflow] = time.monotonic() + DOUBT_TIME

    def workflows(self) -> list[str]:
        """Names of those that are doubted now."""
        if self._until:
            now = time.monotonic()
            self._until = {name: until for name, until in self._until.items() if until > now}
        return list(self._until)
