"""``workflows worker`` and ``start --wait``: the command itself, in separate processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_workflows.management.subcommands import worker
from django_workflows.models import Run, Worker
from django_workflows.workers.supervisor import Supervisor, WorkerOptions
from tests.support.eventually import eventually
from tests.support.processes import ROOT, database_url

from . import work
from .conftest import Manage

#: `manage.py workflows …` with the workflows of these tests
_CODE = """
import sys, django
django.setup()
import tests.management.work
if len(sys.argv) > 2 and sys.argv[1] == "--watch":
    import importlib.util
    spec = importlib.util.spec_from_file_location("watched", sys.argv[2])
    sys.modules["watched"] = importlib.util.module_from_spec(spec)
    del sys.argv[1:3]
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "workflows", *sys.argv[1:]])
"""


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class TestOptions:
    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> list[Supervisor]:
        seen: list[Supervisor] = []
        monkeypatch.setattr(Supervisor, "run", lambda self: seen.append(self) or 0)
        monkeypatch.setattr(worker, "_show_logs", lambda verbosity: None)
        return seen

    def test_are_passed_to_the_supervisor(self, given: list[Supervisor], manage: Manage) -> None:
        options = "--queue a --queue b --queue a --concurrency 3 --processes 2 --burst --grace 5"
        answer = manage("worker", *options.split())
        expected = WorkerOptions(queues=("a", "b"), concurrency=3, processes=2, burst=True, grace=5.0)
        assert given[0].options == expected
        assert answer.text.startswith("Worker of a, b: 2 processes, 3 steps at a time each.")

    def test_have_defaults(self, given: list[Supervisor], manage: Manage) -> None:
        manage("worker")
        assert given[0].options == WorkerOptions(queues=None, concurrency=None, processes=1, burst=False, grace=30.0)
        assert given[0].changed() is False

    def test_its_exit_code_is_the_commands(self, monkeypatch: pytest.MonkeyPatch, manage: Manage) -> None:
        monkeypatch.setattr(Supervisor, "run", lambda self: 3)
        monkeypatch.setattr(worker, "_show_logs", lambda verbosity: None)
        assert manage("worker").code == 3

    @pytest.mark.parametrize(
        "options", [("--concurrency", "0"), ("--processes", "-1"), ("--processes", "two"), ("--grace", "soon")]
    )
    def test_that_make_no_sense_are_refused(self, manage: Manage, options: tuple[str, ...]) -> None:
        with pytest.raises(CommandError):
            manage("worker", *options)


class TestCodeWatcher:
    def test_sees_that_a_file_has_changed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "module.py"
        file.write_text("")
        monkeypatch.setattr(worker, "_module_files", lambda: [file])
        watcher = worker.CodeWatcher()
        assert watcher.changed() is False
        os.utime(file, (1, 1))
        assert watcher.changed() is False, "it looks once a second at most"
        watcher._look_at = 0
        assert watcher.changed() is True

    def test_a_file_that_is_being_written_is_no_change(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker, "_module_files", lambda: [tmp_path / "gone.py"])
        assert worker.CodeWatcher().changed() is False

    def test_the_projects_own_files_are_watched_and_installed_ones_are_not(self) -> None:
        files = worker._module_files()
        assert Path(work.__file__) in files
        assert not [file for file in files if "site-packages" in file.parts]


@pytest.mark.django_db(transaction=True)
class TestProcesses:
    def test_a_burst_does_what_is_due_and_ends(self, verified: None) -> None:
        started = work.sleeping.start_many([((0.0,), {}), ((3600.0,), {})])
        with command("worker", "--burst", "--verbosity", "2") as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
        assert [handle.status() for handle in started] == ["completed", "running"]
        assert "Worker of all queues: 1 process, 16 steps" in output

    def test_sigterm_ends_it_with_exit_code_0(self) -> None:
        with command("worker") as process:
            eventually(Worker.objects.alive().exists, "a worker has registered")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        assert process.returncode == 0
        assert not Worker.objects.alive().exists()

    def test_start_wait_shows_what_happens_and_the_result(self, verified: None) -> None:
        with command("worker"), command("start", "cli.sleeping", "[0.1]", "--wait") as process:
            output, _ = process.communicate(timeout=30)
        run = Run.objects.get()
        assert process.returncode == 0, output
        # while the worker is still starting, a line says that there is none
        lines = [line for line in output.splitlines() if not line.startswith("No worker is alive")]
        assert lines[0] == run.id
        assert [line.split()[2] for line in lines[1:-1]] == [
            "run_created",
            "run_started",
            "wait_created",
            "wait_completed",
            "run_completed",
        ]
        assert lines[-1] == "completed  rested"

    def test_start_wait_exits_1_when_the_run_fails(self) -> None:
        with command("worker"), command("start", "cli.failing", "--wait") as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "RuntimeError: the reason" in output.splitlines()[-1]

    def test_start_wait_can_be_interrupted_and_the_run_continues(self) -> None:
        with command("start", "cli.sleeping", "[60]", "--wait") as process:
            eventually(Run.objects.exists, "the run is there")
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 130
        assert f"workflows show {run_id}" in output

    def test_reload_restarts_when_the_code_changes(self, tmp_path: Path) -> None:
        file = tmp_path / "watched.py"
        file.write_text("")
        with command("--watch", str(file), "worker", "--reload") as process:
            first = eventually(lambda: Worker.objects.alive().first(), "a worker has registered")

            def replaced() -> Any:
                os.utime(file, None)
                return Worker.objects.alive().exclude(pk=first.pk).first()

            second = eventually(replaced, "another worker has registered")
            assert second.pk != first.pk
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0


@pytest.mark.django_db
def test_inside_the_transaction_of_a_test_it_refuses_and_says_what_to_use() -> None:
    with pytest.raises(CommandError, match=r"django_workflows\.testing"):
        call_command("workflows", "worker", burst=True, verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_the_callers_signal_handlers_are_back_when_it_returns() -> None:
    def own(*_: object) -> None: ...

    before = {number: signal.signal(number, own) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        call_command("workflows", "worker", burst=True, verbosity=0)
        assert {signal.getsignal(number) for number in before} == {own}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unconfigured() -> Iterator[logging.Logger]:
    """The library's logger as in a project that says nothing of logging. A fixture would not do: pytest adds handlers
    after it."""
    logger, step = logging.getLogger("django_workflows"), logging.getLogger("django_workflows.step")
    before = (logger.propagate, logger.handlers, logger.level, step.level)
    logger.propagate, logger.handlers = False, []
    try:
        yield logger
    finally:
        logger.propagate, logger.handlers = before[:2]
        logger.setLevel(before[2])
        step.setLevel(before[3])


class TestTerminal:
    """What the worker shows where the project has not configured logging."""

    @pytest.mark.parametrize(
        ("verbosity", "runs", "steps"),
        [(1, logging.INFO, logging.INFO), (2, logging.INFO, logging.DEBUG), (3, logging.DEBUG, logging.DEBUG)],
    )
    def test_shows_runs_and_with_v_2_steps(self, verbosity: int, runs: int, steps: int) -> None:
        with unconfigured() as logger:
            worker._show_logs(verbosity)
            assert len(logger.handlers) == 1
            levels = [logging.getLogger(f"django_workflows.{name}").getEffectiveLevel() for name in ("run", "step")]
            assert levels == [runs, steps]

    def test_leaves_a_project_that_has_configured_logging_alone(self) -> None:
        mine = logging.NullHandler()
        with unconfigured() as logger:
            logger.addHandler(mine)
            worker._show_logs(2)
            assert logger.handlers == [mine]

    def test_adds_nothing_with_v_0(self) -> None:
        with unconfigured() as logger:
            worker._show_logs(0)
            assert logger.handlers == []
