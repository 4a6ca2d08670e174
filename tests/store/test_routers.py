"""A project's routers send the reads of every app to a replica, or writes too: ours stay on the workflow database.

The other database is there and has no tables, so that any query which strays fails by itself; it is counted all the same,
in case something on the way forgave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.test import Client
from rest_framework.test import APIClient

from django_workflows import api, create_hook, get_writable, sleep, step, workflow
from django_workflows.models import Hook, Run, Step, Stream
from django_workflows.models.querysets import PinnedManager, PinnedQuerySet
from django_workflows.streams import reading
from django_workflows.testing import Workflows
from django_workflows.upkeep import retention
from tests.admin import histories
from tests.support.runs import add_hook, add_step, new_run, run_row, started_run, transition

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]

TABLES = [*apps.get_app_config("django_workflows").get_models()]


class ReadsElsewhere:
    """As in Django's documentation: reads from the replica, writes to the primary."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "django_workflows" else None

    def allow_relation(self, *_: object, **__: object) -> bool:
        return True


class AllElsewhere(ReadsElsewhere):
    """Knows nothing of ``DJANGO_WORKFLOWS["DATABASE"]``."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.db_for_read(model, **hints)


@pytest.fixture
def other() -> Iterator[str]:
    """The alias of a second database, empty."""
    connections.settings["other"] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {},
    }
    connections["other"].connect()  # by hand: Django's tests open no database that they have not set up
    yield "other"
    connections["other"].close()
    del connections["other"]
    del connections.settings["other"]


@pytest.fixture(params=[ReadsElsewhere, AllElsewhere])
def strays(request: pytest.FixtureRequest, other: str, settings: Any) -> Iterator[list[str]]:
    """Statements that went to the other database, under a router that sends them there."""
    found: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        found.append(sql)
        return execute(sql, *rest)

    settings.DATABASE_ROUTERS = [f"{__name__}.{request.param.__name__}"]
    with connections[other].execute_wrapper(note):
        yield found
    assert found == []


@step
def double(number: int) -> int:
    get_writable().write(number)
    return 2 * number


@workflow
async def routed_child(number: int) -> int:
    return await double(number)


@workflow
async def routed(number: int) -> int:
    child = await routed_child.astart(number)
    hook = create_hook(token="routed")
    await sleep("1h")
    return await child.aresult() + await hook


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_pinned(table: Any) -> None:
    for manager in (table._base_manager, table._default_manager):
        assert isinstance(manager, PinnedManager)
        assert isinstance(manager.all(), PinnedQuerySet)


class TestReadsStay:
    def test_a_whole_life_of_a_run(self, strays: list[str], workflows: Workflows) -> None:
        run = workflows.start(routed.using(attributes={"customer": "c1"}), 3)
        workflows.run_until_idle()
        workflows.advance(timedelta(hours=1))
        assert api.get_hook_by_token("routed").run_id == run.id
        workflows.resume("routed", 5)
        assert workflows.result(run) == 11
        child = Run.objects.get(parent_id=run.id)
        assert reading.read_page(child.pk, "default").next_index == 1
        assert list(api.verify_runs([run.id, child.pk])) == []

    def test_what_is_asked_of_a_row(self, strays: list[str]) -> None:
        parent_id = started_run()
        child_id = new_run(parent_id=parent_id, parent_correlation_id="child:x:1")
        with transition(parent_id) as t:
            add_step(t)
            add_hook(t, "token")
        parent, child = run_row(parent_id), run_row(child_id)
        assert child.parent == parent
        assert [*parent.children.all()] == [child]
        assert parent.steps.count() == parent.hooks.count() == 1
        assert parent.events.filter(type="step_created").exists()
        assert parent.steps.get().run == parent
        assert Step.objects.select_related("run").get().run.workflow == parent.workflow
        assert Run.objects.prefetch_related("steps", "children").get(pk=parent_id).steps.all()
        assert Step.objects.prefetch_related("run").get().run == parent
        assert Run.objects.filter(pk__in=Step.objects.values("run_id")).get() == parent
        assert Hook.objects.active().get(run__workflow=parent.workflow).token == "token"
        parent.refresh_from_db()
        assert Run._base_manager.count() == 2

    @pytest.mark.parametrize("narrow", [lambda rows: rows.only("pk"), lambda rows: rows.defer("workflow", "input")])
    def test_columns_that_were_deferred(self, strays: list[str], narrow: Callable[[Any], Any]) -> None:
        run = narrow(Run.objects.filter(pk=started_run())).get()
        assert (run.workflow, run.input) == ("tests.by_hand", {"args": [1], "kwargs": {}})

    def test_rows_that_are_written_by_hand(self, strays: list[str]) -> None:
        """As a data migration or a shell does; our own code has the services."""
        run = run_row(started_run())
        Stream.objects.create(run=run, name="s", created_at=run.created_at)
        Stream.objects.bulk_create([Stream(run=run, name="t", created_at=run.created_at)])
        assert Stream.objects.filter(run=run).update(next_index=4) == 2
        assert Stream.objects.get_or_create(run=run, name="s")[1] is False
        assert Stream.objects.filter(run=run).delete()[0] == 2

    def test_the_ends_of_children_and_what_goes_with_a_run(self, strays: list[str]) -> None:
        parent_id = started_run(attributes={"customer": "c1"})
        with transition(parent_id) as t:
            add_hook(t, "token")
        child_id = new_run(parent_id=parent_id, parent_correlation_id="child:x:1")
        api.cancel_run(parent_id, force=True)
        histories.deliver_news()
        api.cancel_run(child_id, force=True)
        histories.deliver_news()
        assert set(api.erase_runs({"customer": "c1"}).erased) == {parent_id, child_id}
        assert retention.prune(older_than=timedelta(0)) == 2
        assert not any(table.objects.exists() for table in TABLES)

    def test_recovery(self, strays: list[str], workflows: Workflows) -> None:
        run_id = workflows.start(routed_child, 3).id
        workflows.run_until_idle()
        history = api.export_run(run_id)
        assert api.repair_run(run_id) == []
        fork = api.fork_run(run_id)
        assert run_row(fork.id).forked_from == run_id
        retention.remove_runs([run_id])
        api.import_history(history)
        assert api.verify_runs() == []
        assert api.diagnose() is not None


class TestDoors:
    @pytest.fixture(autouse=True)
    def _shop(self, strays: list[str]) -> Iterator[None]:
        self.told = histories.shop()
        yield
        histories.clock.reset()

    def test_rest(self, strays: list[str]) -> None:
        client = APIClient()
        client.force_authenticate(User.objects.create_superuser("staff"))
        run_id = self.told["waiting"].id
        pages = ["runs/?attribute=customer=c1", f"runs/{run_id}/", "hooks/packed:44/"]
        pages += [f"runs/{run_id}/{part}/" for part in ("events", "steps", "hooks", "waits")]
        for page in pages:
            assert client.get(f"/workflows/api/{page}").status_code == 200, page
        answer = client.post("/workflows/api/hooks/packed:44/resume/", {"payload": 1}, format="json")
        assert answer.status_code in (200, 201, 202)

    def test_the_admin(self, strays: list[str]) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("boss"))
        for page in ("", "?q=customer=c1", "overview/", *(f"{story.id}/change/" for story in self.told.values())):
            answer = client.get(f"/admin/django_workflows/run/{page}")
            assert answer.status_code == 200, page

    def test_commands(self, strays: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        run_id = self.told["waiting"].id
        for words in (["list"], ["show", run_id], ["export", run_id]):
            call_command("workflows", *words)
        assert run_id in capsys.readouterr().out


class TestByHand:
    """``.using(alias)`` goes where it says, and takes along what is asked of the rows that it finds."""

    @pytest.fixture(autouse=True)
    def _tables(self, other: str) -> None:
        call_command("migrate", "django_workflows", database=other, verbosity=0)

    def test_another_databases_rows_and_their_relations(self, other: str) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_step(t)
        for table in (Run, Step):
            table.objects.using(other).bulk_create(table.objects.all())
        Run.objects.using(other).update(workflow="tests.elsewhere")
        Step.objects.using(other).update(name="elsewhere")

        run = Run.objects.using(other).only("pk").get()
        assert run.workflow == "tests.elsewhere"
        run.refresh_from_db()
        assert run.workflow == "tests.elsewhere"
        assert run.steps.get().name == "elsewhere"
        assert run.steps.get().run.workflow == "tests.elsewhere"
        (row,) = Step.objects.using(other).prefetch_related("run")
        assert row.run.workflow == "tests.elsewhere"
        (row,) = Run.objects.using(other).prefetch_related("steps")
        assert [step.name for step in row.steps.all()] == ["elsewhere"]
        assert Run.objects.using(other).filter(pk__in=Step.objects.using(other).values("run_id")).exists()

        assert run_row(run_id).workflow == "tests.by_hand"
        assert run_row(run_id).steps.get().name == "tests.work"

    def test_the_workflow_database_is_the_one_of_the_setting(self, other: str, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"DATABASE": other}
        run_id = started_run()
        assert Run.objects.get().pk == run_id
        assert not Run.objects.using("default").exists()
