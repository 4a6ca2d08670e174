"""The actions: each has its own permission, asks for confirmation, calls ``api``, and leaves a trace."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework import serializers

from django_workflows.models import Event, Hook, Run
from tests.admin import histories
from tests.admin.conftest import VERBS, make_user
from tests.admin.histories import Story

pytestmark = pytest.mark.django_db

LIST = "admin:django_workflows_run_changelist"


class Packed(serializers.Serializer):  # type: ignore[type-arg]
    box = serializers.CharField(max_length=10)
    weight = serializers.DecimalField(max_digits=6, decimal_places=2, required=False)
    fragile = serializers.BooleanField(default=False)
    carrier = serializers.ChoiceField(choices=["north", "south"], required=False)
    lines = serializers.ListField(child=serializers.IntegerField(), required=False)

    def validate_box(self, value: str) -> str:
        if not value.startswith("B-"):
            raise serializers.ValidationError("A box begins with B-.")
        return value


def log_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client(operator: User) -> Client:
    return log_in(operator)


def act(story: Story, verb: str) -> str:
    return reverse("admin:django_workflows_run_act", args=[story.id, verb])


def hook_url(story: Story, verb: str) -> str:
    return reverse(f"admin:django_workflows_run_{verb}", args=[story.id, Hook.objects.get(run_id=story.id).pk])


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def history() -> list[tuple[str, str, str]]:
    return [
        (entry.user.username, entry.object_id or "", entry.change_message) for entry in LogEntry.objects.order_by("pk")
    ]


def types(story: Story) -> list[str]:
    return list(Event.objects.filter(run_id=story.id).order_by("sequence").values_list("type", flat=True))


STATES = {
    "cancel": lambda: Story("shop.a").start().sleep("wait:1", 60),
    "force": lambda: Story("shop.a").start().sleep("wait:1", 60),
    "wake": lambda: Story("shop.a").start().sleep("wait:1", 60),
    "unblock": lambda: Story("shop.a").start().block("the code does not fit"),
}


class TestOneRun:
    @pytest.mark.parametrize(
        ("verb", "permission", "event"),
        [
            ("cancel", "cancel_run", "run_cancel_requested"),
            ("force", "force_cancel_run", "run_cancelled"),
            ("wake", "wake_run", "wait_completed"),
            ("unblock", "unblock_run", None),
        ],
    )
    def test_asks_does_and_records(self, verb: str, permission: str, event: str | None) -> None:
        client = log_in(make_user("ann", "view_run", permission))
        story = STATES[verb]()
        before = types(story)
        question = client.get(act(story, verb))
        assert question.status_code == 200
        assert types(story) == before
        response = client.post(act(story, verb), {"reason": "ordered twice"}, follow=True)
        assert response.redirect_chain[0][0] == reverse("admin:django_workflows_run_change", args=[quote(story.id)])
        assert (event is None and types(story) == before) or types(story)[-1] == event
        ((user, object_id, message),) = history()
        assert (user, object_id) == ("ann", story.id)
        assert message.endswith(": ordered twice")

    @pytest.mark.parametrize("verb", ["cancel", "force", "retry", "wake", "unblock"])
    def test_is_refused_without_its_permission(self, verb: str) -> None:
        own = {"cancel": "cancel_run", "force": "force_cancel_run", "retry": "retry_run", "wake": "wake_run"}
        others = [name for name in VERBS if name != own.get(verb, "unblock_run")]
        client = log_in(make_user("bob", "view_run", *others))
        story = STATES.get(verb, STATES["cancel"])()
        before = types(story)
        assert client.get(act(story, verb)).status_code == 403
        assert client.post(act(story, verb), {"reason": "x"}).status_code == 403
        assert types(story) == before
        assert history() == []

    def test_needs_permission_to_view_too(self) -> None:
        client = log_in(make_user("bob", "cancel_run"))
        assert client.post(act(STATES["cancel"](), "cancel"), {"reason": "x"}).status_code == 403

    def test_a_cancel_needs_a_reason_which_goes_into_the_log(self, client: Client) -> None:
        story = STATES["cancel"]()
        assert b"This field is required" in client.post(act(story, "cancel"), {"reason": ""}).content
        assert "run_cancel_requested" not in types(story)
        client.post(act(story, "cancel"), {"reason": "ordered twice"})
        assert Event.objects.get(run_id=story.id, type="run_cancel_requested").payload["reason"] == "ordered twice"

    def test_what_api_refuses_is_reported_and_leaves_no_trace(self, client: Client) -> None:
        story = Story("shop.a").start().end()
        response = client.post(act(story, "wake"), {"reason": ""}, follow=True)
        assert "has ended" in said(response)
        assert "run_not_active" in said(response)
        assert history() == []

    def test_says_beforehand_when_nothing_would_change(self, client: Client) -> None:
        assert (
            "has ended (completed): nothing would change"
            in client.get(act(Story("shop.a").start().end(), "cancel")).content.decode()
        )

    def test_one_of_two_sleeps_is_woken(self, client: Client) -> None:
        story = Story("shop.a").start().sleep("wait:1", 60).sleep("wait:2", 60)
        client.post(act(story, "wake") + "?wait=wait:2", {"reason": ""})
        assert Event.objects.get(run_id=story.id, type="wait_completed").correlation_id == "wait:2"

    def test_is_not_done_by_a_link(self, client: Client) -> None:
        story = STATES["force"]()
        client.get(act(story, "force") + "?reason=x&confirmed=yes")
        assert story.run.status == "running"

    def test_needs_the_csrf_token(self, operator: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(operator)
        story = STATES["force"]()
        assert client.post(act(story, "force"), {"reason": "x"}).status_code == 403
        assert story.run.status == "running"


class TestHooks:
    def test_resume_with_json(self, client: Client) -> None:
        story = Story("shop.a").start().hook("hook:1", "packed:1")
        assert client.get(hook_url(story, "resume")).status_code == 200
        response = client.post(hook_url(story, "resume"), {"payload": '{"box": 7}', "reason": "by phone"}, follow=True)
        assert "Delivered as event 4" in said(response)
        assert Event.objects.get(run_id=story.id, type="hook_received").payload["payload"] == {"box": 7}
        assert history() == [("operator", story.id, "Resumed hook packed:1 (event 4): by phone")]

    def test_what_is_not_json_is_refused_beside_its_field(self, client: Client) -> None:
        story = Story("shop.a").start().hook("hook:1", "packed:1")
        response = client.post(hook_url(story, "resume"), {"payload": "{box"})
        assert b"This is not JSON" in response.content
        assert "hook_received" not in types(story)

    def test_a_serializer_gives_a_real_form(self, client: Client) -> None:
        story = Story("shop.a").start().hook("hook:1", "packed:1", schema=f"{__name__}.Packed")
        text = client.get(hook_url(story, "resume")).content.decode()
        for name in ("box", "weight", "fragile", "carrier", "lines"):
            assert f'name="payload_{name}"' in text
        wrong = client.post(hook_url(story, "resume"), {"payload_box": "7", "payload_weight": "heavy"})
        assert b"A box begins with B-." in wrong.content or b"Enter a number" in wrong.content
        assert "hook_received" not in types(story)
        data = {"payload_box": "B-7", "payload_weight": "2.40", "payload_fragile": "on", "payload_lines": "[1, 2]"}
        client.post(hook_url(story, "resume"), data)
        received = Event.objects.get(run_id=story.id, type="hook_received").payload["payload"]
        assert str(received.pop("weight")) == "2.40"
        assert received == {"box": "B-7", "fragile": True, "lines": [1, 2]}

    def test_what_only_the_serializer_refuses_is_shown_beside_the_field(self, client: Client) -> None:
        story = Story("shop.a").start().hook("hook:1", "packed:1", schema=f"{__name__}.Packed")
        text = client.post(hook_url(story, "resume"), {"payload_box": "7"}).content.decode()
        assert "A box begins with B-." in text
        assert "hook_received" not in types(story)

    def test_a_webhook_gets_a_request(self, client: Client) -> None:
        story = Story("shop.a").start().hook("hook:1", "door", webhook=True)
        data = {"method": "POST", "content_type": "application/json", "body": '{"ok": true}'}
        client.post(hook_url(story, "resume"), data)
        request = Event.objects.get(run_id=story.id, type="hook_received").payload["payload"]
        assert request.json() == {"ok": True}

    def test_dispose(self, client: Client) -> None:
        story = Story("shop.a").start().hook("hook:1", "packed:1")
        client.post(hook_url(story, "dispose"), {"reason": "wrong parcel"})
        assert types(story)[-1] == "hook_disposed"
        assert history() == [("operator", story.id, "Disposed hook packed:1: wrong parcel")]
        assert "has disposed this hook" in client.get(hook_url(story, "resume")).content.decode()

    @pytest.mark.parametrize(("verb", "permission"), [("resume", "resume_hook"), ("dispose", "dispose_hook")])
    def test_each_needs_its_permission(self, verb: str, permission: str) -> None:
        story = Story("shop.a").start().hook("hook:1", "packed:1")
        client = log_in(make_user("bob", "view_run", *[name for name in VERBS if name != permission]))
        assert client.get(hook_url(story, verb)).status_code == 403
        assert client.post(hook_url(story, verb), {"payload": "1", "reason": "x"}).status_code == 403
        assert types(story)[-1] == "hook_created"

    def test_the_hook_of_another_run_is_not_found(self, client: Client) -> None:
        story, other = Story("shop.a").start().hook("hook:1", "one"), Story("shop.a").start()
        hook = Hook.objects.get(run_id=story.id)
        assert client.get(reverse("admin:django_workflows_run_resume", args=[other.id, hook.pk])).status_code == 404


class TestManyRuns:
    def post(self, client: Client, action: str, stories: list[Story], **data: Any) -> Any:
        chosen = [story.id for story in stories]
        return client.post(reverse(LIST), {"action": action, "_selected_action": chosen, **data}, follow=True)

    def test_a_dry_run_counts_before_anything_is_done(self, client: Client) -> None:
        stories = [STATES["cancel"]() for _ in range(3)] + [
            Story("shop.a").start().end(),
            Story("shop.a").start().end(),
        ]
        text = self.post(client, "cancel_runs", stories).content.decode()
        assert "<strong>3</strong> of 5 chosen" in text
        assert "2 left alone: the run has ended (completed)" in text
        assert Run.objects.filter(cancel_requested_at__isnull=False).count() == 0
        response = self.post(client, "cancel_runs", stories, confirmed="yes", reason="wrong import")
        assert "3 runs cancelled." in said(response)
        assert Run.objects.filter(cancel_requested_at__isnull=False).count() == 3
        assert [message for _, _, message in history()] == ["Cancelled: wrong import"] * 3

    def test_what_has_moved_on_since_the_dry_run_is_left_alone(self, client: Client, monkeypatch: Any) -> None:
        stories = [STATES["wake"](), STATES["wake"]()]
        monkeypatch.setattr("django_workflows.admin.actions.dry_run", _stale)
        stories[0].cancel("x", force=True)
        response = self.post(client, "wake_runs", stories, confirmed="yes", reason="")
        assert "1 run woken." in said(response)
        assert f"1 left alone: {stories[0].id}: run_not_active" in said(response)

    def test_only_permitted_actions_are_offered(self, viewer: User) -> None:
        Story("shop.a").start()
        offered = log_in(viewer).get(reverse(LIST)).content.decode()
        assert "cancel_runs" not in offered
        some = log_in(make_user("ann", "view_run", "wake_run")).get(reverse(LIST)).content.decode()
        assert "wake_runs" in some
        assert "cancel_runs" not in some
        assert "delete_selected" not in some

    def test_an_action_without_permission_does_nothing(self, viewer: User) -> None:
        story = STATES["force"]()
        self.post(log_in(viewer), "force_runs", [story], confirmed="yes", reason="x")
        assert story.run.status == "running"

    def test_select_all_takes_what_matches_the_filter_up_to_a_limit(self, client: Client, monkeypatch: Any) -> None:
        monkeypatch.setattr("django_workflows.admin.actions.MOST_AT_ONCE", 3)
        for number in range(5):
            Story("shop.a", number).start().sleep("wait:1", 60)
        Story("shop.b").start().sleep("wait:1", 60)
        one = Run.objects.filter(workflow="shop.a").first()
        assert one is not None
        data = {"action": "wake_runs", "_selected_action": [one.pk], "select_across": "1"}
        text = client.post(reverse(LIST) + "?workflow=shop.a", data).content.decode()
        assert "<strong>3</strong> of 3 chosen" in text
        assert "only the newest 3 are taken at once" in text


def _stale(runs: Any, verb: str) -> Any:
    from django_workflows.inspection.actions import DryRun

    return DryRun(sorted(runs, key=lambda run: run.pk), [])


class TestNothingElse:
    def test_nothing_can_be_added_changed_or_deleted(self) -> None:
        root = User.objects.create_superuser("root")
        client = log_in(root)
        story = Story("shop.a")
        change = reverse("admin:django_workflows_run_change", args=[quote(story.id)])
        assert client.get(reverse("admin:django_workflows_run_add")).status_code == 403
        assert client.get(reverse("admin:django_workflows_run_delete", args=[quote(story.id)])).status_code == 403
        assert client.post(change, {"status": "failed"}).status_code == 403
        assert b"delete_selected" not in client.get(reverse(LIST)).content

    @pytest.mark.parametrize("name", ["list", "page", "overview", "live", "event", "value"])
    def test_nothing_is_shown_without_permission_to_view(self, name: str) -> None:
        story = Story("shop.a")
        urls = {
            "list": reverse(LIST),
            "page": reverse("admin:django_workflows_run_change", args=[quote(story.id)]),
            "overview": reverse("admin:django_workflows_overview"),
            "live": reverse("admin:django_workflows_run_live", args=[story.id]),
            "event": reverse("admin:django_workflows_run_event", args=[story.id, 1]),
            "value": reverse("admin:django_workflows_run_value", args=[story.id, "input"]),
        }
        assert log_in(make_user("bob", *VERBS)).get(urls[name]).status_code == 403
        assert Client().get(urls[name]).status_code == 302  # to the login

    def test_the_history_page_shows_the_user_and_the_reason(self, client: Client) -> None:
        story = STATES["cancel"]()
        client.post(act(story, "cancel"), {"reason": "ordered twice"})
        url = reverse("admin:django_workflows_run_history", args=[quote(story.id)])
        text = client.get(url).content.decode()
        assert "operator" in text
        assert "ordered twice" in text


def test_the_buttons_of_the_page_are_those_that_apply(client: Client, viewer: User) -> None:
    story = histories.waiting(histories.worker())
    url = reverse("admin:django_workflows_run_change", args=[quote(story.id)])
    text = client.get(url).content.decode()
    assert "Resume hook packed:44" in text
    assert act(story, "wake") in text
    assert act(story, "retry") not in text
    looked = log_in(viewer).get(url).content.decode()
    assert "/act/" not in looked
    assert "/resume/" not in looked
