"""Schedules under the kit: the virtual clock makes their ticks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_workflows import api, every, get_workflow_metadata, sleep, workflow
from django_workflows.authoring import registry
from django_workflows.models import Run, Schedule
from django_workflows.testing.session import Workflows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_names() -> Iterator[None]:
    with registry.isolated(empty=True):
        yield


def test_time_that_passes_makes_the_ticks_of_what_the_code_declares(workflows: Workflows) -> None:
    seen = []

    @workflow(name="kit.digest", schedules=[every("1h")])
    async def digest() -> None:
        seen.append(get_workflow_metadata().scheduled_at)

    workflows.run_until_idle()
    workflows.advance("3h 1m")
    assert Run.objects.filter(status="completed", attributes__schedule="kit.digest").count() == 3
    row = Schedule.objects.get()
    assert seen[-1] == row.last_at


def test_a_run_that_is_driven_to_its_end_is_not_held_up_by_a_schedule(workflows: Workflows) -> None:
    @workflow(name="kit.slow")
    async def slow() -> str:
        await sleep("2d")
        return "done"

    api.create_schedule("often", slow, every="1m", overlap="skip")
    assert workflows.run(slow) == "done"
