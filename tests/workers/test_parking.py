"""Which parked runs a worker tries again, and that due runs go by priority and time, never by the name of their queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from django_workflows import api
from django_workflows.models import Run, Step
from django_workflows.services import runs
from django_workflows.store import claims, database
from django_workflows.store.transactions import atomic
from django_workflows.store.transition import Transition
from django_workflows.upkeep import retention
from tests.support.lone_worker import LoneWorker
from tests.support.runs import transition
from tests.workers import bodies

Make = Callable[..., LoneWorker]


@pytest.fixture
def make(verified: None) -> Iterator[Make]:
    """Workers of any code version."""
    made: list[LoneWorker] = []

    def new(version: str = "v1", slots: int = 8) -> LoneWorker:
        made.append(LoneWorker(slots=slots, code_version=version))
        return made[-1]

    yield new
    for worker in made:
        worker.advancer.bodies.clear()
        worker.advancer.connection.close()


def _park(run_id: str, act: Callable[[Transition], None]) -> None:
    with transition(run_id) as t:
        act(t)


def _pause_is_over(run_id: str, version: str) -> None:
    row = Run.objects.get(pk=run_id)
    assert row.pauses is not None
    row.pauses[version][0] = 0.0
    row.save(update_fields=["pauses"])


def _parked(worker: LoneWorker, limit: int = 8, *, crashed: bool = False) -> list[str]:
    """Which it would claim."""
    with worker.advancer.connection.lent(), atomic():
        found = claims.claim_parked_runs(worker.scope, limit, worker.advancer.connection.execute, crashed=crashed)
        return [claimed.transition.run.id for claimed in found]


def _due(worker: LoneWorker, limit: int = 8) -> list[str]:
    with worker.advancer.connection.lent(), atomic():
        found = claims.claim_due_runs(worker.scope, limit, worker.advancer.connection.execute)
        return [claimed.transition.run.id for claimed in found]


def _due_since(run_id: str, seconds: float) -> None:
    Run.objects.filter(pk=run_id).update(wake_at=database.now() - timedelta(seconds=seconds))


class TestPauses:
    def test_a_pause_binds_the_version_that_set_it_and_another_one_does_not_end_it(self, make: Make) -> None:
        old, new, third = make("old"), make("new"), make("third")
        run = bodies.adding.start(1).id
        _park(run, lambda t: runs.block_run(t, "does not fit", "old"))
        assert (_parked(old), _parked(new)) == ([], [run])
        _park(run, lambda t: runs.block_run(t, "nor this", "new"))
        assert (_parked(old), _parked(new), _parked(third)) == ([], [], [run])
        _pause_is_over(run, "old")
        assert (_parked(old), _parked(new)) == ([run], [])

    def test_pauses_of_one_version_grow_although_another_one_tries_in_between(self) -> None:
        run = bodies.adding.start(1).id
        lengths = []
        for _ in range(3):
            with transition(run) as t:
                runs.block_run(t, "does not fit", "old")
                runs.block_run(t, "nor this", "new")
                assert t.run.pauses is not None
                lengths.append(round(t.run.pauses["old"][0] - t.now.timestamp()))
        assert lengths == [2, 4, 8]

    def test_a_parked_run_does_not_precede_newer_work(self, make: Make) -> None:
        worker = make()
        parked, newer = bodies.adding.start(1).id, bodies.adding.start(1).id
        _park(parked, lambda t: runs.block_run(t, "does not fit", "v1"))
        _due_since(parked, 3600)
        _pause_is_over(parked, "v1")
        assert _due(worker) == [newer]

    def test_a_row_keeps_the_pauses_of_a_bounded_number_of_versions(self) -> None:
        run = bodies.adding.start(1).id
        with transition(run) as t:
            for number in range(20):
                runs.block_run(t, "does not fit", f"v{number}")
            assert t.run.pauses is not None
            assert len(t.run.pauses) == runs.MOST_VERSIONS
            assert "v19" in t.run.pauses


class TestCrashes:
    def test_a_crash_binds_all_versions(self, make: Make) -> None:
        run = bodies.adding.start(1).id
        _park(run, lambda t: runs.block_crashed_run(t, "ended its worker process", "v1"))
        assert _parked(make("v1"), crashed=True) == _parked(make("v2"), crashed=True) == []
        _pause_is_over(run, "*")
        assert _parked(make("v2"), crashed=True) == [run]
        assert _parked(make("v2"), crashed=False) == []

    def test_after_max_crashes_only_other_code_tries_it_until_it_is_unblocked(self, make: Make) -> None:
        run = bodies.adding.start(1).id
        for _ in range(3):
            _park(run, lambda t: runs.block_crashed_run(t, "ended its worker process", "v1"))
        _pause_is_over(run, "*")
        assert _parked(make("v1"), crashed=True) == []
        assert _parked(make("v2"), crashed=True) == [run]
        _park(run, lambda t: runs.block_crashed_run(t, "ended its worker process", "v2"))
        _pause_is_over(run, "*")
        assert _parked(make("v2"), crashed=True) == []  # once was enough
        assert Run.objects.get(pk=run).blocked_reason == "the body ended its worker process, 4 times"
        api.unblock_run(run)
        row = Run.objects.get(pk=run)
        assert (row.crashes, row.pauses, row.blocked_until) == (0, None, None)
        assert _due(make("v1")) == [run]

    def test_a_suspect_is_advanced_alone_and_last(self, make: Make) -> None:
        worker = make()
        suspects = [bodies.adding.start(1).id for _ in range(2)]
        parked = bodies.adding.start(1).id
        for run in suspects:
            _park(run, lambda t: runs.block_crashed_run(t, "ended its worker process", "v0"))
            _pause_is_over(run, "*")
        _park(parked, lambda t: runs.block_run(t, "does not fit", "v0"))
        begun = []
        for _ in range(3):
            worker.advancer.claim_doubtful()
            begun.append([attempt.run_id for attempt in worker.executor.begun])
            worker.executor.begun = []
        assert begun[0] == [parked]
        assert sorted(begun[1] + begun[2]) == sorted(suspects)
        assert len(begun[1]) == len(begun[2]) == 1
        assert set(Run.objects.values_list("crashes", flat=True)) == {0}  # they have been advanced


class TestCrowds:
    def test_runs_that_will_hardly_fit_leave_the_way_to_others(self, make: Make) -> None:
        worker = make("new")
        misfits = [bodies.adding.start(1).id for _ in range(3)]
        Run.objects.update(code_version="old", status="running", started_at=database.now())
        fresh = bodies.adding.start(1).id
        for run in misfits:
            _due_since(run, 60)
        assert _due(worker, 3) == misfits
        worker.advancer._locked.doubts.note(bodies.adding.name)
        with worker.advancer.connection.lent(), atomic():
            execute, doubted = worker.advancer.connection.execute, worker.advancer._locked.doubts.workflows()
            first = claims.claim_due_runs(worker.scope, 3, execute, doubted=doubted)
            others = claims.claim_due_runs(worker.scope, 2, execute, doubted=doubted, only_doubted=True)
        assert [claimed.transition.run.id for claimed in first] == [fresh]
        assert len(others) == 2
        retention.remove_runs(misfits)  # their rows were made up


class TestOrder:
    def test_runs_go_by_priority_and_time_whatever_their_queue_is_called(self, make: Make) -> None:
        late, early = (bodies.adding.using(queue=name).start(1).id for name in ("aaa", "zzz"))
        urgent = bodies.adding.using(queue="mmm", priority=5).start(1).id
        _due_since(late, 1)
        _due_since(early, 2)
        assert _due(make(), 1) == [urgent]
        Run.objects.filter(pk=urgent).update(wake_at=None)
        assert _due(make(), 1) == [early]
        Run.objects.filter(pk=urgent).update(wake_at=database.now())

    def test_steps_do_too(self, make: Make) -> None:
        worker = make(slots=2)
        worker.slots.take(2)
        runs_ = [bodies.adding.using(queue=name).start(1).id for name in ("aaa", "zzz")]
        worker.advancer.turn()
        for run_id, name, seconds in zip(runs_, ("aaa", "zzz"), (1, 2), strict=True):
            at = database.now() - timedelta(seconds=seconds)
            Step.objects.filter(run_id=run_id).update(queue=name, available_at=at)
        with worker.advancer.connection.lent():
            found = claims.claimable_steps(worker.scope, 1, worker.advancer.connection.execute)
        assert [run_id for run_id, _ in found] == [runs_[1]]
        retention.remove_runs(runs_)  # their rows were made up
