"""The settings: one dict ``DJANGO_WORKFLOWS``, read live, with a default and a type for each key.

Durations are given in seconds (int or float) or as ``timedelta``; the attributes below always hold seconds (float).
``checks.py`` reports unknown keys and wrong types; reading a malformed setting raises ``ImproperlyConfigured``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .values import durations

NAME = "DJANGO_WORKFLOWS"


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError("takes seconds (a number >= 0) or a timedelta")
    return min(float(value), durations.LONGEST.total_seconds())


def _optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("takes a string")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("takes a whole number >= 1")
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise ValueError("takes a list of strings")
    return list(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("takes True or False")
    return value


def _secrets(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, Mapping):
        raise ValueError("takes a dict: name -> secret, or list of secrets (newest first)")
    return {_text(k): [_text(v)] if isinstance(v, str) else _texts(v) for k, v in value.items()}


@dataclass(frozen=True, slots=True)
class Setting:
    default: Any
    convert: Callable[[Any], Any]
    help: str


SETTINGS: dict[str, Setting] = {
    "DATABASE": Setting("default", _text, "alias of the database that holds the workflow tables"),
    "LISTEN_DATABASE": Setting(
        None, _optional(_text), "alias with a direct address, where DATABASE goes through a pooler"
    ),
    "LISTEN": Setting(True, _flag, "use LISTEN/NOTIFY to shorten waits (PostgreSQL only)"),
    "BASE_URL": Setting("", _text, "scheme and host of the site, for webhook URLs: https://shop.example"),
    "DEFAULT_QUEUE": Setting("default", _text, "queue of workflows that name none"),
    "CONCURRENCY": Setting(16, _count, "steps that one worker process runs at a time"),
    "POLL_INTERVAL": Setting(1.0, _seconds, "seconds between looks at the database when nothing rings"),
    "HEARTBEAT_INTERVAL": Setting(5.0, _seconds, "seconds between a worker's signs of life"),
    "HEARTBEAT_TIMEOUT": Setting(30.0, _seconds, "seconds without a sign of life after which a worker counts as dead"),
    "HANG_TIMEOUT": Setting(30.0, _seconds, "seconds that one body may compute before its worker process is replaced"),
    "MAX_CRASHES": Setting(3, _count, "worker processes that a body may take down before its run is parked"),
    "CACHE_SIZE": Setting(2000, _count, "suspended bodies that a worker process keeps in memory"),
    "CANCEL_GRACE": Setting(300.0, _seconds, "seconds that a cancelled or timed-out body has for its cleanup"),
    "MAX_LOSSES": Setting(10, _count, "vanished workers after which a step fails"),
    "MAX_EVENTS_PER_RUN": Setting(100_000, _count, "events in a log before the run fails"),
    "MAX_PAYLOAD_BYTES": Setting(16 * 1024 * 1024, _count, "bytes of one encoded value"),
    "MAX_RUN_BYTES": Setting(
        256 * 1024 * 1024, _count, "bytes of a log beyond which payloads from outside are refused"
    ),
    "WEBHOOK_RESPONSE_TIMEOUT": Setting(30.0, _seconds, "seconds that a caller is held for a manual response"),
    "WEBHOOK_MAX_HELD": Setting(
        None, _optional(_count), "callers held for manual responses by one WSGI process; more get 503; None: no limit"
    ),
    "WEBHOOK_SECRETS": Setting({}, _secrets, "name -> secret(s) for create_webhook(verify=...)"),
    "RETENTION": Setting(90 * 86400.0, _optional(_seconds), "seconds that ended runs are kept; None: indefinitely"),
    "ENCRYPTION_KEYS": Setting([], _texts, "Fernet keys, newest first, that encrypt payloads at rest"),
    "CODE_VERSION": Setting(None, _optional(_text), "name of the deployed code; None: a hash of the workflow modules"),
    "MIDDLEWARE": Setting([], _texts, "dotted paths of Middleware classes, outermost first"),
    "API_PERMISSION_CLASSES": Setting([], _texts, "dotted paths of DRF permission classes for the REST API"),
}


class Settings:
    """Attribute access to the settings in force: ``conf.settings.POLL_INTERVAL``. Cached until a setting changes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in SETTINGS:
            raise AttributeError(name)
        given = getattr(django_settings, NAME, None) or {}
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured(f"{NAME} must be a dict, not {type(given).__name__}.")
        setting = SETTINGS[name]
        try:
            value = setting.convert(given.get(name, setting.default))
        except ValueError as error:
            raise ImproperlyConfigured(f"{NAME}[{name!r}] {error}, not {given[name]!r}.") from None
        self.__dict__[name] = value
        return value

    def forget(self) -> None:
        self.__dict__.clear()


settings = Settings()


def problems() -> list[tuple[str, str]]:
    """What is wrong with the dict: (key, sentence) pairs. Used by the system checks."""
    given = getattr(django_settings, NAME, None) or {}
    if not isinstance(given, Mapping):
        return [("", f"{NAME} must be a dict, not {type(given).__name__}.")]
    found = []
    for key, value in given.items():
        if key not in SETTINGS:
            found.append((str(key), f"{NAME} has no setting {key!r}."))
            continue
        try:
            SETTINGS[key].convert(value)
        except ValueError as error:
            found.append((key, f"{NAME}[{key!r}] {error}, not {value!r}."))
    return found


def _changed(*, setting: str, **_: Any) -> None:
    if setting == NAME:
        settings.forget()


setting_changed.connect(_changed, dispatch_uid="django_workflows.conf")
