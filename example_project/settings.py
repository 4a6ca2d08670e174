"""A small shop. SQLite beside this file, or the PostgreSQL of `DATABASE_URL`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent


def _database(url: str) -> dict[str, Any]:
    if not url or url.startswith("sqlite"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite").removeprefix(":///") or BASE_DIR / "db.sqlite3",
            # WAL lets readers continue while one connection writes. IMMEDIATE takes the write lock at the start of a transaction:
            # without it, a transaction that reads and then writes fails when another has written in between.
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    settings = {name: parts.pop(key, None) or "" for name, key in names.items()}
    return {"ENGINE": "django.db.backends.postgresql", **settings, "OPTIONS": parts}


DATABASES = {"default": _database(os.environ.get("DATABASE_URL", ""))}
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
    "example_project.shop",
    "example_project.live",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
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
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
ASGI_APPLICATION = "example_project.asgi.application"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"

# The shop's page polls once a second: not worth a log line each.
LOGGING = {"version": 1, "disable_existing_loggers": False, "loggers": {"django.server": {"level": "WARNING"}}}

# For a demonstration on your own machine only.
SECRET_KEY = "a demo has no secrets"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

DJANGO_WORKFLOWS = {
    "API_PERMISSION_CLASSES": ["example_project.live.permissions.StaffOrLivePage"],
    "WEBHOOK_SECRETS": {"payments": "whsec_dGhlIHNoYXJlZCBzZWNyZXQgb2YgYSBkZW1v"},
    "BASE_URL": os.environ.get("DEMO_URL", "http://127.0.0.1:8000"),
    # SQLite has no advisory locks, so only a missing heartbeat shows that a worker is dead. The demo kills one and
    # should not have to wait the usual half minute.
    "HEARTBEAT_INTERVAL": 1,
    "HEARTBEAT_TIMEOUT": 3,
    "POLL_INTERVAL": 0.3,
}
