"""Django as on a small site: this app, the admin, and nothing that would slow down or speed up a run."""

from __future__ import annotations

import os

from tests.settings import MIDDLEWARE, TEMPLATES, _database

DATABASES = {"default": _database(os.environ["DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "rest_framework",
    "django_workflows",
    "benchmarks",
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "only for the benchmarks"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LOGGING_CONFIG = None
DJANGO_WORKFLOWS: dict[str, object] = {}

__all__ = ["MIDDLEWARE", "TEMPLATES"]
