"""The validator itself: it accepts correct logs, and reports a log with one fault under the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import Model

from django_workflows import step, workflow
from django_workflows.authoring import registry
from django_workflows.eventlog import events
from django_workflows.exceptions import WorkflowError
from django_workflows.models import Stream, Wait
from django_workflows.verify import Subject, Violation, entity_rules, fold, liveness_rules, log_rules, verify_subject
from django_workflows.verify.replay import check_replay
from django_workflows.verify.violation import StreamSpan

from .stories import START, Story

#: the rules that need no database
PURE = (
    *log_rules.RULES,
    entity_rules.check_creations,
    entity_rules.check_steps,
    entity_rules.check_waits,
    entity_rules.check_hooks,
    *fold.RULES,
    liveness_rules.check_wake,
    liveness_rules.check_streams,
    liveness_rules.check_deliveries,
)


def judge(subject: Subject) -> list[Violation]:
    return list(verify_subject(subject, PURE))


def rules_of(violations: list[Violation]) -> set[int]:
    return {violation.rule for violation in violations}


def whole_story() -> Story:
    """Something of everything: a retried step, a lost one, a sleep, a hook, attributes; all done."""
    return (
        Story()
        .begin()
        .step("step:a:1")
        .started("step:a:1")
        .retrying("step:a:1", wait=3)
        .started("step:a:1", 2, after=3)
        .retrying("step:a:1", 2, lost=True)
        .started("step:a:1", 3)
        .completed("step:a:1", 3, {"x": 1})
        .wait("wait:1", 2)
        .hook("hook:1", "packed:1")
        .received("hook:1", {"box": 1}, key="first")
        .log(events.WaitCompleted(False), "wait:1")
        .log(events.AttributesSet({"colour": "red"}), "attributes:1")
        .log(events.HookDisposed(), "hook:1")
        .end("done")
    )


def retried_story() -> Story:
    """A run that failed at its second step while it slept, and was retried: the sleep continues, the step runs again."""
    story = Story().begin().step("step:a:1").wait("wait:1", 60).started("step:a:1").failed("step:a:1").fail()
    story.retried([6, 7]).started("step:a:1", 2).completed("step:a:1", 2)
    return story.log(events.WaitCancelled(), "wait:1").end()


class TestWhatIsRight:
    def test_a_finished_run_breaks_no_rule(self) -> None:
        assert judge(whole_story().subject()) == []

    @pytest.mark.parametrize("length", range(1, 17))
    def test_nor_does_any_prefix_of_it(self, length: int) -> None:
        story = whole_story()
        del story.events[length:]
        assert judge(story.subject()) == []

    @pytest.mark.parametrize("length", range(1, 13))
    def test_nor_any_prefix_of_a_run_that_was_retried(self, length: int) -> None:
        story = retried_story()
        del story.events[length:]
        assert judge(story.subject()) == []

    def test_nor_a_run_whose_end_cut_off_a_running_step_that_then_says_how_it_went(self) -> None:
        story = Story().begin().step("step:a:1").step("step:b:1").started("step:a:1").end().completed("step:a:1")
        assert judge(story.subject()) == []

    def test_nor_a_lost_token(self) -> None:
        story = Story().begin().log(events.HookConflict("packed:1", "wrun_other"), "hook:1").end()
        assert judge(story.subject()) == []


def _gap(story: Story) -> None:
    del story.events[5]


def _add(event: events.Event, entity: str = "") -> Callable[[Story], object]:
    return lambda story: story.log(event, entity)


def _change(sequence: int, **changes: object) -> Callable[[Story], object]:
    return lambda story: story.change(sequence, **changes)


def _at_the_time_of(sequence: int, other: int) -> Callable[[Story], object]:
    return lambda story: story.change(sequence, created_at=story.events[other - 1].at)


def _repeat_delivery(story: Story) -> None:
    data = story.events[11].record.data
    story.change(13, type="hook_received", correlation_id="hook:1", data=data, idempotency_key="first")


_SOON = START + timedelta(days=1)

#: what is broken, how, the rule, and words of the sentence
BROKEN: list[tuple[str, Callable[[Story], object], int, str]] = [
    ("a gap in the log", _gap, 1, "in place of event 6"),
    ("an event out of its time", _change(4, created_at=START), 1, "older than event 3"),
    ("another beginning", _change(1, type="run_started"), 1, "begins with run_started"),
    ("created twice", _change(3, type="run_created", correlation_id=""), 1, "creates the run again"),
    ("started twice", _change(3, type="run_started", correlation_id=""), 1, "started 2 times"),
    ("ended twice", _add(events.RunCompleted(None)), 1, "ended 2 times"),
    ("a decision after the end", _add(events.WaitCreated(_SOON), "wait:9"), 1, "after the end of the run"),
    ("the end of a step that did not run", _add(events.StepCompleted(3, None), "step:a:1"), 1, "was not running"),
    ("a retry of what had not failed", _add(events.RunRetried([])), 1, "had not failed"),
    ("an event of another life", _change(9, life=1), 1, "carries life 1 in life 0"),
    ("a start without creation", _change(4, correlation_id="step:b:1"), 2, "before its creation"),
    ("a creation twice", _change(10, type="step_created", correlation_id="step:a:1"), 2, "again, after event 3"),
    ("two starts at once", _change(5, type="step_started"), 2, "while attempt 1 is running"),
    ("a start before its time", _at_the_time_of(6, 5), 2, "before its time"),
    ("an attempt that is skipped", _change(6, data='{"attempt":3,"worker":null}'), 2, "has attempt 3 after 1"),
    ("the end of another attempt", _change(9, data='{"attempt":2,"output":null}'), 2, "while attempt 3"),
    (
        "a retry of what is not running",
        _change(4, type="step_failed", data='{"attempt":1,"error":{}}'),
        2,
        "while no attempt is running",
    ),
    ("something after a step's end", _change(14, type="step_started", correlation_id="step:a:1"), 2, "after its end"),
    ("a wait that ends early", _at_the_time_of(13, 10), 3, "is completed by event 13 before"),
    ("a wait that ends twice", _change(14, type="wait_cancelled", correlation_id="wait:1"), 3, "after its end"),
    ("a wait that was never made", _change(13, correlation_id="wait:2"), 3, "before its creation"),
    ("a delivery to a disposed hook", _change(12, type="hook_disposed"), 4, "closed it"),
    ("a hook both won and lost", _change(14, type="hook_conflict", correlation_id="hook:1"), 4, "again, after"),
    ("a delivery to a lost hook", _change(11, type="hook_conflict"), 4, "lost its token"),
    ("a delivery under a repeated key", _repeat_delivery, 10, "repeats the delivery of event 12"),
    ("a key that the row does not have", _change(12, idempotency_key="other"), 10, "another idempotency key"),
    ("data that cannot be read", _change(4, data="{"), 1, "cannot be read"),
    ("data that lacks a field", _change(4, data="{}"), 1, "cannot be read"),
]


class TestWhatIsBroken:
    @pytest.mark.parametrize(("break_it", "rule", "words"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
    def test_is_reported(self, break_it: Callable[[Story], object], rule: int, words: str) -> None:
        story = whole_story()
        break_it(story)
        try:
            subject = story.subject()
        except (KeyError, ValueError, TypeError, WorkflowError):  # no rows can be made to fit such a log
            subject = whole_story().subject()
            subject.events[:] = story.events
        found = [violation for violation in judge(subject) if violation.rule == rule and words in violation.what]
        assert found, judge(subject)

    def test_a_step_that_failed_more_often_than_it_may(self, settings: object) -> None:
        from django_workflows.store.code_version import code_version

        with registry.isolated():

            @step(name="tests.twice_at_most", max_retries=1)
            def twice_at_most() -> None: ...

            story = Story().begin().step("step:a:1", "tests.twice_at_most")
            for attempt in (1, 2):
                story.started("step:a:1", attempt).retrying("step:a:1", attempt)
            story.started("step:a:1", 3).failed("step:a:1", 3)
            subject = story.subject()
            subject.run.code_version = code_version()
            assert [v.what for v in judge(subject)] == ["step:a:1 failed 3 times with max_retries=1"]


class TestTablesThatAreNotTheFold:
    def judge_with(self, kind: str, **changes: object) -> list[Violation]:
        subject = whole_story().subject()
        row: Model = {"run": subject.run, "step": subject.steps, "wait": subject.waits, "hook": subject.hooks}[kind]  # type: ignore[assignment]
        row = row[0] if isinstance(row, list) else row
        for name, value in changes.items():
            setattr(row, name, value)
        return judge(subject)

    @pytest.mark.parametrize(
        ("kind", "name", "value"),
        [
            ("run", "status", "failed"),
            ("run", "output", "something else"),
            ("run", "attributes", {}),
            ("run", "queue", "slow"),
            ("run", "input", {"args": [1], "kwargs": {}}),
            ("run", "started_at", None),
            ("run", "completed_at", START),
            ("run", "life", 1),
            ("step", "status", "running"),
            ("step", "output", None),
            ("step", "attempt", 2),
            ("step", "worker_id", "worker_2"),
            ("step", "started_at", None),
            ("step", "completed_at", None),
            ("step", "name", "tests.other"),
            ("step", "input", {"args": [], "kwargs": {"a": 1}}),
            ("wait", "status", "waiting"),
            ("wait", "due_at", START),
            ("hook", "disposed_at", None),
            ("hook", "token", "other"),
        ],
    )
    def test_a_changed_column(self, kind: str, name: str, value: object) -> None:
        found = self.judge_with(kind, **{name: value})
        assert any(v.rule == 6 and (name in v.what or "state" in v.what) for v in found), found

    def test_a_row_without_event(self) -> None:
        subject = whole_story().subject()
        subject.waits.append(Wait(correlation_id="wait:7", run=subject.run, status="cancelled", due_at=START))
        assert "wait:7 has a row and is not in the log" in [v.what for v in judge(subject) if v.rule == 6]

    def test_an_event_without_row(self) -> None:
        subject = whole_story().subject()
        subject.steps.clear()
        assert "step:a:1 is in the log and has no row" in [v.what for v in judge(subject) if v.rule == 6]

    def test_a_retry_that_left_the_sleep_closed(self) -> None:
        story = retried_story()
        del story.events[8:]
        subject = story.subject()
        assert subject.waits[0].status == "waiting"
        subject.waits[0].status = "cancelled"
        assert rules_of(judge(subject)) == {6}


class TestWhatNobodyWouldWake:
    def test_a_sleep_that_the_run_does_not_wait_for(self) -> None:
        subject = Story().begin().wait("wait:1", 60).subject()
        subject.run.wake_at = None
        assert rules_of(judge(subject)) == {8}

    def test_a_sleep_that_the_run_would_oversleep(self) -> None:
        subject = Story().begin().wait("wait:1", 60).subject()
        subject.run.wake_at = subject.waits[0].due_at + timedelta(seconds=1)
        assert rules_of(judge(subject)) == {8}

    def test_a_deadline_that_would_pass_unseen(self) -> None:
        subject = Story().begin().subject()
        subject.run.deadline_at = subject.now + timedelta(hours=1)
        assert rules_of(judge(subject)) == {8}
        subject.run.wake_at = subject.run.deadline_at
        assert judge(subject) == []

    def test_a_run_that_never_begins(self) -> None:
        subject = Story().subject()
        subject.run.wake_at = None
        assert rules_of(judge(subject)) == {8}


class TestStreams:
    def span(self, **changes: object) -> StreamSpan:
        stream = Stream(name="default", next_index=3, created_at=START, closed_at=START + timedelta(seconds=9))
        values = {"chunks": 3, "lowest": 0, "highest": 2, "last_chunk_at": START, **changes}
        return StreamSpan(stream=stream, next_index_after=3, **values)  # type: ignore[arg-type]

    def judge_span(self, **changes: object) -> list[str]:
        subject = whole_story().subject()
        subject.streams.append(self.span(**changes))
        return [v.what for v in judge(subject) if v.rule == 9]

    def test_a_dense_one_is_right(self) -> None:
        assert self.judge_span() == []

    @pytest.mark.parametrize(
        "changes",
        [{"chunks": 2}, {"lowest": 1}, {"highest": 3}, {"last_chunk_at": START + timedelta(seconds=10)}],
        ids=["a hole", "no beginning", "a chunk too many", "a chunk after the end"],
    )
    def test_what_is_wrong_is_reported(self, changes: dict[str, object]) -> None:
        assert len(self.judge_span(**changes)) == 1


@step(name="tests.verify.double")
def double(x: int) -> int:
    return 2 * x


@workflow(name="tests.verify.doubling")
async def doubling(x: int) -> int:
    first = await double(x)
    return await double(first)


def doubled(second: int = 4, output: int = 8) -> Story:
    one, two = "step:double:1", "step:double:2"
    story = Story("tests.verify.doubling", [2]).begin()
    story.step(one, "tests.verify.double", [2]).started(one).completed(one, output=4)
    return story.step(two, "tests.verify.double", [second]).started(two).completed(two, output=8).end(output)


class TestReplay:
    def ids(self) -> list[str]:
        return [v.what for v in check_replay(doubled().subject())]

    def test_a_log_that_the_code_would_write_again_is_right(self) -> None:
        assert self.ids() == []

    def test_another_argument_is_found(self) -> None:
        (violation,) = check_replay(doubled(second=5).subject())
        assert violation.rule == 7
        assert "replay_divergence" in violation.what

    def test_another_output_is_found(self) -> None:
        (violation,) = check_replay(doubled(output=9).subject())
        assert "replay_divergence" in violation.what

    def test_an_end_that_the_body_would_not_have_reached_is_found(self) -> None:
        story = Story("tests.verify.doubling", [2]).begin().end(8)
        assert len(list(check_replay(story.subject()))) == 1

    def test_a_run_that_has_forgotten_to_write_what_its_body_decided_is_found(self) -> None:
        story = doubled()
        del story.events[5:]  # the first step is done; the second one should have been created with it
        subject = story.subject()
        subject.run.wake_at = None
        assert [v.rule for v in check_replay(subject)] == [8]

    def test_a_run_that_is_due_may_still_do_so(self) -> None:
        story = doubled()
        del story.events[5:]
        subject = story.subject()
        subject.run.wake_at = subject.now
        assert list(check_replay(subject)) == []

    def test_a_blocked_run_is_not_judged(self) -> None:
        subject = doubled(second=5).subject()
        subject.run.blocked_reason = "its code does not fit"
        assert list(check_replay(subject)) == []

    def test_an_unknown_workflow_is_not_judged(self) -> None:
        assert list(check_replay(whole_story().subject())) == []
