"""``Workflows``: what a test holds to start, drive and look at runs; and ``run_workflow`` for the short way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, ParamSpec, Self, TypeVar
from unittest import mock

from asgiref.sync import sync_to_async
from django.utils import timezone

from .. import api
from ..authoring.handles import RunHandle
from ..authoring.workflows import BoundWorkflow, Workflow
from ..models import Event, Hook, Run
from ..store import database
from ..values import clock, durations
from ..values.durations import Duration
from .client import driving
from .driver import Driver
from .waiting import MAX_JUMPS, ParkedError, StillWaitingError, describe_waiting

P = ParamSpec("P")
R = TypeVar("R")
_active: list[Workflows] = []


class Workflows:
    """Runs workflows in the calling thread while it is open (``with Workflows() as workflows``).

    The clock of workflows, with it ``django.utils.timezone.now()``, moves only in the methods below and is reset at
    the end. ``handle.result()`` in the code under test drives the run, too. Everything that a run does, its
    ``on_commit`` callbacks included, happens in the methods below, and before they return.
    """

    def __init__(self, driver: Driver | None = None) -> None:
        self.driver = driver or Driver()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(_virtual_time())
        self._stack.enter_context(driving(self))
        _active.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _active.remove(self)
        with self._stack:
            self.driver.close()

    # --- starting ----------------------------------------------------------------------------------------------------

    def start(self, workflow: Workflow[P, R] | BoundWorkflow[P, R], *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run; nothing of it happens before the next call. ``workflow.using(...)`` is taken, too."""
        return workflow.start(*args, **kwargs)

    def run(self, workflow: Workflow[P, R] | BoundWorkflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a run and drive it to its end; see :meth:`result`."""
        return self.result(workflow.start(*args, **kwargs))

    # --- driving -----------------------------------------------------------------------------------------------------

    def run_until_idle(self) -> None:
        """Let all runs do what they can without time passing: steps run, sleeps do not end, retries are not due."""
        self.driver.run_until_idle()

    def advance(self, duration: Duration) -> None:
        """Let time pass, in any form that ``sleep()`` takes; everything happens at its time and in its order.

        Schedules fire, too; those that the code declares are kept from the first call on.
        """
        target = database.now() + durations.parse(duration)
        self.driver.run_until_idle()
        for _ in range(MAX_JUMPS):
            due = self.driver.next_due(ticks=True)
            if due is None or due > target:
                break
            self.driver.move_to(due)
            self.driver.run_until_idle()
        else:
            raise StillWaitingError(f"The clock was moved {MAX_JUMPS} times within {duration!r}: advance it by less.")
        self.driver.move_to(target)
        self.driver.run_until_idle()

    def result(self, run: RunHandle[R] | str, timeout: Duration | None = None) -> R:
        """Drive the run to its end, moving the clock as far as it takes, and return its value.

        Raises:
            RunFailedError, RunCancelledError: that is how it ended.
            TimeoutError: it takes longer than ``timeout`` on the virtual clock.
            StillWaitingError: it waits for a hook, say, that the test has not resumed.
            ParkedError: its body does not fit its log.
        """
        run_id = _id(run)
        self.drive(run_id, timeout)
        value: R = api.client.result(run_id, 0)
        return value

    def drive(self, run: RunHandle[Any] | str, timeout: Duration | None = None) -> None:
        """As :meth:`result`, whatever the end may be."""
        run_id = _id(run)
        limit = None if timeout is None else database.now() + durations.parse(timeout)
        for _ in range(MAX_JUMPS):
            self.driver.run_until_idle()
            row = Run.objects.get(pk=run_id)
            if row.status not in ("pending", "running"):
                return
            if row.blocked_reason:
                raise ParkedError(f"Run {run_id} of {row.workflow} is parked: {row.blocked_reason}")
            due = self.driver.next_due()
            if due is None:
                raise StillWaitingError(describe_waiting(row))
            self.driver.move_to(due if limit is None else min(due, limit))
            if limit is not None and due > limit:
                raise TimeoutError(f"Run {run_id} of {row.workflow} has not ended within {timeout!r}.")
        raise StillWaitingError(f"Run {run_id} never ends: the clock was moved {MAX_JUMPS} times. Use advance().")

    def resume(self, token: str, payload: Any = None, *, idempotency_key: str | None = None) -> Event:
        """Resume a hook, as ``api.resume_hook()``. Runs that have not registered it yet get to do so first."""
        self.driver.run_until_idle()
        event = api.resume_hook(token, payload, idempotency_key=idempotency_key)
        self.driver.run_until_idle()
        return event

    def crash(self) -> None:
        """Kill the worker: suspended bodies and running steps are lost, and another worker takes over.

        It replays each run from its log when the run next continues. A step that was running is started again.
        """
        self.driver.crash()

    # --- looking -----------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time on the virtual clock, which workflows go by."""
        return database.now()

    def history(self, run: RunHandle[Any] | str) -> list[str]:
        """The run's log, a line for each event: ``["run_created", "run_started", "step_created step:charge:1", …]``."""
        rows = Event.objects.filter(run_id=_id(run)).order_by("sequence")
        pairs = rows.values_list("type", "correlation_id")
        return [f"{type} {correlation_id}".rstrip() for type, correlation_id in pairs]

    def hooks(self, run: RunHandle[Any] | str) -> list[Hook]:
        """The run's open hooks and webhooks, oldest first: where tokens come from that the workflow did not choose."""
        rows = Hook.objects.filter(run_id=_id(run), disposed_at__isnull=True)
        return list(rows.order_by("created_at", "pk"))

    # --- the a-twins -------------------------------------------------------------------------------------------------

    arun_until_idle = sync_to_async(run_until_idle)
    aadvance = sync_to_async(advance)
    aresume = sync_to_async(resume)
    adrive = sync_to_async(drive)


def _id(run: RunHandle[Any] | str) -> str:
    return run if isinstance(run, str) else run.id


@contextmanager
def session() -> Iterator[Workflows]:
    """The session that is open already, or one for the block."""
    if _active:
        yield _active[-1]
    else:
        with Workflows() as workflows:
            yield workflows


@contextmanager
def _virtual_time() -> Iterator[None]:
    """Reset the clock at the end; have ``timezone.now()`` move with it."""
    before, real = clock.offset(), timezone.now
    moved: Callable[[], datetime] = lambda: real() + (clock.offset() - before)  # noqa: E731
    with mock.patch.object(timezone, "now", real if _active else moved):
        try:
            yield
        finally:
            if not _active:
                clock.advance(before - clock.offset())


def run_workflow(workflow: Workflow[P, R] | BoundWorkflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a workflow to its end, here and now, and return its value. Sleeps and retries do not wait.

    Raises what ``handle.result()`` raises: ``RunFailedError`` (with the body's own exception as ``__cause__``) or
    ``RunCancelledError``; and :class:`StillWaitingError` where it waits for something that will not come by itself.
    """
    with session() as workflows:
        return workflows.run(workflow, *args, **kwargs)


arun_workflow = sync_to_async(run_workflow)
