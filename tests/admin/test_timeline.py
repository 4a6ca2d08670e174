"""Lanes, scale and rows: the drawing of a log, from plain facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_workflows.eventlog.events import TYPES, Record
from django_workflows.inspection import timeline as timelines
from django_workflows.inspection.lanes import draw_lanes
from django_workflows.inspection.scale import Scale
from django_workflows.inspection.timeline import timeline
from django_workflows.inspection.timeline_rows import MAX_ROWS, rows_of
from tests.admin import histories
from tests.admin.histories import Story, ago

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def log(*told: tuple[float, str, str] | tuple[float, str, str, dict[str, Any]]) -> list[Record]:
    data = (json.dumps(one[3]) if len(one) > 3 else "{}" for one in told)
    return [
        Record(n, one[1], one[2], text, at(one[0])) for n, (one, text) in enumerate(zip(told, data, strict=True), 1)
    ]


class TestLanes:
    def test_an_attempt_is_a_stroke_of_its_own(self) -> None:
        run, (lane,) = draw_lanes(
            log(
                (0, "run_created", ""),
                (1, "run_started", ""),
                (1, "step_created", "step:a:1"),
                (2, "step_started", "step:a:1", {"attempt": 1, "worker": "w1"}),
                (3, "step_retrying", "step:a:1", {"lost": False}),
                (5, "step_started", "step:a:1", {"attempt": 2, "worker": "w2"}),
                (6, "step_retrying", "step:a:1", {"lost": True}),
                (6, "step_started", "step:a:1", {"attempt": 3, "worker": "w2"}),
                (8, "step_completed", "step:a:1"),
                (8, "run_completed", ""),
            )
        )
        assert [(s.kind, s.outcome) for s in lane.strokes] == [
            ("queued", "completed"),
            ("attempt", "failed"),
            ("backoff", "completed"),
            ("attempt", "lost"),
            ("backoff", "completed"),
            ("attempt", "completed"),
        ]
        assert [s.worker for s in lane.attempts] == ["w1", "w2", "w2"]
        assert (run.outcome, run.end) == ("completed", at(8))

    def test_the_end_of_the_run_closes_what_is_open_but_not_a_running_step(self) -> None:
        _, lanes = draw_lanes(
            log(
                (0, "run_created", ""),
                (1, "wait_created", "wait:1"),
                (1, "hook_created", "hook:1"),
                (1, "step_created", "step:a:1"),
                (2, "step_started", "step:a:1"),
                (3, "run_cancelled", ""),
            )
        )
        assert [(lane.kind, lane.outcome) for lane in lanes] == [
            ("wait", "cancelled"),
            ("hook", "completed"),
            ("step", "running"),
        ]

    def test_a_retry_opens_again_what_the_end_had_closed(self) -> None:
        run, (wait, step) = draw_lanes(
            log(
                (0, "run_created", ""),
                (1, "run_started", ""),
                (1, "wait_created", "wait:1"),
                (1, "step_created", "step:a:1"),
                (1, "step_started", "step:a:1"),
                (2, "step_failed", "step:a:1"),
                (2, "run_failed", ""),
                (9, "run_retried", "", {"skipped": [6, 7]}),
            )
        )
        assert step.strokes[-1].kind == "queued"
        assert run.outcome == wait.outcome == step.outcome == "running"
        assert len(wait.strokes) == 2
        assert [mark.kind for mark in run.marks] == ["retried"]

    def test_deliveries_and_conflicts_are_marks(self) -> None:
        _, (hook, lost) = draw_lanes(
            log(
                (0, "run_created", ""),
                (1, "hook_created", "hook:1"),
                (2, "hook_conflict", "hook:2"),
                (3, "hook_received", "hook:1"),
                (4, "hook_received", "hook:1"),
                (5, "hook_disposed", "hook:1"),
            )
        )
        assert [mark.kind for mark in hook.marks] == ["delivery", "delivery"]
        assert (lost.outcome, hook.end) == ("failed", at(5))

    def test_what_a_newer_version_wrote_is_left_out(self) -> None:
        _, lanes = draw_lanes(log((0, "run_created", ""), (1, "step_teleported", "step:a:1")))
        assert lanes == []

    @pytest.mark.parametrize("type", TYPES)
    def test_every_event_can_be_drawn_without_its_data_from_the_middle_of_a_log(self, type: str) -> None:
        draw_lanes(log((0, type, f"{TYPES[type].traits.entity}:1")))


class TestScale:
    def test_is_linear_without_long_idle_stretches(self) -> None:
        scale = Scale(at(0), at(10), [(at(0), at(4)), (at(5), at(10))])
        assert not scale.folded
        assert scale.x(at(5)) == "50%"

    def test_folds_a_long_sleep_between_short_steps(self) -> None:
        scale = Scale(at(0), at(100_002), [(at(0), at(1)), (at(100_001), at(100_002))])
        assert [words for *_, words in scale.folds()] == ["1 d 3 h"]
        before, after = scale.percent(at(1)), scale.percent(at(100_001))
        assert 40 < before < after < 60
        assert scale.percent(at(0.5)) == pytest.approx(before / 2)

    def test_true_to_scale_on_request(self) -> None:
        assert not Scale(at(0), at(100_002), [(at(0), at(1))], fold=False).folded

    def test_never_runs_backwards_and_stays_inside(self) -> None:
        scale = Scale(at(0), at(5000), [(at(0), at(1)), (at(900), at(901)), (at(4000), at(4001))])
        places = [scale.percent(at(second)) for second in range(-10, 5100, 7)]
        assert places == sorted(places)
        assert places[0] >= 0
        assert places[-1] == 100

    def test_ticks_are_round_and_apart(self) -> None:
        labels = [tick.label for tick in Scale(at(0), at(47)).ticks()]
        assert labels == ["0", "+10 s", "+20 s", "+30 s", "+40 s"]

    def test_a_run_of_no_length_is_drawn_all_the_same(self) -> None:
        assert Scale(at(0), at(0)).x(at(0)) == "0%"


@pytest.mark.django_db
class TestRows:
    def test_a_finished_run(self) -> None:
        first, second = histories.worker("web-1", 1), histories.worker("web-2", 2)
        drawn = timeline(histories.finished(first, second).run)
        assert drawn is not None
        rows = {row.label: row for row in rows_of(drawn)}
        assert list(rows) == [
            "the run", "charge_card", "mark_paid", "hook packed:42", "sleep 3 d", "send_receipt", "notify_warehouse",
        ]  # fmt: skip
        charge = rows["charge_card"]
        assert [attempt.outcome for attempt in charge.attempts] == ["failed", "failed", "completed"]
        assert charge.attempts[1].error == "ConnectionError: HTTP 503 from bank.example"
        assert [attempt.worker for attempt in rows["notify_warehouse"].attempts] == ["web-2:2", "web-1:1"]
        assert rows["notify_warehouse"].attempts[0].outcome == "lost"
        assert [dot.kind for dot in rows["hook packed:42"].dots] == ["delivery"]
        assert drawn.scale.folded

    def test_many_steps_share_a_row_and_the_failed_one_has_its_own(self) -> None:
        with ago(minutes=5):
            story = Story("shop.rebuild").start()
            for number in range(MAX_ROWS + 5):
                cid = f"step:index:{number}"
                story.create(cid, "shop.index").begin(cid)
                if number == 7:
                    story.fail_step(cid, ValueError("no"))
                else:
                    story.complete(cid)
        drawn = timeline(story.run)
        assert drawn is not None
        rows = rows_of(drawn)
        assert [row.label for row in rows] == ["the run", f"index \N{MULTIPLICATION SIGN} {MAX_ROWS + 4}", "index"]
        assert rows[2].outcome == "failed"

    def test_a_long_log_is_drawn_in_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(timelines, "WINDOW", 10)
        story = histories.finished(histories.worker(), histories.worker())
        drawn = timeline(story.run)
        assert drawn is not None
        assert (drawn.first, drawn.last, drawn.total) == (17, 26, 26)
        assert {row.label for row in rows_of(drawn)} >= {"send_receipt", "notify_warehouse"}
        early = timeline(story.run, start=1)
        assert early is not None
        assert (early.first, early.last) == (1, 10)
        assert timeline(story.run, start=99) is None

    def test_german_numbers_do_not_get_into_the_svg(self, settings: Any) -> None:
        settings.LANGUAGE_CODE = "de"
        drawn = timeline(histories.waiting(histories.worker()).run)
        assert drawn is not None
        assert all("," not in bar.x + bar.width for row in rows_of(drawn) for bar in row.bars)
