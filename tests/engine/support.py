"""A log in memory that plays the services, and a run that is driven by it: histories as plain data, no database.

::

    run = Run(workflow, 1, 2)            # run_created
    run.start()                          # run_started, the first drain, its decisions recorded
    run.complete("charge", "ch_1")       # step_completed of the oldest open step of that name, delivered
    run.receive("packed:1", {"box": 7})  # hook_received
    run.pass_time()                      # the earliest wait completes
    assert run.output == {"status": "shipped"}

    check_replays(run)                   # every prefix of its log, cold and warm, decides the same

:func:`finish` drives a run to its end, from a table of what steps return.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django_workflows.authoring.workflows import Workflow
from django_workflows.engine import Execution, ExecutionSettings
from django_workflows.engine.matching import matches
from django_workflows.eventlog import commands, events
from django_workflows.eventlog.commands import Command
from django_workflows.eventlog.events import Event, Record
from django_workflows.eventlog.lives import effective
from django_workflows.serialization import Encoded, dumps, encode_error, loads

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


class Log:
    """Records, and the fold of them that the services keep in tables. ``now`` moves by a tick with each record."""

    def __init__(self, workflow: str, args: Sequence[Any], kwargs: dict[str, Any], attributes: dict[str, str]) -> None:
        self.now = START
        self.records: list[Record] = []
        self.open_steps: dict[str, str] = {}  # correlation id -> name
        self.open_waits: dict[str, datetime] = {}
        self.hooks: dict[str, str] = {}  # correlation id -> token, while active
        self.open_children: dict[str, tuple[str, str]] = {}  # run id -> (correlation id, workflow)
        self.conflicts: dict[str, str] = {}  # token -> the run that owns it already
        self.inputs: dict[str, Encoded] = {}
        self.cancelled = self.timed_out = self.ended = False
        self.append(
            events.RunCreated(
                workflow=workflow,
                args=list(args),
                kwargs=kwargs,
                queue="default",
                priority=0,
                attributes=attributes,
                idempotency_key=None,
                parent=None,
                seed="a seed",
            )
        )

    def append(self, event: Event, correlation_id: str = "", *, at: datetime | None = None) -> Record:
        self.now = max(self.now + TICK, at or START)
        record = Record(len(self.records) + 1, event.type, correlation_id, event.encode(), self.now)
        self.records.append(record)
        return record

    # --- decisions ---------------------------------------------------------------------------------------------------

    def write(self, decided: Iterable[Command]) -> list[Record]:
        """Record what a body decided, as the services would; what has already ended is not cancelled."""
        before = len(self.records)
        for command in decided:
            assert not self.ended, f"{command} after the end"
            verb = re.sub(r"(?<=.)(?=[A-Z])", "_", type(command).__name__).lower()
            getattr(self, f"_{verb}")(command)
        return self.records[before:]

    def _create_step(self, command: commands.CreateStep) -> None:
        args, kwargs = split(command.input)
        assert command.correlation_id not in self.inputs, "correlation ids are unique in a run"
        self.open_steps[command.correlation_id] = command.name
        self.inputs[command.correlation_id] = command.input
        self.append(events.StepCreated(command.name, args, kwargs, command.queue or "default"), command.correlation_id)

    def _cancel_step(self, command: commands.CancelStep) -> None:
        if self.open_steps.pop(command.correlation_id, None):
            self.append(events.StepCancelled(), command.correlation_id)

    def _create_wait(self, command: commands.CreateWait) -> None:
        self.open_waits[command.correlation_id] = command.due_at
        self.append(events.WaitCreated(command.due_at), command.correlation_id)

    def _cancel_wait(self, command: commands.CancelWait) -> None:
        if self.open_waits.pop(command.correlation_id, None):
            self.append(events.WaitCancelled(), command.correlation_id)

    def _create_hook(self, command: commands.CreateHook) -> None:
        owner = self.conflicts.get(command.token) or ("wrun_test" if command.token in self.hooks.values() else None)
        if owner:
            self.append(events.HookConflict(command.token, owner), command.correlation_id)
        else:
            self.hooks[command.correlation_id] = command.token
            event = events.HookCreated(command.token, command.is_webhook, command.metadata)
            self.append(event, command.correlation_id)

    def _dispose_hook(self, command: commands.DisposeHook) -> None:
        if self.hooks.pop(command.correlation_id, None):  # else it lost its token
            self.append(events.HookDisposed(), command.correlation_id)

    def _start_child(self, command: commands.StartChild) -> None:
        args, kwargs = split(command.input)
        self.open_children[command.child] = command.correlation_id, command.workflow
        self.append(events.ChildStarted(command.workflow, command.child, args, kwargs), command.correlation_id)

    def _set_attributes(self, command: commands.SetAttributes) -> None:
        self.append(events.AttributesSet(command.attributes), command.correlation_id)

    def _record_patch(self, command: commands.RecordPatch) -> None:
        self.append(events.PatchRecorded(command.patch), command.correlation_id)

    def _complete_run(self, command: commands.CompleteRun) -> None:
        self._end(command.output, None, "")

    def _fail_run(self, command: commands.FailRun) -> None:
        self._end(None, command.error, command.error_code)

    def _continue_as_new(self, command: commands.ContinueAsNew) -> None:
        self._end(dumps({"continued_as": "wrun_next"}), None, "")

    def _end(self, output: Encoded | None, error: Encoded | None, code: str) -> None:
        if self.cancelled:
            self.append(events.RunCancelled(None, output, error))
        elif self.timed_out:
            self.append(events.RunFailed(error or encode_error(TimeoutError()), "run_timeout"))
        elif error is not None:
            self.append(events.RunFailed(error, code))
        else:
            self.append(events.RunCompleted(output))
        self.ended = True

    # --- arrivals ----------------------------------------------------------------------------------------------------

    def find_step(self, name: str) -> str:
        """The oldest open step of this name or correlation id."""
        for correlation_id, full_name in self.open_steps.items():
            if name in (correlation_id, full_name, full_name.rpartition(".")[2]):
                return correlation_id
        raise LookupError(f"No open step {name}; open are {list(self.open_steps)}.")

    def start_step(self, name: str) -> Record:
        return self.append(events.StepStarted(1, "wrkr_1"), self.find_step(name))

    def complete_step(self, name: str, output: Any = None) -> Record:
        correlation_id = self.find_step(name)
        del self.open_steps[correlation_id]
        return self.append(events.StepCompleted(1, output), correlation_id)

    def fail_step(self, name: str, error: BaseException) -> Record:
        correlation_id = self.find_step(name)
        del self.open_steps[correlation_id]
        return self.append(events.StepFailed(1, encode_error(error)), correlation_id)

    def complete_wait(self, correlation_id: str | None = None, *, woken: bool = False) -> Record:
        """The earliest wait, or that one, comes due; time moves on to it unless it is ``woken``."""
        correlation_id = correlation_id or min(self.open_waits, key=lambda key: self.open_waits[key])
        due_at = self.open_waits.pop(correlation_id)
        return self.append(events.WaitCompleted(woken), correlation_id, at=None if woken else due_at)

    def receive(self, token: str, payload: Any = None) -> Record:
        correlation_id = next(key for key, value in self.hooks.items() if value == token)
        return self.append(events.HookReceived(payload, None), correlation_id)

    def end_child(
        self, run_id: str, output: Any = None, error: BaseException | None = None, cancelled: bool = False
    ) -> Record:
        correlation_id, _ = self.open_children.pop(run_id)
        if error is None and not cancelled:
            return self.append(events.ChildCompleted(run_id, output), correlation_id)
        encoded = None if error is None else encode_error(error)
        return self.append(events.ChildFailed(run_id, encoded, cancelled), correlation_id)

    def cancel(self, reason: str | None = None, force: bool = False) -> Record:
        self.cancelled = True
        return self.append(events.RunCancelRequested(reason, force))

    def time_out(self) -> Record:
        self.timed_out = True
        return self.append(events.RunTimedOut(self.now))


def split(input: Encoded) -> tuple[Encoded, Encoded]:
    """The encoded ``args`` and ``kwargs``, as the services splice them."""
    value = loads(input)
    return dumps(value["args"]), dumps(value["kwargs"])


class Run:
    """A body and its log. Each verb appends an arrival, delivers it, and records what the body decides then."""

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        *args: Any,
        attributes: dict[str, str] | None = None,
        settings: ExecutionSettings | None = None,
        **kwargs: Any,
    ) -> None:
        self.workflow = workflow
        self.settings = settings or ExecutionSettings(webhook_url=lambda token: f"https://shop.test/webhooks/{token}/")
        self.log = Log(workflow.name, args, kwargs, attributes or {})
        self.execution = self.new_execution()

    def new_execution(self) -> Execution:
        return Execution(self.workflow, self.log.records[0], run_id="wrun_test", settings=self.settings)

    @property
    def records(self) -> list[Record]:
        return self.log.records

    def advance(self) -> None:
        """What a worker does: deliver what is new, write what the body decides, until there is nothing more."""
        execution = self.execution
        deliver(execution, self.records[execution.last_sequence :])
        while decided := execution.take():
            deliver(execution, self.log.write(decided))

    def start(self) -> Run:
        self.log.append(events.RunStarted("wrkr_1", "v1"))
        self.advance()
        return self

    def restart(self) -> None:
        """The process is lost: the body continues from a replay of its whole log."""
        self.execution.close()
        self.execution = self.new_execution()
        self.execution.replay(self.records)
        self.advance()

    # --- arrivals ----------------------------------------------------------------------------------------------------

    def complete(self, name: str, output: Any = None) -> None:
        self.log.complete_step(name, output)
        self.advance()

    def fail(self, name: str, error: BaseException) -> None:
        self.log.fail_step(name, error)
        self.advance()

    def pass_time(self, correlation_id: str | None = None, *, woken: bool = False) -> None:
        self.log.complete_wait(correlation_id, woken=woken)
        self.advance()

    def receive(self, token: str, payload: Any = None) -> None:
        self.log.receive(token, payload)
        self.advance()

    def cancel(self, reason: str | None = None) -> None:
        self.log.cancel(reason)
        self.advance()

    def time_out(self) -> None:
        self.log.time_out()
        self.advance()

    def end_child(
        self, run_id: str, output: Any = None, error: BaseException | None = None, cancelled: bool = False
    ) -> None:
        self.log.end_child(run_id, output, error, cancelled)
        self.advance()

    # --- what came of it ---------------------------------------------------------------------------------------------

    @property
    def types(self) -> list[str]:
        """Types of the events after ``run_started``."""
        return [record.type for record in self.records[2:]]

    @property
    def decided(self) -> list[tuple[str, str]]:
        """(type, correlation id) of the decisions in the log."""
        return [(record.type, record.correlation_id) for record in self.records if record.is_decision]

    @property
    def open_steps(self) -> list[str]:
        return list(self.log.open_steps)

    @property
    def end(self) -> Record:
        last = [record for record in self.records if record.type in events.RUN_TERMINALS]
        assert last, f"the run has not ended: {self.types}"
        return last[-1]

    @property
    def output(self) -> Any:
        assert self.end.type == "run_completed", self.end.payload
        return self.end.payload["output"]

    @property
    def error(self) -> dict[str, Any]:
        assert self.end.type in ("run_failed", "run_cancelled"), self.end.payload
        error: dict[str, Any] = self.end.payload["error"]
        return error


def deliver(execution: Execution, records: Iterable[Record]) -> None:
    for record in records:
        execution.deliver(record)


def finish(
    run: Run,
    steps: dict[str, Any] | None = None,
    *,
    choose: Callable[[Run], None] | None = None,
    limit: int = 10_000,
) -> Run:
    """Drive a run to its end: oldest step first, then the earliest wait. A hook without a payload is an error.

    ``steps``: by short name, a value, an exception to fail with, or a function of the step's arguments. ``choose``
    replaces the order of arrivals: it is called with the run until that has ended.
    """
    if len(run.records) == 1:
        run.start()
    for _ in range(limit):
        if run.log.ended:
            return run
        if choose is not None:
            choose(run)
        elif run.log.open_steps:
            finish_step(run, next(iter(run.log.open_steps)), steps or {})
        else:
            assert run.log.open_waits, f"the run waits for what nobody brings: {run.types}"
            run.pass_time()
    raise AssertionError("the run does not end")


def finish_step(run: Run, correlation_id: str, steps: dict[str, Any]) -> None:
    name = run.log.open_steps[correlation_id].rpartition(".")[2]
    outcome = steps.get(name)
    if callable(outcome):
        value = loads(run.log.inputs[correlation_id])
        outcome = outcome(*value["args"], **value["kwargs"])
    run.log.start_step(correlation_id)
    if isinstance(outcome, BaseException):
        run.fail(correlation_id, outcome)
    else:
        run.complete(correlation_id, outcome)


# --- replays ---------------------------------------------------------------------------------------------------------


def check_replays(run: Run, *, every: int = 1) -> None:
    """Cut the log after every event, or after every so many. Each prefix, replayed cold, decides what the log records
    next, and nothing else; given the rest one by one it comes to the same end; dropped, it does nothing at all.
    """
    records = effective(run.records)
    assert records == run.records, "for logs without retries"
    for cut in range(1, len(records) + 1, every):
        execution = run.new_execution()
        _know(execution, records)
        execution.replay(records[:cut])
        _check_pending(execution, records[cut:], cut)
        _know(execution, records)
        for record in records[cut:]:
            execution.deliver(record)
        assert not execution.take(), f"cut after {cut}: more is decided than the log holds"
        assert execution.finished == run.execution.finished

        dropped = run.new_execution()
        _know(dropped, records)
        for record in records[1:cut]:
            dropped.deliver(record)
        before = len(list(dropped.runtime.decisions.pending()))
        dropped.close()
        assert len(list(dropped.runtime.decisions.pending())) == before, f"cut after {cut}: closing decided something"


def _know(execution: Execution, records: Sequence[Record]) -> None:
    """Secrets that were drawn live (tokens, children's ids): a cut must not draw others."""
    execution.runtime.ahead.scan(records)
    execution.runtime.ahead._decisions.clear()


_ENDS = ("step_completed", "step_failed", "wait_completed", "hook_conflict")
_WITHDRAWN = ("step_cancelled", "wait_cancelled", "hook_disposed")
_WITHDRAWALS = (commands.CancelStep, commands.CancelWait, commands.DisposeHook)


def _check_pending(execution: Execution, rest: Sequence[Record], cut: int) -> None:
    logged = iter([record for record in rest if record.is_decision])
    withdrawn = {record.correlation_id for record in rest if record.type in _WITHDRAWN}
    ended = {record.correlation_id for record in rest if record.type in _ENDS} - withdrawn
    for command in execution.take():
        if isinstance(command, _WITHDRAWALS) and command.correlation_id in ended:
            continue  # it had ended in the log by the time the decision could be written
        record = next(logged, None)
        assert record is not None, f"cut after {cut}: {command} is not in the log"
        if record.type == "run_cancelled" or (isinstance(command, commands.EndRun) and record.type == "run_failed"):
            return  # the services' own choice, whatever the body was about to do
        assert matches(command, record), f"cut after {cut}: {command} is not {record} {record.data}"


def count_up() -> Callable[..., int]:
    """A step that returns 1, 2, 3, ..."""
    numbers = count(1)
    return lambda *args, **kwargs: next(numbers)
