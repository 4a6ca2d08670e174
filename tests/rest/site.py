"""What the test servers serve: the tests' project, with the API open and the flows registered."""

from __future__ import annotations

import json
import os

import django
from django.conf import settings

settings.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}
settings.DJANGO_WORKFLOWS = json.loads(os.environ.get("TEST_WORKFLOWS", "{}"))
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

from . import flows  # noqa: E402, F401 - registers the workflows

asgi = get_asgi_application()
wsgi = get_wsgi_application()
