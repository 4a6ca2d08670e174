"""What may be stored: sizes, and payloads that a hook's serializer has to accept."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum
from django.utils.module_loading import import_string

from .. import conf
from ..exceptions import HookPayloadError, PayloadTooLargeError
from ..models import Event, Hook
from ..serialization import Encoded
from ..serialization.columns import stored_bytes

MEASURED_EVERY = 64
_SHARE = 64 * MEASURED_EVERY


def require_size(text: Encoded) -> Encoded:
    """The text itself, unless it is too large (PayloadTooLargeError). Encoded text is ASCII: characters are bytes."""
    limit = conf.settings.MAX_PAYLOAD_BYTES
    if len(text) > limit:
        raise PayloadTooLargeError(len(text), limit)
    return text


def is_small(payload: Encoded) -> bool:
    """Whether so many payloads of this size fit into a run that its room need only be looked at once in a while."""
    return len(payload) * _SHARE < int(conf.settings.MAX_RUN_BYTES)


def require_room(run_id: str, last_sequence: int, payload: Encoded) -> None:
    """Raises PayloadTooLargeError where the run's log has no room for what comes from outside.

    The log is measured when the payload is large, and at each ``MEASURED_EVERY``-th event: adding it up each time
    would make every delivery as slow as the log is long. So a run may exceed the limit by 1/64 of it.
    """
    if is_small(payload) and last_sequence % MEASURED_EVERY:
        return
    limit = conf.settings.MAX_RUN_BYTES
    stored = Event.objects.filter(run_id=run_id).aggregate(total=Sum(stored_bytes("data")))["total"] or 0
    if stored + len(payload) > limit:
        raise PayloadTooLargeError(stored + len(payload), limit, "MAX_RUN_BYTES")


def validate_payload(hook: Hook, payload: Any) -> Any:
    """The payload as the hook's serializer validated it; as it is where the hook has none.

    Raises:
        HookPayloadError: the serializer refuses it.
    """
    path = (hook.options or {}).get("schema")
    if not path:
        return payload
    serializer = import_string(path)(data=payload)
    if not serializer.is_valid():
        raise HookPayloadError(serializer.errors)
    return _plain(serializer.validated_data)


def _plain(value: Any) -> Any:
    """``validated_data`` without DRF's ordered containers."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
