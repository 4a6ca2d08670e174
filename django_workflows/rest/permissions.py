"""Who may use the REST API. Webhooks are not covered: there the token is the secret."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.module_loading import import_string
from rest_framework.permissions import BasePermission, IsAdminUser
from rest_framework.settings import api_settings

from .. import conf
from ..models import Run


def permission_classes() -> list[Any]:
    """``API_PERMISSION_CLASSES`` if given, else what the project gives all its DRF views, else staff only."""
    paths = conf.settings.API_PERMISSION_CLASSES
    if paths:
        return [import_string(path) for path in paths]
    if "DEFAULT_PERMISSION_CLASSES" in api_settings.user_settings:
        return list(api_settings.DEFAULT_PERMISSION_CLASSES)
    return [IsAdminUser]


def visible_runs(request: Any, permissions: list[BasePermission], runs: QuerySet[Run]) -> QuerySet[Run]:
    """The runs that the list shows: a permission class may narrow it with ``filter_runs(request, runs)``.

    Lists do not ask ``has_object_permission``, in DRF as here.
    """
    for permission in permissions:
        narrow = getattr(permission, "filter_runs", None)
        if narrow is not None:
            runs = narrow(request, runs)
    return runs
