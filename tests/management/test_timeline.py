"""The timeline of ``workflows show``: what it says, and that it fits its terminal."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management.base import OutputWrapper
from django.core.management.color import color_style, no_style

from django_workflows.eventlog import events
from django_workflows.management.console import Console
from django_workflows.management.drawing import draw
from django_workflows.management.timeline import Row, Stretch, Timeline, build_timeline
from django_workflows.management.values import clean

from .stories import START, Story


def timeline_of(story: Story, *, ended: bool = True) -> Timeline:
    last = story.events[-1].at
    records = [event.record for event in story.events]
    return build_timeline(records, now=last + timedelta(seconds=5), ended_at=last if ended else None)


def rows_of(story: Story, *, ended: bool = True) -> dict[str, Row]:
    return {row.label: row for row in timeline_of(story, ended=ended).rows}


def console(*, width: int = 100, encoding: str = "utf-8", colour: bool = False) -> Console:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(OutputWrapper(stream), color_style(force_color=True) if colour else no_style(), colour, width)


def busy_story() -> Story:
    story = Story().begin().step("step:charge:1").started("step:charge:1").retrying("step:charge:1", wait=2)
    story.started("step:charge:1", 2, after=2).retrying("step:charge:1", 2, lost=True).started("step:charge:1", 3)
    story.completed("step:charge:1", 3).step("step:charge:2").wait("wait:1", 60).hook("hook:1", "packed:1")
    return story.received("hook:1", 1).received("hook:1", 2).log(events.HookDisposed(), "hook:1")


class TestRows:
    def test_a_retried_step_shows_what_became_of_each_attempt(self) -> None:
        row = rows_of(busy_story(), ended=False)["charge"]
        assert [bar.what for bar in row.bars] == [
            Stretch.QUEUED,
            Stretch.BAD,
            Stretch.QUEUED,
            Stretch.LOST,
            Stretch.QUEUED,
            Stretch.GOOD,
        ]
        assert (row.state, row.note) == ("completed", "3 attempts")

    def test_the_same_step_again_is_numbered(self) -> None:
        assert "charge #2" in rows_of(busy_story(), ended=False)

    def test_a_wait_says_how_long_and_a_hook_what_it_received(self) -> None:
        rows = rows_of(busy_story(), ended=False)
        assert rows["wait 1 min"].state == "waiting"
        assert rows["hook packed:1"].note == "received 2"
        assert len(rows["hook packed:1"].marks) == 2

    def test_the_end_of_the_run_closes_what_was_open(self) -> None:
        rows = rows_of(busy_story().end())
        assert rows["wait 1 min"].state == "cancelled"
        assert rows["charge #2"].state == "cancelled"

    def test_what_is_open_reaches_to_now(self) -> None:
        timeline = timeline_of(busy_story(), ended=False)
        assert timeline.end == busy_story().events[-1].at + timedelta(seconds=5)
        waiting = next(row for row in timeline.rows if row.state == "waiting")
        assert waiting.bars[-1].end == timeline.end

    @pytest.mark.parametrize("token", ["A" * 32, "x" * 31 + "_"])
    def test_a_token_that_was_made_up_is_a_secret(self, token: str) -> None:
        assert token not in "".join(rows_of(Story().begin().hook("hook:1", token)))

    def test_a_webhooks_token_is_a_secret(self) -> None:
        story = Story().begin().log(events.HookCreated("short", True, None), "hook:1")
        assert list(rows_of(story)) == ["webhook"]

    def test_an_empty_log_gives_nothing_to_draw(self) -> None:
        assert draw(console(), build_timeline([], now=START)) == []


class TestDrawing:
    @pytest.mark.parametrize("width", [60, 80, 100, 200])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        story = busy_story().step("step:" + "very_long_" * 12 + ":1")
        lines = draw(console(width=width), timeline_of(story))
        assert max(map(len, lines[:-1])) <= width

    def test_without_blocks_it_is_ascii(self) -> None:
        lines = draw(console(encoding="ascii"), timeline_of(busy_story()))
        assert "\n".join(lines).isascii()

    def test_with_colours_it_says_the_same(self) -> None:
        import re

        plain = draw(console(), timeline_of(busy_story()))
        coloured = draw(console(colour=True), timeline_of(busy_story()))
        assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == plain
        assert coloured != plain

    def test_a_short_attempt_is_seen_beside_a_long_wait(self) -> None:
        story = Story().begin().step("step:a:1").log(events.StepStarted(1, None), "step:a:1", after=10_000)
        story.log(events.StepCompleted(1, None), "step:a:1", after=0.001).end()
        assert "█" in draw(console(), timeline_of(story))[1]


def test_text_from_a_log_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[2Jb\r\n\u202ec") == "a\\x1b[2Jb\\r\\n\\u202ec"
