"""Callers of webhooks that are held for a manual response: the first answer wins, and none comes after the 504."""

from __future__ import annotations

from ..exceptions import EntityConflictError
from ..models import WebhookCall
from ..serialization import dumps
from ..webhooks import WebhookRequest, WebhookResponse
from . import database


def answer_call(request: WebhookRequest, response: WebhookResponse) -> None:
    """Record the response for the caller that is held.

    Raises:
        EntityConflictError: it was answered before, or has been told 504, or nobody waits for an answer.
    """
    rows = WebhookCall.objects.using(database.alias())
    call_id = getattr(request, "call_id", None)
    waiting = rows.filter(pk=call_id, answered_at__isnull=True, expired_at__isnull=True)
    if call_id is None or not waiting.update(response=dumps(response), answered_at=database.now()):
        raise EntityConflictError("This webhook call takes no answer: it was answered before, or its caller has left.")
    database.ring(database.NEWS, [str(call_id)])
