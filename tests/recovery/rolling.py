"""One workflow in two incompatible versions, so that workers of both meet the same runs.

``ROLLING_VERSION`` says which version a process has. A process without it can start runs and judge their logs.
"""

from __future__ import annotations

import os
import time
from typing import Any

from django_workflows import patched, sleep, step, workflow
from django_workflows.authoring import registry
from django_workflows.authoring.workflows import WORKFLOWS, Workflow
from django_workflows.engine.tracing import trace
from django_workflows.eventlog.events import Record

PAUSE = 0.15


@step(name="rolling.act", max_retries=0)
def act(what: str) -> str:
    time.sleep(0.005)
    return what


async def first(n: int) -> str:
    await act("reserve")
    await sleep(PAUSE)
    await act("charge")
    await sleep(PAUSE)
    return await act(f"done {n}")


async def second(n: int) -> str:
    """A step was inserted without a guard: no run past that place fits both versions."""
    await act("reserve")
    await sleep(PAUSE)
    await act("check fraud")
    await act("charge")
    await sleep(PAUSE)
    return await act(f"done {n}")


async def guarded(n: int) -> str:
    """The same with a guard: runs of the first version fit this one as well."""
    await act("reserve")
    await sleep(PAUSE)
    if patched("check-fraud"):
        await act("check fraud")
    await act("charge")
    await sleep(PAUSE)
    return await act(f"done {n}")


VERSIONS = {"1": (first, first), "2": (second, guarded)}


def _define(version: str) -> dict[str, Workflow[Any, Any]]:
    plain, careful = VERSIONS[version]
    return {
        "rolling.order": workflow(name="rolling.order")(plain),
        "rolling.careful": workflow(name="rolling.careful")(careful),
    }


DEFINED = _define(os.environ.get("ROLLING_VERSION", "1"))


def fitting_versions(run_id: str, name: str, log: list[Record]) -> list[str]:
    """The versions whose code makes exactly the decisions of this log."""
    from django_workflows.engine import Execution

    fitting = []
    with registry.isolated():
        for version in VERSIONS:
            for known in DEFINED:
                WORKFLOWS.discard(known)
            definition = _define(version)[name]
            if trace(Execution(definition, log[0], run_id=run_id), log).divergence is None:
                fitting.append(version)
    return fitting
