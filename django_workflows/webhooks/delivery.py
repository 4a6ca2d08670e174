"""Delivering requests to webhooks, and giving their callers an answer."""

from __future__ import annotations

from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db import connections

from .. import conf
from ..authoring.http import WebhookRequest, WebhookResponse
from ..authoring.signatures import InvalidSignatureError, Signature, verify
from ..exceptions import HookNotFoundError, InAtomicBlockError, RunNotFoundError
from ..models import Event, Hook
from ..notify import watcher
from ..serialization import dumps
from ..services import hooks
from ..store import database, locking
from ..store.limits import require_size
from ..store.transactions import TRIES, in_transaction
from ..store.write import write
from ..values import clock
from ..values.ids import new_id
from .calls import RESPONSES, ResponseQuestion, expire_call, hold_call

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A recorded request. Its caller gets ``response``, or waits for the answer to the call ``call_id``."""

    event: Event
    response: WebhookResponse | None
    call_id: str | None


def find_webhook(token: str) -> Hook:
    """The active webhook of this token.

    Raises:
        HookNotFoundError: it is unknown, disposed, no webhook, or its run has ended. Which of these, it does not say.
    """
    try:
        hook = hooks.find_hook(token)
    except HookNotFoundError:
        hook = None
    if hook is None or not hook.is_webhook:
        raise HookNotFoundError("No active webhook has this token.")
    return hook


def record_request(token: str, request: WebhookRequest) -> Delivery:
    """Record a request for the webhook of this token. A delivery that the sender repeats is recorded once.

    Joins the caller's transaction; without one, it is committed on return.

    Raises:
        HookNotFoundError: no active webhook has the token. InvalidSignatureError: it asks for signatures, and this
        request has no valid one. PayloadTooLargeError: the request is too large. In all three nothing was written.
        InAtomicBlockError: its callers wait for an answer, which cannot come before the caller's transaction ends.
    """
    return _record_request(token, request)


@in_transaction
def _record_request(token: str, request: WebhookRequest) -> Delivery:
    for _ in range(TRIES):
        hook = find_webhook(token)
        options = hook.options or {}
        key = _check_signature(options, request)
        held = options.get("respond_with") == MANUAL
        request.reply_to = new_id("call") if held else None
        payload = require_size(dumps(request))
        try:
            transition = locking.lock_run(hook.run_id)
            event = hooks.receive_hook(transition, token, payload, idempotency_key=key)
        except (HookNotFoundError, RunNotFoundError):
            continue  # the token changed hands between the look and the lock
        if transition.events and request.reply_to is not None:
            hold_call(transition, hook.correlation_id, request.reply_to)
        elif held:  # delivered before: its caller gets the answer to that delivery
            request.reply_to = event.payload["payload"].reply_to
        write([transition])
        response = None if held else options.get("respond_with") or WebhookResponse(202)
        return Delivery(event, response, request.reply_to)
    raise HookNotFoundError("No active webhook has this token.")


def _check_signature(options: dict[str, object], request: WebhookRequest) -> str | None:
    """The sender's id of this delivery, if the webhook asks for signatures and the sender gives one."""
    asked = options.get("verify")
    if asked is None:
        return None
    assert isinstance(asked, dict)
    signature = Signature.from_options(asked)
    secrets = conf.settings.WEBHOOK_SECRETS.get(signature.secret_name, [])
    return verify(signature, request.headers, request.body, secrets, clock.now())


# --- with the answer -------------------------------------------------------------------------------------------------


def resume_webhook(token: str, request: WebhookRequest) -> WebhookResponse:
    """Deliver a request and give the answer for its caller: 202, the webhook's own, or the one that a step gives.

    The request is committed before this returns or begins to wait. It waits for a step's answer for at most
    ``WEBHOOK_RESPONSE_TIMEOUT`` seconds, without a database connection; then the answer is a 504.

    Raises:
        HookNotFoundError, InvalidSignatureError, PayloadTooLargeError: as :func:`record_request`; nothing was written.
        InAtomicBlockError: the webhook answers by a step, and the caller is inside ``transaction.atomic()``.
    """
    _refuse_to_wait_in_atomic(token)
    delivery = record_request(token, request)
    if delivery.call_id is None:
        return delivery.response or WebhookResponse(202)
    release_connections()
    try:
        answer = watcher.wait(RESPONSES, ResponseQuestion(delivery.call_id), conf.settings.WEBHOOK_RESPONSE_TIMEOUT)
    except TimeoutError:
        answer = expire_call(delivery.call_id)
    return answer or _gave_up()


async def aresume_webhook(token: str, request: WebhookRequest) -> WebhookResponse:
    """Like :func:`resume_webhook`, in async code; it holds no thread while it waits."""
    delivery = await sync_to_async(_record_and_release)(token, request)
    if delivery.call_id is None:
        return delivery.response or WebhookResponse(202)
    timeout = conf.settings.WEBHOOK_RESPONSE_TIMEOUT
    try:
        answer = await watcher.await_answer(RESPONSES, ResponseQuestion(delivery.call_id), timeout)
    except TimeoutError:
        answer = await sync_to_async(expire_call)(delivery.call_id)
    return answer or _gave_up()


def _record_and_release(token: str, request: WebhookRequest) -> Delivery:
    _refuse_to_wait_in_atomic(token)
    delivery = record_request(token, request)
    if delivery.call_id is not None:
        release_connections()
    return delivery


def _refuse_to_wait_in_atomic(token: str) -> None:
    if database.connection().in_atomic_block and (find_webhook(token).options or {}).get("respond_with") == MANUAL:
        raise InAtomicBlockError(
            "This webhook is answered by a step, which cannot see the request before transaction.atomic() has ended."
        )


def _gave_up() -> WebhookResponse:
    detail = "The request was received; no answer to it came in time."
    return WebhookResponse(504, {"code": "response_timeout", "detail": detail})


def release_connections() -> None:
    """Give back this thread's database connections before a long wait; those inside a transaction stay."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


__all__ = ["Delivery", "InvalidSignatureError", "aresume_webhook", "find_webhook", "record_request", "resume_webhook"]
