"""What release 0.1.0 wrote to a database is gone on with by today's code.

The dumps of ``0.1.0/`` hold a run of every shape; ``make_dump`` has made them with that release, and they do not change any
more. Each is loaded into a fresh database and migrated, the outside does what the runs wait for, a worker works, and every
run has to come to the end to which that release itself would have brought it. All of it happens in processes of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.upgrades import dumps
from tests.upgrades.dumps import Engine
from tests.upgrades.later import ENDED, Later
from tests.upgrades.site import Site

RELEASE = Path(__file__).parent / "0.1.0"
EXPECTED: dict[str, Any] = json.loads((RELEASE / "expected.json").read_text())

#: the exit code of a command, and what it has printed
Answer = tuple[int, str]


@dataclass
class Upgraded:
    """A dump that was loaded, migrated and gone on with, and what was seen on the way."""

    expected: dict[str, Any]
    site: Site
    migrated: Answer
    migrations: Answer
    verified_before: Answer
    before: dict[str, Any]
    #: what was wrong while the runs went on; empty is good
    trouble: str
    after: dict[str, Any]
    verified_after: Answer
    log_before: set[tuple[Any, ...]]
    log_after: set[tuple[Any, ...]]

    def shapes(self, runs: dict[str, Any]) -> dict[str, Any]:
        """The runs by what they are there for, which says more than an id."""
        return {f"{self.expected['runs'][run_id]['shape']} ({run_id})": run for run_id, run in runs.items()}


def upgrade(engine: Engine, name: str, url: str, site: Site) -> Upgraded:
    expected = EXPECTED[name]
    migrated = site.manage("migrate", "--verbosity", "0")
    migrations = site.manage("makemigrations", "--check", "--dry-run", "django_workflows")
    # That the step of a dead worker has found nobody else is a violation, and rightly so; it ends with the first worker.
    others = [run_id for run_id, run in expected["runs"].items() if run["shape"] != "running: its worker is dead"]
    verified_before, before = site.manage("workflows", "verify", "--replay", *others), site.ask("look")
    log_before = engine.log(url)
    trouble = ""
    try:
        Later(site, expected).go_on()
    except AssertionError as error:
        trouble = str(error)
    verified_after, after = site.manage("workflows", "verify", "--replay"), site.ask("look")
    return Upgraded(
        expected=expected,
        site=site,
        migrated=migrated,
        migrations=migrations,
        verified_before=verified_before,
        before=before,
        trouble=trouble,
        after=after,
        verified_after=verified_after,
        log_before=log_before,
        log_after=engine.log(url),
    )


@pytest.fixture(
    scope="module",
    params=[
        "postgres",
        "postgres-encrypted",
        pytest.param("sqlite", marks=pytest.mark.sqlite),
        pytest.param("sqlite-encrypted", marks=pytest.mark.sqlite),
    ],
)
def upgraded(request: pytest.FixtureRequest) -> Iterator[Upgraded]:
    name: str = request.param
    engine = dumps.SQLITE if name.startswith("sqlite") else dumps.POSTGRES
    server = os.environ["DATABASE_URL"]
    if engine is dumps.POSTGRES and server.startswith("sqlite"):
        pytest.skip("needs a PostgreSQL server")
    with engine.fresh(server) as url:
        engine.load(url, dumps.read(RELEASE / f"{name}.sql.gz"))
        with Site(dumps.environment(url, encrypted=name.endswith("-encrypted"))) as site:
            yield upgrade(engine, name, url, site)


def test_todays_migrations_lead_from_there_to_todays_models(upgraded: Upgraded) -> None:
    assert upgraded.migrated[0] == 0, upgraded.migrated[1]
    assert upgraded.migrations[0] == 0, upgraded.migrations[1]


def test_every_run_is_read_as_what_it_was(upgraded: Upgraded) -> None:
    found = {run_id: run["status"] for run_id, run in upgraded.before.items()}
    assert upgraded.shapes(found) == upgraded.shapes({pk: run["at"] for pk, run in upgraded.expected["runs"].items()})
    parked = [run_id for run_id, run in upgraded.before.items() if run["parked"]]
    assert [upgraded.expected["runs"][run_id]["shape"] for run_id in parked] == ["parked"]


def test_every_log_keeps_every_rule_and_fits_the_code(upgraded: Upgraded) -> None:
    assert upgraded.verified_before[0] == 0, upgraded.verified_before[1]


def test_every_run_comes_to_its_end(upgraded: Upgraded) -> None:
    assert not upgraded.trouble, upgraded.trouble
    expected = upgraded.shapes({run_id: run["end"] for run_id, run in upgraded.expected["runs"].items()})
    found = upgraded.shapes({run_id: run for run_id, run in upgraded.after.items() if run_id in upgraded.before})
    assert {shape: {key: run[key] for key in expected[shape]} for shape, run in found.items()} == expected


def test_no_new_run_is_started(upgraded: Upgraded) -> None:
    assert upgraded.after.keys() == upgraded.before.keys()


def test_every_log_keeps_every_rule_at_the_end(upgraded: Upgraded) -> None:
    assert upgraded.verified_after[0] == 0, upgraded.verified_after[1]


def test_what_was_written_to_a_log_stays_as_it_was(upgraded: Upgraded) -> None:
    assert upgraded.log_before
    assert not upgraded.log_before - upgraded.log_after


def test_an_idempotency_key_still_gives_the_run_that_is_there(upgraded: Upgraded) -> None:
    assert upgraded.expected["keys"]
    for key in upgraded.expected["keys"]:
        options = {"idempotency_key": key["key"]}
        given = {"args": key["args"], "kwargs": key["kwargs"], "options": options}
        assert upgraded.site.ask("start", workflow=key["workflow"], **given) == key["run"]


def test_streams_are_read_from_their_beginning_to_what_was_added(upgraded: Upgraded) -> None:
    for stream in upgraded.expected["streams"]:
        found = upgraded.site.ask("chunks", run=stream["run"], stream=stream["stream"])
        assert found == stream["chunks"], stream["stream"]


@pytest.mark.sqlite
def test_exported_histories_fit_todays_code() -> None:
    file = RELEASE / "histories.jsonl"
    exported = {json.loads(line)["id"] for line in file.read_text().splitlines()}
    assert exported == {run_id for run_id, run in EXPECTED["postgres"]["runs"].items() if run["at"] in ENDED}
    with dumps.SQLITE.fresh("") as url, Site(dumps.environment(url, encrypted=False)) as site:
        code, text = site.manage("workflows", "replay", str(file))
    assert code == 0, text
