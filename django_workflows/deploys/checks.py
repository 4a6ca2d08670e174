"""System checks: what can be seen to be wrong before anything runs. ``docs/reference/checks.md`` lists the ids."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from .. import conf, middleware
from ..authoring import primitives, registry
from ..authoring.signatures import is_empty
from ..schedules.declared import declarations
from ..schedules.rows import default_zone
from ..store.webhook_url import is_included
from .references import mentions

TAG = "django_workflows"

SQLITE_OPTIONS = """"OPTIONS": {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}"""
#: ports and host names under which transaction poolers are usually found
_POOLER_PORTS = frozenset({"6432", "6543"})
_POOLER_HOSTS = ("pgbouncer", "pgcat", "-pooler.", "pooler.supabase")
#: connections that one worker process needs beside those of its steps: advancing, main thread
_OWN_CONNECTIONS = 2


def _id(name: str) -> str:
    return f"{TAG}.{name}"


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    """E001: an unknown key or a wrong type in ``DJANGO_WORKFLOWS``."""
    hint = "Known settings: " + ", ".join(sorted(conf.SETTINGS)) + "."
    return [Error(sentence, hint=hint, id=_id("E001")) for _, sentence in conf.problems()]


def _readable(name: str) -> bool:
    """Whether the setting can be read; what is wrong with it is E001's business."""
    try:
        getattr(conf.settings, name)
    except ImproperlyConfigured:
        return False
    return True


@register(TAG)
def check_aliases(**_: Any) -> Iterator[CheckMessage]:
    """E002: ``DATABASE`` or ``LISTEN_DATABASE`` names no database of the project."""
    for name in ("DATABASE", "LISTEN_DATABASE"):
        if not _readable(name):
            continue
        alias = getattr(conf.settings, name)
        if alias is not None and alias not in django_settings.DATABASES:
            known = ", ".join(repr(key) for key in django_settings.DATABASES)
            yield Error(
                f"{conf.NAME}[{name!r}] is {alias!r}, and DATABASES has no such alias.",
                hint=f"Use one of {known}.",
                id=_id("E002"),
            )


@register(TAG)
def check_atomic_steps(**_: Any) -> Iterator[CheckMessage]:
    """E003: an ``atomic`` step on another database than the one that records its completion."""
    if not _readable("DATABASE"):
        return
    alias = conf.settings.DATABASE
    for name in registry.step_names():
        step = registry.find_step(name)
        if step is None or step.using in (None, alias):
            continue
        yield Error(
            f"Step {name} ({step.place}) is atomic on {step.using!r}; its completion is recorded on {alias!r}.",
            hint="Two databases cannot commit together. Drop atomic=True and make the step safe to run twice, or use "
            f"{alias!r} for both.",
            id=_id("E003"),
        )


@register(TAG)
def check_encryption(**_: Any) -> list[CheckMessage]:
    """E004: ``ENCRYPTION_KEYS`` cannot be used."""
    if not _readable("ENCRYPTION_KEYS") or not conf.settings.ENCRYPTION_KEYS:
        return []
    from ..serialization.encryption import encrypt

    try:
        encrypt("")
    except (ImproperlyConfigured, ValueError) as error:
        hint = "A key is what cryptography.fernet.Fernet.generate_key() returns, decoded."
        return [Error(f"{conf.NAME}['ENCRYPTION_KEYS'] cannot be used: {error}", hint=hint, id=_id("E004"))]
    return []


@register(TAG)
def check_middleware(**_: Any) -> list[CheckMessage]:
    """E009: an entry of ``MIDDLEWARE`` cannot be used."""
    if not _readable("MIDDLEWARE"):
        return []
    try:
        middleware.installed()
    except ImproperlyConfigured as error:
        hint = "It takes dotted paths of classes that derive from django_workflows.middleware.Middleware."
        return [Error(str(error), hint=hint, id=_id("E009"))]
    return []


@register(TAG)
def check_secrets(**_: Any) -> Iterator[CheckMessage]:
    """E006: a secret in ``WEBHOOK_SECRETS`` is empty, as an environment variable that is not set gives it."""
    if not _readable("WEBHOOK_SECRETS"):
        return
    for name, secrets in conf.settings.WEBHOOK_SECRETS.items():
        if not secrets or any(map(is_empty, secrets)):
            yield Error(
                f"{conf.NAME}['WEBHOOK_SECRETS'][{name!r}] is empty: it verifies nothing, and requests are refused.",
                hint="Read it from the environment so that a missing variable fails: os.environ['STRIPE_SECRET'].",
                id=_id("E006"),
            )


@register(TAG)
def check_schedules(**_: Any) -> Iterator[CheckMessage]:
    """E007: a declared schedule cannot be kept. E008: two schedules of the code have one name."""
    seen: dict[str, str] = {}
    for name, workflow, spec in declarations():
        for problem in spec.problems(workflow, default_zone()):
            yield Error(
                f"The schedule {name} ({workflow.place}) cannot be kept: {problem}",
                hint="No worker writes it to the database until this is mended.",
                id=_id("E007"),
            )
        if name in seen:
            yield Error(
                f"Two schedules are called {name}: one in {seen[name]}, one in {workflow.place}.",
                hint="Give one of them a name of its own: cron(..., name='evening').",
                id=_id("E008"),
            )
        seen[name] = workflow.place


@register(TAG)
def check_heartbeat(**_: Any) -> list[CheckMessage]:
    """E005: a live worker would be taken for dead between two of its heartbeats."""
    if not (_readable("HEARTBEAT_INTERVAL") and _readable("HEARTBEAT_TIMEOUT")):
        return []
    interval, timeout = conf.settings.HEARTBEAT_INTERVAL, conf.settings.HEARTBEAT_TIMEOUT
    if timeout >= 2 * interval:
        return []
    return [
        Error(
            f"HEARTBEAT_TIMEOUT is {timeout:g} s with a HEARTBEAT_INTERVAL of {interval:g} s.",
            hint="Live workers would be taken for dead and their steps run again. Make the timeout several intervals.",
            id=_id("E005"),
        )
    ]


@register(TAG)
def check_sqlite(**_: Any) -> list[CheckMessage]:
    """W001: SQLite without WAL and IMMEDIATE transactions."""
    options = _database().get("OPTIONS") or {}
    if "sqlite" not in _database().get("ENGINE", ""):
        return []
    immediate = str(options.get("transaction_mode") or "").upper() in ("IMMEDIATE", "EXCLUSIVE")
    wal = "wal" in str(options.get("init_command") or "").lower().replace(" ", "").partition("journal_mode=")[2][:3]
    if immediate and wal:
        return []
    missing = " and ".join(what for what, there in (("WAL", wal), ("IMMEDIATE transactions", immediate)) if not there)
    return [
        CheckWarning(
            f"The SQLite database of the workflows is used without {missing}: "
            "under load, transactions fail with 'database is locked'.",
            hint=f"Put this into DATABASES[{conf.settings.DATABASE!r}]:\n{SQLITE_OPTIONS}",
            id=_id("W001"),
        )
    ]


def _database() -> dict[str, Any]:
    """The settings of the database that holds the tables; {} where its alias is wrong."""
    if not _readable("DATABASE"):
        return {}
    found: dict[str, Any] = django_settings.DATABASES.get(conf.settings.DATABASE, {})
    return found


@register(TAG)
def check_base_url(**_: Any) -> list[CheckMessage]:
    """W002: webhooks are created and ``BASE_URL`` is not set, so that their URLs have no host."""
    if not _readable("BASE_URL") or conf.settings.BASE_URL:
        return []
    users = [module.__name__ for module in _workflow_modules() if _creates_webhooks(module)]
    if not users:
        return []
    return [
        CheckWarning(
            f"{', '.join(users)} creates webhooks, and {conf.NAME}['BASE_URL'] is not set: their URLs have no host.",
            hint=f"{conf.NAME} = {{'BASE_URL': 'https://shop.example'}}: how the site is reached from outside.",
            id=_id("W002"),
        )
    ]


@register(TAG)
def check_urls(**_: Any) -> list[CheckMessage]:
    """W006: webhooks are created and their URLs are not included, so that what they hand out is a 404."""
    users = [module.__name__ for module in _workflow_modules() if _creates_webhooks(module)]
    if not users or is_included():
        return []
    return [
        CheckWarning(
            f"{', '.join(users)} creates webhooks, and the project does not include their URLs: a request to one is a 404.",
            hint="urlpatterns = [path('workflows/', include('django_workflows.urls.webhooks'))], or "
            "'django_workflows.urls' for the API, too.",
            id=_id("W006"),
        )
    ]


def _workflow_modules() -> list[ModuleType]:
    found = [registry.find_workflow(name) for name in registry.workflow_names()]
    names = {workflow.fn.__module__ for workflow in found if workflow is not None}
    return [sys.modules[name] for name in sorted(names) if name in sys.modules]


def _creates_webhooks(module: ModuleType) -> bool:
    """Whether a function or a method of this module names ``create_webhook``."""
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    methods = [member for value in own if isinstance(value, type) for member in vars(value).values()]
    functions = [
        fn for fn in (getattr(value, "fn", value) for value in (*own, *methods)) if isinstance(fn, FunctionType)
    ]
    return any(mentions(fn, primitives.create_webhook) for fn in functions)


@register(TAG)
def check_pooler(**_: Any) -> list[CheckMessage]:
    """W003: the database seems to be reached through a transaction pooler, where LISTEN hears nothing."""
    database = _database()
    if "postgresql" not in database.get("ENGINE", "") or not (_readable("LISTEN") and _readable("LISTEN_DATABASE")):
        return []
    if not conf.settings.LISTEN or conf.settings.LISTEN_DATABASE:
        return []
    host, port = str(database.get("HOST") or ""), str(database.get("PORT") or "")
    if port not in _POOLER_PORTS and not any(part in host for part in _POOLER_HOSTS):
        return []
    return [
        CheckWarning(
            f"The workflows' database looks like a connection pooler ({host}:{port}). Behind a transaction pooler "
            "LISTEN hears nothing, without an error, and a dead worker shows only by its silence.",
            hint=f"Set {conf.NAME}['LISTEN_DATABASE'] to an alias with PostgreSQL's own address, or 'LISTEN' to False.",
            id=_id("W003"),
        )
    ]


@register(TAG)
def check_pool(**_: Any) -> list[CheckMessage]:
    """W004: Django's connection pool has fewer connections than one worker process uses."""
    pool = (_database().get("OPTIONS") or {}).get("pool")
    if not pool or not _readable("CONCURRENCY"):
        return []
    size = (pool.get("max_size") or pool.get("min_size") or 4) if isinstance(pool, dict) else 4
    needed = conf.settings.CONCURRENCY + _OWN_CONNECTIONS
    if size >= needed:
        return []
    return [
        CheckWarning(
            f"The pool holds {size} connections; with CONCURRENCY {conf.settings.CONCURRENCY} a worker process "
            f"may use {needed}, and its steps would wait for each other.",
            hint=f"Set OPTIONS['pool']['max_size'] to {needed} or more, or CONCURRENCY (or --concurrency) lower.",
            id=_id("W004"),
        )
    ]


@register(TAG)
def check_rest_framework(**_: Any) -> list[CheckMessage]:
    """W005: ``rest_framework`` is not installed, so that the browsable API has no templates."""
    if apps.is_installed("rest_framework"):
        return []
    return [
        CheckWarning(
            "'rest_framework' is not in INSTALLED_APPS: pages of the REST API opened in a browser fail.",
            hint="Add 'rest_framework' to INSTALLED_APPS, or silence this check where the API's URLs are not included.",
            id=_id("W005"),
        )
    ]
