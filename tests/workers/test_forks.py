"""Nothing of a process survives a fork: neither the supervisor's in its workers, nor the worker's in what its steps fork."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, connections

from django_workflows.models import Step, Worker
from django_workflows.workers.link import forks
from tests.shop.models import Ledger
from tests.support.eventually import eventually
from tests.support.processes import Workers
from tests.support.runs import types
from tests.workers import bodies, forking_bodies

MODULE = forking_bodies.__name__
FAST: dict[str, Any] = {"HEARTBEAT_INTERVAL": 0.5, "HEARTBEAT_TIMEOUT": 60.0, "POLL_INTERVAL": 0.2}


class TestTheSupervisor:
    def test_closes_djangos_pool_before_it_forks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its threads would not exist in the child, and its sockets would be in two processes."""
        pytest.importorskip("psycopg_pool")
        connections.close_all()
        with monkeypatch.context() as patch:
            patch.setitem(connection.settings_dict["OPTIONS"], "pool", {"min_size": 1, "max_size": 2})
            connection.ensure_connection()
            pool = connection.pool  # type: ignore[attr-defined]
            assert not pool.closed
            forks.close_connections()
            assert pool.closed
            assert connection._connection_pools == {}  # type: ignore[attr-defined]

    def test_a_child_leaves_what_it_inherited_to_its_parent(self) -> None:
        connection.ensure_connection()
        mine = connection.connection
        pid = os.fork()
        if not pid:
            code = 1
            with suppress(BaseException):
                forks.forget_connections()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    code = 0 if cursor.fetchone()[0] != mine.info.backend_pid else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert mine.execute("SELECT 1").fetchone() == (1,)


class TestSteps:
    def test_a_child_ends_where_the_step_does_and_is_no_second_worker(self) -> None:
        with Workers(MODULE, bodies.__name__, settings=FAST):
            returning, raising = forking_bodies.forking.start("return"), forking_bodies.forking.start("raise")
            exiting = forking_bodies.forking.start("exit")
            assert returning.result(30) == [0, 0, 0]
            assert raising.result(30) == [1, 1, 1]
            assert exiting.result(30) == [7, 7, 7]
            assert bodies.adding.start(3).result(30) == 3
        for run in (returning, raising, exiting):
            assert types(run.id).count("step_completed") == 3
            assert types(run.id).count("step_failed") == 0
        assert Ledger.objects.filter(key__startswith="forked:").count() == 3

    def test_a_child_has_a_database_connection_of_its_own(self) -> None:
        with Workers(MODULE, settings=FAST):
            assert forking_bodies.querying.start("q").result(30) == 0
        assert Ledger.objects.filter(key="child:q").count() == 50
        assert Ledger.objects.filter(key="parent:q").count() == 50

    def test_a_child_that_is_terminated_ends(self) -> None:
        """The worker's handler of SIGTERM is not its own."""
        with Workers(MODULE, settings=FAST):
            assert forking_bodies.terminating.start().result(30) == -signal.SIGTERM

    def test_a_killed_worker_is_noticed_at_once_although_a_child_of_a_step_lives(self) -> None:
        """A child that kept the worker's socket would keep its lock, and the worker would seem to live."""
        with Workers(MODULE, processes=2, settings=FAST):
            run = forking_bodies.leaving_a_child.start("k")
            eventually(lambda: Ledger.objects.filter(key="began:k").exists(), "the step runs")
            child = int(Ledger.objects.get(key="child:k").note)
            try:
                os.kill(Worker.objects.get(pk=Step.objects.get().worker_id).pid, signal.SIGKILL)
                eventually(
                    lambda: Ledger.objects.filter(key="began:k").count() == 2, "another worker has it", timeout=20
                )
                os.kill(child, 0)  # it lives
                Ledger.objects.create(key="go:k")
                assert run.result(30) == 2
            finally:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
