"""Resuming a hook: the single statement and the readable way leave the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from django_workflows import api
from django_workflows.exceptions import HookNotFoundError, PayloadTooLargeError, SerializationError
from django_workflows.models import Event, Hook, Run
from django_workflows.serialization import Encoded
from django_workflows.services import hooks
from tests.support.runs import end, started_run, transition, types
from tests.support.sessions import Session, second_connection

pytestmark = pytest.mark.django_db(transaction=True)


def _hooked(token: str, options: str = "{}") -> str:
    run_id = started_run()
    with transition(run_id) as t:
        hooks.create_hook(t, "hook:1", token, is_webhook=False, metadata=Encoded("null"), options=Encoded(options))
        t.run.wake_at = None
    return run_id


def _stored(run_id: str) -> tuple[Any, ...]:
    run = Run.objects.get(pk=run_id)
    event = Event.objects.get(run_id=run_id, type="hook_received")
    columns = ("sequence", "type", "correlation_id", "data", "idempotency_key", "life")
    assert run.wake_at == run.last_event_at == event.created_at
    return run.status, run.last_sequence, *(getattr(event, column) for column in columns)


@pytest.mark.parametrize("payload", [None, 1, "n\u00f8 \x00 \ud800", {"a": [1.5, {"b": b"x"}]}], ids=str)
def test_both_ways_store_the_same(payload: Any) -> None:
    short, long = _hooked("short"), _hooked("long")
    returned = api.resume_hook("short", payload)
    with transaction.atomic():
        expected = api.resume_hook("long", payload)
    assert _stored(short) == _stored(long)
    assert returned == Event.objects.get(run_id=short, type="hook_received")
    for column in ("sequence", "type", "correlation_id", "data", "idempotency_key", "payload"):
        assert getattr(returned, column) == getattr(expected, column)


def test_a_hook_without_options_is_resumed_by_the_one_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.hooks, "_receive", _never)
    run_id = _hooked("plain")
    api.resume_hook("plain", 1)
    api.resume_hook("plain", 2)
    assert types(run_id)[-2:] == ["hook_received", "hook_received"]


def _never(*_: object) -> None:
    raise AssertionError("the long way was taken")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run_id: api.dispose_hook("token"),
        lambda run_id: api.cancel_run(run_id, force=True),
        lambda run_id: _complete(run_id),
        lambda run_id: Hook.objects.all().delete(),
    ],
    ids=["disposed", "cancelled", "completed", "without a row"],
)
def test_a_hook_that_takes_no_more_is_not_found_and_nothing_is_written(spoil: Callable[[str], Any]) -> None:
    run_id = _hooked("token")
    spoil(run_id)
    before = types(run_id)
    with pytest.raises(HookNotFoundError):
        api.resume_hook("token", 1)
    assert types(run_id) == before


def _complete(run_id: str) -> None:
    with transition(run_id) as t:
        end(t)


@pytest.mark.parametrize(
    ("payload", "refused"), [(object(), SerializationError), ("x" * 30_000_000, PayloadTooLargeError)]
)
def test_a_payload_that_cannot_be_kept_is_refused_and_nothing_is_written(payload: Any, refused: Any) -> None:
    run_id = _hooked("token")
    before = types(run_id)
    with pytest.raises(refused):
        api.resume_hook("token", payload)
    assert types(run_id) == before


def test_a_hook_with_options_goes_the_long_way() -> None:
    _hooked("choosy", options='{"schema":"rest_framework.serializers.Serializer"}')
    assert hooks.receive_at_once("choosy", Encoded("1")) is None
    assert api.resume_hook("choosy", {}).payload["payload"] == {}


def test_a_resume_is_tried_again_when_the_databases_isolation_level_refuses_it() -> None:
    """REPEATABLE READ ends a statement that has waited for a row which another transaction then changed."""
    run_id = _hooked("strict")

    def resume() -> Event:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        return api.resume_hook("strict", 1)

    with second_connection() as other, other.transaction():
        other.execute("UPDATE django_workflows_run SET priority = priority + 1 WHERE id = %s", [run_id])
        resuming = Session(resume)
        resuming.wait_until_blocked()
    assert resuming.outcome().type == "hook_received"
    assert types(run_id).count("hook_received") == 1
