"""Signatures of webhooks: Standard Webhooks, GitHub and Stripe. Pure: bytes, headers, secrets and the time go in.

Sources: the Standard Webhooks specification (headers ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``);
GitHub, "Validating webhook deliveries" (``X-Hub-Signature-256``); Stripe, "Verify webhook signatures manually"
(``Stripe-Signature``). All three are HMAC-SHA256 over the exact bytes of the body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..exceptions import WorkflowError

#: how far the sender's clock and the time under way may be apart; the schemes' own recommendation
TOLERANCE = timedelta(minutes=5)

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_PRINTABLE = re.compile(r"[!-~]{1,200}")
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that Standard Webhooks secrets carry, no secret itself


class InvalidSignatureError(WorkflowError):
    """The request's signature is missing, malformed, too old, or made with another secret. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How a webhook's requests are signed: ``create_webhook(verify=Signature("stripe", secret="shop"))``.

    ``scheme``: ``"standard"``, ``"github"`` or ``"stripe"``. ``secret``: a name in
    ``DJANGO_WORKFLOWS["WEBHOOK_SECRETS"]``; None: the scheme's own name. ``tolerance``: the age, in either direction,
    from which a timestamp is refused (GitHub sends none). The text ``"stripe"`` or ``"stripe:shop"`` says the same.
    """

    scheme: str
    secret: str | None = None
    tolerance: timedelta = TOLERANCE

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"No signature scheme is called {self.scheme!r}. There are: {', '.join(sorted(SCHEMES))}.")
        if self.secret is not None and not (isinstance(self.secret, str) and self.secret):  # type: ignore[redundant-expr]
            raise ValueError(
                f"secret is a name in DJANGO_WORKFLOWS['WEBHOOK_SECRETS'], not {type(self.secret).__name__}."
            )
        if self.tolerance <= timedelta(0):
            raise ValueError("tolerance is a timedelta longer than zero.")

    @property
    def secret_name(self) -> str:
        return self.secret or self.scheme

    @classmethod
    def parse(cls, given: Signature | str) -> Signature:
        """A signature from itself or from text: ``"stripe"``, ``"stripe:shop"``. Raises ``ValueError``."""
        if isinstance(given, Signature):
            return given
        if not isinstance(given, str):
            raise ValueError(f'verify is a Signature or text such as "stripe" or "stripe:shop", not {given!r}.')
        scheme, colon, secret = given.partition(":")
        return cls(scheme, secret if colon else None)

    def to_options(self) -> dict[str, Any]:
        """As plain values, to be kept with the hook."""
        return {"scheme": self.scheme, "secret": self.secret_name, "tolerance": self.tolerance.total_seconds()}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Signature:
        return cls(options["scheme"], options["secret"], timedelta(seconds=options["tolerance"]))


def verify(
    signature: Signature, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime
) -> str | None:
    """Check a request; several ``secrets`` may be valid at a time, while one is being replaced.

    ``headers`` is case-insensitive. Returns the id by which the sender marks repeated deliveries of one message, as
    1 to 200 printable ASCII characters, or None where it sends none.

    Raises:
        InvalidSignatureError: whatever is wrong; its text does not say with which secret.
    """
    secrets = [secret for secret in secrets if not is_empty(secret)]
    if not secrets:
        raise InvalidSignatureError("The request cannot be verified: no secret is configured for it.")
    delivery = SCHEMES[signature.scheme](signature, headers, body, secrets, now)
    return delivery if delivery is None else _short(delivery)


def is_empty(secret: str) -> bool:
    """Whether the secret is none: anyone could sign with the empty key, as an unset environment variable gives it."""
    return not secret.strip() or secret.strip() == _SECRET_PREFIX


def _short(delivery: str) -> str:
    """Foreign ids may be of any length and content; what would not fit a column is replaced by its hash."""
    if _PRINTABLE.fullmatch(delivery):
        return delivery
    return hashlib.sha256(delivery.encode("utf-8", "surrogatepass")).hexdigest()


# --- the schemes -----------------------------------------------------------------------------------------------------


def _verify_standard(
    signature: Signature, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime
) -> str:
    message = _header(headers, "webhook-id")
    timestamp = _header(headers, "webhook-timestamp")
    _check_age(timestamp, signature.tolerance, now)
    signed = b".".join((_bytes(message), _bytes(timestamp), body))
    parts = (part.partition(",") for part in _header(headers, "webhook-signature").split())
    given = [value for version, _, value in parts if version == "v1"]
    keys = [key for secret in secrets if (key := _decode_secret(secret)) is not None]
    _require_match(given, (base64.b64encode(_digest(key, signed)).decode() for key in keys))
    return message


def _verify_github(
    signature: Signature, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime
) -> str | None:
    algorithm, _, given = _header(headers, "x-hub-signature-256").partition("=")
    _require_match([given] if algorithm == "sha256" else [], (_digest(s.encode(), body).hex() for s in secrets))
    return headers.get("x-github-delivery") or None


def _verify_stripe(
    signature: Signature, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime
) -> str | None:
    pairs = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
    timestamps = [value for name, _, value in pairs if name == "t"]
    if len(timestamps) != 1:
        raise InvalidSignatureError("The header stripe-signature does not carry one timestamp.")
    _check_age(timestamps[0], signature.tolerance, now)
    signed = timestamps[0].encode() + b"." + body
    given = [value for name, _, value in pairs if name == "v1"]
    _require_match(given, (_digest(s.encode(), signed).hex() for s in secrets))
    return _event_id(body)


def _event_id(body: bytes) -> str | None:
    """Stripe's id of the event is in the signed body."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) and found else None


Scheme = Callable[[Signature, Mapping[str, str], bytes, Sequence[str], datetime], str | None]
SCHEMES: dict[str, Scheme] = {"standard": _verify_standard, "github": _verify_github, "stripe": _verify_stripe}


# --- what they share -------------------------------------------------------------------------------------------------


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise InvalidSignatureError(f"The header {name} is missing.")
    return value


def _bytes(text: str) -> bytes:
    """A header's value as it came: servers hand it over as Latin-1."""
    return text.encode("latin-1", "replace")


def _check_age(timestamp: str, tolerance: timedelta, now: datetime) -> None:
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidSignatureError("The timestamp is not a number of seconds.")
    if abs(now.timestamp() - int(timestamp)) > tolerance.total_seconds():
        raise InvalidSignatureError("The timestamp is too far from now: the request is old, or a clock is wrong.")


def _decode_secret(secret: str) -> bytes | None:
    """Standard Webhooks secrets are Base64, with or without ``whsec_``. One that is not decides nothing."""
    try:
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _require_match(given: Sequence[str], expected: Iterable[str]) -> None:
    """Compare everything with everything, so that the time taken says nothing about which one fitted."""
    matched = False
    candidates = [_bytes(value) for value in given]
    for wanted in expected:
        for value in candidates:
            matched |= hmac.compare_digest(value, wanted.encode())
    if not matched:
        raise InvalidSignatureError("The signature does not fit the request and the secrets that are valid here.")
