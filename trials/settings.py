"""Settings of the trials' processes: no admin and no REST, only the engine and the ledger."""

from __future__ import annotations

import json
import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

_parts: dict[str, Any] = conninfo_to_dict(os.environ.get("DATABASE_URL", "postgresql://"))

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _parts.pop("dbname", None) or "postgres",
        "USER": _parts.pop("user", None) or "",
        "PASSWORD": _parts.pop("password", None) or "",
        "HOST": _parts.pop("host", None) or "",
        "PORT": _parts.pop("port", None) or "",
        "OPTIONS": _parts,
    }
}
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
