"""Real worker processes on the test's database: what they do, and what happens when they die."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from django_workflows import RunHandle, api
from django_workflows.exceptions import RunCancelledError, RunFailedError
from django_workflows.models import Event, Run, Step, Worker
from tests.shop.models import Ledger, Order
from tests.support.eventually import eventually
from tests.support.processes import Workers
from tests.support.runs import types
from tests.workers import bodies

MODULE = bodies.__name__
FAST: dict[str, Any] = {"HEARTBEAT_INTERVAL": 0.5, "HEARTBEAT_TIMEOUT": 2.0, "POLL_INTERVAL": 0.2}


def _noted(key: str, count: int = 1) -> bool:
    return Ledger.objects.filter(key=key).count() >= count


def _go(key: str) -> None:
    Ledger.objects.create(key=f"go:{key}")


class TestWork:
    """One worker for many small runs."""

    def test_every_kind_of_run_comes_to_its_end(self) -> None:
        with Workers(MODULE, settings=FAST):
            adding = bodies.adding.start(20)
            fanning = bodies.fanning.start(60)
            failing, catching = bodies.failing_run.start("f"), bodies.catching.start("c")
            retrying, timing = bodies.retrying.start("r"), bodies.timing_out.start("t")
            exiting, recursing = bodies.exiting_run.start(), bodies.recursing.start()
            streaming, sleeping = bodies.streaming.start(5), bodies.sleeping.start(0.3)
            ordering, badly = bodies.ordering.start("o"), bodies.ordering_badly.start("b")
            violating, poisoning = bodies.violating.start("v"), bodies.poisoning.start("p")
            assert adding.result(30) == 20
            assert fanning.result(30) == sum(range(60)) + 60
            with pytest.raises(RunFailedError) as failed:
                failing.result(30)
            assert isinstance(failed.value.__cause__, ValueError)
            assert catching.result(30) == "caught never"
            assert retrying.result(30) == 2
            assert timing.result(30) == "in time"
            for run, said in ((exiting, "StepFailedError"), (recursing, "RecursionError")):
                with pytest.raises(RunFailedError, match=said):
                    run.result(30)
            assert streaming.result(30) == streaming.id
            assert sleeping.result(30) == "slept"
            assert Order.objects.get(pk=ordering.result(30)).customer == "o"
            for refused in (badly, violating, poisoning):
                with pytest.raises(RunFailedError):
                    refused.result(30)
            _go("t")
        assert not Order.objects.filter(customer="b").exists()
        assert Ledger.objects.filter(key="tried:f").count() == 3  # max_retries=2
        assert Ledger.objects.filter(key="tried:c").count() == 1  # fatal
        # What an atomic step wrote is gone with its attempt; it was tried as often as allowed, and no more.
        assert Step.objects.get(run_id=violating.id).failures == 2
        assert Step.objects.get(run_id=poisoning.id).failures == 2
        assert not Ledger.objects.filter(key__in=["tried:v", "tried:p"]).exists()

    def test_a_timed_out_attempt_that_returns_late_changes_nothing(self) -> None:
        with Workers(MODULE, settings=FAST):
            run = bodies.timing_out.start("late")
            assert run.result(30) == "in time"
            _go("late")
            other = bodies.adding.start(3)
            assert other.result(30) == 3
        assert types(run.id).count("step_completed") == 1
        assert Step.objects.get(run_id=run.id).output == "in time"

    def test_a_race_is_won_by_the_timer_while_the_step_still_runs(self) -> None:
        """Decisions and steps must not share one thread."""
        with Workers(MODULE, settings=FAST):
            run, blocked = bodies.racing.start("a", 0.2), bodies.racing_blocked.start("b", 0.2)
            assert run.result(30) == "timer"
            eventually(lambda: _noted("cancelled:a"), "the async attempt was told")
            assert blocked.result(30) == "timer"
            _go("b")
        assert Step.objects.get(run_id=run.id, name__endswith="aheld").status == "cancelled"

    def test_a_resume_in_mid_step_does_not_run_the_step_again(self) -> None:
        """A resume wakes the run; it must not start the step that runs a second time."""
        with Workers(MODULE, settings=FAST):
            run = bodies.holding.start("m")
            eventually(lambda: _noted("began:m"), "the step runs")
            api.wake_run(run.id)
            hooked = bodies.hooked.start("token", 5)
            eventually(lambda: "hook_created" in types(hooked.id), "the hook is there")
            for number in range(5):
                api.resume_hook("token", number)
            assert hooked.result(30) == [0, 1, 2, 3, 4]
            _go("m")
            assert run.result(30) == 1
        assert Ledger.objects.filter(key="began:m").count() == 1

    def test_unread_payloads_do_not_hold_up_later_events(self) -> None:
        """Events after payloads that the body does not read must still reach it."""
        with Workers(MODULE, settings=FAST):
            run = bodies.unread.start("unread", "gate")
            eventually(lambda: types(run.id).count("hook_created") == 2, "both hooks are there")
            for number in range(50):
                api.resume_hook("unread", number)
            api.resume_hook("gate", 50)
            assert run.result(30) == sum(range(50))

    def test_a_cancelled_body_cleans_up_and_the_run_ends_cancelled(self) -> None:
        with Workers(MODULE, settings=FAST):
            run = bodies.cleaning.start("x")
            eventually(lambda: "hook_created" in types(run.id), "it waits")
            run.cancel(reason="enough")
            with pytest.raises(RunCancelledError, match="enough"):
                run.result(30)
        assert _noted("cleaned:x")

    def test_nothing_is_lost_without_notifications(self) -> None:
        """Timers, retries and new runs are rows found by their time; NOTIFY only shortens the wait."""
        with Workers(MODULE, settings={**FAST, "LISTEN": False}):
            runs: list[RunHandle[Any]] = [
                bodies.adding.start(3),
                bodies.retrying.start("quiet"),
                bodies.sleeping.start(0.2),
            ]
            assert [run.result(30) for run in runs] == [3, 2, "slept"]


class TestDeath:
    def test_the_steps_of_a_killed_worker_run_elsewhere_and_count_as_lost(self) -> None:
        # no heartbeat would show it in time; the lock that the worker's connection held does
        with Workers(MODULE, processes=2, settings={**FAST, "HEARTBEAT_TIMEOUT": 600.0}) as workers:
            run = bodies.holding.start("k")
            eventually(lambda: _noted("began:k"), "the step runs")
            row = Worker.objects.get(pk=Step.objects.get().worker_id)
            os.kill(row.pid, signal.SIGKILL)
            eventually(lambda: _noted("began:k", 2), "another worker has it")
            _go("k")
            assert run.result(30) == 2
            assert len(eventually(lambda: [p for p in workers.pids() if p != row.pid], "a new process")) >= 1
        step = Step.objects.get()
        assert (step.attempt, step.losses, step.failures) == (2, 1, 0)
        (retrying,) = [e.payload for e in Event.objects.filter(type="step_retrying")]
        assert retrying["lost"] is True

    def test_a_step_that_kills_its_worker_is_done_by_the_next_process(self) -> None:
        with Workers(MODULE, settings=FAST):
            assert bodies.killing_run.start("self").result(60) == 2

    def test_what_a_killed_worker_wrote_in_an_atomic_step_is_gone_and_done_once(self) -> None:
        with Workers(MODULE, processes=2, settings=FAST):
            run = bodies.holding_order.start("o")
            eventually(lambda: _noted("began:o"), "the step is inside its transaction")
            os.kill(Worker.objects.get(pk=Step.objects.get().worker_id).pid, signal.SIGKILL)
            eventually(lambda: _noted("began:o", 2), "another worker has it")
            _go("o")
            run.result(30)
        assert Order.objects.filter(customer="o").count() == 1

    def test_a_frozen_worker_is_taken_for_dead_and_its_late_result_is_refused(self) -> None:
        with Workers(MODULE, processes=2, settings=FAST):
            run = bodies.holding.start("z")
            eventually(lambda: _noted("began:z"), "the step runs")
            frozen = Worker.objects.get(pk=Step.objects.get().worker_id)
            os.kill(frozen.pid, signal.SIGSTOP)
            try:
                eventually(lambda: _noted("began:z", 2), "another worker has it")
                _go("z")
                assert run.result(30) == 2
            finally:
                os.kill(frozen.pid, signal.SIGCONT)
            eventually(
                lambda: Worker.objects.alive().filter(pid=frozen.pid).exclude(pk=frozen.pk).exists(),
                "the thawed process goes on as a new worker",
            )
            assert bodies.adding.start(3).result(30) == 3
        assert types(run.id).count("step_completed") == 1

    def test_a_stopping_worker_returns_its_steps_to_the_queue(self) -> None:
        first = Workers(MODULE, settings=FAST)
        run = bodies.holding.start("s")
        eventually(lambda: _noted("began:s"), "the step runs")
        assert first.stop() == 0
        assert not Worker.objects.alive().exists()
        with Workers(MODULE, settings=FAST):
            eventually(lambda: _noted("began:s", 2), "another worker has it")
            _go("s")
            assert run.result(30) == 2
        step = Step.objects.get()
        assert (step.losses, step.failures) == (0, 0)

    def test_the_processes_die_with_their_supervisor(self) -> None:
        workers = Workers(MODULE, processes=2, settings=FAST)
        pids = workers.pids()
        workers.die()
        eventually(lambda: not any(_alive(pid) for pid in pids), "the processes have ended")


class TestPoison:
    SETTINGS = {**FAST, "HANG_TIMEOUT": 1.0, "MAX_CRASHES": 2}

    def test_bodies_that_hang_or_exit_are_parked_with_a_reason_and_the_others_go_on(self) -> None:
        with Workers(MODULE, processes=2, settings=self.SETTINGS):
            looping, leaving = bodies.looping.start(), bodies.leaving.start()
            healthy = bodies.adding.start_many([((3,), {})] * 30)
            assert [run.result(60) for run in healthy] == [3] * 30
            poison: list[tuple[RunHandle[Any], str]] = [(looping, "without awaiting"), (leaving, "exit code 13")]
            for run, reason in poison:
                _parked(run.id, reason)
            assert bodies.adding.start(2).result(60) == 2

    def test_a_body_that_hangs_while_it_is_closed_is_noticed_too(self) -> None:
        with Workers(MODULE, processes=1, settings={**self.SETTINGS, "CACHE_SIZE": 1}):
            bodies.stubborn.start("s")
            eventually(lambda: Event.objects.filter(type="wait_created").exists(), "it sleeps")
            run = bodies.adding.start(1)  # pushes it out of the cache
            assert run.result(60) == 1
            assert bodies.holding.start("after").id
            eventually(lambda: _noted("began:after"), "the worker works again", timeout=60)
            _go("after")


def _parked(run_id: str, reason: str) -> None:
    (row,) = eventually(lambda: list(Run.objects.blocked().filter(pk=run_id)), "it is parked", timeout=60)
    assert reason in row.blocked_reason
    assert row.status in ("running", "pending")


def _alive(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
