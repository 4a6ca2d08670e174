"""What the tests of the admin need: users with and without permissions, a clock that is restored, a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from django_workflows.values import clock
from tests.admin.browsing import Visit, launched

VERBS = ("cancel_run", "force_cancel_run", "retry_run", "wake_run", "unblock_run", "resume_hook", "dispose_hook")


@pytest.fixture(autouse=True)
def _real_clock() -> Iterator[None]:
    yield
    clock.reset()


def make_user(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True, password="secret")
    user.user_permissions.set(
        Permission.objects.filter(codename__in=permissions, content_type__app_label="django_workflows")
    )
    return user


@pytest.fixture
def viewer(db: Any) -> User:
    """May look, and nothing else."""
    return make_user("viewer", "view_run")


@pytest.fixture
def operator(db: Any) -> User:
    """May look and do everything."""
    return make_user("operator", "view_run", *VERBS)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium for the tests of one module. Playwright keeps a loop in this thread: to Django that is async code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        with launched(chromium) as found:
            yield found


@pytest.fixture
def visit(browser: Any, live_server: Any) -> Iterator[Callable[..., Visit]]:
    """``visit(user, **context options)`` opens a window; at the end no window may have reported a problem."""
    visits: list[Visit] = []

    def open_window(user: User, **options: Any) -> Visit:
        visits.append(Visit(browser, live_server.url, user, **options))
        return visits[-1]

    yield open_window
    problems = [problem for one in visits for problem in one.problems]
    for one in visits:
        one.context.close()
    assert problems == []
