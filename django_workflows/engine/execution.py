"""One body, fed with its log: events in, decisions out.

::

              deliver(record) ──────────────▶ take()
    the log ─▶ settles what it resolves,      what the body has decided ─▶ services write it ─▶ the log
               drains the loop to quiescence  and the log does not hold

A live run, a cached body and a cold replay go through the same :meth:`Execution.deliver`, record by record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from ..authoring.runtime import RUNTIME
from ..authoring.workflows import Workflow
from ..eventlog import events, lives
from ..eventlog.commands import Command, CompleteRun, ContinueAsNew, CreateStep, EndRun, FailRun, StartChild
from ..eventlog.events import RUN_TERMINALS, TYPES, Entity, Kind, Record
from ..exceptions import CorruptedEventLogError, PayloadTooLargeError, ReplayDivergenceError, SerializationError
from ..serialization import encode_error, size
from ..values.attributes import merge_attributes
from . import determinism, sandbox
from .arrivals import SETTLE
from .matching import describe_command, describe_record, matches
from .outcome import conclude
from .payloads import read
from .runtime import BodyRuntime
from .teardown import tear_down

#: ends that the services may record whatever the body has decided
_IMPOSED = frozenset({"max_events_exceeded", "run_timeout", "payload_too_large"})


def _no_address(token: str) -> str:
    raise ValueError("A webhook has no URL here: set DJANGO_WORKFLOWS['BASE_URL'].")


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """What the engine cannot know by itself.

    ``max_payload_bytes``: of one encoded value. ``webhook_url``: from a token to the absolute URL of its webhook.
    """

    max_payload_bytes: int = 16 * 1024 * 1024
    webhook_url: Callable[[str], str] = _no_address


#: called with a record and the decision of the body that it records
Observer = Callable[[Record, Command | None], None]


class Execution:
    """A body and how far its log has been delivered.

    ``record_created``: the log's first record. ``reserved_ids``: correlation ids that the body must not use again,
    those of lives before a retry. ``last_sequence``: of the last record delivered. ``finished``: the body has ended,
    its end is among the decisions. ``stale``: a retry has reopened the log, so this execution has to be replaced.

    Errors that leave its methods (:class:`ReplayDivergenceError`, :class:`CorruptedEventLogError`) are about the log or
    the code, never the body's own; after one, close the execution.
    """

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        record_created: Record,
        *,
        run_id: str,
        settings: ExecutionSettings | None = None,
        reserved_ids: frozenset[str] = frozenset(),
    ) -> None:
        sandbox.install()
        determinism.install()
        self.workflow, self.run_id = workflow, run_id
        self.settings = settings or ExecutionSettings()
        self.last_sequence = record_created.sequence
        self.finished = self.stale = self.closed = False
        self._created = created = read(record_created)
        #: the log holds the end of the run; only steps that were running may still say how they went
        self._ended = False
        self._context = Context()
        self.runtime = BodyRuntime(
            run_id,
            workflow,
            seed=created["seed"],
            attributes=merge_attributes({}, created["attributes"] or {}),
            started_at=record_created.created_at,
            scheduled_at=created.get("scheduled_at"),
            webhook_url=self.settings.webhook_url,
            reserved=reserved_ids,
        )
        self._context.run(RUNTIME.set, self.runtime)

    # --- events in ---------------------------------------------------------------------------------------------------

    def deliver(self, record: Record) -> None:
        """Feed the record that follows :attr:`last_sequence`: settle at most one awaitable, then run to quiescence."""
        self._check_next(record)
        if record.type in _QUIET:
            self.last_sequence = record.sequence
        elif record.type in _MAY_WAKE:
            with sandbox.draining(), self.runtime.loop:
                self._deliver(record)
        else:
            self._deliver(record)

    def replay(self, records: Iterable[Record], *, observe: Observer | None = None, seen: int | None = None) -> None:
        """Feed records in order. A new execution takes a whole log from its start, retries and all.

        Of the log's later records only tokens and children's ids are known beforehand. ``observe`` is called after
        each record that records a decision, with the decision that the body had made; None where the end was imposed.
        What the body logs is dropped up to the sequence ``seen``, by default to the end: it was logged when it happened.
        """
        records = [record for record in records if record.type != events.RunCreated.type]
        if not records:
            return
        self._check_dense(records)
        last = records[-1].sequence
        if self.runtime.main is None and lives.ended_before_it_began(records):
            self.last_sequence = last
            self.finished = self._ended = True
            return
        if self.runtime.main is None and any(record.type == events.RunRetried.type for record in records):
            self.runtime.numbering.reserve(lives.reserved_ids(records))
            records = lives.effective(records)
        self.runtime.ahead.scan(records)
        deliver = self._deliver if observe is None else self._observed(observe)
        limit = last if seen is None else seen
        try:
            with sandbox.draining(), self.runtime.loop:
                for record in records:
                    self.runtime.replaying = record.sequence <= limit
                    deliver(record)
        finally:
            self.runtime.replaying = False
        self.last_sequence = last
        self.runtime.ahead.clear()

    def _observed(self, observe: Observer) -> Callable[[Record], None]:
        def deliver(record: Record) -> None:
            decision = self.runtime.decisions.head() if record.is_decision else None
            self._deliver(record)
            if record.is_decision:
                observe(record, decision)

        return deliver

    def _begin(self, record: Record) -> None:
        """Start the body, at the time of this record. ``run_started`` does it; so does a first arrival without one."""
        runtime = self.runtime
        if runtime.main is not None:
            return
        runtime.clock = runtime.started_at = record.created_at
        runtime.cause = record.sequence
        args, kwargs = self._created["args"], self._created["kwargs"]
        try:
            self.workflow.check_arguments(args, kwargs)
        except TypeError as error:
            said = f"{self.workflow.name} with {len(args)} arguments and {sorted(kwargs)}"
            raise ReplayDivergenceError(said, str(error), record.sequence) from error
        coroutine = self._context.run(self.workflow.open, args, kwargs)
        runtime.main = runtime.loop.create_task(coroutine, name=self.workflow.name, context=self._context)
        self._quiesce()

    def _check_next(self, record: Record) -> None:
        self._check_open()
        if record.sequence != self.last_sequence + 1:
            raise CorruptedEventLogError(
                f"The log of {self.run_id} continues with event {record.sequence} after event {self.last_sequence}."
            )

    def _check_dense(self, records: Sequence[Record]) -> None:
        self._check_open()
        expected = self.last_sequence
        for record in records:
            expected += 1
            if record.sequence != expected:
                raise CorruptedEventLogError(
                    f"The log of {self.run_id} continues with event {record.sequence} after event {expected - 1}."
                )

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError(f"The execution of {self.run_id} is closed; replay the log in a new one.")

    def _deliver(self, record: Record) -> None:
        self.last_sequence = record.sequence
        if record.type == events.RunRetried.type:
            self.stale = True
        elif record.type not in _QUIET:
            self._feed(record)

    def _feed(self, record: Record) -> None:
        settle = SETTLE.get(record.type)
        if settle is None and record.type not in TYPES:
            raise CorruptedEventLogError(
                f"Event {record.sequence} of {self.run_id} has a strange type, {record.type!r}."
            )
        if record.type == events.RunStarted.type:
            self._begin(record)
            return
        if record.is_decision:
            self._match(record)
        if record.type in _CLOSED_FROM_OUTSIDE or (
            record.type == events.HookDisposed.type and not record.is_decision
        ):  # also when the body has ended, and its cancels wait to be written
            self.runtime.decisions.ended_by_itself(record.correlation_id)
        if settle is None or self.finished:
            return
        if self.runtime.main is None:
            self._begin(record)
        if not self.runtime.decisions.closed and settle(self.runtime, record):
            self._quiesce()

    def _quiesce(self) -> None:
        """Run the body until it waits for events, or has ended."""
        runtime = self.runtime
        main = runtime.main
        assert main is not None
        loop = runtime.loop
        if loop.ready:
            loop.drain()
        if main.done() or loop.exit is not None:
            runtime.decisions.end(conclude(main, loop.exit, runtime.cause))
            self.finished = True
            tear_down(loop, main)
        else:
            runtime.decisions.commit()

    # --- decisions out -----------------------------------------------------------------------------------------------

    def take(self, limit: int | None = None) -> list[Command]:
        """The decisions that the log does not hold yet, in order, each given once; at most ``limit``, if given.

        Write them in this order, and none without those before it. A cancel of what has ended meanwhile is left out.
        """
        taken = self.runtime.decisions.take(limit)
        maximum = self.settings.max_payload_bytes
        for index, command in enumerate(taken):
            value = _payload(command)
            if value is not None and len(value) > maximum:
                return [*taken[:index], self._refuse(command, size(value))]
        return taken

    def _refuse(self, command: Command, bytes: int) -> EndRun:
        """Fail the run instead of writing what is too large. The body never learns of the limit (rule R7)."""
        error = PayloadTooLargeError(bytes, self.settings.max_payload_bytes)
        error.add_note(f"In {command.correlation_id or 'the result'} of {self.workflow.name}.")
        end = FailRun("", error=encode_error(error), error_code=error.code, cause=command.cause)
        self.runtime.decisions.replace_from(command, end)
        if not self.finished:
            self._end_body()
        return end

    def _match(self, record: Record) -> None:
        """The log records a decision: it must be the body's next one."""
        runtime = self.runtime
        runtime.ahead.passed(record)
        if self._ended:
            raise CorruptedEventLogError(f"Event {record.sequence} ({record.type}) of {self.run_id} is after its end.")
        head = runtime.decisions.head()
        if record.type in RUN_TERMINALS:
            self._match_end(head, record)
        elif head is not None and self._same(head, record):
            runtime.decisions.matched()
        elif record.type == events.PatchRecorded.type:
            runtime.recall_patch(record.payload["patch"])
        else:
            raise self._divergence(head, record)

    def _match_end(self, head: Command | None, record: Record) -> None:
        imposed = self.runtime.cancelled or record.type == events.RunCancelled.type or _error_code(record) in _IMPOSED
        if not imposed and (head is None or not self._same(head, record)):
            raise self._divergence(head, record)
        self._ended = True
        self.runtime.decisions.clear()
        if not self.finished:  # cut off: after force, or at the end of the grace period
            self._end_body()

    def _same(self, command: Command, record: Record) -> bool:
        try:
            return matches(command, record, self.runtime.webhook_tokens)
        except (SerializationError, LookupError, TypeError, ValueError):
            return False  # not what this code could ever have written

    def _divergence(self, head: Command | None, record: Record) -> ReplayDivergenceError:
        return ReplayDivergenceError(describe_record(record), describe_command(head), record.sequence)

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the body: none of its code runs afterwards, and what it does in closing has no effect. Never raises."""
        if self.closed:
            return
        self.closed = True
        self.runtime.decisions.closed = True
        if not self.finished:
            self._end_body()

    def _end_body(self) -> None:
        self.finished = self.runtime.replaying = True  # what it logs in closing has not happened
        loop, main = self.runtime.loop, self.runtime.main
        if asyncio._get_running_loop() is loop:  # in the middle of a replay
            tear_down(loop, main)
            return
        with sandbox.draining(), loop:
            tear_down(loop, main)


def _payload(command: Command) -> str | None:
    if isinstance(command, CreateStep | StartChild | ContinueAsNew):
        return command.input
    if isinstance(command, CompleteRun):
        return command.output
    return None


def _error_code(record: Record) -> str | None:
    return record.payload.get("error_code") if record.type == events.RunFailed.type else None


#: records that neither settle nor record anything the body decided, nor begin or reopen the run
_QUIET = frozenset(events.types_where(lambda traits: traits.kind is not Kind.DECISION and not traits.resolves)) - {
    events.RunStarted.type,
    events.RunRetried.type,
}
#: events after which there is nothing left to cancel or dispose: the body has not closed the entity itself
_CLOSED_FROM_OUTSIDE = frozenset(
    events.types_where(
        lambda traits: traits.closes and traits.resolves and traits.entity in (Entity.STEP, Entity.WAIT, Entity.HOOK)
    )
)
#: events whose delivery may let the body run on
_MAY_WAKE = frozenset({*SETTLE, events.RunStarted.type})
