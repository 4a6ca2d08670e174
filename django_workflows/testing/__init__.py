"""What tests of workflows need: run them here and now, through the production code, on a clock that tests move.

::

    from django_workflows.testing import mock_step, run_workflow

    class FulfilOrderTests(TestCase):
        def test_a_declined_card_ends_the_order(self):
            with mock_step(charge_card, side_effect=FatalError("declined")):
                with self.assertRaises(RunFailedError):
                    run_workflow(fulfil_order, self.order.pk)

With pytest there is the fixture ``workflows``, a :class:`Workflows`. Nothing sleeps, nothing needs a worker, and under
``TestCase`` all of it happens inside the test's transaction.

::

    session        Workflows, run_workflow: what a test calls       plugin         the pytest fixture
    driver         a worker in the calling thread: turns, attempts  inline_executor  attempts, one after the other
    client         waiting for a result drives the runs             transactions   commits inside a test's transaction
    mocks          mock_step                                        waiting        why a run cannot continue, for the test
    replay         assert_replays                                   crash_trials   survives_crash_everywhere
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .crash_trials import CrashPoint, survives_crash_everywhere
    from .mocks import mock_step
    from .replay import assert_replays
    from .session import Workflows, arun_workflow, run_workflow
    from .waiting import ParkedError, StillWaitingError

#: names are imported when they are asked for: pytest loads the plugin beside this file before Django is set up
_HOMES = {
    "CrashPoint": "crash_trials",
    "ParkedError": "waiting",
    "StillWaitingError": "waiting",
    "Workflows": "session",
    "arun_workflow": "session",
    "assert_replays": "replay",
    "mock_step": "mocks",
    "run_workflow": "session",
    "survives_crash_everywhere": "crash_trials",
}

__all__ = [
    "CrashPoint",
    "ParkedError",
    "StillWaitingError",
    "Workflows",
    "arun_workflow",
    "assert_replays",
    "mock_step",
    "run_workflow",
    "survives_crash_everywhere",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
