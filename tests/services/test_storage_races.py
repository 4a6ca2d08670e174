"""Two sessions compete for the same thing. Each pair runs many rounds, and the log says which was first.

Each test is named after its pair: whatever the order, the run's log obeys the rules and the tables agree.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from django_workflows import api
from django_workflows.exceptions import EntityConflictError, HookNotFoundError, RunNotActiveError, WorkflowError
from django_workflows.models import Event, Hook, Run, Step, Wait
from django_workflows.serialization import Encoded, encode_error
from django_workflows.services import creation, hooks, runs, steps, waits
from django_workflows.services.creation import NewRun
from django_workflows.store import claims, locking
from django_workflows.verify import verify_runs
from tests.support.runs import (
    INPUT,
    UNKNOWN,
    add_hook,
    add_step,
    add_wait,
    end,
    new_run,
    run_row,
    running_step,
    started_run,
    transition,
    types,
)
from tests.support.sessions import Session, race

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]
#: of each race; `make slow` runs a hundred
ROUNDS = int(os.environ.get("ROUNDS", "4"))
ERROR = encode_error(ValueError("no"))


def _sound(*run_ids: str) -> None:
    found = [v for v in verify_runs(run_ids) if v.rule not in _NEEDS_CODE]
    assert not found, [str(violation) for violation in found]


#: rules that need the workflow's code or a worker; these runs have neither
_NEEDS_CODE = frozenset({7, 8})


def _values(outcomes: list[Any]) -> list[Any]:
    """The outcomes; an exception that is not one of the library's is a bug and raised."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, WorkflowError):
            raise outcome
    return outcomes


def _on_step(run_id: str, step_id: str, act: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """``act(transition, step)`` as a worker does it: only under the lease."""

    def call() -> Any:
        with transition(run_id) as t:
            step = locking.read_step(t, step_id)
            if not steps.holds_lease(step, "wrkr_1", 1):
                return "refused"
            act(t, step)
        return "done"

    return call


@pytest.mark.parametrize("round_", range(ROUNDS))
class TestStep:
    def test_started_by_two_workers_it_runs_once(self, round_: int) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            step = add_step(t)

        def claim(worker_id: str) -> Callable[[], int]:
            def call() -> int:
                with transition(run_id) as t:
                    row = locking.read_step(t, step.id)
                    assert row is not None
                    return steps.start_step(t, row, worker_id)

            return call

        outcomes = _values(race(claim("wrkr_1"), claim("wrkr_2")))
        assert sorted(isinstance(outcome, EntityConflictError) for outcome in outcomes) == [False, True]
        assert types(run_id).count("step_started") == 1
        _sound(run_id)

    def test_completed_or_failed_it_ends_once(self, round_: int) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        outcomes = race(
            _on_step(run_id, step.id, lambda t, s: steps.complete_step(t, s, Encoded("1"))),
            _on_step(run_id, step.id, lambda t, s: steps.fail_step(t, s, ERROR)),
        )
        assert sorted(_values(outcomes)) == ["done", "refused"]
        _sound(run_id)

    def test_completed_or_retried_one_of_the_two(self, round_: int) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        outcomes = race(
            _on_step(run_id, step.id, lambda t, s: steps.complete_step(t, s, Encoded("1"))),
            _on_step(run_id, step.id, lambda t, s: steps.retry_step(t, s, ERROR, t.now)),
        )
        assert sorted(_values(outcomes)) == ["done", "refused"]
        _sound(run_id)

    def test_no_late_start_follows_its_completion(self, round_: int) -> None:
        """The status was read in one statement and the event written in another."""
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")

        def start() -> int:
            with transition(run_id) as t:
                row = locking.read_step(t, step.id)
                assert row is not None
                return steps.start_step(t, row, "wrkr_2")

        race(start, _on_step(run_id, step.id, lambda t, s: steps.complete_step(t, s, Encoded("1"))))
        assert types(run_id)[-2:] == ["step_started", "step_completed"]
        _sound(run_id)


@pytest.mark.parametrize("round_", range(ROUNDS))
class TestRun:
    def test_resumed_and_disposed_every_success_is_in_the_log_before_the_disposal(self, round_: int) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        resumed, disposed = race(lambda: api.resume_hook("token", 1), lambda: api.dispose_hook("token"))
        assert disposed is None
        assert ("hook_received" in types(run_id)) == (not isinstance(resumed, HookNotFoundError))
        assert types(run_id)[-1] == "hook_disposed"
        _sound(run_id)

    def test_resumed_and_completed_nothing_is_received_after_the_end(self, round_: int) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")

        def complete() -> None:
            with transition(run_id) as t:
                end(t)

        resumed, _ = _values(race(lambda: api.resume_hook("token", 1), complete))
        assert ("hook_received" in types(run_id)) == (not isinstance(resumed, HookNotFoundError))
        assert types(run_id)[-1] == "run_completed"
        _sound(run_id)

    def test_resumed_and_cancelled_by_force_likewise(self, round_: int) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        resumed, _ = _values(race(lambda: api.resume_hook("token", 1), lambda: api.cancel_run(run_id, force=True)))
        assert ("hook_received" in types(run_id)) == (not isinstance(resumed, HookNotFoundError))
        assert types(run_id)[-1] == "run_cancelled"
        _sound(run_id)

    def test_woken_by_a_person_and_by_time_a_wait_ends_once(self, round_: int) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_wait(t, 1, 0)

        def timer() -> int:
            with transition(run_id) as t:
                return waits.complete_due_waits(t)

        assert sorted(race(timer, lambda: api.wake_run(run_id))) == [0, 1]
        assert types(run_id).count("wait_completed") == 1
        _sound(run_id)

    def test_cancelled_completed_and_failed_at_once_it_ends_once(self, round_: int) -> None:
        run_id = started_run()

        def ended_by(act: Callable[[Any], Any]) -> Callable[[], None]:
            def call() -> None:
                with transition(run_id) as t:
                    act(t)

            return call

        outcomes = _values(
            race(
                lambda: api.cancel_run(run_id, force=True),
                ended_by(end),
                ended_by(lambda t: runs.fail_run(t, ERROR, "user_error")),
            )
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, RunNotActiveError)]
        assert len(refused) == 2
        assert (
            Event.objects.filter(run_id=run_id, type__in=("run_completed", "run_failed", "run_cancelled")).count() == 1
        )
        _sound(run_id)

    def test_a_cancel_is_never_overwritten_by_a_start(self, round_: int) -> None:
        run_id = new_run()

        def start() -> None:
            with transition(run_id) as t:
                if not t.run.ended:
                    runs.start_run(t, "wrkr_1", "v1")

        _values(race(start, lambda: api.cancel_run(run_id, force=True)))
        assert run_row(run_id).status == "cancelled"
        assert types(run_id)[-1] == "run_cancelled"
        _sound(run_id)


@pytest.mark.parametrize("round_", range(ROUNDS))
class TestToken:
    def test_the_same_token_by_two_runs_has_one_owner_and_one_conflict(self, round_: int) -> None:
        pair = [started_run(), started_run()]

        def create(run_id: str) -> Callable[[], None]:
            def call() -> None:
                with transition(run_id) as t:
                    add_hook(t, "token")

            return call

        _values(race(create(pair[0]), create(pair[1])))
        assert sorted(types(run_id)[-1] for run_id in pair) == ["hook_conflict", "hook_created"]
        conflict = Event.objects.get(type="hook_conflict")
        assert conflict.payload["owner"] == Hook.objects.active().get().run_id
        _sound(*pair)

    def test_the_same_hook_created_twice_is_there_once_and_untouched(self, round_: int) -> None:
        """A hook conflicted with itself when its creation was submitted twice."""
        run_id = started_run()
        with transaction.atomic():
            snapshots = [locking.lock_whole_run(run_id) for _ in range(2)]

        def create(snapshot: Any) -> Callable[[], None]:
            def call() -> None:
                with transition(run_id) as t:
                    if t.run.last_sequence != snapshot.expected_sequence:
                        return  # the fence: what was decided on an old log is decided again
                    add_hook(t, "token")

            return call

        _values(race(create(snapshots[0]), create(snapshots[1])))
        assert types(run_id).count("hook_created") == 1
        assert "hook_conflict" not in types(run_id)
        _sound(run_id)


@pytest.mark.parametrize("round_", range(3))
def test_one_idempotency_key_from_ten_connections_makes_one_run(round_: int) -> None:
    def start() -> str:
        return creation.create_runs([NewRun(workflow=UNKNOWN, input=INPUT, queue="q", idempotency_key="key")])[0]

    assert len(set(race(*[start] * 10))) == 1
    assert Run.objects.count() == Event.objects.count() == 1


def test_ten_resumes_at_once_are_ten_events() -> None:
    run_id = started_run()
    with transition(run_id) as t:
        add_hook(t, "token")
    _values(race(*[lambda n=n: api.resume_hook("token", n) for n in range(10)]))
    received = Event.objects.filter(type="hook_received").order_by("sequence")
    assert sorted(event.payload["payload"] for event in received) == list(range(10))
    _sound(run_id)


def test_ten_resumes_with_one_key_are_one_event() -> None:
    run_id = started_run()
    with transition(run_id) as t:
        add_hook(t, "token")
    events = _values(race(*[lambda: api.resume_hook("token", 1, idempotency_key="k")] * 10))
    assert len({event.sequence for event in events}) == 1
    assert types(run_id).count("hook_received") == 1


class TestLocks:
    """What is locked is seen locked: each of these fails when the lock is removed."""

    @pytest.mark.parametrize(
        "act",
        [
            lambda run_id: api.cancel_run(run_id),
            lambda run_id: api.resume_hook("token", 1),
            lambda run_id: api.wake_run(run_id),
            lambda run_id: api.dispose_hook("token"),
        ],
        ids=["cancel", "resume", "wake", "dispose"],
    )
    def test_an_action_waits_for_the_run_row(self, act: Callable[[str], Any]) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
            add_wait(t)
        with transaction.atomic():
            locking.lock_run(run_id)
            session = Session(lambda: act(run_id))
            session.wait_until_blocked()
        session.outcome()

    def test_a_resume_that_had_to_wait_appends_where_the_log_now_ends(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        with transition(run_id) as t:
            session = Session(lambda: api.resume_hook("token", 1))
            session.wait_until_blocked()
            add_wait(t)
        event = session.outcome()
        assert types(run_id)[-2:] == ["wait_created", "hook_received"]
        assert event == Event.objects.get(run_id=run_id, type="hook_received")
        _sound(run_id)

    def test_a_resume_that_had_to_wait_looks_again_whether_the_hook_is_still_there(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        with transition(run_id) as t:
            session = Session(lambda: api.resume_hook("token", 1))
            session.wait_until_blocked()
            hooks.dispose_hook(t, "hook:1")
        with pytest.raises(HookNotFoundError):
            session.outcome()
        assert types(run_id)[-1] == "hook_disposed"
        _sound(run_id)

    def test_a_resume_that_had_to_wait_finds_the_next_owner_of_its_token(self) -> None:
        first, second = started_run(), started_run()
        with transition(first) as t:
            add_hook(t, "token")
        with transition(first) as t:
            session = Session(lambda: api.resume_hook("token", 1))
            session.wait_until_blocked()
            hooks.dispose_hook(t, "hook:1")
            with transition(second) as other:
                add_hook(other, "token")
        assert session.outcome().run_id == second
        assert types(first)[-1] == "hook_disposed"
        assert types(second)[-1] == "hook_received"

    def test_a_due_run_that_another_session_holds_is_passed_over(self) -> None:
        held, free = new_run(), new_run()
        scope = claims.WorkerScope(None, (UNKNOWN,), (), "v1")

        def execute(text: str, values: Any) -> Any:
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute(text, values)
                return cursor.fetchall()

        def claim() -> list[str]:
            with transaction.atomic():
                return [claimed.transition.run.id for claimed in claims.claim_due_runs(scope, 10, execute)]

        with transaction.atomic():
            locking.lock_run(held)
            assert Session(claim).outcome() == [free]
        assert sorted(claim()) == sorted([held, free])

    def test_an_insert_that_refers_to_a_run_does_not_wait_for_its_lock(self) -> None:
        """``FOR NO KEY UPDATE``: a foreign key's check does not queue behind the run's lock."""
        run_id = started_run()
        with transaction.atomic():
            locking.lock_run(run_id)
            child = Session(lambda: new_run(parent_id=run_id, parent_correlation_id="child:1"))
            assert child.outcome(10).startswith("wrun_")

    def test_the_second_to_want_a_token_waits_for_the_first_to_decide(self) -> None:
        winner, loser = started_run(), started_run()

        def create() -> None:
            with transition(loser) as t:
                add_hook(t, "token")

        with transition(winner) as t:
            add_hook(t, "token")
            session = Session(create)
            session.wait_until_blocked()
        session.outcome()
        assert types(loser)[-1] == "hook_conflict"

    def test_the_token_goes_to_the_second_when_the_first_gives_up(self) -> None:
        winner, loser = started_run(), started_run()

        def create() -> None:
            with transition(loser) as t:
                add_hook(t, "token")

        with pytest.raises(ZeroDivisionError), transition(winner) as t:
            add_hook(t, "token")
            session = Session(create)
            session.wait_until_blocked()
            raise ZeroDivisionError
        session.outcome()
        assert types(loser)[-1] == "hook_created"
        created = Event.objects.get(type="hook_created")
        assert created.created_at >= Hook.objects.get().created_at

    def test_the_time_of_a_transition_is_read_after_its_lock(self) -> None:
        """Django's ``Now()`` is the beginning of the transaction, which may be long before the lock is won."""
        run_id = started_run()

        def sleep() -> Any:
            with transition(run_id) as t:
                return add_wait(t, 1, 0).created_at

        with transition(run_id) as t:
            session = Session(sleep)
            session.wait_until_blocked()
            add_step(t)
        assert session.outcome() >= Event.objects.get(type="step_created").created_at
        times = list(Event.objects.filter(run_id=run_id).order_by("sequence").values_list("created_at", flat=True))
        assert times == sorted(times)


def test_a_storm_of_swapped_tokens_ends_without_a_deadlock() -> None:
    """50 transitions, each taking two of five tokens in a different order."""
    import random

    chance, tokens = random.Random(5), [f"token-{n}" for n in range(5)]
    run_ids = [started_run() for _ in range(50)]
    orders = {run_id: chance.sample(tokens, 2) for run_id in run_ids}
    waiting, lock = list(run_ids), threading.Lock()

    from django_workflows.store.transactions import in_transaction

    @in_transaction
    def take(run_id: str) -> None:
        from django_workflows.store.write import write

        t = locking.lock_whole_run(run_id)
        for number, token in enumerate(orders[run_id], 1):
            add_hook(t, token, number)
        write([t])

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                run_id = waiting.pop()
            take(run_id)

    _values(race(*[work] * 5))
    assert Hook.objects.active().count() == len({token for pair in orders.values() for token in pair})
    for run_id in run_ids:
        assert sum(kind in ("hook_created", "hook_conflict") for kind in types(run_id)) == 2
    _sound(*run_ids)


def test_a_wait_is_due_by_the_clock_of_the_database() -> None:
    run_id = started_run()
    with transition(run_id) as t:
        wait = add_wait(t, 1, 3600)
        runs.set_wake(t, undelivered=False)
    scope = claims.WorkerScope(None, (UNKNOWN,), (), "v1")

    def execute(text: str, values: Any) -> Any:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()

    with transaction.atomic():
        assert not claims.claim_due_runs(scope, 10, execute)
    Run.objects.filter(pk=run_id).update(wake_at=wait.due_at - timedelta(hours=1, seconds=1))
    with transaction.atomic():
        (claimed,) = claims.claim_due_runs(scope, 10, execute)
    assert claimed.transition.run.id == run_id
    assert Wait.objects.get().status == "waiting"
    assert not Step.objects.exists()
