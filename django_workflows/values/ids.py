"""Names for runs, steps, hooks, waits and workers, and the secrets that hooks are reached by.

An id is a prefix and a ULID, ``wrun_01H…``: its time part lets people sort by age. Nothing in the library orders by it.
"""

from __future__ import annotations

import os
import re
import secrets

from ulid import ULID

from . import clock

#: what :func:`new_token` makes
_GENERATED = re.compile(r"[A-Za-z0-9_-]{32}")
_TOKEN = re.compile(r"[A-Za-z0-9._~:@+=,-]{1,255}")


def new_id(prefix: str) -> str:
    """``"<prefix>_<ULID>"``, 26 characters after the underscore.

    80 fresh random bits each time: ULID's own generator counts up from the last id within a millisecond, so two
    processes forked from one would make the same ids.
    """
    return f"{prefix}_{new_ulid()}"


def new_ulid() -> str:
    """26 characters: the time to the millisecond, and 80 random bits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    return str(ULID.from_bytes(milliseconds.to_bytes(6, "big") + os.urandom(10)))


def run_id() -> str:
    """A new run's id."""
    return new_id("wrun")


def step_id() -> str:
    """A new step's id."""
    return new_id("step")


def hook_id() -> str:
    """A new hook's id."""
    return new_id("hook")


def wait_id() -> str:
    """A new wait's id."""
    return new_id("wait")


def worker_id() -> str:
    """A new worker's id."""
    return new_id("wrkr")


def new_token() -> str:
    """A hook token that cannot be guessed: 192 bits as 32 URL-safe characters."""
    return secrets.token_urlsafe(24)


def is_secret(token: str, is_webhook: bool) -> bool:
    """Whether knowing the token is enough to resume the hook: a webhook's, or one that was generated and not chosen."""
    return is_webhook or _GENERATED.fullmatch(token) is not None


def validate_token(token: str) -> str:
    """``token`` itself. Raises ``ValueError`` if it would not fit into a URL path as it is."""
    if not isinstance(token, str):
        raise ValueError(f"A hook token is a string, not {type(token).__name__}: use token=str(...).")
    if _TOKEN.fullmatch(token):
        return token
    advice = "Use 1 to 255 of the characters A-Z a-z 0-9 . _ ~ : @ + = , -"
    if not token:
        raise ValueError(f"The hook token is empty. {advice}, or None to have a secret one made.")
    if len(token) > 255:
        raise ValueError(f"The hook token has {len(token)} characters. {advice}, for example a hash of it.")
    wrong = sorted(set(re.sub(_TOKEN.pattern.replace("{1,255}", ""), "", token)))
    raise ValueError(f"The hook token {token!r} contains {', '.join(map(repr, wrong[:5]))}. {advice}.")
