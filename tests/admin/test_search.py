"""A run is found by its id, a step's, a token, a key, an attribute or a name."""

from __future__ import annotations

import pytest
from django.db import connection

from django_workflows.inspection.search import find_runs, runs_with_attribute, used_attributes, used_workflows
from django_workflows.models import Run, Step, Wait
from tests.admin.histories import Story

pytestmark = pytest.mark.django_db


def found(text: str) -> set[str]:
    return set(Run.objects.filter(find_runs(text)).values_list("pk", flat=True))


@pytest.fixture
def story() -> Story:
    other = Story("shop.workflows.remind", attributes={"customer": "c2"}, idempotency_key="other")
    other.start().hook("hook:1", "other")
    story = Story("shop.workflows.fulfil_order", attributes={"customer": "c1"}, idempotency_key="order-42")
    return story.start().hook("hook:1", "packed:42").sleep("wait:1", 60).step("step:a:1", "shop.workflows.a")


def test_by_its_id_or_the_beginning_of_it(story: Story) -> None:
    assert found(story.id) == {story.id}
    assert found(story.id.lower()) == {story.id}
    assert story.id in found(story.id[:15])
    assert found(f"  {story.id} ") == {story.id}


def test_by_the_id_of_a_step_or_wait(story: Story) -> None:
    assert found(Step.objects.get(run_id=story.id).pk) == {story.id}
    assert found(Wait.objects.get(run_id=story.id).pk) == {story.id}


def test_by_token_key_and_attribute(story: Story) -> None:
    for text in ("packed:42", "order-42", "c1", "customer=c1", " customer = c1"):
        assert found(text) == {story.id}, text


def test_by_a_part_of_the_workflows_name(story: Story) -> None:
    assert found("Fulfil") == {story.id}


@pytest.mark.parametrize(
    "text", ["nothing like it", "wrun_", "wrun_0000", "step_01ARZ", "a\x00b", "=", "customer=", "%", "'--"]
)
def test_nothing_is_found_for_what_is_nowhere(story: Story, text: str) -> None:
    assert found(text) == set()


def test_the_names_in_use(story: Story) -> None:
    assert used_workflows() == ["shop.workflows.fulfil_order", "shop.workflows.remind"]
    assert used_attributes() == ["customer"]


def test_an_attribute_whose_key_looks_like_a_lookup() -> None:
    story = Story("shop.a", attributes={"order__id": "5"})
    assert found("order__id=5") == {story.id}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite finds no JSON key that has a quotation mark")
def test_an_attribute_with_odd_characters() -> None:
    story = Story("shop.a", attributes={'we\'re "odd"': "100%"})
    assert runs_with_attribute(['we\'re "odd"'], "100%") == [story.id]
    assert found("100%") == {story.id}
