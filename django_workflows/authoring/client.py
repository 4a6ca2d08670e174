"""The seam between handles and what starts, watches and ends runs: the services, or a test's driver.

``api`` installs its client when the app registry is ready; :func:`client` gives it to ``workflow.start()``,
``handle.result()`` and the like. So the modules that users import know neither the services nor the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ..values.durations import Duration
from .options import StartOptions

#: a workflow, and a handle of its run: both stand above this module, so a client is generic in them
WorkflowT_contra = TypeVar("WorkflowT_contra", contravariant=True)
HandleT = TypeVar("HandleT")

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Calls = Sequence[tuple[Sequence[Any], Mapping[str, Any]]]


class Client(Protocol[WorkflowT_contra, HandleT]):
    """What definitions and handles ask outside of a body. Errors are those that the methods of handles document.

    ``calls`` are ``(args, kwargs)`` pairs. A ``timeout`` is in any form that ``sleep()`` takes; None waits
    indefinitely.
    """

    def start(self, workflow: WorkflowT_contra, options: StartOptions, args: Args, kwargs: Kwargs) -> HandleT: ...

    def astart(
        self, workflow: WorkflowT_contra, options: StartOptions, args: Args, kwargs: Kwargs
    ) -> Coroutine[Any, Any, HandleT]: ...

    def start_many(self, workflow: WorkflowT_contra, options: StartOptions, calls: Calls) -> list[HandleT]: ...

    def astart_many(
        self, workflow: WorkflowT_contra, options: StartOptions, calls: Calls
    ) -> Coroutine[Any, Any, list[HandleT]]: ...

    def status(self, run_id: str) -> str: ...

    def astatus(self, run_id: str) -> Coroutine[Any, Any, str]: ...

    def result(self, run_id: str, timeout: Duration | None) -> Any: ...

    def aresult(self, run_id: str, timeout: Duration | None) -> Coroutine[Any, Any, Any]: ...

    def cancel(self, run_id: str, reason: str | None, force: bool) -> None: ...

    def acancel(self, run_id: str, reason: str | None, force: bool) -> Coroutine[Any, Any, None]: ...

    def stream(self, run_id: str, name: str, start_index: int, timeout: Duration | None) -> Iterator[Any]: ...

    def astream(self, run_id: str, name: str, start_index: int, timeout: Duration | None) -> AsyncIterator[Any]: ...


_client: Client[Any, Any] | None = None


def install_client(client: Client[Any, Any] | None) -> None:
    """Set what starts and watches runs in this process. Called when the app registry is ready."""
    global _client
    _client = client


def client() -> Client[Any, Any]:
    """The installed client. Raises ``RuntimeError`` with advice where Django is not set up."""
    if _client is None:
        raise RuntimeError(
            "django_workflows is not ready to start runs: add 'django_workflows' to INSTALLED_APPS, and call "
            "django.setup() first when this is not a Django process."
        )
    return _client
