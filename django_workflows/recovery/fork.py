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
from ..eventlog.events import Record
from ..eventlog.fold import Fold, encoded, fold, parts
from ..eventlog.lives import effective
from ..eventlog.statuses import TERMINAL_RUN, RunStatus, StepStatus
from ..exceptions import EntityConflictError, RunNotFoundError
from ..models import Event, Hook, Run
from ..serialization import Encoded, dumps
from ..services import steps
from ..services.children import current_children
from ..services.continuation import allowed_time
from ..services.creation import NewRun, create_runs
from ..store.event_log import append, read
from ..store.limits import require_size
from ..store.locking import lock_run, read_end, read_steps
from ..store.transactions import atomic
from ..store.transition import Transition
from ..store.write import write
from ..values.ids import run_id as new_run_id
from .rebuild import insert_entities, insert_events
from .replay_log import require_workflow, trace_log
from .retry_plan import require_payloads

_EFFECTS = {"step_created": "step", "child_started": "child"}


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
        ReplayDivergenceError: the code at hand does not fit what is to be copied.
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
    begun = {record.correlation_id for record in log if record.type in ("step_started", "child_started")}
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
    created = [r for r in log if r.type == "step_created" and r.correlation_id == from_step]
    if not created:
        known = ", ".join(r.correlation_id for r in log if r.type == "step_created")
        raise EntityConflictError(f"Run {run_id} has no step {from_step!r}. Its steps: {known or 'none'}.")
    prefix = [record for record in log if record.sequence < created[0].sequence]
    if any(record.type in ("run_cancel_requested", "run_timed_out") for record in effective(prefix)):
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
    made = parts(original)
    args, kwargs = (encoded(made["args"]), encoded(made["kwargs"])) if input is None else steps.split_input(input)
    event = events.RunCreated(
        workflow=made["workflow"],
        args=args,
        kwargs=kwargs,
        queue=made["queue"],
        priority=made["priority"],
        attributes=encoded(made["attributes"]),
        idempotency_key=None,
        parent=None,
        seed=made["seed"] if keep_seed else secrets.token_hex(16),
        forked_from=run_id,
    )
    return Record(1, event.type, "", event.encode(), original.created_at)


def _effect(record: Record) -> Effect:
    made = parts(record)
    return Effect(_EFFECTS[record.type], record.correlation_id, made.get("name") or made["workflow"])


def fork_run(plan: ForkPlan) -> str:
    """Create the run that the plan describes, in the caller's transaction. Returns its id.

    Raises:
        EntityConflictError: a hook's token still belongs to somebody, or a child of the original has not ended yet.
    """
    source = lock_run(plan.run_id)  # so that nobody prunes or erases it meanwhile
    if plan.from_step is None:
        return _start_afresh(source, plan)
    folded = fold(plan.log)
    fork = _insert_run(source, plan, folded)
    rows = Event.objects.filter(run_id=plan.run_id, sequence__lte=plan.events).order_by("sequence")
    lives = list(rows.values_list("life", "idempotency_key"))
    insert_events(fork.id, ((record, *lives[record.sequence - 1]) for record in plan.log))
    options = dict(Hook.objects.filter(run_id=plan.run_id).values_list("correlation_id", "options"))
    try:
        with atomic():
            insert_entities(fork, folded, closed_at=None, options=options)
    except IntegrityError:
        raise _token_taken(plan.run_id, folded) from None
    _go_on(fork, plan, folded)
    return str(fork.pk)


def _start_afresh(source: Transition, plan: ForkPlan) -> str:
    made, run = parts(plan.log[0]), source.run
    new = NewRun(
        workflow=run.workflow,
        input=encoded({"args": made["args"], "kwargs": made["kwargs"]}),
        queue=run.queue,
        priority=run.priority,
        attributes=made["attributes"],
        timeout=allowed_time(source),
        forked_from=run.id,
    )
    return create_runs([new], notify=True)[0]


def _insert_run(source: Transition, plan: ForkPlan, folded: Fold) -> Run:
    made, timeout = parts(plan.log[0]), allowed_time(source)
    return Run.objects.create(
        id=new_run_id(),
        workflow=source.run.workflow,
        queue=source.run.queue,
        priority=source.run.priority,
        status=RunStatus.RUNNING,
        input=encoded({"args": made["args"], "kwargs": made["kwargs"]}),
        attributes=folded.attributes,
        forked_from=source.run.id,
        seed=made["seed"],
        created_at=source.now,
        started_at=None if folded.started is None else folded.started.created_at,
        deadline_at=None if timeout is None else source.now + timeout,
        wake_at=source.now,
        last_sequence=plan.log[-1].sequence,
        last_event_at=plan.log[-1].created_at,
        life=sum(record.type == "run_retried" for record in plan.log),
    )


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
    known_as = parts(folded.children[correlation_id].started)["child"]
    status, output, error = read_end(child.pk)
    if status == RunStatus.COMPLETED:
        append(transition, events.ChildCompleted(known_as, output), correlation_id)
    else:
        append(transition, events.ChildFailed(known_as, error, status == RunStatus.CANCELLED), correlation_id)


def _token_taken(run_id: str, folded: Fold) -> EntityConflictError:
    tokens = [parts(folded.hooks[key].created)["token"] for key in folded.open_hooks]
    owner = Hook.objects.active().filter(token__in=tokens).first()
    return EntityConflictError(
        f"The token of a hook that the fork of {run_id} would take over belongs to "
        f"{owner.run_id if owner else 'another run'}. Fork when that run has ended, or from a step before the hook."
    )
