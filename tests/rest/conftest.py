"""A worker in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from rest_framework.test import APIClient

from django_workflows import api
from django_workflows.models import Hook, Run
from django_workflows.notify.listener import close_listeners
from django_workflows.notify.watcher import process_watcher
from django_workflows.verify import verify_runs
from django_workflows.workers.process import WorkerProcess

from . import flows  # noqa: F401 - registers the workflows


@pytest.fixture
def worker(waiting: None) -> Iterator[WorkerProcess]:
    """Advances runs and executes steps until the test ends."""
    process = WorkerProcess(concurrency=16)

    def run() -> None:
        try:
            process.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="worker-of-the-test", daemon=True)
    thread.start()
    yield process
    process.stop()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def waiting(transactional_db: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """For tests that wait: afterwards the process's waiting threads close their connections.

    Then all runs are verified, unless the test is marked as one that breaks the rules by hand.
    """
    yield
    process_watcher().stop()
    close_listeners()
    if not request.node.get_closest_marker("tampers"):
        violations = verify_runs()
        assert not violations, "\n".join(map(str, violations))


@pytest.fixture
def staff(db: None) -> APIClient:
    """A client that may do everything."""
    client = APIClient()
    client.force_authenticate(User.objects.create_user("staff", is_superuser=True))
    return client


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait for something to become true, on an event instead of a clock: the test's timeout is the limit."""

    def wait(look: Callable[[], Any]) -> Any:
        pause = threading.Event()
        while not (found := look()):
            pause.wait(0.005)
        return found

    return wait


@pytest.fixture
def hook_exists(until: Callable[[Callable[[], Any]], Any]) -> Callable[[str], Hook]:
    def wait(token: str) -> Hook:
        hook: Hook = until(lambda: Hook.objects.active().filter(token=token).first())
        return hook

    return wait


def reload(run_id: str) -> Run:
    return Run.objects.get(pk=api.get_run(run_id).id)
