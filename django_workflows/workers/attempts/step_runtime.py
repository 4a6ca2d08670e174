"""What a step may ask while a worker runs it. Everything it writes carries its attempt's lease."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from asgiref.sync import sync_to_async

from ...authoring.http import WebhookRequest, WebhookResponse
from ...authoring.options import clean_attributes
from ...authoring.runtime import Runtime, StepMetadata, WorkflowMetadata
from ...serialization import dumps
from ...services import steps
from ...services.attributes import set_attributes
from ...store import locking
from ...store.limits import require_size
from ...store.transactions import atomic
from ...store.transition import Transition
from ...store.write import write
from ...webhooks import calls
from .attempts import Attempt
from .chunk_buffer import ChunkBuffer


class StepRuntime(Runtime):
    """The runtime of one attempt. Its methods raise ``EntityConflictError`` once the attempt is no longer current."""

    place = "in a step"

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.run_id = attempt.run_id
        self._buffer: ChunkBuffer | None = None

    def metadata(self) -> WorkflowMetadata:
        attempt = self._attempt
        return WorkflowMetadata(
            run_id=attempt.run_id,
            workflow_name=attempt.workflow_name,
            started_at=attempt.run_started_at,
            attributes=dict(attempt.attributes),
        )

    def step_metadata(self) -> StepMetadata:
        attempt = self._attempt
        return StepMetadata(
            step_id=attempt.step.id,
            step_name=attempt.step.name,
            run_id=attempt.run_id,
            attempt=attempt.number,
            started_at=attempt.step.started_at or attempt.step.created_at,
            cancelled=attempt.cancelled,
        )

    def log_context(self) -> dict[str, Any]:
        attempt = self._attempt
        return {
            "run_id": attempt.run_id,
            "workflow": attempt.workflow_name,
            "step": attempt.step.name,
            "step_id": attempt.step.id,
            "attempt": attempt.number,
            "queue": attempt.step.queue,
            "worker": attempt.worker_id,
        }

    # --- writing under the lease -------------------------------------------------------------------------------------

    def _lock(self) -> Transition:
        """The run, locked, if this attempt is still the current one."""
        attempt = self._attempt
        transition = locking.lock_run(attempt.run_id)
        step = locking.read_step(transition, attempt.step.id)
        steps.require_lease(step, attempt.step.id, attempt.worker_id, attempt.number)
        return transition

    def set_attributes(self, attributes: dict[str, str | None]) -> None:
        cleaned = clean_attributes(attributes)
        with atomic():
            transition = self._lock()
            set_attributes(transition, cleaned, self._attempt.step.correlation_id)
            write([transition])
        self._attempt.attributes = dict(transition.run.attributes)

    def aset_attributes(self, attributes: dict[str, str | None]) -> Awaitable[None]:
        return sync_to_async(self.set_attributes)(attributes)

    # --- streams -----------------------------------------------------------------------------------------------------

    def write(self, run_id: str, stream: str, value: Any) -> None:
        self._chunks.write(run_id, stream, require_size(dumps(value)))

    def awrite(self, run_id: str, stream: str, value: Any) -> Awaitable[None]:
        return self._chunks.awrite(run_id, stream, require_size(dumps(value)))

    def close_stream(self, run_id: str, stream: str) -> None:
        self._chunks.close(run_id, stream)

    def aclose_stream(self, run_id: str, stream: str) -> Awaitable[None]:
        return sync_to_async(self.close_stream)(run_id, stream)

    @property
    def _chunks(self) -> ChunkBuffer:
        if self._buffer is None:
            self._buffer = ChunkBuffer(self._attempt)
        return self._buffer

    def flush(self) -> None:
        """Save the chunks that are still on their way: the step's end must not be seen before them."""
        if self._buffer is not None:
            self._buffer.flush()

    async def aflush(self) -> None:
        if self._buffer is not None:
            await self._buffer.aflush()

    # --- answering webhooks ------------------------------------------------------------------------------------------

    def _check_lease(self) -> None:
        steps.lock_lease(self._attempt.step.id, self._attempt.worker_id, self._attempt.number)

    def respond(self, request: WebhookRequest, response: WebhookResponse) -> None:
        with atomic():
            self._check_lease()
            calls.answer_call(request, response)

    def arespond(self, request: WebhookRequest, response: WebhookResponse) -> Awaitable[None]:
        return sync_to_async(self.respond)(request, response)
