"""What ``dumpdata`` writes, ``loaddata`` reads back: the same values, the same instants, encrypted where it was."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection

from django_workflows import api, create_hook, every, get_writable, set_attributes, sleep, step, workflow
from django_workflows.authoring import registry
from django_workflows.models import Event, Hook, Run, Schedule, Step, StreamChunk, Wait
from django_workflows.testing.session import Workflows

MODELS = (Run, Step, Hook, Wait, Event, StreamChunk, Schedule)


def picture() -> dict[str, list[dict[str, Any]]]:
    """Every column of every row, as the ORM reads it."""
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in MODELS}


def stored(table: str, column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM django_workflows_{table} WHERE {column} IS NOT NULL")
        return [str(row[0]) for row in cursor.fetchall()]


def make_runs(workflows: Workflows) -> None:
    @step(name="fixtures.price")
    def price(order: dict[str, Any], n: int) -> Any:
        get_writable().write({"n": n})
        return None if n == 0 else {"order": order, "price": Decimal("9.90"), "text": 'A "b" \\u0000 ü'}

    @workflow(name="fixtures.buy", schedules=[every("1h")])
    async def buy(order: Any = None, n: int = 0) -> Any:
        set_attributes(n=n)
        await sleep(0.000123)
        got = await price(order, n)
        if n == 2:
            await create_hook(token="fixture", metadata={"for": "test"})
        return got

    buy.start({"id": 7, "title": 's3cret-order "b"'}, 3)
    buy.start("text", 1)
    buy.start(None, 0)
    buy.start(5, 2)
    workflows.run_until_idle()
    workflows.advance("1s")


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("keys", [[], [Fernet.generate_key().decode()]], ids=["in the clear", "encrypted"])
def test_a_dump_that_is_loaded_equals_the_original(
    workflows: Workflows, tmp_path: Path, settings: Any, keys: list[str], verified: None
) -> None:
    settings.DJANGO_WORKFLOWS = {"ENCRYPTION_KEYS": keys}
    with registry.isolated(empty=True):
        make_runs(workflows)
        before = picture()
        assert len(before["Run"]) == 4
        path = tmp_path / "dump.json"
        call_command("dumpdata", "django_workflows", output=str(path), verbosity=0)
        if keys:
            text = path.read_text()
            assert "s3cret-order" not in text
            assert all(
                row["fields"]["data"].startswith("enc:") for row in json.loads(text) if row["model"].endswith(".event")
            )
        call_command("flush", interactive=False, verbosity=0)
        assert not Run.objects.exists()

        call_command("loaddata", str(path), verbosity=0)

        assert picture() == before
        assert all(text.startswith("enc:") == bool(keys) for text in stored("run", "input") + stored("event", "data"))
        assert api.get_hook_by_token("fixture").metadata == {"for": "test"}
