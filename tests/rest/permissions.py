"""Permission classes that a project might have."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission


class OwnRuns(BasePermission):
    """A customer sees the runs that carry their name."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated)

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return bool(obj.attributes.get("customer") == request.user.username)

    def filter_runs(self, request: Any, runs: Any) -> Any:
        return runs.with_attributes(customer=request.user.username)
