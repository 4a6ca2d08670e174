"""What happens after a dump was loaded: the outside acts, a real worker works, and the runs come to their ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.eventually import eventually
from tests.upgrades.site import Site, start_worker

ENDED = ("completed", "failed", "cancelled")


class Later:
    def __init__(self, site: Site, expected: dict[str, Any]) -> None:
        self.site, self.runs = site, expected["runs"]

    def go_on(self, *, timeout: float = 60.0) -> dict[str, Any]:
        """Do what the outside has to do, and let a worker work until all runs have ended. Returns how, by run."""
        acts = [act for run in self.runs.values() for act in run["acts"]]
        undone = [act for act in acts if not self.site.ask("act", **act)]
        worker = start_worker(self.site.environment)
        try:
            eventually(self._done(undone), "all runs have come to their ends", timeout=timeout)
        except AssertionError as error:
            runs = self.site.ask("look")
            left = [f"{self.runs[pk]['shape']}: {run}" for pk, run in runs.items() if run["status"] not in ENDED]
            raise AssertionError("\n".join([str(error), *left])) from None
        finally:
            worker.terminate()
            code = worker.wait(timeout=30)
        assert code == 0, f"the worker ended with {code}"
        return dict(self.site.ask("look"))

    def _done(self, undone: list[dict[str, Any]]) -> Callable[[], bool]:
        def look() -> bool:
            undone[:] = [act for act in undone if not self.site.ask("act", **act)]
            return not undone and all(run["status"] in ENDED for run in self.site.ask("look").values())

        return look
