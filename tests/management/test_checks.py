"""System checks: each id is reported for its own fault, with advice, and for nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.core.checks import run_checks

from django_workflows import create_webhook, cron, every, step, workflow
from django_workflows.authoring import registry
from django_workflows.deploys import checks

Database = Callable[..., None]
SQLITE: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"}
POSTGRES: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "NAME": "x"}


def found(check: Any) -> list[str]:
    return [message.id.rpartition(".")[2] for message in check()]


@pytest.fixture
def with_database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``with_database(**settings)``: the database of the workflows is set up like that."""
    return lambda **database: monkeypatch.setattr(checks, "_database", lambda: database)


def test_the_tests_own_project_passes_them_all() -> None:
    with registry.isolated(empty=True):
        assert run_checks(tags=[checks.TAG]) == []


class TestSettings:
    @pytest.mark.parametrize(
        "given",
        [
            {"NONSENSE": 1},
            {"POLL_INTERVAL": "soon"},
            {"CONCURRENCY": 0},
            {"LISTEN": 1},
            {"API_PERMISSION_CLASSES": "x"},
        ],
    )
    def test_what_cannot_be_right_is_an_error(self, settings: Any, given: dict[str, Any]) -> None:
        settings.DJANGO_WORKFLOWS = given
        assert found(checks.check_settings) == ["E001"]

    def test_no_check_fails_on_settings_that_cannot_be_read(self, settings: Any) -> None:
        names = ["DATABASE", "LISTEN", "LISTEN_DATABASE", "CONCURRENCY", "BASE_URL", "ENCRYPTION_KEYS"]
        settings.DJANGO_WORKFLOWS = dict.fromkeys([*names, "HEARTBEAT_INTERVAL", "HEARTBEAT_TIMEOUT"], object())
        found = {message.id for message in run_checks(tags=[checks.TAG])}
        about_bodies = {f"django_workflows.W{number:03}" for number in range(10, 30)}  # of the workflows of other tests
        assert found - about_bodies == {"django_workflows.E001"}

    @pytest.mark.parametrize("name", ["DATABASE", "LISTEN_DATABASE"])
    def test_an_alias_that_does_not_exist(self, settings: Any, name: str) -> None:
        assert found(checks.check_aliases) == []
        settings.DJANGO_WORKFLOWS = {name: "nowhere"}
        assert found(checks.check_aliases) == ["E002"]

    def test_a_heartbeat_that_would_come_too_late(self, settings: Any) -> None:
        assert found(checks.check_heartbeat) == []
        settings.DJANGO_WORKFLOWS = {"HEARTBEAT_INTERVAL": 20}
        assert found(checks.check_heartbeat) == ["E005"]

    @pytest.mark.parametrize("secrets", ["", " ", [], ["a real one", ""]])
    def test_a_secret_that_is_empty(self, settings: Any, secrets: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"WEBHOOK_SECRETS": {"github": "a real one"}}
        assert found(checks.check_secrets) == []
        settings.DJANGO_WORKFLOWS = {"WEBHOOK_SECRETS": {"github": secrets}}
        assert found(checks.check_secrets) == ["E006"]

    def test_keys_that_are_no_keys(self, settings: Any) -> None:
        assert found(checks.check_encryption) == []
        settings.DJANGO_WORKFLOWS = {"ENCRYPTION_KEYS": ["too short"]}
        assert found(checks.check_encryption) == ["E004"]


class TestSchedules:
    def test_that_cannot_be_kept_or_have_one_name_are_errors(self) -> None:
        with registry.isolated(empty=True):

            @workflow(name="checks.scheduled", schedules=[cron("0 9 * * *"), every("1h", name="often", args=("x",))])
            async def right(kind: str = "") -> None: ...

            assert found(checks.check_schedules) == []

            @workflow(
                name="checks.wrong",
                schedules=[
                    cron("30 2 30 2 *", name="a"),
                    cron("0 9 * * *", tz="Mars/Olympus", name="b"),
                    every("1h", args=(1, 2), name="c"),
                    every("1h", kwargs={"kind": object()}, name="d"),
                    every("1h", name="e"),
                    every("2h", name="e"),
                ],
            )
            async def wrong(kind: str = "") -> None: ...

            assert found(checks.check_schedules) == ["E007", "E007", "E007", "E007", "E008"]


class TestAtomicSteps:
    def test_on_another_database_are_an_error(self) -> None:
        with registry.isolated():
            assert found(checks.check_atomic_steps) == []

            @step(name="checks.atomic", atomic=True, using="default")
            def right() -> None: ...

            assert found(checks.check_atomic_steps) == []

            @step(name="checks.elsewhere", atomic=True, using="analytics")
            def elsewhere() -> None: ...

            (message,) = checks.check_atomic_steps()
            assert message.id == "django_workflows.E003"
            assert "checks.elsewhere" in message.msg


class TestSqlite:
    def test_as_the_hint_says_is_right(self, with_database: Database) -> None:
        options = eval("{" + checks.SQLITE_OPTIONS + "}")
        with_database(**SQLITE, **options)
        assert found(checks.check_sqlite) == []

    @pytest.mark.parametrize(
        ("options", "missing"),
        [
            ({}, "WAL and IMMEDIATE transactions"),
            ({"transaction_mode": "IMMEDIATE"}, "WAL"),
            ({"init_command": "PRAGMA journal_mode = WAL;"}, "IMMEDIATE transactions"),
            ({"transaction_mode": "DEFERRED", "init_command": "PRAGMA journal_mode=DELETE"}, "WAL and IMMEDIATE"),
        ],
    )
    def test_otherwise_is_a_warning_with_the_dict_to_paste(
        self, with_database: Database, options: dict[str, Any], missing: str
    ) -> None:
        with_database(**SQLITE, OPTIONS=options)
        (message,) = checks.check_sqlite()
        assert message.id == "django_workflows.W001"
        assert f"without {missing}" in message.msg
        assert checks.SQLITE_OPTIONS in (message.hint or "")

    def test_postgresql_needs_none_of_it(self, with_database: Database) -> None:
        with_database(**POSTGRES)
        assert found(checks.check_sqlite) == []


@pytest.fixture
def only_here() -> Iterator[ModuleType]:
    """A separate module that defines a workflow, with nothing else registered."""
    module = ModuleType("checks_only_here")
    sys.modules[module.__name__] = module
    with registry.isolated(empty=True):

        async def body() -> None: ...

        body.__module__ = module.__name__
        module.flow = workflow(name="checks.flow")(body)  # type: ignore[attr-defined]
        yield module
    del sys.modules[module.__name__]


async def webhook_url() -> str:
    return create_webhook().url


class TestBaseUrl:
    def test_is_not_asked_for_without_webhooks(self, settings: Any, only_here: ModuleType) -> None:
        settings.DJANGO_WORKFLOWS = {}
        assert found(checks.check_base_url) == []

    @pytest.mark.parametrize("where", ["a function", "a method", "inside"])
    def test_is_asked_for_where_webhooks_are_created(self, settings: Any, only_here: ModuleType, where: str) -> None:
        class Address:
            async def url(self) -> str:
                return await webhook_url()

        def outer() -> Any:
            return lambda: create_webhook(token="t")

        thing: Any = {"a function": webhook_url, "a method": Address, "inside": outer}[where]
        if where == "a method":
            Address.url.__code__ = webhook_url.__code__  # type: ignore[attr-defined]
        before, thing.__module__ = thing.__module__, only_here.__name__
        only_here.thing = thing  # type: ignore[attr-defined]
        try:
            settings.DJANGO_WORKFLOWS = {}
            assert found(checks.check_base_url) == ["W002"]
            settings.DJANGO_WORKFLOWS = {"BASE_URL": "https://shop.example"}
            assert found(checks.check_base_url) == []
        finally:
            thing.__module__ = before


class TestUrls:
    def test_of_webhooks_are_missed_where_webhooks_are_created(self, settings: Any, only_here: ModuleType) -> None:
        settings.ROOT_URLCONF = "django.contrib.auth.urls"
        assert found(checks.check_urls) == []
        before, webhook_url.__module__ = webhook_url.__module__, only_here.__name__
        only_here.thing = webhook_url  # type: ignore[attr-defined]
        try:
            assert found(checks.check_urls) == ["W006"]
            settings.ROOT_URLCONF = "tests.urls"
            assert found(checks.check_urls) == []
        finally:
            webhook_url.__module__ = before


class TestPoolers:
    @pytest.mark.parametrize(
        "database", [{"PORT": "6432"}, {"PORT": 6543}, {"HOST": "ep-x-pooler.eu.aws.neon.tech"}, {"HOST": "pgbouncer"}]
    )
    def test_are_suspected_by_port_and_name(
        self, with_database: Database, settings: Any, database: dict[str, Any]
    ) -> None:
        with_database(**POSTGRES, **database)
        assert found(checks.check_pooler) == ["W003"]
        settings.DJANGO_WORKFLOWS = {"LISTEN": False}
        assert found(checks.check_pooler) == []

    def test_are_not_seen_where_there_are_none(self, with_database: Database) -> None:
        with_database(**POSTGRES, HOST="db.internal", PORT="5432")
        assert found(checks.check_pooler) == []

    @pytest.mark.parametrize(
        ("pool", "expected"), [(True, ["W004"]), ({"max_size": 17}, ["W004"]), ({"max_size": 18}, [])]
    )
    def test_a_pool_must_be_large_enough(self, with_database: Database, pool: Any, expected: list[str]) -> None:
        with_database(**POSTGRES, OPTIONS={"pool": pool})
        assert found(checks.check_pool) == expected


def test_without_rest_framework_there_is_a_warning(settings: Any) -> None:
    assert found(checks.check_rest_framework) == []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "rest_framework"]
    assert found(checks.check_rest_framework) == ["W005"]
