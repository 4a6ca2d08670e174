"""Encryption of payloads at rest: what lies between encoded text and the database.

With ``ENCRYPTION_KEYS`` set, payload columns hold ``enc:1:<Fernet token>``; text written before is still read. The first
key encrypts, all of them decrypt, so a key is rotated by putting a new one in front.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .. import conf

PREFIX = "enc:1:"
_cipher: Any = None
_read = False


def _fernet() -> Any:
    global _cipher, _read
    if not _read:
        keys = conf.settings.ENCRYPTION_KEYS
        if keys:
            try:
                from cryptography.fernet import Fernet, MultiFernet
            except ImportError:
                raise ImproperlyConfigured(
                    "DJANGO_WORKFLOWS['ENCRYPTION_KEYS'] needs the package `cryptography`: "
                    "install django-durable-workflows[encryption]."
                ) from None
            _cipher = MultiFernet([Fernet(key) for key in keys])
        else:
            _cipher = None
        _read = True
    return _cipher


def encrypt(text: str) -> str:
    """Encoded text as it goes into a column: encrypted with the first key, or as it is where there are no keys.

    Text that :func:`decrypt_or_sealed` has left sealed goes back as it came.

    Raises ``ImproperlyConfigured`` where the package ``cryptography`` is missing.
    """
    cipher = _cipher if _read else _fernet()
    return text if cipher is None or is_sealed(text) else PREFIX + cipher.encrypt(text.encode()).decode("ascii")


def decrypt(text: str) -> str:
    """A column's text as encoded JSON.

    Raises ``ImproperlyConfigured`` where there are no keys, ``cryptography.fernet.InvalidToken`` where none fits.
    """
    if not is_sealed(text):
        return text
    cipher = _fernet()
    if cipher is None:
        raise ImproperlyConfigured("The database holds encrypted payloads: set DJANGO_WORKFLOWS['ENCRYPTION_KEYS'].")
    return str(cipher.decrypt(text[len(PREFIX) :].encode()).decode())


def decrypt_or_sealed(text: str) -> str:
    """A column's text as encoded JSON; or as it is stored, where it cannot be decrypted here.

    For rows that are locked to be changed elsewhere: a payload that nobody reads must not keep a run from being parked,
    rescued or ended.
    """
    if not is_sealed(text):
        return text
    try:
        return decrypt(text)
    except Exception:  # noqa: BLE001 - no key, none that fits, no package: whoever reads the payload says which
        return text


def is_sealed(text: str) -> bool:
    """Whether this is a ciphertext. No JSON begins like it."""
    return text.startswith(PREFIX)


def _changed(*, setting: str, **_: Any) -> None:
    global _read
    if setting == conf.NAME:
        _read = False


setting_changed.connect(_changed, dispatch_uid="django_workflows.serialization.encryption")
