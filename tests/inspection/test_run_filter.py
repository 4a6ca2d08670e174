"""One filter for all lists of runs: every condition alone and together, whatever characters it is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_workflows import workflow
from django_workflows.inspection.run_filter import RunFilter, parse_attribute, workflows_called
from django_workflows.models import Run
from django_workflows.store import database

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db]


@workflow(name="listed.first")
async def first() -> None: ...


@workflow(name="listed.other.first", queue="slow")
async def second() -> None: ...


@pytest.mark.parametrize("key", ["customer", "a__b", "self", "runs", "x__gt", 'we\'re "odd"', "a b", "ä", "%", "pk"])
def test_an_attribute_is_found_whatever_its_key(key: str) -> None:
    if '"' in key and not database.is_postgresql():
        pytest.skip("SQLite's JSON paths have no way to write a quote in a key")
    run = first.using(attributes={key: "1"}).start()
    first.using(attributes={key: "2"}).start()
    first.start()
    assert [found.pk for found in RunFilter(attributes={key: "1"}).runs()] == [run.id]
    assert [found.pk for found in Run.objects.all().with_attributes(**{key: "1"})] == [run.id]


def test_all_conditions_hold_together() -> None:
    run = second.using(attributes={"a": "1", "b": "="}).start()
    second.using(attributes={"a": "1"}).start()
    first.using(queue="slow", attributes={"a": "1", "b": "="}).start()
    created = Run.objects.get(pk=run.id).created_at
    conditions: dict[str, Any] = {
        "statuses": ["pending", "failed"],
        "workflows": ["listed.other.first"],
        "queues": ["slow"],
        "attributes": {"a": "1", "b": "="},
        "since": created,
        "until": created + timedelta(microseconds=1),
    }
    assert [found.pk for found in RunFilter(**conditions).runs()] == [run.id]
    wrong = {
        "statuses": ["failed"],
        "workflows": ["listed.first"],
        "queues": ["default"],
        "attributes": {"a": "1", "b": ""},
        "since": created + timedelta(microseconds=1),
        "until": created,
    }
    for name, value in wrong.items():
        assert list(RunFilter(**{**conditions, name: value}).runs()) == [], name


def test_no_condition_is_every_run() -> None:
    assert {first.start().id, second.start().id} == {run.pk for run in RunFilter().runs()}


@pytest.mark.parametrize(
    ("text", "pair"), [("a=1", ("a", "1")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c")), (" a = 1", (" a ", " 1"))]
)
def test_an_attribute_is_read_up_to_its_first_sign_of_equality(text: str, pair: tuple[str, str]) -> None:
    assert parse_attribute(text) == pair


@pytest.mark.parametrize("text", ["", "a", "=1", "="])
def test_what_is_no_pair_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(ValueError, match="has the form key=value"):
        parse_attribute(text)


def test_a_name_means_itself_or_all_that_end_with_it() -> None:
    assert workflows_called("listed.first") == ["listed.first"]
    assert workflows_called("first") == ["listed.first", "listed.other.first"]
    assert workflows_called("irst") == []
