"""What steps and workflows have in common: a function with a name under which every process finds it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from ..values.validation import check_text

P = ParamSpec("P")
R = TypeVar("R")

#: characters of a definition's name
MAX_NAME = 255
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Definition(Generic[P, R]):
    """A function under a name. Copies of a definition are the definition itself.

    ``origin``: module and qualified name of the function, the same after its module is loaded again. ``place``:
    ``module:line``, for messages.
    """

    kind: str

    def __init__(self, fn: Callable[..., Any], name: str | None) -> None:
        self.name = _name(self.kind, fn, name)
        self.fn = fn
        self.signature = _signature(fn)
        module = getattr(fn, "__module__", None) or type(fn).__module__
        self.origin = (module, getattr(fn, "__qualname__", self.name))
        code = getattr(inspect.unwrap(fn), "__code__", None)
        self.place = f"{module}:{code.co_firstlineno}" if code else module
        self._positional = _positional_range(self.signature)
        functools.update_wrapper(cast(Any, self), fn, updated=())

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ``TypeError``, as the call itself would, if the arguments do not fit the function."""
        if not kwargs and self._positional[0] <= len(args) <= self._positional[1]:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except ValueError:  # some functions written in C do not say
        return inspect.Signature([inspect.Parameter(kind.name.lower(), kind) for kind in _VARIADIC])


def _positional_range(signature: inspect.Signature) -> tuple[int, int]:
    """How few and how many positional arguments fit by themselves; (1, 0) where only ``bind()`` can tell."""
    parameters = signature.parameters.values()
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        return 1, 0
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    required = sum(p.default is p.empty for p in positional)
    unlimited = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return required, 2**31 if unlimited else len(positional)


def _name(kind: str, fn: Any, given: str | None) -> str:
    if not callable(fn) or isinstance(fn, type | staticmethod | classmethod):
        hint = f" Put @{kind} below @staticmethod." if isinstance(fn, staticmethod | classmethod) else ""
        raise TypeError(f"@{kind} takes a function, not {fn!r}.{hint}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"@{kind} takes a function that returns its result; {fn.__qualname__} is a generator.")
    if given is None:
        qualname = getattr(fn, "__qualname__", None)
        if qualname is None or "<lambda>" in qualname:
            raise TypeError(f"{fn!r} has no name by which another process could find it: use @{kind}(name=...).")
        given = f"{fn.__module__}.{qualname}"
    return check_text("name", given, MAX_NAME, printable=True)


D = TypeVar("D", bound=Definition[Any, Any])


class Definitions(Generic[D]):
    """All definitions of one kind in this process, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, D] = {}

    def add(self, definition: D) -> None:
        """Make it known under its name. Raises ``ValueError`` naming both places when the name is taken."""
        known = self._by_name.get(definition.name)
        if known is not None and known.origin != definition.origin:
            raise ValueError(
                f"Two {definition.kind}s are named {definition.name!r}: one in {known.place}, one in "
                f"{definition.place}. Give one of them another name=."
            )
        self._by_name[definition.name] = definition  # the same function once more: its module was loaded again

    def discard(self, name: str) -> None:
        """For tests: forget the name, as a process does whose code no longer has it."""
        self._by_name.pop(name, None)

    def find(self, name: str) -> D | None:
        """The definition of this name, or None if this process does not know it."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)

    @contextmanager
    def isolated(self, *, empty: bool) -> Iterator[None]:
        """For tests: additions are forgotten at the end of the block. ``empty``: begin with none."""
        saved = dict(self._by_name)
        if empty:
            self._by_name.clear()
        try:
            yield
        finally:
            self._by_name.clear()
            self._by_name.update(saved)
