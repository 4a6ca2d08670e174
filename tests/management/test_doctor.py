"""``workflows doctor``: everything that can stall is found, named by a code, and nothing else is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection

from django_workflows.inspection.health import Severity, diagnose
from django_workflows.models import Event, Hook, Outbox, Run, Step, Wait, Worker
from django_workflows.store import database
from django_workflows.testing import Workflows
from django_workflows.values import ids
from django_workflows.verify import verify_runs

from . import work
from .conftest import Manage

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]

KNOWN = ["cli.everything", "cli.failing", "cli.sleeping"]


#: the key of the advisory lock that a live worker holds
LOCK = 4712


def a_worker(**changes: Any) -> Worker:
    """The only worker: alive, on all queues, with the workflows of these tests, and healthy."""
    Worker.objects.all().delete()
    return another_worker(**changes)


def another_worker(**changes: Any) -> Worker:
    now = database.now()
    values = {
        "id": ids.worker_id(),
        "hostname": "here",
        "pid": 1,
        "workflows": KNOWN,
        "started_at": now,
        "heartbeat_at": now,
        "lock_key": LOCK,
        "lock_trusted": True,
        "listening": True,
        **changes,
    }
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # shows that the process lives, until the test ends
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    return Worker.objects.create(**values)


def codes() -> list[str]:
    return [finding.code for finding in diagnose()]


def age(**moments: float) -> dict[str, Any]:
    return {name: database.now() - timedelta(seconds=seconds) for name, seconds in moments.items()}


class TestNothingIsWrong:
    def test_with_nothing_to_do(self) -> None:
        assert codes() == []

    def test_with_runs_that_sleep_and_no_worker(self, workflows: Workflows) -> None:
        workflows.start(work.sleeping)
        workflows.run_until_idle()
        Worker.objects.all().delete()
        assert codes() == []

    def test_with_due_runs_and_a_worker_that_knows_them(self, workflows: Workflows) -> None:
        a_worker()
        workflows.start(work.sleeping)
        assert codes() == []


class TestNobodyTakesIt:
    def test_no_worker_at_all(self, workflows: Workflows) -> None:
        workflows.start(work.sleeping)
        assert codes() == ["no_worker"]

    def test_a_queue_that_no_worker_serves(self, workflows: Workflows) -> None:
        a_worker(queues=["default"])
        workflows.start(work.failing)
        (finding,) = diagnose()
        assert finding.code == "queue_unserved"
        assert "worker --queue slow" in finding.advice

    def test_a_claimable_step_in_a_queue_that_no_worker_serves(self, workflows: Workflows) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        a_worker(queues=["default"])
        assert codes() == []
        Step.objects.filter(run_id=handle.id).update(queue="gpu", **age(available_at=1))
        assert codes() == ["queue_unserved"]

    def test_a_workflow_that_no_worker_knows(self, workflows: Workflows) -> None:
        a_worker(workflows=["cli.failing"])
        handle = workflows.start(work.sleeping)
        (finding,) = diagnose()
        assert (finding.code, finding.run_ids) == ("workflow_unknown", (handle.id,))

    def test_a_step_that_this_code_does_not_know(self, workflows: Workflows) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        a_worker()
        Step.objects.filter(run_id=handle.id).update(name="gone.step", **age(available_at=60))
        assert codes() == ["step_unknown"]

    def test_a_run_that_is_long_due(self, workflows: Workflows) -> None:
        a_worker()
        handle = workflows.start(work.sleeping)
        Run.objects.filter(pk=handle.id).update(**age(wake_at=60))
        (finding,) = diagnose()
        assert (finding.code, finding.severity) == ("run_overdue", Severity.WARNING)

    def test_a_parked_run(self, workflows: Workflows) -> None:
        a_worker()
        handle = workflows.start(work.sleeping)
        Run.objects.filter(pk=handle.id).update(blocked_reason="the log says a, the code says b", **age(wake_at=60))
        (finding,) = diagnose()
        assert finding.code == "run_blocked"
        assert "the log says a, the code says b" in finding.sentence

    def test_many_parked_runs_are_counted(self, workflows: Workflows) -> None:
        a_worker()
        workflows.start(work.sleeping)
        row = Run.objects.get()
        for number in range(24):
            row.pk = f"wrun_{number}"
            row.blocked_reason = "x"
            row.save(force_insert=True)
        found = diagnose()
        assert len(found) == 21
        assert found[-1].sentence.startswith("4 more runs")


class TestWorkers:
    def test_one_that_is_silent(self) -> None:
        a_worker(**age(heartbeat_at=3600))
        (finding,) = diagnose()
        assert (finding.code, finding.severity) == ("worker_silent", Severity.WARNING)

    def test_one_that_is_silent_and_holds_steps(self, workflows: Workflows) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        silent = a_worker(**age(heartbeat_at=3600))
        Step.objects.filter(run_id=handle.id).update(status="running", worker=silent)
        (finding,) = diagnose()
        assert (finding.code, finding.severity) == ("worker_silent", Severity.ERROR)
        assert "1 step running" in finding.sentence

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="only a server tells that a session has ended")
    def test_one_whose_process_has_ended_is_seen_at_once(self, workflows: Workflows) -> None:
        """Its lock is gone with its session; its last sign of life is fresh."""
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        ended = a_worker(lock_trusted=True, lock_key=4711)
        Step.objects.filter(run_id=handle.id).update(status="running", worker=ended)
        (finding,) = diagnose()
        assert (finding.code, finding.severity) == ("worker_silent", Severity.ERROR)
        assert "has ended and has 1 step running" in finding.sentence

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="only a server tells that a session has ended")
    def test_one_whose_lock_is_held_or_proves_nothing_lives(self) -> None:
        a_worker(lock_trusted=False, lock_key=4711)
        assert "worker_silent" not in codes()
        a_worker(lock_trusted=True, lock_key=LOCK)
        assert diagnose() == []

    def test_one_that_keeps_results_which_the_database_refuses(self) -> None:
        a_worker(unsaved=3, unsaved_since=database.now(), unsaved_reason="the server is read-only")
        (finding,) = diagnose()
        assert (finding.code, finding.severity) == ("results_unsaved", Severity.ERROR)
        assert finding.sentence.startswith("3 results wait to be saved since ")
        assert finding.sentence.endswith(": the server is read-only.")

    def test_a_step_whose_worker_is_gone(self, workflows: Workflows) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        a_worker()
        Step.objects.filter(run_id=handle.id).update(status="running", worker_id="nobody")
        assert codes() == ["step_orphaned"]

    def test_a_clock_that_is_wrong(self) -> None:
        a_worker(clock_skew=-7.2)
        (finding,) = diagnose()
        assert finding.code == "clock_skew"
        assert "7.2 s behind" in finding.sentence

    def test_one_behind_a_pooler_and_one_that_is_deaf(self) -> None:
        a_worker(lock_trusted=False, listening=False)
        another_worker(listening=False)
        expected = {"lock_untrusted", "not_listening"} if database.is_postgresql() else set()
        assert set(codes()) == expected

    def test_two_versions_of_the_code_are_worth_knowing_and_nothing_wrong(self, manage: Manage) -> None:
        a_worker(code_version="a")
        another_worker(code_version="b")
        assert codes() == ["code_versions"]
        assert manage("doctor").code == 0

    def test_one_that_has_stopped_is_no_matter(self) -> None:
        a_worker(stopped_at=database.now(), clock_skew=99.0, **age(heartbeat_at=3600))
        assert codes() == []


class TestLeftovers:
    def test_a_hook_that_outlived_its_run(self, workflows: Workflows) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        workflows.advance("2s")
        handle.cancel(force=True)
        a_worker()
        Hook.objects.filter(run_id=handle.id).update(disposed_at=None)
        assert codes() == ["hook_of_ended_run"]

    def test_messages_that_are_not_delivered(self, workflows: Workflows) -> None:
        handle = workflows.start(work.sleeping)
        workflows.run_until_idle()
        a_worker()
        Outbox.objects.create(kind="child_ended", run_id=handle.id, target="wrun_x", payload={}, **age(created_at=60))
        assert codes() == ["outbox_late"]


class TestRepair:
    def test_makes_the_tables_say_what_the_log_says(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.sleeping)
        workflows.run_until_idle()
        a_worker()
        Wait.objects.filter(run_id=handle.id).delete()
        assert verify_runs() != []
        answer = manage("doctor", "--repair")
        assert answer.lines[0] == f"{handle.id} wait:1 had an event and no row"
        assert answer.code == 0
        assert verify_runs() == []
        assert manage("doctor", "--repair", handle.id).lines[0] == "No run needs repair."

    def test_reports_what_cannot_be_repaired(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        Event.objects.filter(run_id=handle.id, sequence=3).delete()
        line = manage("doctor", "--repair", handle.id).lines[0]
        assert line.startswith(f"{handle.id} cannot be repaired: corrupted_event_log")


class TestTheCommand:
    def test_takes_runs_only_to_repair_them(self, manage: Manage) -> None:
        with pytest.raises(CommandError, match="--repair only"):
            manage("doctor", "wrun_1")

    def test_says_that_nothing_is_stalled(self, manage: Manage) -> None:
        a_worker()
        answer = manage("doctor")
        assert answer.code == 0
        assert answer.lines[0].startswith("worker here:1  all queues, 0 of 1 steps running")
        assert "cli.everything" in answer.text
        assert answer.lines[-1] == "Nothing is stalled."

    def test_says_what_is_wrong_with_advice_and_exits_1(self, workflows: Workflows, manage: Manage) -> None:
        workflows.start(work.sleeping)
        answer = manage("doctor")
        assert answer.code == 1
        assert "error no_worker  1 run or step in queue 'default' wait, and no worker is alive." in answer.lines
        assert "  Start one: `manage.py workflows worker`." in answer.lines

    def test_speaks_json(self, workflows: Workflows, manage: Manage) -> None:
        workflows.start(work.sleeping)
        answer = manage("doctor", "--json")
        (finding,) = [json.loads(line) for line in answer.lines]
        assert set(finding) == {"code", "severity", "sentence", "advice", "run_ids"}
        assert answer.code == 1
