"""Recording how an attempt went: under its lease, with the step's retry policy."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from ...exceptions import PayloadTooLargeError
from ...serialization import encode_error
from ...services import steps
from ...store import locking
from ...store.limits import require_size
from ...store.rows import StepRow
from ...store.transition import Transition
from ..attempts.attempts import Attempt, Completed, Failed, Lost, Outcome, Released

#: before an attempt is made again whose transaction the store took back: at once, it would go the same way
LOST_PAUSE = timedelta(seconds=0.5)


def record_outcome(transition: Transition, outcome: Outcome) -> None:
    """Record how an attempt went, unless its lease is no longer current or its end is recorded already.

    A commit whose answer was lost is recognised here: the step has then ended by this very attempt.
    """
    step = _leased_step(transition, outcome.attempt)
    if step is None:
        return
    if isinstance(outcome, Completed):
        try:
            steps.complete_step(transition, step, require_size(outcome.output))
        except PayloadTooLargeError as error:
            steps.fail_step(transition, step, encode_error(error), error)
    elif isinstance(outcome, Failed):
        _fail_or_retry(transition, step, outcome)
    elif isinstance(outcome, Lost):
        steps.lose_step(transition, step, outcome.reason, at_least=LOST_PAUSE)
    elif isinstance(outcome, Released):
        if transition.run.ended:
            steps.lose_step(transition, step)
        else:
            steps.release_step(transition, step)


def record_outcomes_alone(transition: Transition, outcomes: Sequence[Outcome]) -> None:
    """Record outcomes for a run without a body: it has ended, or its workflow is unknown here. One query for its steps."""
    locking.read_steps(transition, [outcome.attempt.step.correlation_id for outcome in outcomes])
    for outcome in outcomes:
        if is_lease_cached(transition, outcome):
            record_outcome(transition, outcome)


def is_lease_cached(transition: Transition, outcome: Outcome) -> bool:
    """Whether the lease is known to be current without reading the step's row."""
    attempt = outcome.attempt
    step = transition.entities.steps.get(attempt.step.correlation_id)
    return steps.holds_lease(step, attempt.worker_id, attempt.number)


def _leased_step(transition: Transition, attempt: Attempt) -> StepRow | None:
    step = transition.entities.steps.get(attempt.step.correlation_id)
    if step is None:  # the run has ended, or its workflow is unknown here: its open steps were not read
        step = locking.read_step(transition, attempt.step.id)
    return step if steps.holds_lease(step, attempt.worker_id, attempt.number) else None


def _fail_or_retry(transition: Transition, step: StepRow, outcome: Failed) -> None:
    policy = outcome.attempt.definition.policy
    failures = step.failures + 1
    if outcome.fatal or policy.exhausted(failures) or transition.run.ended:
        steps.fail_step(transition, step, outcome.error, outcome.raised)
        return
    if outcome.retry_after:
        retry_at = max(_after(asked, transition.now) for asked in outcome.retry_after)
    else:
        retry_at = transition.now + policy.delay(failures, random.random)
    steps.retry_step(transition, step, outcome.error, retry_at, outcome.raised)


def _after(retry_after: timedelta | datetime, now: datetime) -> datetime:
    return max(now, retry_after) if isinstance(retry_after, datetime) else now + retry_after
