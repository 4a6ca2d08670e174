"""The validator beside busy workers: at any moment it sees a prefix of each log, and prefixes obey the rules."""

from __future__ import annotations

import contextlib

import pytest

from django_workflows import api
from django_workflows.exceptions import HookNotFoundError
from django_workflows.models import Hook, Run
from django_workflows.verify import verify_runs
from tests.support.eventually import eventually
from tests.support.processes import Workers

from . import work


@pytest.mark.django_db(transaction=True)
def test_runs_that_are_being_written_break_no_rule() -> None:
    work.busy.start_many([((number,), {}) for number in range(30)])
    looks = 0  # while runs were under way
    with Workers("tests.management.work", processes=2):

        def done() -> bool:
            nonlocal looks
            for token in Hook.objects.active().values_list("token", flat=True)[:10]:
                with contextlib.suppress(HookNotFoundError):
                    api.resume_hook(token, looks)
            live = Run.objects.active().exists()
            assert [str(violation) for violation in verify_runs()] == []
            looks += live
            if not live and not looks:  # they ended too soon: start others
                work.busy.start_many([((number,), {}) for number in range(30)])
                return False
            return not live

        eventually(done, "all runs have ended", timeout=60)
    assert looks, "nothing was seen on its way"
    assert set(Run.objects.values_list("status", flat=True)) == {"completed"}
    assert [str(violation) for violation in verify_runs(replay=True)] == []
