"""One attempt at a step, from its claim to its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...authoring.steps import Step
from ...serialization import Encoded
from ...store.locking import require_readable
from ...store.rows import RunRow, StepRow


@dataclass(slots=True, eq=False)
class Attempt:
    """What an executor is given. ``step`` is the row as it was claimed; its lease is ``worker_id`` + ``number``.

    Times are ``time.monotonic()``.
    """

    step: StepRow
    number: int
    worker_id: str
    definition: Step[..., Any]
    workflow_name: str
    run_started_at: datetime
    attributes: dict[str, str]
    #: when its worker took it, when its function was called, and when it is overdue
    taken_at: float = 0.0
    began_at: float = 0.0
    deadline: float | None = None
    #: its outcome is not wanted any more
    cancelled: bool = False
    #: its outcome has been taken; a later one is dropped
    reported: bool = False
    #: a test runs it on the test's own connection, which no other thread can use
    inline: bool = False

    @property
    def run_id(self) -> str:
        return self.step.run_id


def attempt_of(step: StepRow, run: RunRow, definition: Step[..., Any], worker_id: str) -> Attempt:
    """The attempt that ``step`` has just been started for, with what its function may ask about its run.

    Raises:
        CorruptedEventLogError: the step's input cannot be decrypted here.
    """
    require_readable(f"The input of {step.correlation_id} of {run.id}", step.input)
    return Attempt(
        step=step,
        number=step.attempt,
        worker_id=worker_id,
        definition=definition,
        workflow_name=run.workflow,
        run_started_at=run.started_at or run.created_at,
        attributes=dict(run.attributes),
    )


@dataclass(slots=True)
class Outcome:
    """How an attempt went, to be recorded under its lease."""

    attempt: Attempt

    @property
    def size(self) -> int:
        """Characters of the payload that waits with it."""
        return 0


@dataclass(slots=True)
class Completed(Outcome):
    """The function returned. ``output``: its value, encoded; its size is checked where it is recorded."""

    output: Encoded

    @property
    def size(self) -> int:
        return len(self.output)


@dataclass(slots=True)
class Failed(Outcome):
    """The function raised, or took too long. ``fatal``: no retry, whatever the policy says.

    ``retry_after``: when to try again, in place of the policy's delay; of several, the last.
    """

    error: Encoded
    fatal: bool = False
    retry_after: Sequence[timedelta | datetime] = ()
    #: the exception itself, for observers
    raised: BaseException | None = None

    @property
    def size(self) -> int:
        return len(self.error)


@dataclass(slots=True)
class Released(Outcome):
    """The attempt was not carried out here, through no fault of the step: the worker stops, or has no room for it."""


@dataclass(slots=True)
class Lost(Outcome):
    """What the attempt did is gone, through no fault of the step: the store took its transaction back.

    It counts as a loss, as where a worker vanishes. ``reason``: a sentence.
    """

    reason: str


@dataclass(slots=True)
class AlreadyRecorded(Outcome):
    """The step has recorded its end itself (``atomic``), or its outcome is not wanted any more."""
