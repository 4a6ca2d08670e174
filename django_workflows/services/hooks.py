"""The life of a hook: a token won or lost, payloads received while it is active, disposed once.

Tokens are held by a partial unique constraint. These verbs write their rows at once, in the order of the body's
decisions, because who owns a token decides which event is recorded.
"""

from __future__ import annotations

from typing import Any

from .. import conf
from ..eventlog import events
from ..eventlog.events import Record
from ..eventlog.statuses import TERMINAL_RUN
from ..exceptions import HookNotFoundError
from ..models import Event as EventModel
from ..models import Hook
from ..serialization import Encoded
from ..serialization.encryption import encrypt
from ..store import database
from ..store.event_log import append
from ..store.limits import MEASURED_EVERY, require_room
from ..store.rows import HookRow
from ..store.transition import Transition
from ..values.ids import hook_id
from .idempotency import require_key_of


def create_hook(
    transition: Transition,
    correlation_id: str,
    token: str,
    *,
    is_webhook: bool,
    metadata: Encoded,
    options: Encoded,
) -> None:
    """Win the token and record ``hook_created``, or record ``hook_conflict`` with the id of the run that owns it.

    The event takes its time after the token was won or lost, since winning it may mean to wait for another transaction.
    """
    run = transition.run
    hook = HookRow(hook_id(), run.id, correlation_id, token, is_webhook, transition.now, None)
    while not _win_token(hook, metadata, options):
        owner = _find_owner(hook)
        if owner is None:
            continue  # given up between the two statements: try again
        transition.now = max(transition.now, database.now())
        append(transition, events.HookConflict(token, owner), correlation_id)
        return
    transition.now = max(transition.now, database.now())
    transition.entities.hooks[correlation_id] = hook
    append(transition, events.HookCreated(token, is_webhook, metadata), correlation_id)


def _win_token(hook: HookRow, metadata: Encoded, options: Encoded) -> bool:
    """Insert the row unless the token has an active owner. Waits for a transaction that is about to decide that."""
    rows = Hook.objects.bulk_create(
        [
            Hook(
                id=hook.id,
                run_id=hook.run_id,
                correlation_id=hook.correlation_id,
                token=hook.token,
                is_webhook=hook.is_webhook,
                metadata=metadata,
                options=None if options == "{}" else options,
                created_at=hook.created_at,
            )
        ],
        ignore_conflicts=True,
    )
    return Hook.objects.filter(pk=rows[0].pk).exists()


def _find_owner(hook: HookRow) -> str | None:
    """Who holds the token. Rows that a partial restore or an older version left behind are cleared on the way."""
    hooks = Hook.objects
    own = hooks.filter(run_id=hook.run_id, correlation_id=hook.correlation_id)
    if own.exists():  # a row without its event, since the event is what we are about to record
        own.delete()
        return None
    holder = hooks.active().filter(token=hook.token).select_related("run").first()
    if holder is None:
        return None
    if holder.run.status in TERMINAL_RUN:  # an ended run owns nothing
        hooks.filter(pk=holder.pk).update(disposed_at=hook.created_at)
        return None
    return str(holder.run_id)


def receive_hook(
    transition: Transition,
    token: str,
    payload: Encoded,
    *,
    idempotency_key: str | None = None,
    caller: str | None = None,
) -> EventModel:
    """Record a payload for the active hook of this token. A repeated ``idempotency_key`` gives the first event.

    ``caller``: to whom the key belongs; None: to the project's own code, which may use every key.

    Raises:
        PayloadTooLargeError: the run's log has no room for it.
        EntityConflictError: the key was used by another caller.
        HookNotFoundError: under the run's lock, the token no longer names an active hook of an active run.
    """
    run = transition.run
    hook = Hook.objects.active().filter(token=token, run_id=run.id).first()
    if hook is None or run.ended:
        raise HookNotFoundError(f"No active hook has this token; it was disposed or run {run.id} has ended.")
    if idempotency_key is not None:
        first = _events(run.id).filter(correlation_id=hook.correlation_id, idempotency_key=idempotency_key).first()
        if first is not None:
            require_key_of(caller, first)
            found: EventModel = first
            return found
    require_room(run.id, run.last_sequence, payload)
    record = append(
        transition,
        _received(payload, idempotency_key, caller),
        hook.correlation_id,
        idempotency_key=idempotency_key,
    )
    run.wake_at = transition.now
    transition.wake.add(run.id)
    return _event(run.id, record, idempotency_key)


def _received(payload: Encoded, idempotency_key: str | None, caller: str | None = None) -> events.HookReceived:
    return events.HookReceived(payload, idempotency_key, None if idempotency_key is None else caller)


#: The run is locked first and then its hook, as everywhere. Both are looked at again once their locks are ours, so that the
#: token may change hands while this waits.
_RECEIVE = """
WITH locked AS MATERIALIZED (
    SELECT r.id, h.correlation_id FROM django_workflows_run r JOIN django_workflows_hook h ON h.run_id = r.id
    WHERE h.token = %s AND h.disposed_at IS NULL AND h.options IS NULL AND r.status IN ('pending', 'running')
        AND MOD(r.last_sequence, {measured_every}) <> 0
    FOR NO KEY UPDATE OF r FOR SHARE OF h
), run AS (
    UPDATE django_workflows_run r SET last_sequence = r.last_sequence + 1,
        last_event_at = GREATEST(r.last_event_at, mine.now), wake_at = GREATEST(r.last_event_at, mine.now)
    FROM (SELECT id, correlation_id, {now} AS now FROM locked) mine WHERE r.id = mine.id
    RETURNING r.id, r.last_sequence, r.last_event_at, r.life, mine.correlation_id
)
INSERT INTO django_workflows_event (run_id, sequence, type, correlation_id, data, life, created_at)
SELECT id, last_sequence, '{type}', correlation_id, %s, life, last_event_at FROM run
RETURNING run_id, sequence, correlation_id, created_at{notify}
"""


def receive_at_once(token: str, payload: Encoded) -> EventModel | None:
    """:func:`receive_hook` as one statement, for a small payload and a hook without options, on PostgreSQL.

    None: there is no such hook, or it has options, or the run's log has to be measured.
    """
    data = _received(payload, None).encode()
    notice = f", pg_notify('{database.WORK}', run_id)" if conf.settings.LISTEN else ""
    text = _RECEIVE.format(
        now=database.sql_now(), type=events.HookReceived.type, notify=notice, measured_every=MEASURED_EVERY
    )
    for run_id, sequence, correlation_id, created_at, *_ in database.execute(text, [token, encrypt(data)]):
        record = Record(sequence, events.HookReceived.type, correlation_id, data, database.aware(created_at))
        return _event(run_id, record, None)
    return None


def _event(run_id: str, record: Record, idempotency_key: str | None) -> EventModel:
    return EventModel(
        run_id=run_id,
        sequence=record.sequence,
        type=record.type,
        correlation_id=record.correlation_id,
        data=record.data,
        idempotency_key=idempotency_key,
        created_at=record.created_at,
    )


def _events(run_id: str) -> Any:
    return EventModel.objects.filter(run_id=run_id)


def dispose_hook(transition: Transition, correlation_id: str) -> bool:
    """The hook takes no more payloads and its token is free. False: it was disposed before, or lost its conflict."""
    hook = transition.entities.hooks.pop(correlation_id, None)
    if hook is None:
        return False
    _dispose(transition, [hook])
    _record_disposal(transition, correlation_id)
    return True


def dispose_by_token(transition: Transition, token: str) -> None:
    """A person frees the token. For the body that is an arrival: its hook ends as if it had been disposed."""
    hook = Hook.objects.active().filter(token=token, run_id=transition.run.id).first()
    if hook is None or transition.run.ended:
        raise HookNotFoundError("No active hook has this token; it was disposed, or its run has ended.")
    Hook.objects.filter(pk=hook.pk).update(disposed_at=transition.now)
    _record_disposal(transition, hook.correlation_id, outside=True)
    transition.run.wake_at = transition.now
    transition.wake.add(transition.run.id)


def _record_disposal(transition: Transition, correlation_id: str, *, outside: bool | None = None) -> None:
    append(transition, events.HookDisposed(outside), correlation_id)


def drop_hooks(transition: Transition) -> None:
    """The run has ended; the terminal event implies that its hooks are disposed."""
    if transition.entities.hooks:
        _dispose(transition, list(transition.entities.hooks.values()))
        transition.entities.hooks.clear()


def _dispose(transition: Transition, hooks: list[HookRow]) -> None:
    for hook in hooks:
        hook.disposed_at = transition.now
    Hook.objects.filter(pk__in=[hook.id for hook in hooks]).update(disposed_at=transition.now)


def find_hook(token: str) -> Hook:
    """The active hook of this token: a hint, read again under its run's lock.

    Raises:
        HookNotFoundError: no active hook has this token.
    """
    hook = Hook.objects.active().filter(token=token).first()
    if hook is None:
        raise HookNotFoundError("No active hook has this token; it is unknown, disposed, or its run has ended.")
    return hook
