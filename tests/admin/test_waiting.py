"""What a run waits for is said in words, for one run and for a page of them."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflows.inspection.waiting import Reason, summary, waits_for, waits_of
from django_workflows.models import Run
from tests.admin import histories
from tests.admin.histories import Story

pytestmark = pytest.mark.django_db


def words(story: Story, seconds: float) -> list[str]:
    """What the run waits for so many seconds after its last event."""
    run = story.run
    return [reason.text for reason in waits_for(run, run.last_event_at + timedelta(seconds=seconds))]


def test_a_hook_and_the_time_limit_beside_it() -> None:
    story = Story("shop.fulfil").start().sleep("wait:1", 4 * 3600, after=0).hook("hook:1", "packed:42")
    hook, sleep = words(story, 3 * 3600)
    assert hook == "hook packed:42 for 3 h"
    assert sleep.startswith("sleeping until ")


def test_one_line_has_the_first_reasons_and_counts_the_others() -> None:
    reasons = [Reason("hook", f"hook {number}") for number in range(5)]
    assert summary(reasons) == "hook 0, hook 1 (+3)"
    assert summary([]) == ""


def test_a_secret_token_is_not_said() -> None:
    story = Story("shop.fulfil").start().hook("hook:1", "s3cretdoor", webhook=True)
    assert words(story, 5) == ["webhook s3cr… for 5 s"]
    made = Story("shop.fulfil").start().hook("hook:1", "Zk3v9QhT2mB7xW1nL5pR8sD4fG6jK0aY")
    assert words(made, 5) == ["hook Zk3v… for 5 s"]


def test_a_retry_with_its_number_and_delay() -> None:
    story = Story("shop.fulfil").start().create("step:charge:1", "shop.charge").begin("step:charge:1")
    story.retry("step:charge:1", ValueError("no"), 40.0)
    assert words(story, 15) == ["retry 1 of charge in 25 s"]


def test_a_running_step_with_its_worker_and_attempt() -> None:
    story = Story("shop.fulfil", worker=histories.worker("web-1", 77)).start()
    story.create("step:charge:1", "shop.charge").begin("step:charge:1")
    story.retry("step:charge:1", ValueError("no"), 0.0, after=0).begin("step:charge:1", after=0)
    (said,) = words(story, 90)
    assert said.startswith("charge runs for 1 min 30 s")
    assert said.endswith(", attempt 2 on web-1:77")


def test_a_step_that_no_worker_has_taken() -> None:
    story = Story("shop.fulfil").start().create("step:charge:1", "shop.charge")
    assert words(story, 60) == ["charge is queued for 1 min"]


def test_a_blocked_run_says_why_before_all_else() -> None:
    story = Story("shop.fulfil").start().sleep("wait:1", 900).block("Replay diverged at event 3")
    first, _sleep = words(story, 0)
    assert first.startswith("blocked: Replay diverged at event 3 (next try in ")


def test_a_child() -> None:
    story = Story("shop.nightly").start()
    child = histories.child(story, "child:1", "shop.import_feed")
    (reason,) = (reason for reason in waits_for(story.run) if reason.kind == "child")
    assert reason.target == child.id
    assert "child import_feed for 5 min" in words(story, 300.9)


def test_a_run_that_starts_later_and_one_that_no_worker_takes() -> None:
    later = Story("shop.fulfil", run_after=timedelta(hours=1))
    assert words(later, 0)[0].startswith("starts at ")
    stuck = Story("shop.fulfil", queue="slow")
    assert words(stuck, 1) == ["about to continue"]
    assert words(stuck, 300) == ["due for 5 min: no worker of queue slow has taken it"]


def test_a_cancelled_body_that_cleans_up() -> None:
    story = Story("shop.fulfil").start().sleep("wait:1", 60).cancel("ordered twice")
    assert words(story, 8)[0] == "cancelling: its cleanup runs for 8 s"


def test_an_ended_run_waits_for_nothing() -> None:
    assert words(Story("shop.fulfil").start().end(), 5) == []


@pytest.mark.parametrize("count", [3, 12])
def test_a_page_of_runs_costs_the_same_few_queries(count: int) -> None:
    for number in range(count):
        Story("shop.fulfil", number).start().hook("hook:1", f"t{number}").sleep("wait:1", 60)
    runs = list(Run.objects.all())
    with CaptureQueriesContext(connection) as queries:
        found = waits_of(runs)
    assert len(queries) == 4
    assert all(len(reasons) == 2 for reasons in found.values())


def test_no_payload_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story("shop.fulfil").start().create("step:a:1", "shop.a").hook("hook:1", "t", schema="gone.Serializer")
    run = Run.objects.defer("input", "output", "error").get(pk=story.id)
    monkeypatch.setattr("django_workflows.models.fields.loads", _refuse)
    assert waits_for(run)


def _refuse(text: str) -> NoReturn:
    raise AssertionError(f"decoded {text}")
