from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission


class StaffOrLivePage(BasePermission):
    """Staff may do everything; the address of a live page lets its reader see that run and no other."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.is_staff) or (request.method == "GET" and "run_id" in view.kwargs)

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return bool(request.user.is_staff) or obj.attributes.get("page") == "live"
