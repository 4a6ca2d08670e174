"""The admin in a real browser: what a person on call sees and does, with the keyboard, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.urls import reverse

from django_workflows.models import Event
from tests.admin import histories
from tests.admin.browsing import Visit
from tests.admin.histories import Story
from tests.admin.looking import complaints, overflow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
LIST = "admin:django_workflows_run_changelist"
OVERVIEW = "admin:django_workflows_overview"
HOSTILE = "<script>document.title='owned'</script>\"'><img src=x onerror=document.title='owned'>"

Open = Callable[..., Visit]


def path(story: Story) -> str:
    return reverse("admin:django_workflows_run_change", args=[quote(story.id)])


def expect(target: Any) -> Any:
    from playwright.sync_api import expect as expectation

    return expectation(target)


def waiting() -> Story:
    return histories.waiting(histories.worker())


class TestActing:
    def test_from_the_list_to_the_run_to_its_resumed_hook(self, visit: Open, operator: User) -> None:
        story = waiting()
        page = visit(operator).open(reverse(LIST))
        page.locator("#searchbar").fill("packed:44")
        page.get_by_role("button", name="Search").click()
        page.locator("a.wf-run").click()
        page.get_by_role("link", name="Resume hook packed:44").click()
        page.get_by_label("Payload").fill('{"box": "B-9"}')
        page.get_by_label("Why").fill("told by phone")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".messagelist")).to_contain_text("Delivered as event")
        expect(page.locator("#wf-live")).to_contain_text("1 delivery")
        received = Event.objects.get(run_id=story.id, type="hook_received")
        assert received.payload["payload"] == {"box": "B-9"}
        assert "told by phone" in LogEntry.objects.get().change_message

    def test_cancel_asks_for_a_reason_and_can_be_left(self, visit: Open, operator: User) -> None:
        story = waiting()
        page = visit(operator).open(path(story))
        page.get_by_role("link", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".errorlist")).to_contain_text("required")
        page.get_by_role("link", name="No, take me back").click()
        assert story.run.cancel_requested_at is None
        page.get_by_role("link", name="Cancel", exact=True).click()
        page.get_by_label("Why").fill("ordered twice")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".wf-why")).to_contain_text("cancelling")
        assert story.run.cancel_requested_at is not None

    @pytest.mark.parametrize(
        ("button", "seen"),
        [("Wake now", "wait completed"), ("Cancel by force", "run cancelled"), ("Dispose hook", "hook disposed")],
    )
    def test_every_other_button_does_what_it_says(self, visit: Open, operator: User, button: str, seen: str) -> None:
        page = visit(operator).open(path(waiting()))
        page.get_by_role("link", name=button).click()
        page.get_by_label("Why").fill("because")
        page.locator("form button[type=submit].wf-button").click()
        expect(page.locator(".messagelist .success")).to_be_visible()
        expect(page.locator(".wf-log")).to_contain_text(seen)

    def test_a_blocked_run_is_tried_again(self, visit: Open, operator: User) -> None:
        story = histories.blocked(histories.worker())
        page = visit(operator).open(path(story))
        page.get_by_role("link", name="Try again now").click()
        page.locator("form button[type=submit].wf-button").click()
        expect(page.locator(".wf-why")).to_contain_text("to be tried again now")
        assert story.run.blocked_until is None

    def test_many_runs_at_once_after_a_dry_run(self, visit: Open, operator: User) -> None:
        stories = [Story("shop.a", number).start().sleep("wait:1", 600) for number in range(3)]
        Story("shop.b").start().end()
        page = visit(operator).open(reverse(LIST))
        page.locator("#action-toggle").check()
        page.locator("select[name=action]").select_option("wake_runs")
        page.locator(".actions button").click()
        expect(page.locator(".wf-count")).to_contain_text("3 of 4 chosen")
        expect(page.locator(".wf-left-alone")).to_contain_text("1 left alone")
        page.get_by_role("button", name="Wake now (3)").click()
        expect(page.locator(".messagelist")).to_contain_text("3 runs woken.")
        assert Event.objects.filter(type="wait_completed").count() == len(stories)

    def test_a_user_who_may_only_view_sees_no_buttons(self, visit: Open, viewer: User) -> None:
        page = visit(viewer).open(path(waiting()))
        expect(page.locator(".wf-why")).to_contain_text("hook packed:44")
        expect(page.locator(".wf-actions")).to_have_count(0)


class TestLive:
    def test_the_page_of_a_live_run_follows_it(self, visit: Open, viewer: User) -> None:
        story = Story("shop.a").start().create("step:charge:1", "shop.charge").begin("step:charge:1")
        page = visit(viewer).open(path(story))
        expect(page.locator(".wf-row-step")).to_have_count(1)
        page.locator(".wf-row-step summary").click()
        page.locator(".wf-row-step summary").focus()
        story.complete("step:charge:1").hook("hook:1", "packed:7")
        expect(page.locator(".wf-row-hook")).to_contain_text("packed:7")
        expect(page.locator("#wf-said")).to_contain_text("hook packed:7")  # for screen readers
        expect(page.locator(".wf-row-step details")).to_have_attribute("open", "")  # what was open stays open
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        story.end({"ok": True})
        expect(page.locator(".wf-head .wf-badge")).to_contain_text("completed")
        expect(page.locator(".wf-live-dot")).to_have_count(0)

    def test_an_ended_run_is_not_asked_for_again(self, visit: Open, viewer: User) -> None:
        one = visit(viewer)
        asked: list[str] = []
        one.page.on("request", lambda request: asked.append(request.url))
        page = one.open(path(Story("shop.a").start().end()))
        page.clock.install()
        page.clock.run_for(60_000)
        assert not any("/live/" in url for url in asked)

    def test_a_server_that_does_not_answer_is_said(self, visit: Open, viewer: User) -> None:
        one = visit(viewer)
        one.page.route("**/live/**", lambda route: route.fulfill(status=204) if one.answers else route.abort())
        one.answers = False
        page = one.open(path(waiting()))
        expect(page.locator(".wf-offline")).to_be_visible()
        one.answers = True
        expect(page.locator(".wf-offline")).to_have_count(0)
        one.problems = [problem for problem in one.problems if "ERR_FAILED" not in problem]


class TestReading:
    def test_a_payload_is_fetched_when_it_is_opened(self, visit: Open, viewer: User) -> None:
        story = histories.finished(histories.worker(), histories.worker())
        page = visit(viewer).open(path(story))
        expect(page.locator("#wf-event-15 pre")).to_have_count(0)
        page.locator("#wf-event-15 summary").click()
        expect(page.locator("#wf-event-15 pre")).to_contain_text('"box": "B-7"')

    def test_with_the_keyboard_alone(self, visit: Open, viewer: User) -> None:
        page = visit(viewer).open(path(histories.finished(histories.worker(), histories.worker())))
        page.locator(".wf-row summary").first.focus()
        page.keyboard.press("Tab")
        expect(page.get_by_role("tooltip")).to_contain_text("charge_card, attempt 1: failed after")
        page.keyboard.press("Enter")
        row = page.locator(".wf-row-step").first
        expect(row.locator(".wf-detail")).to_be_visible()
        expect(row.locator(".wf-detail")).to_contain_text("HTTP 503 from bank.example")

    def test_hovering_names_an_attempt(self, visit: Open, viewer: User) -> None:
        page = visit(viewer).open(path(histories.finished(histories.worker(), histories.worker())))
        titles = page.locator(".wf-row-step rect.wf-attempt title").all_text_contents()
        assert titles[0].startswith("charge_card, attempt 1: failed after")
        assert all(box["width"] >= 1 for box in _boxes(page, "rect.wf-attempt"))

    def test_copy_puts_the_command_on_the_clipboard(self, visit: Open, viewer: User) -> None:
        story = waiting()
        one = visit(viewer, permissions=["clipboard-read", "clipboard-write"])
        page = one.open(path(story))
        page.locator(".wf-commands .wf-copy").first.click()
        expect(page.locator(".wf-commands .wf-copy").first).to_have_text("✓")
        assert page.evaluate("navigator.clipboard.readText()") == f"python manage.py workflows show {story.id}"

    def test_without_javascript_everything_can_still_be_read(self, visit: Open, viewer: User) -> None:
        story = histories.finished(histories.worker(), histories.worker())
        page = visit(viewer, java_script_enabled=False).open(path(story))
        expect(page.locator(".wf-timeline")).to_contain_text("charge_card")
        page.locator("#wf-event-15 summary").click()
        page.locator("#wf-event-15 a").click()
        expect(page.locator("body")).to_contain_text('"box": "B-7"')

    def test_the_overview_leads_to_the_runs_behind_a_figure(self, visit: Open, viewer: User) -> None:
        histories.blocked(histories.worker())
        failed = histories.failed(histories.worker())
        page = visit(viewer).open(reverse(OVERVIEW))
        expect(page.locator(".wf-alarm").first).to_contain_text("Replay diverged at event 8")
        page.locator(".wf-tile.wf-is-failed").click()
        expect(page.locator("#result_list tbody tr")).to_have_count(1)
        expect(page.locator(f'a[href="{path(failed)}"]')).to_be_visible()


def _boxes(page: Any, selector: str) -> list[Any]:
    return [one.bounding_box() for one in page.locator(selector).all()]


def test_nothing_hostile_runs(visit: Open, operator: User) -> None:
    story = Story(
        "shop." + HOSTILE, HOSTILE, attributes={HOSTILE[:60]: HOSTILE}, idempotency_key=HOSTILE, queue=HOSTILE
    )
    story.start().create("step:<img>:1", HOSTILE).begin("step:<img>:1").retry("step:<img>:1", ValueError(HOSTILE), 60)
    story.hook("hook:<i>", HOSTILE).deliver(HOSTILE, {HOSTILE: HOSTILE}).sleep("wait:1", 60).block(HOSTILE)
    histories.worker(HOSTILE)
    one = visit(operator)
    for where in (reverse(LIST), reverse(OVERVIEW), path(story)):
        page = one.open(where)
        assert page.title() != "owned"
        assert page.locator("#content img[src=x]").count() == 0
    for details in page.locator("details").all():
        details.evaluate("node => { node.open = true; }")
    expect(page.locator(".wf-load pre").last).to_be_visible()
    assert page.locator("#content img[src=x]").count() == 0
    for verb in page.locator(".wf-actions a").all():
        assert verb.get_attribute("href").startswith("/admin/")
    page.get_by_role("link", name="Cancel", exact=True).click()
    assert page.title() != "owned"


@pytest.mark.parametrize(("scheme", "device"), [("light", "desk"), ("dark", "phone")])
def test_every_page_is_accessible(visit: Open, operator: User, scheme: str, device: str) -> None:
    told = histories.shop()
    one = visit(operator, color_scheme=scheme, **(PHONE if device == "phone" else {}))
    paths = {name: path(story) for name, story in told.items()}
    paths |= {"list": reverse(LIST), "overview": reverse(OVERVIEW)}
    hook = reverse("admin:django_workflows_run_act", args=[told["waiting"].id, "cancel"])
    found = {}
    for name, where in {**paths, "question": hook}.items():
        page = one.open(where)
        page.evaluate("document.querySelectorAll('.wf details').forEach(node => { node.open = true; })")
        found[name] = complaints(page) + [f"{overflow(page)} px too wide"] * (overflow(page) > 0)
    assert {name: list(dict.fromkeys(said)) for name, said in found.items() if said} == {}


def test_the_dark_theme_follows_the_admins_switch(visit: Open, viewer: User) -> None:
    page = visit(viewer, color_scheme="light").open(path(waiting()))
    colour = "getComputedStyle(document.querySelector('.wf-card')).backgroundColor"
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(colour) != light
