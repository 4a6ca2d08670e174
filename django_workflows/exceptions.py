"""Every error of the library. Each class has a ``code``: the string that machines test, never the message.

The code of a class is its name in snake_case without ``Error``. Facts about the error are attributes; the message is a
sentence for people that says what to do next. The HTTP status of a code is declared in one place, ``rest.errors``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Error")).lower()


class WorkflowError(Exception):
    """Base of every error that the library raises on purpose."""

    code: ClassVar[str] = "workflow"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            cls.code = _snake_case(cls.__name__)


class EntityConflictError(WorkflowError):
    """The request contradicts what is already recorded: a duplicate, or a state that forbids it."""


class FenceConflictError(EntityConflictError):
    """The log has grown since the snapshot on which the caller decided: read it again and decide again."""

    def __init__(self, run_id: str, expected: int, actual: int | None = None) -> None:
        super().__init__(f"The log of {run_id} has grown past event {expected}; read it again and decide again.")
        self.run_id, self.expected, self.actual = run_id, expected, actual


class HookConflictError(WorkflowError):
    """Another run owns the token. ``owner`` is that run's id."""

    def __init__(self, token: str, owner: str) -> None:
        super().__init__(f"The hook token {token!r} belongs to {owner}. Use another token, or dispose that hook first.")
        self.token, self.owner = token, owner


class HookNotFoundError(WorkflowError):
    """No active hook has this token: it is unknown, disposed, or its run has ended."""


class HookPayloadError(WorkflowError):
    """The hook's serializer refused the payload. ``errors`` holds the field errors; the run keeps waiting."""

    def __init__(self, errors: Any) -> None:
        super().__init__("The payload was refused by the hook's serializer; correct the fields named in `errors`.")
        self.errors = errors


class RunNotFoundError(WorkflowError):
    """No run has this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r}. It was never started, was rolled back, or has been pruned.")
        self.run_id = run_id


class RunNotActiveError(WorkflowError):
    """The run has ended, so it cannot be acted on."""

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"Run {run_id} is {status}: it has ended and takes no more changes.")
        self.run_id, self.status = run_id, status


class RunFailedError(WorkflowError):
    """The run failed. ``__cause__`` is the body's own exception where it could be rebuilt."""

    def __init__(self, run_id: str, error_type: str, message: str) -> None:
        super().__init__(f"Run {run_id} failed: {error_type}: {message}")
        self.run_id, self.error_type, self.message = run_id, error_type, message


class RunCancelledError(WorkflowError):
    """The run was cancelled. ``reason`` is what the person who cancelled it wrote, or None."""

    def __init__(self, run_id: str, reason: str | None = None) -> None:
        super().__init__(f"Run {run_id} was cancelled" + (f": {reason}" if reason else "."))
        self.run_id, self.reason = run_id, reason


class RunTimeoutError(WorkflowError):
    """The run did not end before its deadline. ``limit``: from its start to ``deadline_at``, a delayed begin included.

    What left the body is the cause, unless it was the cancellation with which the body is told.
    """

    def __init__(self, limit: timedelta | None = None, deadline_at: datetime | None = None) -> None:
        sentence = "The run did not end before its deadline."
        if limit is not None and deadline_at is not None:
            sentence = (
                f"The run did not end within {limit}: its deadline was {deadline_at.isoformat(timespec='seconds')}."
            )
        super().__init__(sentence)
        self.limit, self.deadline_at = limit, deadline_at


class StepFailedError(WorkflowError):
    """A step failed with an exception whose class cannot be rebuilt here. ``step_name`` is the full name."""

    def __init__(self, step_name: str, error_type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"Step {step_name} failed: {error_type}: {message}")
        self.step_name, self.error_type, self.message, self.traceback = step_name, error_type, message, traceback


class StepTimeoutError(WorkflowError, TimeoutError):
    """An attempt took longer than its step's ``timeout``. ``step``: its full name; ``limit``; ``attempt``: its number."""

    def __init__(self, step: str, limit: timedelta, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} of step {step} did not end within {limit.total_seconds():g} s.")
        self.step, self.limit, self.attempt = step, limit, attempt


class SerializationError(WorkflowError):
    """A value cannot be written as tagged JSON. ``path`` says where in the value: ``args[0].items[3]``."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class PayloadTooLargeError(WorkflowError):
    """An encoded value has more bytes than ``MAX_PAYLOAD_BYTES``, or a run's log would have more than ``MAX_RUN_BYTES``."""

    def __init__(self, size: int, limit: int, setting: str = "MAX_PAYLOAD_BYTES") -> None:
        what = "The run's log would have" if setting == "MAX_RUN_BYTES" else "The encoded value has"
        super().__init__(
            f"{what} {size} bytes, the limit is {limit}. Store the value elsewhere and pass a reference, "
            f"or raise DJANGO_WORKFLOWS['{setting}']."
        )
        self.size, self.limit = size, limit


class ScheduleNotFoundError(WorkflowError):
    """There is no schedule of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No schedule is called {name!r}. `manage.py workflows schedules` lists those that there are.")
        self.name = name


class WorkflowSandboxError(WorkflowError):
    """A workflow body tried to touch the outside world. Put that code in a step."""


class ReplayDivergenceError(WorkflowError):
    """The body decided something else than its log records: its code has changed. ``expected``, ``actual`` name both."""

    def __init__(self, expected: str, actual: str, sequence: int | None = None) -> None:
        where = f" at event {sequence}" if sequence is not None else ""
        super().__init__(
            f"Replay diverged{where}: the log says {expected}, the code now says {actual}. "
            "Deploy code that fits the log, or guard the change with patched()."
        )
        self.expected, self.actual, self.sequence = expected, actual, sequence


class CorruptedEventLogError(WorkflowError):
    """The log breaks a rule that the library itself guarantees; it was changed from outside."""


class MaxEventsExceededError(WorkflowError):
    """The run's log has more events than ``MAX_EVENTS_PER_RUN``."""


class StreamClosedError(WorkflowError):
    """The stream was closed; nothing can be written after its end."""


class WorkerLostError(WorkflowError):
    """The step's workers vanished ``MAX_LOSSES`` times."""


class InAtomicBlockError(WorkflowError):
    """Waiting for a run inside the transaction that starts it would never return."""


class FatalError(WorkflowError):
    """Raise it in a step to fail the step at once, whatever retries are left."""


class RetryableError(WorkflowError):
    """Raise it in a step to have it retried, not before ``retry_after`` (same forms as ``sleep()`` takes)."""

    def __init__(self, message: str = "", *, retry_after: Any = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def all_codes() -> Mapping[str, type[WorkflowError]]:
    """Every code and its class, for documentation and for the guards."""
    found: dict[str, type[WorkflowError]] = {}
    pending: list[type[WorkflowError]] = [WorkflowError]
    while pending:
        cls = pending.pop()
        if cls.__module__ == __name__:
            found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
