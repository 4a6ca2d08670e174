"""Callers of webhooks that are held for a manual response: the first answer wins, and none comes after the 504."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..authoring.http import WebhookRequest, WebhookResponse
from ..exceptions import EntityConflictError
from ..models import WebhookCall
from ..notify.watcher import NOTHING
from ..serialization import dumps
from ..store import database
from ..store.transition import Transition


def hold_call(transition: Transition, correlation_id: str, call_id: str) -> None:
    """Note, in the transaction that delivers the request, that its caller waits for an answer."""
    WebhookCall.objects.create(
        id=call_id, run_id=transition.run.id, correlation_id=correlation_id, created_at=transition.now
    )


def answer_call(request: WebhookRequest, response: WebhookResponse) -> None:
    """Record the response for the caller that is held.

    Raises:
        EntityConflictError: it was answered before, or got a 504, or its caller waits for no answer.
    """
    rows = WebhookCall.objects
    waiting = rows.filter(pk=request.reply_to, answered_at__isnull=True, expired_at__isnull=True)
    if request.reply_to is None or not waiting.update(response=dumps(response), answered_at=database.now()):
        raise EntityConflictError("This webhook call takes no answer: it was answered before, or its caller has left.")
    database.notify(database.CHANGED, [request.reply_to])


def expire_call(call_id: str) -> WebhookResponse | None:
    """The caller will wait no longer. None, or the answer that came at the last moment and has to be given."""
    rows = WebhookCall.objects.filter(pk=call_id)
    if rows.filter(answered_at__isnull=True).update(expired_at=database.now()):
        return None
    found: Any = rows.values_list("response", flat=True).first()
    answer: WebhookResponse | None = found
    return answer


@dataclass(frozen=True, slots=True)
class ResponseQuestion:
    """The answer to a held call."""

    call_id: str

    @property
    def keys(self) -> Sequence[str]:
        """What changes when the call is answered."""
        return (self.call_id,)


class CallResponses:
    """Answers with the :class:`WebhookResponse`; with None for a call that got a 504 or is gone."""

    def poll(self, questions: Sequence[ResponseQuestion]) -> Sequence[object]:
        """For each question its response, None, or ``NOTHING``: one query."""
        rows = WebhookCall.objects.filter(pk__in=[question.call_id for question in questions])
        found = {row.pk: row for row in rows}
        return [self._answer(found.get(question.call_id)) for question in questions]

    def _answer(self, call: WebhookCall | None) -> object:
        if call is None or call.expired_at is not None:
            return None
        return call.response if call.answered_at is not None else NOTHING


RESPONSES = CallResponses()
