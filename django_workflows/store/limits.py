"""What may be stored: sizes, and payloads that a hook's serializer has to accept."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string

from .. import conf
from ..exceptions import HookPayloadError, PayloadTooLargeError
from ..models import Hook
from ..serialization import Encoded


def require_size(text: Encoded) -> Encoded:
    """The text itself, unless it is too large (PayloadTooLargeError). Encoded text is ASCII: characters are bytes."""
    limit = conf.settings.MAX_PAYLOAD_BYTES
    if len(text) > limit:
        raise PayloadTooLargeError(len(text), limit)
    return text


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
