"""The runtime inside a body: turns what primitives ask into decisions, and lets events settle what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zlib import crc32

from ..authoring.handles import RunHandle
from ..authoring.options import StartOptions
from ..authoring.runtime import CallableStep, Named, Runtime, WorkflowMetadata
from ..eventlog.commands import (
    CancelStep,
    CancelWait,
    CreateHook,
    CreateStep,
    CreateWait,
    RecordPatch,
    SetAttributes,
    StartChild,
)
from ..eventlog.events import Record
from ..exceptions import WorkflowSandboxError
from ..serialization import Encoded, dumps
from ..values import durations, ids
from ..values.attributes import merge_attributes, require_few
from ..values.durations import Duration
from .children import Child
from .decisions import Decisions
from .futures import DurableCall, DurableTask, RequestFuture, never, pause, value_at_once
from .history import LookAhead
from .hooks import BodyHook
from .loop import DurableLoop
from .outcome import Continuation

if TYPE_CHECKING:
    from ..authoring.workflows import Workflow
    from .sync_bodies import SyncRuntime

_MICROSECOND = timedelta(microseconds=1)
_LONGEST_LABEL = 200


class Numbering:
    """Correlation ids: ``step:charge_card:2`` is the second of its label. Those that are reserved are passed over."""

    __slots__ = ("_counts", "_reserved")

    def __init__(self, reserved: frozenset[str]) -> None:
        self._counts: dict[str, int] = {}
        self._reserved = reserved

    def reserve(self, taken: frozenset[str]) -> None:
        self._reserved |= taken

    def next(self, label: str) -> str:
        number = self._counts.get(label, 0) + 1
        while self._reserved and f"{label}:{number}" in self._reserved:
            number += 1
        self._counts[label] = number
        return f"{label}:{number}"


class BodyRuntime(Runtime):
    """State of one body. ``clock`` is the time of the last resolution event delivered, ``cause`` its sequence."""

    in_body = True
    place = "in a workflow body"

    def __init__(
        self,
        run_id: str,
        workflow: Workflow[Any, Any],
        *,
        seed: str,
        attributes: dict[str, str],
        started_at: datetime,
        scheduled_at: datetime | None,
        webhook_url: Callable[[str], str],
        reserved: frozenset[str],
    ) -> None:
        self.run_id, self.workflow = run_id, workflow
        self.clock = self.started_at = started_at
        self.scheduled_at = scheduled_at
        self.cause = 0
        self.attributes = attributes
        self.decisions = Decisions()
        self.numbering = Numbering(reserved)
        self.ahead = LookAhead()
        self.loop = DurableLoop(self, crc32(seed.encode()))
        #: the body itself, once it has begun; ``cancelled``: it was asked to end
        self.main: DurableTask | None = None
        self.cancelled = False
        #: what may still be settled, by correlation id (children: by run id)
        self.steps: dict[str, tuple[str, RequestFuture]] = {}
        self.waits: dict[str, Callable[[], None]] = {}
        self.hooks: dict[str, BodyHook] = {}
        self.children: dict[str, Child] = {}
        #: tokens of webhooks, which occur in URLs
        self.webhook_tokens: set[str] = set()
        self._webhook_url = webhook_url
        self._seed = seed
        self._random: Random | None = None
        self._uuids: Random | None = None
        #: answers that ``patched()`` has given
        self.patches: dict[str, bool] = {}
        #: what plain functions of this body ask
        self.sync: SyncRuntime | None = None

    def open_sync(
        self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        from .sync_bodies import open_sync  # an optional extra

        return open_sync(self, fn, args, kwargs)

    def move_to(self, record: Record) -> None:
        """The record may settle something: from now on it is this late, and what follows is caused by it."""
        self.clock = max(self.clock, record.created_at)
        self.cause = record.sequence

    @property
    def dead(self) -> bool:
        """Whether the body is being closed: its requests have no effect any more."""
        return self.loop.dead

    def request_future(self, correlation_id: str, abandon: Callable[[str], None]) -> RequestFuture:
        future = RequestFuture(loop=self.loop)
        future.order = self.loop.next_order()
        future.correlation_id, future.abandon = correlation_id, abandon
        return future

    def _call(self, name: str, request: Callable[..., Iterator[Any]], *args: Any) -> DurableCall:
        return DurableCall(self.loop.next_order(), name, request, *args)

    # --- steps -------------------------------------------------------------------------------------------------------

    def call_step(self, step: CallableStep, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        return self._call(step.name, self._request_step, step, args, kwargs)

    def _request_step(self, step: CallableStep, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        if self.loop.dead:
            return never()
        name = step.name
        input = dumps({"args": list(args), "kwargs": kwargs})
        correlation_id = self.numbering.next(f"step:{_label(name)}")
        future = self.request_future(correlation_id, self._abandon_step)
        self.steps[correlation_id] = name, future
        self.decisions.request(CreateStep(correlation_id, name, input, step.queue, cause=self.cause))
        return future.__await__()

    def _abandon_step(self, correlation_id: str) -> None:
        if not self.loop.dead and self.steps.pop(correlation_id, None) is not None:
            self.decisions.withdraw(CancelStep(correlation_id, cause=self.cause))

    # --- waits -------------------------------------------------------------------------------------------------------

    def sleep(self, delay: Duration | datetime) -> Coroutine[Any, Any, None]:
        durations.due(delay, self.clock)  # malformed: raise at the call
        return self._call("sleep", self._request_sleep, delay)

    def _request_sleep(self, delay: Duration | datetime) -> Iterator[Any]:
        if self.loop.dead:
            return never()
        due_at = durations.due(delay, self.clock)
        if due_at <= self.clock:
            return pause()
        future = self.request_future("", self.abandon_wait)
        future.correlation_id = self.open_wait(due_at, lambda: future.set_result(None))
        return future.__await__()

    def open_wait(self, due_at: datetime, fire: Callable[[], None]) -> str:
        correlation_id = self.numbering.next("wait")
        self.waits[correlation_id] = fire
        self.decisions.request(CreateWait(correlation_id, due_at, cause=self.cause))
        return correlation_id

    def abandon_wait(self, correlation_id: str) -> None:
        if not self.loop.dead and self.waits.pop(correlation_id, None) is not None:
            self.decisions.withdraw(CancelWait(correlation_id, cause=self.cause))

    def elapsed(self) -> float:
        return (self.clock - self.started_at).total_seconds()

    def due_at(self, when: float) -> datetime:
        try:
            return min(self.started_at + round(when * 1_000_000) * _MICROSECOND, durations.NEVER)
        except OverflowError:
            return durations.NEVER

    # --- hooks -------------------------------------------------------------------------------------------------------

    def create_hook(self, *, token: str | None, is_webhook: bool, metadata: Any, options: dict[str, Any]) -> BodyHook:
        encoded = dumps({"metadata": metadata}), dumps(options)
        correlation_id = self.numbering.next("hook")
        generated = token is None
        if token is None:
            token = self.ahead.tokens.get(correlation_id) or ids.new_token()
        hook = BodyHook(self, correlation_id, token)
        if self.loop.dead:
            return hook
        self.hooks[correlation_id] = hook
        if is_webhook:
            self.webhook_tokens.add(token)
        self.decisions.request(
            CreateHook(
                correlation_id,
                token,
                is_webhook,
                Encoded(encoded[0][len('{"metadata":') : -1]),
                encoded[1],
                generated,
                cause=self.cause,
            )
        )
        return hook

    def webhook_url(self, token: str) -> str:
        return self._webhook_url(token)

    # --- children ----------------------------------------------------------------------------------------------------

    def start_child(
        self, workflow: Named, options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, RunHandle[Any]]:
        if options.idempotency_key is not None:
            raise WorkflowSandboxError(
                "A workflow body starts each child exactly once, so it takes no idempotency_key. "
                "To share a run between workflows, start it in a step."
            )
        return self._call(f"{workflow.name}.astart", self._request_child, workflow, options, args, kwargs)

    def _request_child(
        self, workflow: Named, options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Iterator[Any]:
        if self.loop.dead:
            return never()
        input = dumps({"args": list(args), "kwargs": kwargs})
        correlation_id = self.numbering.next(f"child:{_label(workflow.name)}")
        run_id = self.ahead.children.get(correlation_id) or ids.run_id()
        self.children[run_id] = Child(self, run_id)
        self.decisions.request(
            StartChild(correlation_id, workflow.name, run_id, input, options.given(), cause=self.cause)
        )
        return value_at_once(RunHandle(run_id))

    def child_result(self, run_id: str, timeout: Duration | None) -> Coroutine[Any, Any, Any]:
        if run_id not in self.children:
            raise WorkflowSandboxError(
                f"Run {run_id} is not a child that this body started, so its end is no event here. Wait for it in a "
                "step, or start it with `await workflow.astart(...)`."
            )
        call = self._call("aresult", self._request_child_result, run_id)
        return call if timeout is None else _limited(call, durations.seconds(timeout))

    def _request_child_result(self, run_id: str) -> Iterator[Any]:
        return never() if self.loop.dead else self.children[run_id].result()

    # --- the run -----------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self.clock

    def random(self) -> Random:
        if self._random is None:
            self._random = Random(self._seed)  # noqa: S311  (repeatable, not secret)
        return self._random

    def uuid4(self) -> UUID:
        if self._uuids is None:
            self._uuids = Random(f"{self._seed}:uuid4")  # noqa: S311
        return UUID(int=self._uuids.getrandbits(128), version=4)

    def log_context(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "workflow": self.workflow.name}

    def metadata(self) -> WorkflowMetadata:
        attributes = dict(self.attributes)
        return WorkflowMetadata(self.run_id, self.workflow.name, self.started_at, attributes, self.scheduled_at)

    def set_attributes(self, attributes: dict[str, str | None]) -> None:
        merged = merge_attributes(self.attributes, attributes)
        require_few(merged)
        self.attributes = merged
        correlation_id = self.numbering.next("attributes")
        self.decisions.request(SetAttributes(correlation_id, attributes, cause=self.cause))

    async def aset_attributes(self, attributes: dict[str, str | None]) -> None:
        self.set_attributes(attributes)

    def patched(self, patch: str) -> bool:
        answer = self.patches.get(patch)
        if answer is None:
            command = RecordPatch(f"patch:{patch}", patch, cause=self.cause)
            answer = self.patches[patch] = self.ahead.patched(command, self.decisions.pending())
            if answer:
                self.decisions.request(command)
        return answer

    def recall_patch(self, patch: str) -> None:
        """The log records the patch where this code does not ask about it: no more, or not yet, or later in the drain.

        A patch decides nothing by itself, so its line may move and go; the run keeps its answer.
        """
        self.patches[patch] = True
        self.decisions.discard(f"patch:{patch}")

    def continue_as_new(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseException:
        self.workflow.check_arguments(args, kwargs)
        return Continuation(dumps({"args": list(args), "kwargs": kwargs}))


def _label(name: str) -> str:
    return name.rpartition(".")[2][:_LONGEST_LABEL]


async def _limited(call: Coroutine[Any, Any, Any], seconds: float) -> Any:
    async with asyncio.timeout(seconds):
        return await call
