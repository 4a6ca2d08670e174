"""HTTP requests for webhooks: record one, and give its caller the answer, at once or when a step has made it."""

from __future__ import annotations

from asgiref.sync import sync_to_async

from .. import conf
from ..authoring.http import WebhookRequest, WebhookResponse
from ..exceptions import InAtomicBlockError
from ..models import Hook
from ..notify import watcher
from ..store import database
from ..webhooks import delivery
from ..webhooks.calls import RESPONSES, ResponseQuestion, expire_call
from ..webhooks.delivery import MANUAL, Delivery


def find_webhook(token: str) -> Hook:
    """The active webhook of this token.

    Raises:
        HookNotFoundError: it is unknown, disposed, no webhook, or its run has ended. Which of these, it does not say.
    """
    return delivery.find_webhook(token)


def is_answered_by_step(token: str) -> bool:
    """Whether the caller of this webhook waits for a step to answer (``respond_with="manual"``).

    Raises:
        HookNotFoundError: no active webhook has the token.
    """
    return (find_webhook(token).options or {}).get("respond_with") == MANUAL


def resume_webhook(token: str, request: WebhookRequest) -> WebhookResponse:
    """Deliver a request and give the answer for its caller: 202, the webhook's own, or the one that a step gives.

    The request is committed before this returns or begins to wait. It waits for a step's answer for at most
    ``WEBHOOK_RESPONSE_TIMEOUT`` seconds, without a database connection; then the answer is a 504.

    Raises:
        HookNotFoundError, InvalidSignatureError, PayloadTooLargeError: nothing was written.
        InAtomicBlockError: the webhook answers by a step, and the caller is inside ``transaction.atomic()``.
    """
    _refuse_to_wait_in_atomic(token)
    recorded = delivery.record_request(token, request)
    if recorded.call_id is None:
        return recorded.response or WebhookResponse(202)
    database.release_connections()
    try:
        answer = watcher.wait(RESPONSES, ResponseQuestion(recorded.call_id), conf.settings.WEBHOOK_RESPONSE_TIMEOUT)
    except TimeoutError:
        answer = expire_call(recorded.call_id)
    return answer or _gave_up()


async def aresume_webhook(token: str, request: WebhookRequest) -> WebhookResponse:
    """Like :func:`resume_webhook`, in async code; it holds no thread while it waits."""
    recorded = await sync_to_async(_record_and_release)(token, request)
    if recorded.call_id is None:
        return recorded.response or WebhookResponse(202)
    timeout = conf.settings.WEBHOOK_RESPONSE_TIMEOUT
    try:
        answer = await watcher.await_answer(RESPONSES, ResponseQuestion(recorded.call_id), timeout)
    except TimeoutError:
        answer = await sync_to_async(expire_call)(recorded.call_id)
    return answer or _gave_up()


def _record_and_release(token: str, request: WebhookRequest) -> Delivery:
    _refuse_to_wait_in_atomic(token)
    recorded = delivery.record_request(token, request)
    if recorded.call_id is not None:
        database.release_connections()
    return recorded


def _refuse_to_wait_in_atomic(token: str) -> None:
    if database.connection().in_atomic_block and is_answered_by_step(token):
        raise InAtomicBlockError(
            "This webhook is answered by a step, which cannot see the request before transaction.atomic() has ended."
        )


def _gave_up() -> WebhookResponse:
    detail = "The request was received; no answer to it came in time."
    return WebhookResponse(504, {"code": "response_timeout", "detail": detail})
