"""What to do instead: the advice for a value that cannot be written."""

from __future__ import annotations

import inspect
import io
import sys
import types
from typing import Any

_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)


def loaded(module: str, name: str) -> Any:
    """``module.name`` if the module has been imported, else None: no value of its classes exists before that."""
    return getattr(sys.modules.get(module), name, None)


def refusal(value: Any) -> str:
    """One sentence or two that name the type of ``value``, never its content, and say what to pass instead."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    advice = (
        f"A value of type {name} cannot be written as JSON. Pass plain data instead, "
        "or teach it with django_workflows.register_type()."
    )
    return _django_refusal(kind, name) or _python_refusal(value, kind, name) or advice


def _django_refusal(kind: type, name: str) -> str | None:
    def is_a(module: str, cls: str) -> bool:
        found = loaded(module, cls)
        return isinstance(found, type) and issubclass(kind, found)

    if is_a("django.db.models.base", "Model"):
        return (
            f"A model instance ({name}) cannot be passed: it would be a stale copy. "
            f"Pass its primary key (`{kind.__name__.lower()}.pk`) and load it in the step."
        )
    if is_a("django.db.models.query", "QuerySet") or is_a("django.db.models.manager", "BaseManager"):
        return f"A {kind.__name__} cannot be passed. Pass primary keys: `list(queryset.values_list('pk', flat=True))`."
    if is_a("django.http.request", "HttpRequest") or is_a("rest_framework.request", "Request"):
        return f"A request ({name}) cannot be passed. Pass what you need of it: the user's pk, the data."
    if is_a("django.core.files.base", "File") or is_a("django.core.files.utils", "FileProxyMixin"):
        return f"A file ({name}) cannot be passed. Save it in a storage and pass its name."
    return None


def _python_refusal(value: Any, kind: type, name: str) -> str | None:
    if inspect.iscoroutine(value):
        return f"A coroutine ({value.__qualname__}) is not a value: did you forget `await`?"
    if hasattr(kind, "__await__"):
        return f"An awaitable ({name}) is not a value: did you forget `await`?"
    if inspect.isgenerator(value) or isinstance(value, (map, filter, zip, range)):
        return f"A {kind.__name__} cannot be passed. Pass its items: `list(...)`."
    if inspect.isasyncgen(value):
        return "An async generator cannot be passed. Pass its items: `[item async for item in ...]`."
    if issubclass(kind, io.IOBase):
        return f"An open file ({name}) cannot be passed. Pass its path, or its content as bytes."
    if issubclass(kind, _FUNCTIONS):
        return (
            f"A function ({getattr(value, '__qualname__', name)}) cannot be passed. Pass data that says which to call."
        )
    if isinstance(value, type):
        return f"A class ({value.__qualname__}) cannot be passed. Pass its name."
    if issubclass(kind, types.ModuleType):
        return "A module cannot be passed. Pass its name."
    if issubclass(kind, BaseException):
        return f"An exception ({name}) cannot be passed. Raise it, or pass `str(error)`."
    return None
