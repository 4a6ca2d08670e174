"""``workflows verify`` and ``verify_runs`` on runs that the engine made, and on tables that were changed by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_workflows import api, workflow
from django_workflows.authoring import registry
from django_workflows.models import Event, Hook, Run, Step, StreamChunk, Wait, Worker
from django_workflows.store import database
from django_workflows.testing import Workflows
from django_workflows.verify import blocked_runs, loading, verify_deliveries, verify_runs
from django_workflows.verify.other_process import replay_elsewhere

from . import work
from .conftest import Manage

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]


@pytest.fixture
def run(workflows: Workflows) -> Run:
    """A finished run with a retry, a hook, sleeps, a race, attributes."""
    handle = workflows.start(work.everything, 21)
    workflows.run_until_idle()
    workflows.advance("2s")
    workflows.resume("the-token", {"approved": True}, idempotency_key="k")
    assert workflows.result(handle) == {"doubled": 42, "answer": {"approved": True}, "notes": ["A", "B"]}
    return Run.objects.get(pk=handle.id)


class TestRunsOfTheEngine:
    def test_obey_every_rule_in_another_process_too(self, run: Run) -> None:
        assert verify_runs(replay=True) == []

    def test_while_they_sleep(self, workflows: Workflows) -> None:
        workflows.start(work.sleeping)
        workflows.start(work.everything, 1)
        workflows.run_until_idle()
        assert verify_runs(replay=True) == []

    def test_when_they_failed(self, workflows: Workflows) -> None:
        workflows.start(work.failing)
        workflows.run_until_idle()
        assert Run.objects.get().status == "failed"
        assert verify_runs(replay=True) == []

    def test_when_they_were_cancelled(self, workflows: Workflows) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        handle.cancel("enough")
        workflows.run_until_idle()
        assert handle.status() == "cancelled"
        assert verify_runs(replay=True) == []


class TestReplayElsewhere:
    def test_passes_a_workflow_that_only_this_process_knows_back_to_it(self, workflows: Workflows) -> None:
        with registry.isolated():

            @workflow(name="cli.local")
            async def local() -> list[str]:
                return [await work.note("a"), await work.note("b")]

            workflows.run(local)
            assert verify_runs(replay=True) == []
            Event.objects.filter(type="run_completed").update(data='{"output":["A","C"]}')
            assert [v.rule for v in replay_elsewhere(loading.load([Run.objects.get().id]))] == [7]

    def test_finds_what_depends_on_the_hash_seed(self, workflows: Workflows) -> None:
        workflows.run(work.hashing)
        found = verify_runs(replay=True)
        assert [violation.rule for violation in found] == [7]
        assert "PYTHONHASHSEED" in found[0].what


class TestChangedTables:
    def test_an_event_that_is_gone(self, run: Run) -> None:
        Event.objects.filter(run=run, sequence=4).delete()
        assert 1 in {violation.rule for violation in verify_runs()}

    def test_a_step_whose_output_was_edited(self, run: Run) -> None:
        Step.objects.filter(run=run, name__endswith="flaky").update(output=43)
        assert [str(v) for v in verify_runs()] == [f"{run.id} rule 6: step:flaky:1: output is 43, the log says 42"]

    def test_an_event_whose_output_was_edited(self, run: Run) -> None:
        Event.objects.filter(run=run, type="run_completed").update(data='{"output":1}')
        assert {violation.rule for violation in verify_runs()} == {6, 7}

    def test_a_wait_that_is_gone(self, run: Run) -> None:
        Wait.objects.filter(run=run).first().delete()  # type: ignore[union-attr]
        assert {violation.rule for violation in verify_runs()} == {6}

    def test_a_hook_that_outlived_its_run(self, run: Run) -> None:
        Hook.objects.filter(run=run).update(disposed_at=None)
        assert {violation.rule for violation in verify_runs()} == {5, 6}

    def test_a_run_that_was_forgotten_by_a_live_worker(self, workflows: Workflows) -> None:
        handle = workflows.start(work.sleeping)
        now = database.now()
        Worker.objects.create(
            id="w", hostname="h", pid=1, workflows=["cli.sleeping"], started_at=now, heartbeat_at=now, load=0
        )
        assert verify_runs() == []
        Run.objects.filter(pk=handle.id).update(wake_at=now - timedelta(minutes=1))
        assert {violation.rule for violation in verify_runs()} == {8}

    def test_only_the_runs_asked_about_are_judged(self, run: Run, workflows: Workflows) -> None:
        other = workflows.start(work.sleeping)
        Run.objects.filter(pk=run.id).update(output=None)
        assert verify_runs([other.id]) == []
        assert len(verify_runs([run.id])) == 1


class TestChildren:
    def test_that_ended_as_their_parent_has_it_break_no_rule(self, workflows: Workflows) -> None:
        assert workflows.run(work.parent, 2) == ["rested", "rested"]
        assert verify_runs(replay=True) == []

    def test_that_ended_otherwise_than_their_parent_has_it(self, workflows: Workflows) -> None:
        workflows.run(work.parent, 1)
        child = Run.objects.get(parent__isnull=False)
        Run.objects.filter(pk=child.id).update(output="tired")
        found = verify_runs([child.parent_id or ""])
        assert [v.what for v in found if v.rule == 6] == [f"event 4 holds another output than {child.id}"]

    def test_of_whose_end_the_parent_never_heard(self, workflows: Workflows) -> None:
        handle = workflows.start(work.parent, 1)
        workflows.run_until_idle()
        child = Run.objects.get(parent__isnull=False)
        Run.objects.filter(pk=handle.id).update(status="running", completed_at=None)
        Event.objects.filter(run_id=handle.id, type__in=["child_completed", "run_completed"]).delete()
        Run.objects.filter(pk=child.id).update(completed_at=database.now() - timedelta(minutes=1))
        assert f"{child.id} has ended, and its parent was never notified" in [v.what for v in verify_runs([handle.id])]


class TestStreams:
    def test_that_were_written_and_closed_break_no_rule(self, workflows: Workflows) -> None:
        workflows.run(work.streaming, 3)
        assert verify_runs() == []

    def test_with_a_hole_or_a_chunk_too_many(self, workflows: Workflows) -> None:
        workflows.run(work.streaming, 3)
        StreamChunk.objects.filter(index=1).update(index=7)
        assert [violation.rule for violation in verify_runs()] == [9, 9]


class TestDeliveries:
    def test_each_confirmed_one_is_in_the_log(self, workflows: Workflows) -> None:
        workflows.start(work.everything, 1)
        workflows.run_until_idle()
        workflows.advance("2s")
        event = workflows.resume("the-token", 1)
        assert verify_deliveries([event]) == []
        Event.objects.filter(run_id=event.run_id, sequence=event.sequence).update(data='{"payload":2}')
        assert [violation.rule for violation in verify_deliveries([event])] == [10]

    def test_none_is_there_that_was_not_confirmed(self, workflows: Workflows) -> None:
        workflows.start(work.everything, 1)
        workflows.run_until_idle()
        workflows.advance("2s")
        first, _unknown = api.resume_hook("the-token", 1), api.resume_hook("the-token", 2)
        (violation,) = verify_deliveries([first])
        assert "received 2 payloads, 1 were confirmed" in violation.what
        assert verify_deliveries([first], exactly=False) == []


class TestTheCommand:
    def test_says_that_all_is_well(self, run: Run, manage: Manage) -> None:
        answer = manage("verify", "--replay")
        assert (answer.text, answer.code) == ("1 run verified: every rule holds.\n", 0)

    def test_prints_a_line_for_each_violation_and_exits_1(self, run: Run, manage: Manage) -> None:
        Run.objects.filter(pk=run.id).update(output=None)
        answer = manage("verify", run.id)
        assert answer.code == 1
        assert answer.lines[0].startswith(f"{run.id} rule 6: the run's output is None")
        assert answer.lines[-1] == "1 run verified: 1 violation."

    def test_lists_blocked_runs_without_holding_it_against_them(self, workflows: Workflows, manage: Manage) -> None:
        with registry.isolated():

            @workflow(name="cli.changing")
            async def before() -> None:
                await work.note("a")

            handle = workflows.start(before)
        Run.objects.filter(pk=handle.id).update(blocked_reason="Replay diverged")
        answer = manage("verify")
        assert answer.code == 0
        assert answer.lines[0] == f"{handle.id} blocked: Replay diverged"
        assert [run.pk for run in blocked_runs([handle.id])] == [handle.id]

    def test_knows_the_age_of_runs(self, run: Run, manage: Manage) -> None:
        Run.objects.filter(pk=run.id).update(output=None, created_at=run.created_at - timedelta(days=2))
        assert manage("verify", "--since", "1d").text.startswith("0 runs verified")
        assert manage("verify", "--since", "3d").code == 1

    def test_a_gate_does_not_pass_over_workflows_that_the_code_does_not_know(self, run: Run, manage: Manage) -> None:
        Run.objects.filter(pk=run.pk).update(workflow="shop.renamed")
        Event.objects.filter(run=run, sequence=1).update(
            data=Event.objects.get(run=run, sequence=1).data.replace(run.workflow, "shop.renamed")
        )
        said = "shop.renamed is unknown here: 1 run was not replayed"
        for arguments, code in (([], 0), (["--replay"], 1), (["--replay", "--allow-unknown"], 0)):
            answer = manage("verify", *arguments)
            assert said in answer.text
            assert answer.code == code, arguments

    def test_refuses_a_run_that_does_not_exist(self, manage: Manage) -> None:
        with pytest.raises(CommandError, match="run_not_found"):
            manage("verify", "wrun_nobody")
