"""Settings of the trials' processes: no admin and no REST, only the engine and the ledger."""

from __future__ import annotations

import json
import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict


def _database(url: str) -> dict[str, Any]:
    parts: dict[str, Any] = conninfo_to_dict(url)
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
if _isolation := os.environ.get("TRIAL_ISOLATION"):
    DATABASES["default"]["OPTIONS"]["isolation_level"] = int(_isolation)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_workflows",
    "tests.shop",
    *os.environ.get("TRIAL_APPS", "").split(),
]
MIGRATION_MODULES = {"shop": None}
ROOT_URLCONF = "tests.urls"
SECRET_KEY = "only for the trials"
USE_TZ = True
TIME_ZONE = "UTC"

#: what one trial changes, as JSON in the environment of its processes
DJANGO_WORKFLOWS: dict[str, Any] = json.loads(os.environ.get("TRIAL_SETTINGS", "{}"))
