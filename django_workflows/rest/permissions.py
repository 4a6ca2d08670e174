"""Who may use the REST API. Webhooks are not covered: there the token is the secret."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from django.utils.module_loading import import_string
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission, DjangoModelPermissions
from rest_framework.settings import api_settings

from .. import conf
from ..models import Run

_APP = "django_workflows"
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class WorkflowPermissions(BasePermission):
    """Authenticated users who have the model permission of the route: ``view_run``, ``cancel_run`` and so on."""

    #: of the route, without the app's label; set by :func:`permissions_for`. None allows nothing.
    needs: str | None = None

    def has_permission(self, request: Any, view: Any) -> bool:
        return self.needs is not None and has_model_permission(request.user, self.needs)


def has_model_permission(user: Any, permission: str) -> bool:
    """Whether the user is authenticated and has a permission of this app. What authenticates need be no user at all."""
    if not getattr(user, "is_authenticated", False) or not hasattr(user, "has_perm"):
        return False
    return bool(user.has_perm(f"{_APP}.{permission}"))


def caller_of(request: Any) -> str:
    """Whose idempotency keys a request uses: those of different users never meet."""
    key = getattr(request.user, "pk", None)
    if key is not None:
        return f"user:{key}"
    return f"other:{request.user}" if getattr(request.user, "is_authenticated", False) else "anonymous"


def permission_classes() -> list[Any]:
    """``API_PERMISSION_CLASSES``, else what the project gives all its DRF views, else :class:`WorkflowPermissions`."""
    paths = conf.settings.API_PERMISSION_CLASSES
    if paths:
        return [import_string(path) for path in paths]
    if "DEFAULT_PERMISSION_CLASSES" in api_settings.user_settings:
        return list(api_settings.DEFAULT_PERMISSION_CLASSES)
    return [WorkflowPermissions]


def permissions_for(needs: str) -> list[BasePermission]:
    """The permissions in force, for a route that needs this model permission."""
    permissions: list[BasePermission] = [permission() for permission in permission_classes()]
    for permission in permissions:
        _require(permission, needs)
    return permissions


def _require(permission: Any, needs: str) -> None:
    """Those that go by model permissions learn which; ``A & B``, ``A | B`` and ``~A`` hold others."""
    if isinstance(permission, WorkflowPermissions):
        permission.needs = needs
    elif isinstance(permission, DjangoModelPermissions):
        # DRF's own map asks nothing for reading, and for acting a permission to add, which no run has
        permission.perms_map = {method: [f"{_APP}.{needs}"] for method in _METHODS}
    for operand in ("op1", "op2"):
        if hasattr(permission, operand):
            _require(getattr(permission, operand), needs)


def is_allowed(request: Any, view: Any, needs: str, run: Run | None = None) -> bool:
    """Whether the caller could also use a route that needs this permission, on this run."""
    try:
        return all(
            permission.has_permission(request, view)
            and (run is None or permission.has_object_permission(request, view, run))
            for permission in permissions_for(needs)
        )
    except (Http404, PermissionDenied, APIException):
        return False


def visible_runs(request: Any, permissions: list[BasePermission], runs: QuerySet[Run]) -> QuerySet[Run]:
    """The runs that the list shows: a permission class may narrow it with ``filter_runs(request, runs)``.

    Lists do not ask ``has_object_permission``, in DRF as here.
    """
    for permission in permissions:
        narrow = getattr(permission, "filter_runs", None)
        if narrow is not None:
            runs = narrow(request, runs)
    return runs
