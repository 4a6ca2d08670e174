"""The one reader of source: a function's syntax tree with the lines of its file, and what belongs to its project.

Source and not bytecode: the instructions of one and the same code differ between versions of Python.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType

_IGNORE = re.compile(r"#\s*workflows:\s*ignore(?:\[([\w\s,]*)\])?")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """``tree`` is the function's definition, ``path`` its file."""

    tree: Function
    path: str

    def silences(self, node: ast.AST, code: str) -> bool:
        """Whether the first or the last line of ``node`` has ``# workflows: ignore`` or ``ignore[<code>]``."""
        first = getattr(node, "lineno", 0)
        for number in {first, getattr(node, "end_lineno", None) or first}:
            found = _IGNORE.search(linecache.getline(self.path, number))
            if found is not None:
                codes = found.group(1)
                if codes is None or code in (item.strip() for item in codes.split(",")):
                    return True
        return False


def read_source(fn: FunctionType) -> Source | None:
    """None where there is no source to read: in a shell, or without the ``.py`` files."""
    try:
        path = inspect.getsourcefile(fn)
        lines, first = inspect.getsourcelines(fn)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    found = next((node for node in tree.body if isinstance(node, Function)), None)
    if found is None or path is None:  # a lambda, or part of a larger expression
        return None
    ast.increment_lineno(tree, max(first, 1) - 1)
    return Source(found, path)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """As ``ast.walk``, in the order of the source, and without what a nested @step does."""
    if isinstance(node, Function) and any(map(_says_step, node.decorator_list)):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk(child)


def _says_step(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")) == "step"


def is_same_project(function: FunctionType, body: FunctionType) -> bool:
    """Whether a function belongs to the body's own project: code that is deployed and can be changed with it."""
    root = str(function.__module__).partition(".")[0]
    return root == str(body.__module__).partition(".")[0] and "-packages" not in function.__code__.co_filename
