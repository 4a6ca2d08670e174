"""The page of one run: everything in words, nothing secret, nothing that breaks on odd data."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from django_workflows.models import Event
from tests.admin import histories
from tests.admin.histories import Story

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


def log_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client(viewer: User) -> Client:
    return log_in(viewer)


def page(client: Client, story: Story, query: str = "") -> str:
    response = client.get(reverse("admin:django_workflows_run_change", args=[quote(story.id)]) + query)
    assert response.status_code == 200
    return str(response.content.decode())


def part(client: Client, story: Story, name: str, *args: Any, **query: str) -> Any:
    return client.get(reverse(f"admin:django_workflows_run_{name}", args=[story.id, *args]), query)


def test_a_finished_run_tells_its_whole_story(client: Client) -> None:
    story = histories.finished(histories.worker(), histories.worker("web-2", 7))
    text = page(client, story)
    for words in (
        "completed",
        "charge_card, attempt 2: failed after",
        "HTTP 503 from bank.example",
        "1 delivery",
        "web-2:7",
        "order-42",
        "shop.order",
        "&quot;shipped&quot;",
        f"manage.py workflows show {story.id}",
        f"/workflows/api/runs/{story.id}/",
    ):
        assert words in text, words


def test_a_failed_run_shows_error_and_traceback(client: Client) -> None:
    text = page(client, histories.failed(histories.worker()))
    assert "CardDeclinedError: insufficient funds" in text
    assert "bank.charge(order.card" in text


def test_parent_and_child_link_to_each_other(client: Client) -> None:
    story = Story("shop.nightly").start()
    child = histories.child(story, "child:1", "shop.import_feed")
    assert reverse("admin:django_workflows_run_change", args=[quote(child.id)]) in page(client, story)
    assert reverse("admin:django_workflows_run_change", args=[quote(story.id)]) in page(client, child)


def test_nothing_hostile_becomes_markup(operator: User) -> None:
    client = log_in(operator)
    story = Story(
        f"shop.{HOSTILE}", HOSTILE, attributes={HOSTILE[:60]: HOSTILE}, idempotency_key=HOSTILE, queue=HOSTILE
    )
    story.start().create("step:<b>:1", HOSTILE).begin("step:<b>:1").retry("step:<b>:1", ValueError(HOSTILE), 60)
    story.hook("hook:<i>", HOSTILE).block(HOSTILE)
    for text in (
        page(client, story),
        client.get(reverse("admin:django_workflows_run_changelist")).content.decode(),
        client.get(reverse("admin:django_workflows_overview")).content.decode(),
        part(client, story, "event", 1).content.decode(),
        part(client, story, "act", "cancel").content.decode(),
    ):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>:1" not in text


class TestSecrets:
    TOKEN = "Zk3v9QhT2mB7xW1nL5pR8sD4fG6jK0aY"

    @pytest.fixture
    def story(self) -> Story:
        story = Story("shop.a", f"https://shop.example/workflows/webhooks/{self.TOKEN}/").start()
        return story.hook("hook:1", self.TOKEN, webhook=True).deliver(self.TOKEN, {"path": f"/webhooks/{self.TOKEN}/"})

    def test_a_token_is_hidden_from_users_who_may_not_resume(self, client: Client, story: Story) -> None:
        texts = [page(client, story), part(client, story, "value", "input").content.decode()]
        for event in Event.objects.filter(run_id=story.id):
            texts.append(part(client, story, "event", event.sequence).content.decode())
            texts.append(part(client, story, "event", event.sequence, whole="").content.decode())
        assert not any(self.TOKEN in text for text in texts)
        assert "Zk3v…" in texts[1]

    def test_an_error_that_quotes_it_does_not_reveal_it(self, client: Client, story: Story) -> None:
        gone = ConnectionError(f"404 for https://shop.example/workflows/webhooks/{self.TOKEN}/")
        story.create("step:a:1", "shop.a").begin("step:a:1").retry("step:a:1", gone, 60)
        urls = [reverse("admin:django_workflows_run_changelist"), reverse("admin:django_workflows_overview")]
        texts = [page(client, story)]
        story.block(f"Replay diverged: the log says hook {self.TOKEN}")
        texts.append(page(client, story))
        texts += [client.get(url).content.decode() for url in urls]
        story.fail(gone)
        texts.append(page(client, story))
        texts += [client.get(url).content.decode() for url in urls]
        assert not any(self.TOKEN in text for text in texts)
        assert "404 for https://shop.example" in texts[-1]

    def test_users_who_may_resume_see_it(self, operator: User, story: Story) -> None:
        assert self.TOKEN in page(log_in(operator), story)

    def test_the_seed_is_never_shown(self, operator: User, story: Story) -> None:
        seed = story.run.seed
        client = log_in(operator)
        shown = part(client, story, "event", 1, whole="").content.decode()
        assert seed not in shown
        assert "(not shown)" in shown
        assert seed not in page(client, story)


class TestParts:
    def test_an_event_is_pretty_printed_on_demand(self, client: Client) -> None:
        story = histories.finished(histories.worker(), histories.worker())
        answer = part(client, story, "event", 15)
        assert "&quot;box&quot;: &quot;B-7&quot;" in answer.content.decode()
        assert part(client, story, "event", 99).status_code == 404

    def test_a_large_value_is_cut_on_the_page_and_whole_on_request(self, client: Client) -> None:
        story = Story("shop.a", "x" * 100_000)
        assert len(page(client, story)) < 100_000
        whole = part(client, story, "value", "input", whole="")
        assert whole["content-type"] == "text/plain; charset=utf-8"
        assert len(whole.content) > 100_000

    def test_the_refresh_answers_only_when_something_has_changed(self, client: Client) -> None:
        story = Story("shop.a").start().end()
        first = part(client, story, "live")
        version = first.context["version"]
        assert part(client, story, "live", version=version).status_code == 204
        assert part(client, story, "live", version="older").status_code == 200

    def test_the_refresh_sees_a_new_event(self, client: Client) -> None:
        story = Story("shop.a").start()
        version = part(client, story, "live").context["version"]
        story.hook("hook:1", "packed:1")
        answer = part(client, story, "live", version=version)
        assert "hook packed:1" in answer.content.decode()

    @pytest.mark.parametrize("name", ["live", "event", "value", "act", "resume", "dispose"])
    def test_unknown_runs_are_not_found(self, operator: User, name: str) -> None:
        rest = {"event": [1], "value": ["input"], "act": ["cancel"], "resume": ["hook_1"], "dispose": ["hook_1"]}
        url = reverse(f"admin:django_workflows_run_{name}", args=["wrun_none", *rest.get(name, [])])
        assert log_in(operator).get(url).status_code == 404


class TestOddData:
    @pytest.mark.parametrize("text", ["{", '{"$":"enum","c":"gone:E","v":1}', "enc:1:abc", '"' + "a" * 10 + '\\ud800"'])
    def test_values_that_cannot_be_decoded_are_shown_all_the_same(self, client: Client, text: str) -> None:
        story = histories.failed(histories.worker())
        with connection.cursor() as cursor:
            cursor.execute("UPDATE django_workflows_run SET input=%s, output=%s, error=%s", [text] * 3)
            cursor.execute("UPDATE django_workflows_step SET input=%s, output=%s, error=%s", [text] * 3)
            cursor.execute("UPDATE django_workflows_event SET data=%s", [text])
        page(client, story)
        assert part(client, story, "event", 3).status_code == 200
        assert client.get(reverse("admin:django_workflows_run_changelist")).status_code == 200
        assert client.get(reverse("admin:django_workflows_overview")).status_code == 200

    @pytest.mark.parametrize(
        "query", ["?after=-1", "?after=x", "?after=99999999999999999999", "?from=0", "?from=7e9", "?from=50"]
    )
    def test_odd_positions_are_no_error(self, client: Client, query: str) -> None:
        page(client, histories.waiting(histories.worker()), query)

    def test_naive_times(self, client: Client, settings: Any) -> None:
        settings.USE_TZ = False
        page(client, histories.waiting(histories.worker()))

    def test_another_language(self, client: Client) -> None:
        story = histories.waiting(histories.worker())
        url = reverse("admin:django_workflows_run_change", args=[quote(story.id)])
        assert client.get(url, headers={"accept-language": "de"}).status_code == 200

    def test_an_empty_log(self, client: Client) -> None:
        story = Story("shop.a")
        Event.objects.all().delete()
        page(client, story)


def test_a_log_of_thousands_is_drawn_and_paged(client: Client, django_assert_max_num_queries: Any) -> None:
    story = Story("shop.rebuild").start()
    for number in range(60):
        story.step(f"step:index:{number}", "shop.index", number)
    with django_assert_max_num_queries(22):
        text = page(client, story)
    assert "index \N{MULTIPLICATION SIGN} 60" not in text  # 60 rows are still drawn one by one
    assert "⇤ first" in text
    assert "182 events" in text
    first = page(client, story, "?after=0")
    assert "run created" in first
    assert "later" in first
