"""Histories: runs as JSON, out of the database, back into it, and replayed without it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from django_workflows import EntityConflictError, RunNotFoundError, api
from django_workflows.models import Event, Hook, Run, Step, Wait
from django_workflows.recovery import export
from django_workflows.upkeep import erasure, retention
from tests.recovery import bodies
from tests.recovery.bodies import World
from tests.recovery.conftest import Work


def snapshot() -> dict[str, Any]:
    """All rows, without new ids and bookkeeping columns."""
    dropped = {"id", "priority", "available_at", "expires_at"}
    at_the_token = {"created_at"}  # a hook's row is older than its event, which waits for the token
    found = {}
    for model, order in ((Run, "pk"), (Event, "sequence"), (Step, "correlation_id"), (Wait, "correlation_id"),
                         (Hook, "correlation_id")):  # fmt: skip
        rows = model.objects.order_by(order).values()  # type: ignore[attr-defined]
        left_out = dropped | at_the_token if model is Hook else dropped
        found[model.__name__] = [{key: value for key, value in row.items() if key not in left_out} for row in rows]
    return found


def taken_out(run_id: str) -> dict[str, Any]:
    """The run's history, written to and read from a file; the run itself is removed."""
    (history,) = export.read_lines([export.write_line(export.export_run(run_id)), ""])
    Run.objects.filter(pk=run_id).update(status="failed", completed_at=Run.objects.get(pk=run_id).created_at)
    assert retention.prune(older_than=timedelta(0)) == 1
    return history


class TestExportAndImport:
    def test_give_back_the_same_rows(self, work: Work) -> None:
        run = bodies.confiding.using(attributes={"a": "1"}, idempotency_key="k").start("x", other="y")
        work()
        before = snapshot()

        assert export.import_history(taken_out(run.id)) == run

        assert snapshot() == before

    def test_of_a_retried_run(self, work: Work, world: World) -> None:
        world.broken = {"charge"}
        run = bodies.cleaning_up.start()
        work()
        world.broken = set()
        api.retry_run(run.id)
        work()

        export.import_history(taken_out(run.id))

        assert run.result(timeout=0) == "ship"

    def test_of_an_active_run_has_to_be_requested_and_resumes(self, work: Work) -> None:
        run = bodies.hooked.start("tok")
        work()
        history = taken_out(run.id)
        with pytest.raises(EntityConflictError, match="--activate"):
            export.import_history(history)

        export.import_history(history, activate=True)
        api.resume_hook("tok", 5)
        work()

        assert run.result(timeout=0) == 5

    def test_refuse_a_run_that_is_here_already(self, work: Work) -> None:
        run = bodies.leaf.start(1)
        work()
        with pytest.raises(EntityConflictError, match="here already"):
            export.import_history(export.export_run(run.id))
        assert Run.objects.count() == 1

    def test_know_no_run_that_does_not_exist(self) -> None:
        with pytest.raises(RunNotFoundError):
            export.export_run("wrun_nobody")


class TestReplayHistory:
    def exported(self, work: Work, definition: Any, *args: Any) -> dict[str, Any]:
        run = definition.start(*args)
        work()
        history: dict[str, Any] = json.loads(export.write_line(export.export_run(run.id)))
        return history

    def test_fits_the_code_that_wrote_it(self, work: Work) -> None:
        assert export.replay_history(self.exported(work, bodies.drawing)) == []

    def test_says_where_other_code_decides_otherwise(self, work: Work) -> None:
        history = self.exported(work, bodies.three_steps)
        created = next(event for event in history["events"] if event["correlation_id"] == "step:act:2")
        created["data"]["args"] = ["z"]
        (problem,) = export.replay_history(history)
        assert "act('z')" in problem
        assert "act('b')" in problem

    def test_says_that_a_workflow_is_gone(self, work: Work) -> None:
        history = self.exported(work, bodies.leaf, 1)
        history["run"]["workflow"] = "shop.gone"
        assert export.replay_history(history) == ["no workflow is called 'shop.gone' here"]

    def test_passes_over_what_was_erased(self, work: Work) -> None:
        run = bodies.acting_leaf.using(attributes={"customer": "c1"}).start("x")
        work()
        erasure.erase({"customer": "c1"})
        assert export.replay_history(export.export_run(run.id)) == []


class TestReadLines:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "Line 1 is not JSON"),
            ('{"a": 1}', "is no history"),
            ('{"format": 99, "id": "w", "run": {}, "events": []}', "format 99"),
            (
                '{"format": 1, "id": "w", "run": {}, "events": [{"sequence": 2, "type": "run_created"}]}',
                "without a gap",
            ),
            ('{"format": 1, "id": "w", "run": {}, "events": [{"sequence": 1, "type": "novelty"}]}', "novelty"),
        ],
    )
    def test_says_what_is_wrong_with_a_line(self, line: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            list(export.read_lines([line]))
