"""What the OpenAPI document says, where drf-spectacular is installed; nothing where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema_field
    from drf_spectacular.utils import extend_schema as _extend_schema

    INSTALLED = True

    def extend_schema(**options: Any) -> Callable[[F], F]:
        """As drf-spectacular's own, also where it is not the project's DEFAULT_SCHEMA_CLASS."""

        def decorate(view: F) -> F:
            view.schema = AutoSchema  # type: ignore[attr-defined]
            return _extend_schema(**{"tags": ["workflows"], **options})(view)

        return decorate

except ImportError:
    INSTALLED = False

    def extend_schema(**_: Any) -> Callable[[F], F]:
        return lambda view: view

    def extend_schema_field(*_: Any, **__: Any) -> Callable[[F], F]:  # type: ignore[misc]
        return lambda field: field

    class OpenApiParameter:  # type: ignore[no-redef]
        QUERY = HEADER = PATH = ""

        def __init__(self, *_: Any, **__: Any) -> None: ...

    class OpenApiResponse:  # type: ignore[no-redef]
        def __init__(self, *_: Any, **__: Any) -> None: ...


def auto_schema() -> Any:
    """The schema object of our views: they can be described whatever the project's own views use."""
    if INSTALLED:
        return AutoSchema()
    from rest_framework.schemas import DefaultSchema

    return DefaultSchema()


def query(name: str, description: str, type: Any = str, *, many: bool = False, **more: Any) -> OpenApiParameter:
    """A parameter of the query string, for the OpenAPI document."""
    return OpenApiParameter(name, type, OpenApiParameter.QUERY, description=description, many=many, **more)


def header(name: str, description: str) -> OpenApiParameter:
    """A request header, for the OpenAPI document."""
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=description)


__all__ = [
    "INSTALLED",
    "OpenApiParameter",
    "OpenApiResponse",
    "auto_schema",
    "extend_schema",
    "extend_schema_field",
    "header",
    "query",
]
