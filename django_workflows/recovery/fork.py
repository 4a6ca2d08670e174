"""``fork_run``: a new run that begins with a copy of another's log, up to where a step was created.

What the copy holds is taken over, results and all; from there on the fork is a run of its own, with steps of its own
under new ids. The original is not touched.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError

from ..authoring.workflows import Workflow
from ..eventlog import events
from ..eventlog.events import END_REQUESTS, Record
from ..eventlog.fold import Fold, fold
from ..eventlog.lives import effective
from ..eventlog.records import raw_fields
from ..eventlog.statuses import TERMINAL_RUN, StepStatus
from ..exceptions import EntityConflictError, RunNotFoundError
from ..models import Event, Hook, Run
from ..serialization import Encoded, dumps
from ..services import outbox, steps
from ..services.children import current_children
from ..services.continuation import allowed_time
from ..services.creation import NewRun, create_runs, row_of
from ..store.event_log import read
from ..store.limits import require_size
from ..store.locking import lock_run, read_end, read_steps
from ..store.transactions import atomic
from ..store.transition import Transition
from ..store.write import write
from ..values.ids import run_id as new_run_id
from .rebuild import insert_entities, insert_events, new_run_of, run_columns
from .replay_log import require_workflow, trace_log
from .retry_plan import require_payloads

_EFFECTS = {events.StepCreated.type: "step", events.ChildStarted.type: "child"}


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that the original did. ``kind``: step or child; ``name``: of the step or workflow."""

    kind: str
    correlation_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """What a fork takes over and what it would do again. ``events``: how many are copied.

    ``kept`` are steps and children whose recorded ends the fork sees. ``again`` is what the original went on to do: the
    fork runs those that its body asks for once more, with new step ids, so that idempotency keys do not protect them.
    """

    run_id: str
    from_step: str | None
    events: int
    kept: tuple[Effect, ...]
    again: tuple[Effect, ...]
    #: the log that the fork begins with
    log: list[Record] = field(repr=False)


def plan_fork(run_id: str, from_step: str | None = None, input: Any = None) -> ForkPlan:
    """Say what a fork of this run would be, and try by a replay that it can be. Writes nothing.

    ``from_step``: correlation id of the first step that is not taken over; None: the fork begins afresh. ``input``:
    other arguments, ``{"args": […], "kwargs": {…}}`` or a list.

    Raises:
        RunNotFoundError: there is no such run. TypeError: the input does not fit the workflow.
        EntityConflictError: the run has no such step; or with this input, or in this state, it cannot be forked there.
        ReplayDivergenceError: the code of this process does not fit what is to be copied.
    """
    run = Run.objects.filter(pk=run_id).only("workflow").first()
    if run is None:
        raise RunNotFoundError(run_id)
    workflow, log = require_workflow(run.workflow), read(run_id)
    require_payloads(log[0], run_id)
    prefix = _prefix(run_id, log, from_step)
    given = None if input is None else _encode_input(workflow, input)
    prefix[0] = _created(run_id, log[0], given, keep_seed=from_step is not None)
    _try_out(run_id, workflow, prefix, log, with_input=given is not None)
    folded = fold(prefix)
    kept = {key for key, step in folded.steps.items() if step.ended is not None}
    kept |= {key for key, child in folded.children.items() if child.ended is not None}
    begun = {
        record.correlation_id for record in log if record.type in (events.StepStarted.type, events.ChildStarted.type)
    }
    made = (record for record in effective(log) if record.type in _EFFECTS and record.correlation_id in begun)
    effects = [_effect(record) for record in made]
    return ForkPlan(
        run_id=run_id,
        from_step=from_step,
        events=len(prefix),
        kept=tuple(effect for effect in effects if effect.correlation_id in kept),
        again=tuple(effect for effect in effects if effect.correlation_id not in kept),
        log=prefix,
    )


def _try_out(
    run_id: str, workflow: Workflow[..., Any], prefix: list[Record], log: Sequence[Record], *, with_input: bool
) -> None:
    """Replay the copy as the fork will; say why, if it does not fit."""
    divergence = trace_log(new_run_id(), workflow, prefix).divergence
    if divergence is None:
        return
    original = trace_log(run_id, workflow, [log[0], *prefix[1:]]).divergence
    if original is not None:
        raise original
    why = "With this input" if with_input else "As it tells its steps its own run id"
    raise EntityConflictError(
        f"{why}, the body of {run_id} decides otherwise in a fork: {divergence} Fork it from an earlier step."
    ) from divergence


def _prefix(run_id: str, log: Sequence[Record], from_step: str | None) -> list[Record]:
    if from_step is None:
        return [log[0]]
    created = [r for r in log if r.type == events.StepCreated.type and r.correlation_id == from_step]
    if not created:
        known = ", ".join(r.correlation_id for r in log if r.type == events.StepCreated.type)
        raise EntityConflictError(f"Run {run_id} has no step {from_step!r}. Its steps: {known or 'none'}.")
    prefix = [record for record in log if record.sequence < created[0].sequence]
    if any(record.type in END_REQUESTS for record in effective(prefix)):
        raise EntityConflictError(
            f"Run {run_id} had been asked to end before {from_step}; fork it from an earlier step."
        )
    return prefix


def _encode_input(workflow: Workflow[..., Any], input: Any) -> Encoded:
    if isinstance(input, list | tuple):
        input = {"args": list(input), "kwargs": {}}
    if not isinstance(input, Mapping) or set(input) - {"args", "kwargs"}:
        raise TypeError('input= takes {"args": [...], "kwargs": {...}}, or a list of args.')
    args, kwargs = list(input.get("args", [])), dict(input.get("kwargs", {}))
    workflow.check_arguments(args, kwargs)
    return require_size(dumps({"args": args, "kwargs": kwargs}))


def _created(run_id: str, original: Record, input: Encoded | None, *, keep_seed: bool) -> Record:
    """``run_created`` of the fork: at the original's time, since what is copied follows it."""
    changed: dict[str, Any] = {} if input is None else {"input": input}
    if not keep_seed:
        changed["seed"] = secrets.token_hex(16)
    new = new_run_of(original, idempotency_key=None, parent_id=None, continued_from="", forked_from=run_id, **changed)
    event = new.created_event()
    return Record(1, event.type, "", event.encode(), original.created_at)


def _effect(record: Record) -> Effect:
    made = raw_fields(record)
    return Effect(_EFFECTS[record.type], record.correlation_id, made.get("name") or made["workflow"])


def fork_run(plan: ForkPlan) -> str:
    """Create the run that the plan describes, in the caller's transaction. Returns its id.

    Raises:
        EntityConflictError: a hook's token belongs to another run, or a child of the original has not ended yet.
    """
    source = lock_run(plan.run_id)  # so that it is not pruned or erased meanwhile
    if plan.from_step is None:
        return create_runs([_new_run(source, plan)], notify=True)[0]
    folded = fold(plan.log)
    fork = _insert_run(source, plan, folded)
    rows = Event.objects.filter(run_id=plan.run_id, sequence__lte=plan.events).order_by("sequence")
    lives = list(rows.values_list("life", "idempotency_key"))
    insert_events(fork.id, ((record, *lives[record.sequence - 1]) for record in plan.log))
    options = dict(Hook.objects.filter(run_id=plan.run_id).values_list("correlation_id", "options"))
    try:
        with atomic():
            insert_entities(fork, folded, options)
    except IntegrityError:
        raise _token_taken(plan.run_id, folded) from None
    _go_on(fork, plan, folded)
    return str(fork.pk)


def _new_run(source: Transition, plan: ForkPlan) -> NewRun:
    """It waits in the original's queue of today and gets the same time."""
    run = source.run
    return new_run_of(plan.log[0], queue=run.queue, priority=run.priority, timeout=allowed_time(source))


def _insert_run(source: Transition, plan: ForkPlan, folded: Fold) -> Run:
    row = row_of(_new_run(source, plan), source.now)
    for name, value in run_columns(folded).items():
        setattr(row, name, value)
    Run.objects.bulk_create([row])
    return row


def _go_on(fork: Run, plan: ForkPlan, folded: Fold) -> None:
    """What was under way in the original: its running steps are this run's to start, its children must have ended."""
    transition = lock_run(fork.id)
    running = [key for key, step in folded.steps.items() if step.status == StepStatus.RUNNING]
    read_steps(transition, running)
    for correlation_id in running:
        steps.release_step(transition, transition.entities.steps[correlation_id])
    children = current_children(plan.run_id, folded.open_children)
    for correlation_id in folded.open_children:
        child = children.get(correlation_id)
        if child is None or child.status not in TERMINAL_RUN:
            state = "has been pruned" if child is None else f"({child.pk}) has not ended yet, and tells only its parent"
            raise EntityConflictError(
                f"The child {correlation_id} of run {plan.run_id} {state}. Fork from a step before it"
                + ("." if child is None else ", or when it has ended.")
            )
        _child_ended(transition, correlation_id, folded, child)
    transition.run.wake_at = transition.now
    transition.wake.add(transition.run.id)
    write([transition])


def _child_ended(transition: Transition, correlation_id: str, folded: Fold, child: Run) -> None:
    """The original's child, which both runs have, ended after what was copied."""
    known_as = raw_fields(folded.children[correlation_id].created)["child"]
    outbox.record_child_end(transition, correlation_id, known_as, *read_end(child.pk))


def _token_taken(run_id: str, folded: Fold) -> EntityConflictError:
    tokens = [raw_fields(folded.hooks[key].created)["token"] for key in folded.open_hooks]
    owner = Hook.objects.active().filter(token__in=tokens).first()
    return EntityConflictError(
        f"The token of a hook that the fork of {run_id} would take over belongs to "
        f"{owner.run_id if owner else 'another run'}. Fork when that run has ended, or from a step before the hook."
    )
