from __future__ import annotations

from django_workflows.eventlog import statuses
from django_workflows.eventlog.statuses import HookStatus, RunStatus, StepStatus, WaitStatus


class TestStatuses:
    def test_the_names_are_those_of_the_contract(self) -> None:
        assert [*RunStatus] == ["pending", "running", "completed", "failed", "cancelled"]
        assert [*StepStatus] == ["pending", "running", "completed", "failed", "cancelled"]
        assert [*HookStatus] == ["active", "conflict", "disposed"]
        assert [*WaitStatus] == ["waiting", "completed", "cancelled"]

    def test_a_run_or_step_is_active_or_has_ended(self) -> None:
        assert set(RunStatus) == statuses.ACTIVE_RUN | statuses.TERMINAL_RUN
        assert not statuses.ACTIVE_RUN & statuses.TERMINAL_RUN
        assert set(StepStatus) == statuses.ACTIVE_STEP | statuses.TERMINAL_STEP
        assert not statuses.ACTIVE_STEP & statuses.TERMINAL_STEP
