from __future__ import annotations

from enum import StrEnum

import pytest

from django_workflows.eventlog import statuses
from django_workflows.eventlog.statuses import RunStatus, StepStatus, WaitStatus


class TestStatuses:
    def test_the_names_are_those_of_the_contract(self) -> None:
        assert [*RunStatus] == ["pending", "running", "completed", "failed", "cancelled"]
        assert [*StepStatus] == ["pending", "running", "completed", "failed", "cancelled"]
        assert [*WaitStatus] == ["waiting", "completed", "cancelled"]

    def test_a_run_or_step_is_active_or_has_ended(self) -> None:
        assert set(RunStatus) == statuses.ACTIVE_RUN | statuses.TERMINAL_RUN
        assert not statuses.ACTIVE_RUN & statuses.TERMINAL_RUN
        assert set(StepStatus) == statuses.ACTIVE_STEP | statuses.TERMINAL_STEP
        assert not statuses.ACTIVE_STEP & statuses.TERMINAL_STEP

    @pytest.mark.parametrize(
        ("moves", "status"),
        [(statuses.RUN_MOVES, RunStatus), (statuses.STEP_MOVES, StepStatus), (statuses.WAIT_MOVES, WaitStatus)],
    )
    def test_every_status_says_where_it_may_go(self, moves: dict[str, frozenset[str]], status: type[StrEnum]) -> None:
        assert set(moves) == set(status)
        for before, after in moves.items():
            assert after <= set(status)
            assert before not in after

    def test_an_ended_run_comes_back_only_by_retry(self) -> None:
        assert {run for run in statuses.TERMINAL_RUN if statuses.RUN_MOVES[run]} == {RunStatus.FAILED}
        assert statuses.RUN_MOVES[RunStatus.FAILED] == {RunStatus.RUNNING}
        assert not statuses.STEP_MOVES[StepStatus.COMPLETED]
        assert not statuses.WAIT_MOVES[WaitStatus.COMPLETED]
