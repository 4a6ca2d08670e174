"""Hooks by their tokens: look one up, deliver a payload to it, free its token."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async

from ..eventlog.statuses import RunStatus
from ..exceptions import HookNotFoundError, PayloadTooLargeError, RunNotFoundError, SerializationError
from ..models import Event, Hook
from ..serialization import Encoded, dumps
from ..services import hooks
from ..store import committed, database, faults, locking
from ..store.limits import is_small, require_size, validate_payload
from ..store.transactions import TRIES, in_transaction
from ..store.transition import Transition
from ..store.write import write


def get_hook_by_token(token: str) -> Hook:
    """The active hook of this token.

    Raises:
        HookNotFoundError: it is unknown, disposed, or its run has ended.
    """
    hook = hooks.find_hook(token)
    if hook.run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
        raise HookNotFoundError("No active hook has this token; its run has ended.")
    return hook


def resume_hook(
    token: str, payload: Any = None, *, idempotency_key: str | None = None, caller: str | None = None
) -> Event:
    """Deliver a payload to the active hook of this token. Durable when it returns. Returns the event.

    A repeated ``idempotency_key`` (for the same hook) returns the first event and writes nothing.
    ``caller``: of whom the key is one of their own, for doors with many users; what another caller's key found is refused.

    Raises:
        HookNotFoundError: unknown, disposed or ended; nothing was written.
        EntityConflictError: another caller has used the key.
        HookPayloadError: the hook's serializer refuses the payload; the run keeps waiting.
        SerializationError, PayloadTooLargeError: the payload cannot be stored.
    """
    if idempotency_key is None and _may_be_one_statement():
        # what cannot be stored may still become something else in the hook's serializer
        with suppress(SerializationError, PayloadTooLargeError):
            encoded = require_size(dumps(payload))
            if is_small(encoded) and (event := _receive_at_once(token, encoded)) is not None:
                return event
    return _receive(token, payload, idempotency_key, caller)


def _may_be_one_statement() -> bool:
    """The statement says too little of the run for observers."""
    at_once = database.is_postgresql() and database.connection().get_autocommit()
    return at_once and not committed.is_wanted("hook_resumed")


def _receive_at_once(token: str, payload: Encoded) -> Event | None:
    """None: not a hook for the one statement, or another transaction was in its way, which is to be tried again."""
    try:
        return hooks.receive_at_once(token, payload)
    except faults.DATABASE_ERRORS as error:
        if not faults.classify(error).is_conflict:
            raise
    return None


@in_transaction
def _receive(token: str, payload: Any, idempotency_key: str | None, caller: str | None) -> Event:
    for _ in range(TRIES):
        hook = hooks.find_hook(token)
        encoded = require_size(dumps(validate_payload(hook, payload)))
        transition = _lock_owner(hook)
        try:
            event = hooks.receive_hook(transition, token, encoded, idempotency_key=idempotency_key, caller=caller)
        except HookNotFoundError:
            continue  # the token changed owners between look-up and lock
        write([transition])
        return event
    raise HookNotFoundError("No active hook has this token; it is unknown, disposed, or its run has ended.")


def _lock_owner(hook: Hook) -> Transition:
    try:
        return locking.lock_run(hook.run_id)
    except RunNotFoundError:
        raise HookNotFoundError("No active hook has this token; its run has been pruned.") from None


@in_transaction
def dispose_hook(token: str) -> None:
    """Free a token from outside: the hook takes no more payloads, and the body sees its end.

    Raises:
        HookNotFoundError: unknown, disposed or ended.
    """
    transition = _lock_owner(hooks.find_hook(token))
    hooks.dispose_by_token(transition, token)
    write([transition])


aget_hook_by_token = sync_to_async(get_hook_by_token)
aresume_hook = sync_to_async(resume_hook)
adispose_hook = sync_to_async(dispose_hook)
