"""Recording requests for webhooks: each becomes an event of the run that owns the token."""

from __future__ import annotations

from dataclasses import dataclass

from .. import conf
from ..authoring.http import WebhookRequest, WebhookResponse
from ..authoring.signatures import Signature, verify
from ..exceptions import HookNotFoundError, RunNotFoundError
from ..models import Event, Hook
from ..serialization import dumps
from ..services import hooks
from ..store import locking
from ..store.limits import require_size
from ..store.transactions import TRIES, in_transaction
from ..store.write import write
from ..values import clock
from ..values.ids import new_id
from .calls import hold_call

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
