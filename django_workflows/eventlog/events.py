"""What happened to a run: one frozen dataclass per event type, declared once with its traits (see ``traits``).

* a *decision* exists because the body said so; replaying the body must produce the same decisions in the same order;
* an *arrival* comes from outside the body;
* a *mark* is bookkeeping about the run itself, neither of the two (``run_created``, ``run_started``, ``run_retried``).

A field typed as a payload may be given as :class:`~django_workflows.serialization.Encoded` text, which is spliced in as
it is. Each class says which verb of ``services`` writes it; no other code does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from .records import Record
from .statuses import HookStatus, RunStatus, StepStatus, WaitStatus
from .traits import TYPES, Entity, Event, FieldTraits, Kind, Shape, TimelineMark, Tone, Traits, event, kept, personal

_ARGS = "positional arguments"
_KWARGS = "named arguments"
_ERROR = "what was raised: {type, message, args, traceback, cause}"
_ATTEMPT = "number of the attempt, from 1; starts whose worker vanished count"


# --- the run ---------------------------------------------------------------------------------------------------------


@event(Kind.MARK, Entity.RUN, opens=True, status=RunStatus.PENDING, says="{workflow}{call}")
class RunCreated(Event):
    """The run exists, in the transaction that started it. Written by ``creation.create_runs``."""

    workflow: str = kept("registered name of the workflow")
    args: Any = personal(Shape.ARGS, _ARGS)
    kwargs: Any = personal(Shape.MAPPING, _KWARGS)
    queue: str = kept("queue in which the run waits for a worker")
    priority: int = kept("lower numbers first")
    attributes: Any = personal(Shape.MAPPING, "searchable text by key")
    idempotency_key: str | None = kept("key of the start, unique per workflow")
    parent: str | None = kept("id of the run that started this one as its child")
    seed: str = kept("source of the body's random numbers", secret=True)
    forked_from: str | None = kept("id of the run whose log this one begins with", default=None)
    continued_from: str | None = kept("id of the run that continued as this one", default=None)
    scheduled_at: datetime | None = kept("instant of the schedule's tick that made the run", default=None)
    context: Any = personal(Shape.VALUE, "what the middleware captured at the start", default=None)
    caller: str | None = personal(Shape.TEXT, "who has the idempotency key, where the API was given it", default=None)
    erased: bool | None = kept(
        "true once the log's personal fields are erased: it can be replayed no more", default=None
    )


@event(Kind.MARK, Entity.RUN, status=RunStatus.RUNNING)
class RunStarted(Event):
    """A worker advances the run for the first time, and its body begins. Written by ``runs.start_run``."""

    worker: str | None = kept("id of the worker")
    code_version: str = kept("version of the worker's code")


@event(Kind.DECISION, Entity.RUN, closes=True, status=RunStatus.COMPLETED, tone=Tone.GOOD, says="{output}")
class RunCompleted(Event):
    """The body returned, or continued as a new run. Written by ``runs.end_run``."""

    output: Any = personal(Shape.VALUE, 'what the body returned; {"continued_as": id} after continue_as_new()')


@event(Kind.DECISION, Entity.RUN, closes=True, status=RunStatus.FAILED, tone=Tone.BAD, says="{error}")
class RunFailed(Event):
    """The body raised, or the run broke a limit or its deadline. Written by ``runs.end_run``."""

    error: Any = personal(Shape.ERROR, _ERROR)
    error_code: str = kept("user_error where user code raised, else the engine's code")


@event(
    Kind.ARRIVAL,
    Entity.RUN,
    resolves=True,
    tone=Tone.BUSY,
    says="{reason}",
    mark=TimelineMark("cancel", "Cancel requested"),
)
class RunCancelRequested(Event):
    """Someone asked the run to end: its body is cancelled and may clean up. Written by ``runs.request_cancel``."""

    reason: str | None = personal(Shape.TEXT, "why, in the words of the request")
    force: bool = kept("true: the run ends at once, without its cleanup")


@event(Kind.ARRIVAL, Entity.RUN, resolves=True, tone=Tone.BAD, mark=TimelineMark("timeout", "Past its deadline"))
class RunTimedOut(Event):
    """The run's deadline has passed: its body is cancelled and may clean up. Written by ``runs.time_out_run``."""

    deadline_at: datetime = kept("the deadline")


@event(Kind.DECISION, Entity.RUN, closes=True, status=RunStatus.CANCELLED, tone=Tone.BUSY, says="{reason}")
class RunCancelled(Event):
    """The run ended after a cancel request, whatever its body did. Written by ``runs.end_run``."""

    reason: str | None = personal(Shape.TEXT, "of the first request")
    output: Any = personal(Shape.VALUE, "what the body returned all the same, or null")
    error: Any = personal(Shape.ERROR, "what the body raised while it was cancelled, or null")


@event(Kind.MARK, Entity.RUN, after_end=True, status=RunStatus.RUNNING, mark=TimelineMark("retried", "Retried"))
class RunRetried(Event):
    """A failed run begins another life in the same log. Written by ``retry.retry_run``."""

    skipped: Any = kept("sequences of the events of earlier lives that replay leaves out from now on", default=None)


# --- steps -----------------------------------------------------------------------------------------------------------


@event(Kind.DECISION, Entity.STEP, opens=True, status=StepStatus.PENDING, says="{call}")
class StepCreated(Event):
    """The body called a step: it waits for a worker. Written by ``steps.create_step``."""

    name: str = kept("registered name of the step")
    args: Any = personal(Shape.ARGS, _ARGS)
    kwargs: Any = personal(Shape.MAPPING, _KWARGS)
    queue: str = kept("queue in which the step waits for a worker")


@event(Kind.ARRIVAL, Entity.STEP, status=StepStatus.RUNNING, says="attempt {attempt}")
class StepStarted(Event):
    """A worker begins an attempt. Written by ``steps.start_step``."""

    attempt: int = kept(_ATTEMPT)
    worker: str | None = kept("id of the worker")


@event(
    Kind.ARRIVAL,
    Entity.STEP,
    status=StepStatus.PENDING,
    tone=Tone.BUSY,
    says="attempt {attempt}: {error}",
    says_if=("lost", "attempt {attempt} lost its worker"),
)
class StepRetrying(Event):
    """An attempt failed or lost its worker, and another will follow. Written by the verbs of ``steps`` that retry."""

    attempt: int = kept(_ATTEMPT)
    error: Any = personal(Shape.ERROR, _ERROR)
    retry_at: datetime | None = kept("the next attempt begins no earlier")
    lost: bool = kept("true: the worker vanished or gave the step back, which is no failure", default=False)


@event(
    Kind.ARRIVAL,
    Entity.STEP,
    resolves=True,
    closes=True,
    after_end=True,
    status=StepStatus.COMPLETED,
    tone=Tone.GOOD,
    says="{output}",
)
class StepCompleted(Event):
    """An attempt returned. Written by ``steps.complete_step``."""

    attempt: int = kept(_ATTEMPT)
    output: Any = personal(Shape.VALUE, "what the step returned")


@event(
    Kind.ARRIVAL,
    Entity.STEP,
    resolves=True,
    closes=True,
    after_end=True,
    status=StepStatus.FAILED,
    tone=Tone.BAD,
    says="{error}",
)
class StepFailed(Event):
    """The last attempt failed, or too many workers were lost. Written by ``steps.fail_step`` and ``lose_step``."""

    attempt: int = kept(_ATTEMPT)
    error: Any = personal(Shape.ERROR, _ERROR)


@event(Kind.DECISION, Entity.STEP, closes=True, status=StepStatus.CANCELLED)
class StepCancelled(Event):
    """The body no longer wants the step. Written by ``steps.cancel_step``."""


# --- waits -----------------------------------------------------------------------------------------------------------


@event(Kind.DECISION, Entity.WAIT, opens=True, status=WaitStatus.WAITING, says="until {due_at}")
class WaitCreated(Event):
    """The body sleeps. Written by ``waits.create_wait``."""

    due_at: datetime = kept("when the sleep is over")


@event(
    Kind.ARRIVAL,
    Entity.WAIT,
    resolves=True,
    closes=True,
    status=WaitStatus.COMPLETED,
    says_if=("woken", "woken"),
    mark=TimelineMark("woken", "Woken by hand", only_if="woken"),
)
class WaitCompleted(Event):
    """The sleep is over. Written by ``waits.complete_wait``."""

    woken: bool = kept("true: ended early, by ``wake_run``")


@event(Kind.DECISION, Entity.WAIT, closes=True, status=WaitStatus.CANCELLED)
class WaitCancelled(Event):
    """The body no longer sleeps. Written by ``waits.cancel_wait``."""


# --- hooks -----------------------------------------------------------------------------------------------------------


@event(Kind.DECISION, Entity.HOOK, resolves=True, opens=True, status=HookStatus.ACTIVE)
class HookCreated(Event):
    """The body's hook has won its token and takes payloads. Written by ``hooks.create_hook``."""

    token: str = personal(Shape.TOKEN, "by which payloads are delivered")
    is_webhook: bool = kept("true: payloads come as HTTP requests to the token's URL")
    metadata: Any = personal(Shape.VALUE, "what the body said about the hook")


@event(
    Kind.DECISION,
    Entity.HOOK,
    resolves=True,
    opens=True,
    closes=True,
    status=HookStatus.CONFLICT,
    tone=Tone.BAD,
    says="owned by {owner}",
    mark=TimelineMark("conflict", "Refused: another run has the token"),
)
class HookConflict(Event):
    """The token of the body's hook belongs to another run; the hook has no row. Written by ``hooks.create_hook``."""

    token: str = personal(Shape.TOKEN, "the token that was asked for")
    owner: str = kept("id of the run that has the token")


@event(
    Kind.ARRIVAL,
    Entity.HOOK,
    resolves=True,
    tone=Tone.GOOD,
    says="{payload}",
    mark=TimelineMark("delivery", "Delivery"),
)
class HookReceived(Event):
    """A payload was delivered to the hook. Written by ``hooks.receive_hook``."""

    payload: Any = personal(Shape.VALUE, "what was delivered")
    idempotency_key: str | None = kept("key of the delivery; one that repeats it adds no event")
    caller: str | None = personal(Shape.TEXT, "who has the idempotency key, where the API was given it", default=None)


@event(
    Kind.DECISION,
    Entity.HOOK,
    closes=True,
    status=HookStatus.DISPOSED,
    arrives=lambda record: '"outside"' in record.data,
)
class HookDisposed(Event):
    """The hook takes no more payloads and its token is free. Written by the verbs of ``hooks`` that dispose."""

    outside: bool | None = kept("true: freed from outside, an arrival; the body sees its hook end", default=None)


# --- children --------------------------------------------------------------------------------------------------------


@event(Kind.DECISION, Entity.CHILD, opens=True, status=RunStatus.RUNNING, says="{workflow} {child}")
class ChildStarted(Event):
    """The body started a run of its own. Written by ``children.start_child``."""

    workflow: str = kept("registered name of the child's workflow")
    child: str = kept("id of the child run")
    args: Any = personal(Shape.ARGS, _ARGS)
    kwargs: Any = personal(Shape.MAPPING, _KWARGS)


@event(
    Kind.ARRIVAL, Entity.CHILD, resolves=True, closes=True, status=RunStatus.COMPLETED, tone=Tone.GOOD, says="{output}"
)
class ChildCompleted(Event):
    """The child run, or the last that it continued as, completed. Written by ``outbox.record_child_end``."""

    child: str = kept("id of the child run, as the body knows it")
    output: Any = personal(Shape.VALUE, "what the child returned")


@event(
    Kind.ARRIVAL,
    Entity.CHILD,
    resolves=True,
    closes=True,
    status=RunStatus.FAILED,
    status_if=("cancelled", RunStatus.CANCELLED),
    tone=Tone.BAD,
    says="{error}",
    says_if=("cancelled", "cancelled"),
)
class ChildFailed(Event):
    """The child run failed or was cancelled. Written by ``outbox.record_child_end``."""

    child: str = kept("id of the child run, as the body knows it")
    error: Any = personal(Shape.ERROR, _ERROR)
    cancelled: bool = kept("true: the child was cancelled; its error may be null")


# --- the rest --------------------------------------------------------------------------------------------------------


@event(
    Kind.DECISION,
    Entity.ATTRIBUTES,
    arrives=lambda record: not record.correlation_id.startswith("attributes:"),
    says="{attributes}",
)
class AttributesSet(Event):
    """Attributes of the run were changed. Written by ``attributes.set_attributes``.

    By the body when the correlation id is ``attributes:<n>``; by a step when it is the step's: then it is an arrival.
    """

    attributes: Any = personal(Shape.MAPPING, "text by key; null removes a key")


@event(Kind.DECISION, Entity.PATCH, says="{patch}")
class PatchRecorded(Event):
    """The body went the new way at a ``patched()``. Written by ``decisions.record_patch``."""

    patch: str = kept("name of the patch")


# --- what follows from the traits ------------------------------------------------------------------------------------

TRAITS: dict[str, Traits] = {type: cls.traits for type, cls in TYPES.items()}


def types_where(condition: Callable[[Traits], object]) -> tuple[str, ...]:
    """The types whose traits fulfil a condition, in the order of declaration."""
    return tuple(type for type, traits in TRAITS.items() if condition(traits))


def _closing(entity: Entity) -> tuple[str, ...]:
    return types_where(lambda traits: traits.closes and traits.entity is entity)


#: what begins the life of an entity within the run
CREATIONS = types_where(lambda traits: traits.opens and traits.entity is not Entity.RUN)
STEP_TERMINALS = _closing(Entity.STEP)
WAIT_TERMINALS = _closing(Entity.WAIT)
CHILD_TERMINALS = _closing(Entity.CHILD)
RUN_TERMINALS = _closing(Entity.RUN)
#: what may still be appended to a log after its terminal event
AFTER_END = frozenset(types_where(lambda traits: traits.after_end))
#: what asks the body to end
END_REQUESTS = types_where(
    lambda traits: traits.entity is Entity.RUN and traits.kind is Kind.ARRIVAL and traits.resolves
)
#: what changes the row of a step, wait or hook, or all of them
CHANGES_ENTITY_ROWS = frozenset(
    {
        RunRetried.type,
        *types_where(
            lambda traits: (
                traits.status is not None
                and traits.entity in (Entity.STEP, Entity.WAIT, Entity.HOOK)
                and not (traits.opens and traits.closes)
            )
        ),
    }
)


__all__ = ["TYPES", "Entity", "Event", "FieldTraits", "Kind", "Record", "Shape", "Tone", "Traits"]
