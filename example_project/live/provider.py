"""A fake payment provider: it calls back over HTTP and signs its requests as Standard Webhooks requires."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.request

from django.conf import settings

from django_workflows import get_step_metadata


def sign(message: str, timestamp: int, body: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def ask(callback: str, amount: str) -> None:
    """Call back twice, as providers do when in doubt: the workflow gets one request."""
    body = json.dumps({"amount": amount}).encode()
    message, now = get_step_metadata().step_id, int(time.time())
    headers = {
        "Content-Type": "application/json",
        "Webhook-Id": message,
        "Webhook-Timestamp": str(now),
        "Webhook-Signature": sign(message, now, body, settings.DJANGO_WORKFLOWS["WEBHOOK_SECRETS"]["payments"]),
    }
    for _ in range(2):
        with urllib.request.urlopen(urllib.request.Request(callback, body, headers), timeout=10) as answer:
            assert answer.status == 202
