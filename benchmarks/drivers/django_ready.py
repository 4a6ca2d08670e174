"""Import it first: it sets Django up, so that what is imported after it may import models."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()
