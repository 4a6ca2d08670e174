"""Signals: after the commit, from the definition, with what the event says; receivers cannot harm a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction as transactions
from django.dispatch import Signal

from django_workflows import RunFailedError, api, signals
from django_workflows.models import Run
from django_workflows.services import runs, steps
from django_workflows.store import database
from django_workflows.testing import Workflows
from tests.support.runs import add_hook, new_run, running_step, started_run, transition

from . import bodies

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]

SIGNALS = {name: value for name, value in vars(signals).items() if isinstance(value, Signal)}
Sent = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def sent() -> Iterator[Sent]:
    """All that is sent: (name, what receivers get)."""
    found: Sent = []
    receivers: list[tuple[Signal, Callable[..., None]]] = []
    for name, signal in SIGNALS.items():

        def receive(name: str = name, **said: Any) -> None:
            assert not database.connection().in_atomic_block
            found.append((name, said))

        signal.connect(receive, weak=False)
        receivers.append((signal, receive))
    yield found
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def names(sent: Sent) -> list[str]:
    return [name for name, _ in sent]


class TestWhatIsSent:
    def test_of_a_run_with_a_step(self, sent: Sent, workflows: Workflows) -> None:
        workflows.run(bodies.greets, "ann")
        assert names(sent) == ["run_started", "step_started", "step_completed", "run_completed"]
        run = Run.objects.get()
        step = run.steps.get()
        said = dict(sent)
        assert said["run_started"]["sender"] is bodies.greets
        assert said["step_completed"]["sender"] is bodies.greet
        assert said["run_completed"]["output"] == said["step_completed"]["output"] == "secret of ann"
        assert said["step_started"] == {
            "signal": signals.step_started,
            "sender": bodies.greet,
            "run_id": run.pk,
            "workflow": run.workflow,
            "queue": "default",
            "step": step.name,
            "step_id": step.pk,
            "attempt": 1,
            "worker": step.worker_id,
        }

    def test_of_failures_with_the_exception_itself(self, sent: Sent, workflows: Workflows) -> None:
        with pytest.raises(RunFailedError):
            workflows.run(bodies.pays, "4000-1234")
        said = dict(sent)
        assert names(sent) == [
            "run_started", "step_started", "step_retrying", "step_started", "step_failed", "run_failed",
        ]  # fmt: skip
        assert said["step_retrying"]["attempt"] == 1
        assert said["step_retrying"]["retry_at"] is not None
        assert isinstance(said["step_failed"]["exception"], bodies.CardError)
        assert said["step_failed"]["exception"].__traceback__ is not None
        assert said["run_failed"]["error_code"] == "user_error"
        assert isinstance(said["run_failed"]["exception"], bodies.CardError)

    def test_of_hooks(self, sent: Sent) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "door")
        api.resume_hook("door", {"pin": 1})
        assert names(sent) == ["run_started", "hook_created", "hook_resumed"]
        said = dict(sent)
        assert said["hook_created"]["token"] == "door"
        assert (said["hook_resumed"]["run_id"], said["hook_resumed"]["payload"]) == (run_id, {"pin": 1})
        assert said["hook_resumed"]["sender"] is None  # no code here defines the workflow

    def test_of_blocks_losses_and_cancels(self, sent: Sent) -> None:
        run_id = started_run()
        step = running_step(run_id, "wwrk_gone")
        sent.clear()
        with transition(run_id) as t:
            steps.lose_step(t, t.entities.steps[step.correlation_id])
            runs.block_run(t, "The code does not fit.", "v2")
        with transition(run_id) as t:
            runs.clear_block(t)
        api.cancel_run(run_id, force=True)
        assert sorted(names(sent)) == ["run_blocked", "run_cancelled", "run_unblocked", "step_retrying", "worker_lost"]
        said = dict(sent)
        assert (said["worker_lost"]["worker"], said["worker_lost"]["step_id"]) == ("wwrk_gone", step.id)
        assert (said["run_blocked"]["reason"], said["run_blocked"]["tries"]) == ("The code does not fit.", 1)

    def test_nothing_of_what_is_rolled_back(self, sent: Sent) -> None:
        run_id = new_run()
        with transactions.atomic():
            api.cancel_run(run_id)
            transactions.set_rollback(True)
        assert sent == []


class TestReceivers:
    def test_can_be_connected_to_one_workflow(self, workflows: Workflows) -> None:
        seen = []

        def receive(run_id: str, **said: Any) -> None:
            seen.append(run_id)

        signals.run_completed.connect(receive, sender=bodies.greets)
        try:
            workflows.run(bodies.greets_async)
            workflows.run(bodies.greets, "ann")
        finally:
            signals.run_completed.disconnect(receive, sender=bodies.greets)
        assert seen == [Run.objects.get(workflow="tests.observers.bodies.greets").pk]

    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
    def test_that_raise_are_logged_and_harm_nothing(
        self, error: BaseException, workflows: Workflows, caplog: pytest.LogCaptureFixture
    ) -> None:
        def receive(**said: Any) -> None:
            raise error

        for signal in SIGNALS.values():
            signal.connect(receive)
        try:
            assert workflows.run(bodies.greets, "ann")
        finally:
            for signal in SIGNALS.values():
                signal.disconnect(receive)
        assert [record for record in caplog.records if record.levelname == "ERROR" and record.exc_info]

    def test_may_start_and_cancel_runs(self, workflows: Workflows) -> None:
        def receive(run_id: str, workflow: str, **said: Any) -> None:
            if workflow.endswith("greets"):
                api.cancel_run(bodies.greets_async.start().id)

        signals.run_completed.connect(receive)
        try:
            workflows.run(bodies.greets, "ann")
            workflows.run_until_idle()
        finally:
            signals.run_completed.disconnect(receive)
        assert sorted(Run.objects.values_list("status", flat=True)) == ["cancelled", "completed"]


def test_without_receivers_nothing_is_made(workflows: Workflows, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("nothing wants it")

    monkeypatch.setattr(Signal, "send_robust", fail)
    monkeypatch.setattr("django_workflows.store.committed.Happening", fail)
    monkeypatch.setattr("django_workflows.observers.log_lines.LogLines.wants", lambda self, name: False)
    assert workflows.run(bodies.greets, "ann")


def test_the_reference_page_names_every_signal() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/reference/signals.md"
    assert set(re.findall(r"^\| `(\w+)`", page.read_text(), re.MULTILINE)) == SIGNALS.keys()
