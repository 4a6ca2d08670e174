"""The site of the upgrade tests: the library and the workflows of the dumps. ``DATABASE_URL`` says which database."""

from __future__ import annotations

import os
from typing import Any

from tests.settings import DATABASES

__all__ = ["DATABASES"]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "django_workflows",
    "tests.upgrades.release_0_1",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.upgrades.urls"
SECRET_KEY = "only for the tests"
USE_TZ = True
TIME_ZONE = "UTC"

DJANGO_WORKFLOWS: dict[str, Any] = {
    "BASE_URL": "https://shop.example",
    "RETENTION": None,  # said aloud: what ended long ago is not to be pruned under the test
    "WEBHOOK_SECRETS": {"github": "a secret of the dumps"},
    "CODE_VERSION": os.environ.get("UPGRADES_CODE_VERSION"),
    "WEBHOOK_RESPONSE_TIMEOUT": float(os.environ.get("UPGRADES_RESPONSE_TIMEOUT", "30")),
    "ENCRYPTION_KEYS": [key] if (key := os.environ.get("UPGRADES_KEY")) else [],
}
