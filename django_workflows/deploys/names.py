"""What names in a body stand for. Names are looked up, nothing is imported and nothing is called."""

from __future__ import annotations

import ast
import builtins
import os
import random
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_MISSING = object()
_METHODS = (MethodType, BuiltinFunctionType)


class Names:
    """Names of one function: its imports and variables, those around it, its module's, Python's own."""

    def __init__(self, fn: FunctionType, tree: ast.AST) -> None:
        self._fn = fn
        self._imports: dict[str, str] = {}
        self._locals: set[str] = set()
        for node in ast.walk(tree):
            self._note(node)
        self._locals -= self._imports.keys()
        closure = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False)
        self._around = dict(_contents(closure))

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self._imports[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                self._imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._locals.add(node.id)
        elif isinstance(node, ast.arg):
            self._locals.add(node.arg)

    def path(self, node: ast.expr) -> str | None:
        """``datetime.datetime.now`` for ``dt.now`` where ``dt`` is that class; None for what a variable holds."""
        if isinstance(node, ast.Attribute):
            before = self.path(node.value)
            return None if before is None else f"{before}.{node.attr}"
        if not isinstance(node, ast.Name):
            return None
        if node.id in self._imports:
            return self._imports[node.id]
        value = self.value(node)
        return None if value is _MISSING else _path(value)

    def value(self, node: ast.expr) -> Any:
        """The object behind a name or a dotted name: a global, enclosed or imported one; else a value equal to nothing."""
        if isinstance(node, ast.Attribute):
            owner = self.value(node.value)
            if not is_a(owner, ModuleType, type):  # of other objects, asking for an attribute may run code
                return _MISSING
            found = vars(owner).get(node.attr, _MISSING)
            return found.__func__ if is_a(found, staticmethod, classmethod) else found
        if not isinstance(node, ast.Name) or node.id in self._locals:
            return _MISSING
        if node.id in self._imports:
            return _imported(self._imports[node.id])
        for scope in (self._around, self._fn.__globals__, vars(builtins)):
            if node.id in scope:
                return scope[node.id]
        return _MISSING


def _imported(path: str) -> Any:
    """What ``import`` inside the function gives, if another import has loaded its module already."""
    module, _, name = path.rpartition(".")
    if path in sys.modules:
        return sys.modules[path]
    return vars(sys.modules[module]).get(name, _MISSING) if module in sys.modules else _MISSING


def is_a(value: Any, *types: type) -> bool:
    """As ``isinstance()``, which would wake up a lazy object."""
    return issubclass(type(value), types)


def _contents(closure: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in closure:
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _path(value: Any) -> str | None:
    if is_a(value, ModuleType):
        return str(value.__name__)
    if value is open:
        return "open"
    if value is os.environ:
        return "os.environ"
    name = getattr(type(value), "__module__", ""), type(value).__qualname__
    if name in _INSTANCES:
        return _INSTANCES[name]
    if is_a(value, *_METHODS) and is_a(value.__self__, random.Random):
        return f"random.{value.__name__}"  # `from random import choice`: a method of a hidden instance
    if is_a(value, type, FunctionType, *_METHODS):
        module = value.__module__
        return f"{module}.{value.__qualname__}" if isinstance(module, str) else None
    return None


#: what is imported as an instance, by its class
_INSTANCES = {
    ("django.conf", "LazySettings"): "django.conf.settings",
    ("django.utils.connection", "ConnectionProxy"): "django.db.connection",
    ("django.db.utils", "ConnectionHandler"): "django.db.connections",
    ("django.core.cache", "CacheHandler"): "django.core.cache.caches",
}
