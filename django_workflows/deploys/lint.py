"""One body, and the functions of the project that it calls, held to the rules."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ..authoring.steps import Step
from ..authoring.workflows import Workflow
from .names import Names, is_a
from .rules import AWAITABLE, FILE_METHODS, ORM_ATTRIBUTES, ORM_METHODS, RULES, rule_for
from .sources import Source, is_same_project, read_source, walk

_COPIERS = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed")
_ANYTHING = ("BaseException", "builtins.BaseException")
_BLOCKING = {"start": "astart", "start_many": "astart_many", "call": "", "acall": ""}


@dataclass(frozen=True, slots=True)
class LintWarning:
    """``code``: ``W010`` and so on. ``message`` is a sentence, ``fix`` the advice."""

    code: str
    path: str
    line: int
    message: str
    fix: str


def lint_workflow(workflow: Workflow[..., Any]) -> list[LintWarning]:
    """What is wrong with a workflow's body, in the order of its lines; a function that it calls comes after it."""
    fn = inspect.unwrap(workflow.fn)
    if not isinstance(fn, FunctionType):
        return []
    warnings: list[LintWarning] = []
    waiting, seen = [fn], {fn}
    while waiting:
        function = waiting.pop(0)
        source = read_source(function)
        if source is None:
            continue
        body = _Body(function, source, workflow.name)
        warnings += sorted(body.warnings(), key=lambda warning: warning.line)
        for callee in body.callees:
            if callee not in seen and is_same_project(callee, fn):
                seen.add(callee)
                waiting.append(callee)
    return list(dict.fromkeys(warnings))


class _Body:
    def __init__(self, fn: FunctionType, source: Source, workflow: str) -> None:
        self._source = source
        self._names = Names(fn, source.tree)
        self._is_async = isinstance(source.tree, ast.AsyncFunctionDef)
        self._who = workflow if fn.__name__ == workflow.rpartition(".")[2] else f"{workflow}, in {fn.__qualname__}(),"
        self._sets = _set_variables(source.tree, self._names)
        self.callees: list[FunctionType] = []

    def warnings(self) -> Iterator[LintWarning]:
        nodes = [node for statement in self._source.tree.body for node in walk(statement)]
        for node in nodes:
            place = node.iter if isinstance(node, ast.comprehension) else node
            for code, shown, fix in self._look(node):
                if not self._source.silences(place, code):
                    rule = RULES[code]
                    message = f"The body of {self._who} {rule.what}: {shown}."
                    yield LintWarning(code, self._source.path, getattr(place, "lineno", 0), message, fix or rule.fix)

    def _look(self, node: ast.AST) -> Iterator[tuple[str, str, str]]:
        if isinstance(node, ast.Call):
            yield from self._call(node)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node)
        elif isinstance(node, ast.ExceptHandler):
            if self._swallows(node):
                yield "W017", "a bare `except:`" if node.type is None else "`except BaseException`", ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and self._is_async:
            if self._is_awaitable(node.value):
                yield "W019", f"{ast.unparse(node.value.func)}(...)", ""
        elif isinstance(node, ast.For | ast.comprehension) and self._is_set(node.iter):
            yield "W018", ast.unparse(node.iter)[:60], ""

    def _call(self, node: ast.Call) -> Iterator[tuple[str, str, str]]:
        path, shown = self._names.path(node.func), f"{ast.unparse(node.func)}()"
        rule = None if path is None else rule_for(path)
        if rule is not None:
            yield rule.code, shown, ""
        elif isinstance(node.func, ast.Attribute):
            yield from self._method(node.func, shown)
        elif path in {f"builtins.{name}" for name in _COPIERS} and any(self._is_set(arg) for arg in node.args):
            yield "W018", ast.unparse(node)[:60], ""
        value = self._names.value(node.func)
        if is_a(value, FunctionType):
            self.callees.append(value)

    def _method(self, func: ast.Attribute, shown: str) -> Iterator[tuple[str, str, str]]:
        if func.attr in ORM_METHODS:
            yield "W013", shown, ""
        elif func.attr in FILE_METHODS:
            yield "W014", shown, ""
        elif func.attr == "run_in_executor":
            yield "W016", shown, ""
        owner = self._names.value(func.value)
        if func.attr in _BLOCKING and is_a(owner, Step, Workflow) and self._is_async:
            twin = _BLOCKING[func.attr]
            name = ast.unparse(func.value)
            yield "W020", shown, f"Use `await {name}.{twin}(...)`." if twin else f"Use `await {name}(...)`."

    def _attribute(self, node: ast.Attribute) -> Iterator[tuple[str, str, str]]:
        if node.attr in ORM_ATTRIBUTES:
            yield "W013", ast.unparse(node), ""
            return
        path = self._names.path(node)
        if path is not None and (path == "os.environ" or path.startswith("django.conf.settings.")):
            yield "W021", ast.unparse(node), ""

    def _swallows(self, node: ast.ExceptHandler) -> bool:
        caught = [None] if node.type is None else node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        everything = any(item is None or self._names.path(item) in _ANYTHING for item in caught)
        return everything and not any(isinstance(inner, ast.Raise) for part in node.body for inner in walk(part))

    def _is_awaitable(self, call: ast.Call) -> bool:
        if self._names.path(call.func) in AWAITABLE:
            return True
        if isinstance(call.func, ast.Attribute):
            owner = self._names.value(call.func.value)
            return call.func.attr in ("astart", "astart_many") and is_a(owner, Workflow)
        return is_a(self._names.value(call.func), Step, Workflow)

    def _is_set(self, node: ast.expr) -> bool:
        return _is_set(node, self._names) or (isinstance(node, ast.Name) and node.id in self._sets)


def _is_set(node: ast.expr, names: Names) -> bool:
    """Whether an expression is a set whose order may differ: one of numbers is the same everywhere."""
    if isinstance(node, ast.Set):
        return not all(isinstance(item, ast.Constant) and isinstance(item.value, int | float) for item in node.elts)
    if isinstance(node, ast.BinOp):
        return _is_set(node.left, names) or _is_set(node.right, names)
    if isinstance(node, ast.Call):
        return names.path(node.func) in ("builtins.set", "builtins.frozenset")
    return isinstance(node, ast.SetComp)


def _set_variables(tree: ast.AST, names: Names) -> set[str]:
    """Variables that are only ever assigned sets."""
    kinds: dict[str, set[bool]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    kinds.setdefault(target.id, set()).add(_is_set(node.value, names))
    return {name for name, answers in kinds.items() if answers == {True}}
