"""Settings of the tests. Nothing happens when they are imported: mypy's Django plugin does that, too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent


def _database(url: str) -> dict[str, Any]:
    """``postgresql://…``, ``sqlite`` (a file beside the project), ``sqlite:////path`` or ``sqlite://:memory:``."""
    if url.partition(":")[0] == "sqlite":
        name = url.removeprefix("sqlite").removeprefix("://")
        path = name if name == ":memory:" else Path(name.removeprefix("/") or BASE_DIR / "db.sqlite3")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            "OPTIONS": {
                # Without IMMEDIATE, a transaction that reads and then writes fails at once when another has written in between.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
            # The default, in memory, cannot be shared by threads: the busy timeout does not apply to it.
            "TEST": {} if isinstance(path, str) else {"NAME": path.with_name("test.sqlite3")},
        }
    parts = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", None) or "postgres",
        "USER": parts.pop("user", None) or "",
        "PASSWORD": parts.pop("password", None) or "",
        "HOST": parts.pop("host", None) or "",
        "PORT": parts.pop("port", None) or "",
        "OPTIONS": parts,
    }


DATABASES = {"default": _database(os.environ.get("DATABASE_URL", "postgresql://"))}
if _direct := os.environ.get("DIRECT_DATABASE_URL"):  # of workers whose DATABASE_URL leads through a pooler
    DATABASES["direct"] = _database(_direct)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_workflows",
    "tests.referrers",
    "tests.shop",
]
MIGRATION_MODULES = {"shop": None}  # tables straight from the models

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"

SECRET_KEY = "only for the tests"
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, and only here
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

DJANGO_WORKFLOWS: dict[str, Any] = {}
