"""Runs of every shape, made by the verbs that make them: no worker, no body."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django_workflows.eventlog.commands import CompleteRun, FailRun
from django_workflows.eventlog.events import Record
from django_workflows.recovery import retry
from django_workflows.recovery.retry_plan import RetryPlan, run_retried
from django_workflows.serialization import Encoded, dumps, encode_error
from django_workflows.services import attributes, hooks, runs, steps, waits
from django_workflows.store import event_log
from django_workflows.store.transition import Transition
from tests.support.runs import add_step, add_wait, end, new_run, started_run, transition

WORKER = "wrkr_1"
ERROR = encode_error(ValueError("no such card", "card-number"))
CUSTOMER = {"customer": "Ms. One"}


def _step(t: Transition, number: int) -> steps.StepRow:
    return t.entities.steps[f"step:work:{number}"]


def _hook(t: Transition, number: int, metadata: object = None, *, is_webhook: bool = False) -> None:
    options = Encoded('{"schema":"a.b"}' if is_webhook else "{}")
    hooks.create_hook(
        t, f"hook:{number}", f"token-{number}", is_webhook=is_webhook, metadata=dumps(metadata), options=options
    )


def _fail(t: Transition, code: str = "user_error") -> None:
    runs.end_run(t, FailRun("", error=ERROR, error_code=code))


def busy() -> str:
    """A step in every state, waits and hooks of every kind, attributes set, replaced and removed."""
    run_id = started_run(attributes={**CUSTOMER, "gone": "x", "$": "dollar"}, idempotency_key="key")
    with transition(run_id) as t:
        for number in range(1, 7):
            add_step(t, number)
        for number in (1, 2, 3, 4, 5):
            steps.start_step(t, _step(t, number), WORKER)
        attributes.set_attributes(t, {"gone": None, "other": "y"}, "attributes:1")
        for number in (1, 2, 3):
            add_wait(t, number)
        _hook(t, 1)
        _hook(t, 2, {"what": "approval"})
        _hook(t, 3, "m", is_webhook=True)
        _hook(t, 4)
    with transition(run_id) as t:
        steps.complete_step(t, _step(t, 1), dumps({"x": [1, (2,)]}))
        steps.fail_step(t, _step(t, 2), ERROR)
        steps.retry_step(t, _step(t, 3), ERROR, t.now + timedelta(hours=1))
        steps.cancel_step(t, _step(t, 4), "step:work:4")
        waits.wake_waits(t, "wait:1")
        waits.cancel_wait(t, "wait:2")
        hooks.receive_hook(t, "token-1", Encoded("null"), idempotency_key="first")
        hooks.receive_hook(t, "token-2", dumps({"ok": True}))
        hooks.dispose_hook(t, "hook:2")
        hooks.dispose_by_token(t, "token-4")
    return run_id


def completed() -> str:
    run_id = busy()
    with transition(run_id) as t:
        end(t, {"what": "all done"})
    return run_id


def completed_with_nothing() -> str:
    run_id = started_run(attributes=CUSTOMER)
    with transition(run_id) as t:
        _hook(t, 1)
    with transition(run_id) as t:
        end(t)
    return run_id


def failed() -> str:
    run_id = busy()
    with transition(run_id) as t:
        _fail(t)
    return run_id


def cancelled_while_a_step_runs() -> str:
    run_id = busy()
    with transition(run_id) as t:
        runs.request_cancel(t, "a reason", force=True)
    return run_id


def cancelled_with_what_its_body_returned() -> str:
    run_id = started_run(attributes=CUSTOMER)
    with transition(run_id) as t:
        runs.request_cancel(t, None, force=False)
    with transition(run_id) as t:
        runs.end_run(t, CompleteRun("", output=dumps([1])))
    return run_id


def cancelled_before_it_began() -> str:
    run_id = new_run(attributes=CUSTOMER)
    with transition(run_id) as t:
        runs.request_cancel(t, "never mind", force=True)
    return run_id


def with_a_step_that_ended_after_it() -> str:
    run_id = cancelled_while_a_step_runs()
    with transition(run_id) as t:
        steps.complete_step(t, _step(t, 5), dumps("too late"))
    return run_id


def past_its_deadline() -> str:
    run_id = started_run(attributes=CUSTOMER, timeout=timedelta(0))
    with transition(run_id) as t:
        add_step(t)
        runs.time_out_run(t)
        _fail(t, "run_timeout")
    return run_id


def without_its_token() -> str:
    owner = started_run(attributes=CUSTOMER)
    with transition(owner) as t:
        _hook(t, 1)
    run_id = started_run(attributes=CUSTOMER)
    with transition(run_id) as t:
        _hook(t, 1)
        end(t)
    with transition(owner) as t:
        end(t)
    return run_id


def _retry(run_id: str, skipped: Callable[[Record], bool]) -> None:
    """Another life without these events and the run's end."""
    log = event_log.read(run_id)
    left_out = tuple(r.sequence for r in log if skipped(r) or r.type == "run_failed")
    event = run_retried(left_out)
    retried = Record(len(log) + 1, event.type, "", event.encode(), log[-1].created_at)
    steps = tuple(r.correlation_id for r in log if r.sequence in left_out and r.type == "step_failed")
    with transition(run_id) as t:
        retry.retry_run(t, RetryPlan(run_id, len(log), left_out, steps, (), [*log, retried]))


def retried() -> str:
    """What failed and what was done because of it is left out: a step that ended, one that runs, a hook and a wait."""
    run_id = busy()
    with transition(run_id) as t:
        for number in (7, 8):
            steps.start_step(t, add_step(t, number), WORKER)
        add_step(t, 9)
        add_wait(t, 9)
        _hook(t, 9)
        attributes.set_attributes(t, {"cleanup": "yes"}, "attributes:2")
    with transition(run_id) as t:
        steps.complete_step(t, _step(t, 7), dumps(7))
        _fail(t)
    gone = {"step:work:7", "step:work:8", "step:work:9", "wait:9", "hook:9", "attributes:2"}
    _retry(run_id, lambda r: r.correlation_id in gone or (r.correlation_id, r.type) == ("step:work:2", "step_failed"))
    return run_id


def retried_and_completed() -> str:
    run_id = retried()
    with transition(run_id) as t:
        steps.start_step(t, _step(t, 2), WORKER)
    with transition(run_id) as t:
        steps.complete_step(t, _step(t, 2), dumps(2))
        end(t, "at last")
    return run_id


def retried_twice_and_failed() -> str:
    run_id = retried()
    with transition(run_id) as t:
        steps.start_step(t, _step(t, 2), WORKER)
    with transition(run_id) as t:
        steps.fail_step(t, _step(t, 2), ERROR)
        _fail(t)
    _retry(run_id, lambda r: r.sequence > 40 and r.type == "step_failed")
    with transition(run_id) as t:
        _fail(t)
    return run_id


def retried_before_it_began() -> str:
    run_id = new_run(attributes=CUSTOMER)
    with transition(run_id) as t:
        _fail(t)
    _retry(run_id, lambda r: False)
    return run_id


ACTIVE = (busy, retried, retried_before_it_began)
ENDED = (
    completed,
    completed_with_nothing,
    failed,
    cancelled_while_a_step_runs,
    cancelled_with_what_its_body_returned,
    cancelled_before_it_began,
    with_a_step_that_ended_after_it,
    past_its_deadline,
    without_its_token,
    retried_and_completed,
    retried_twice_and_failed,
)
