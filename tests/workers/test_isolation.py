"""One damaged run never holds up another: what a batch cannot do is done one by one, and the culprit is parked."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from django_workflows.models import Outbox, Run, Step, Worker
from django_workflows.services import outbox
from django_workflows.store import database
from django_workflows.upkeep import retention, worker_rows
from tests.support.lone_worker import LoneWorker
from tests.workers import bodies


@pytest.fixture
def worker() -> Iterator[LoneWorker]:
    worker = LoneWorker(slots=8)
    yield worker
    worker.advancer.bodies.clear()
    worker.advancer.connection.close()


@pytest.fixture(autouse=True)
def _damaged_runs_go(verified: None) -> Iterator[None]:
    yield
    retention.remove_runs(list(Run.objects.exclude(blocked_reason="").values_list("pk", flat=True)))


def _sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _reason(run_id: str) -> str:
    return Run.objects.values_list("blocked_reason", flat=True).get(pk=run_id)


def _begun(worker: LoneWorker) -> set[str]:
    return {attempt.run_id for attempt in worker.executor.begun}


def _dead_worker() -> str:
    now = database.now()
    return str(Worker.objects.create(id="w_dead", hostname="h", pid=1, started_at=now, heartbeat_at=now).pk)


class TestDueRuns:
    def test_a_log_that_is_no_json_parks_its_run_alone(
        self, worker: LoneWorker, caplog: pytest.LogCaptureFixture
    ) -> None:
        runs = [bodies.adding.start(1) for _ in range(3)]
        _sql(f"UPDATE django_workflows_event SET data = '{{' WHERE run_id = '{runs[1].id}'")
        with caplog.at_level(logging.WARNING):
            worker.advancer.turn()
        assert _begun(worker) == {runs[0].id, runs[2].id}
        assert _reason(runs[1].id).startswith("Event 1 (run_created) cannot be read.")
        assert runs[1].id in caplog.text

    def test_a_key_that_is_gone_parks_the_runs_that_need_it(self, worker: LoneWorker, settings: object) -> None:
        settings.DJANGO_WORKFLOWS = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}  # type: ignore[attr-defined]
        sealed = bodies.adding.start(1)
        settings.DJANGO_WORKFLOWS = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}  # type: ignore[attr-defined]
        sound = bodies.adding.start(1)
        worker.advancer.turn()
        assert _begun(worker) == {sound.id}
        said = "cannot be decrypted: none of ENCRYPTION_KEYS fits."
        assert _reason(sealed.id) == f"Event 1 (run_created) of {sealed.id} {said}"
        retention.remove_runs([sealed.id, sound.id])  # no key is left to verify them


class TestPendingSteps:
    def test_a_step_whose_input_cannot_be_decrypted_parks_its_run_and_the_others_start(
        self, worker: LoneWorker
    ) -> None:
        worker.slots.take(8)
        runs = [bodies.adding.start(1) for _ in range(3)]
        worker.advancer.turn()
        assert not worker.executor.begun
        Step.objects.filter(run_id=runs[0].id).update(input="")
        _sql(f"UPDATE django_workflows_step SET input = 'enc:1:abc' WHERE run_id = '{runs[0].id}'")
        worker.slots.free_slots(8)
        worker.advancer.bodies.clear()
        worker.advancer.inbox.backlog.clear()
        assert worker.advancer.claim_steps()
        assert _begun(worker) == {runs[1].id, runs[2].id}
        assert _reason(runs[0].id).startswith(f"The input of step:add:1 of {runs[0].id} cannot be read")
        count = Run.objects.get(pk=runs[0].id).blocked_count
        assert not worker.advancer.claim_steps()  # and it is not tried again at once
        assert Run.objects.get(pk=runs[0].id).blocked_count == count


class TestRescue:
    def test_a_run_that_takes_no_event_is_parked_and_the_others_are_rescued(
        self, worker: LoneWorker, caplog: pytest.LogCaptureFixture
    ) -> None:
        runs = sorted((bodies.adding.start(1) for _ in range(3)), key=lambda run: run.id)
        worker.advancer.turn()
        dead = _dead_worker()
        Step.objects.update(worker_id=dead)
        Run.objects.filter(pk=runs[0].id).update(last_sequence=2)  # as after a partial restore
        with caplog.at_level(logging.WARNING):
            assert worker_rows.rescue([dead]) == 2
        assert _reason(runs[0].id).startswith("the step of a worker that died cannot be given back: ")
        assert runs[0].id in caplog.text
        assert Worker.objects.get(pk=dead).stopped_at is not None  # the rest is for rescue_orphans()
        assert worker_rows.rescue_orphans() == 0
        Run.objects.filter(pk=runs[0].id).update(last_sequence=4)
        assert worker_rows.rescue_orphans() == 1

    def test_a_step_whose_payloads_cannot_be_decrypted_is_rescued_all_the_same(self, worker: LoneWorker) -> None:
        run = bodies.adding.start(1)
        worker.advancer.turn()
        dead = _dead_worker()
        Step.objects.update(worker_id=dead)
        _sql("UPDATE django_workflows_step SET input = 'enc:1:abc'")
        assert worker_rows.rescue([dead]) == 1
        with connection.cursor() as cursor:
            cursor.execute("SELECT input FROM django_workflows_step")
            assert cursor.fetchone() == ("enc:1:abc",)  # as it was
        retention.remove_runs([run.id])


class TestOutbox:
    def test_a_row_that_cannot_be_read_is_passed_over_and_its_run_parked(self) -> None:
        runs = [bodies.adding.start(1) for _ in range(2)]
        now = database.now()
        for run in runs:
            Outbox.objects.create(
                kind=outbox.CANCEL_CHILD, run_id=run.id, target=run.id, payload={"parent": run.id}, created_at=now
            )
        bad = Outbox.objects.create(
            kind=outbox.CHILD_ENDED, run_id=runs[0].id, target=runs[0].id, payload={}, created_at=now
        )
        _sql(f"UPDATE django_workflows_outbox SET payload = '{{' WHERE id = {bad.pk}")
        assert outbox.flush_outbox() == 2
        assert _reason(runs[0].id).startswith(f"the child_ended of {runs[0].id} cannot be recorded: ")
        count = Run.objects.get(pk=runs[0].id).blocked_count
        assert outbox.flush_outbox() == 0  # not tried again before its pause is over
        assert Run.objects.get(pk=runs[0].id).blocked_count == count
