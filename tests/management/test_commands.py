"""The subcommands: what they print, their exit codes, and that bad input gets a sentence."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import ProgrammingError

from django_workflows import api
from django_workflows.management.subcommands import SUBCOMMANDS
from django_workflows.models import Event, Run
from django_workflows.testing import Workflows
from django_workflows.values import clock

from . import work
from .conftest import Manage

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]


class TestStart:
    def test_prints_the_runs_id(self, manage: Manage) -> None:
        answer = manage("start", "cli.sleeping", "[5]")
        assert Run.objects.get().id == answer.text.strip()
        assert Run.objects.get().input == {"args": [5], "kwargs": {}}

    def test_takes_keyword_arguments_and_options(self, manage: Manage) -> None:
        given = json.dumps({"args": [1], "kwargs": {"token": "t"}})
        manage("start", "cli.everything", given, "--queue", "slow", "--priority", "3", "--run-after", "1h")
        run = Run.objects.get()
        assert run.input == {"args": [1], "kwargs": {"token": "t"}}
        assert (run.queue, run.priority) == ("slow", 3)
        assert run.wake_at == run.created_at + timedelta(hours=1)

    def test_the_same_key_gives_the_same_run(self, manage: Manage) -> None:
        first = manage("start", "cli.sleeping", "--idempotency-key", "k")
        assert manage("start", "cli.sleeping", "--idempotency-key", "k") == first

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("nobody.knows", "[]"), "No workflow is called 'nobody.knows'"),
            (("cli.sleeping", "[1"), "not JSON"),
            (("cli.sleeping", "5"), "are a list"),
            (("cli.sleeping", '{"a": 1}'), "are a list"),
            (("cli.sleeping", '{"args": {}}'), "are a list"),
            (("cli.sleeping", "[1, 2]"), "too many"),
            (("cli.sleeping", "--run-after", "soon"), "not a duration"),
        ],
    )
    def test_bad_input_is_answered_with_a_sentence(
        self, manage: Manage, arguments: tuple[str, ...], words: str
    ) -> None:
        with pytest.raises(CommandError, match=words):
            manage("start", *arguments)
        assert not Run.objects.exists()


class TestShow:
    def test_draws_a_finished_run_and_its_result(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.everything, 21)
        workflows.run_until_idle()
        workflows.advance("2s")
        workflows.resume("the-token", "yes")
        workflows.result(handle)
        text = manage("show", handle.id).text
        assert text.startswith(f"{handle.id}  completed\n  workflow    cli.everything\n")
        assert "2 attempts" in text
        assert "hook the-token" in text
        assert "attributes  {'customer': 'c1'}" in text
        assert "result  {'doubled': 42, 'answer': 'yes', 'notes': ['A', 'B']}" in text

    def test_a_failure_is_shown_with_its_traceback_and_cannot_touch_the_terminal(
        self, workflows: Workflows, manage: Manage
    ) -> None:
        handle = workflows.start(work.failing)
        workflows.run_until_idle()
        text = manage("show", handle.id).text
        assert "failed  user_error: RuntimeError: the reason\\x1b[2J" in text
        assert 'raise RuntimeError("the reason' in text
        assert "\x1b" not in text

    def test_a_sleeping_run_says_when_it_resumes(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.sleeping)
        workflows.run_until_idle()
        text = manage("show", handle.id).text
        assert "next look" in text
        assert "wait 1 h" in text

    def test_a_blocked_run_says_why(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.sleeping)
        Run.objects.filter(pk=handle.id).update(blocked_reason="its code has changed")
        assert "blocked  its code has changed" in manage("show", handle.id).text

    def test_prints_the_log_on_demand_without_secrets(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        workflows.advance("2s")
        lines = manage("show", handle.id, "--events").lines
        events = Event.objects.filter(run_id=handle.id).order_by("sequence")
        printed = [
            line.split()[:1] + [word for word in line.split() if "_" in word][:1] for line in lines[-len(events) :]
        ]
        assert printed == [[str(event.sequence), event.type] for event in events]
        assert "seed" not in "\n".join(lines)


class TestList:
    def ids(self, manage: Manage, *arguments: str) -> list[str]:
        return [json.loads(line)["id"] for line in manage("list", "--json", *arguments).lines]

    def test_is_newest_first_and_filters(self, workflows: Workflows, manage: Manage) -> None:
        first = workflows.start(work.sleeping).id
        second = workflows.start(work.failing).id
        third = workflows.start(work.sleeping.using(attributes={"a": "1", "b": "2"})).id
        workflows.run_until_idle()
        assert self.ids(manage) == [third, second, first]
        assert self.ids(manage, "--limit", "1") == [third]
        assert self.ids(manage, "--workflow", "cli.failing") == [second]
        assert self.ids(manage, "--workflow", "sleeping") == [third, first]
        assert self.ids(manage, "--status", "failed", "--status", "completed") == [second]
        assert self.ids(manage, "--queue", "slow") == [second]
        assert self.ids(manage, "--attribute", "a=1", "--attribute", "b=2") == [third]
        assert self.ids(manage, "--attribute", "a=2") == []
        Run.objects.filter(pk=first).update(blocked_reason="x", blocked_until=clock.now())
        assert self.ids(manage, "--blocked") == [first]

    def test_knows_a_workflow_by_its_end_at_a_dot_only(self, workflows: Workflows, manage: Manage) -> None:
        workflows.start(work.sleeping)
        assert self.ids(manage, "--workflow", "leeping") == []
        assert self.ids(manage, "--workflow", "unheard_of") == []

    def test_prints_a_line_for_each_run(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.sleeping)
        (line,) = manage("list").lines
        assert line.startswith(handle.id)
        assert "pending" in line
        assert "cli.sleeping" in line

    def test_says_that_there_are_none(self, manage: Manage) -> None:
        assert manage("list").text == "No runs.\n"

    def test_refuses_an_attribute_without_a_value(self, manage: Manage) -> None:
        with pytest.raises(CommandError, match="key=value"):
            manage("list", "--attribute", "a")


class TestActing:
    def test_resume_delivers_a_payload(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.everything, 1)
        workflows.run_until_idle()
        workflows.advance("2s")
        text = manage("resume", "the-token", '{"ok": true}', "--idempotency-key", "k").text
        event = Event.objects.get(run_id=handle.id, type="hook_received")
        assert text == f"{handle.id} received it as event {event.sequence}.\n"
        assert event.payload == {"payload": {"ok": True}, "idempotency_key": "k"}

    def test_cancel_asks_and_force_ends(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.sleeping)
        workflows.run_until_idle()
        manage("cancel", handle.id, "--reason", "why not")
        assert handle.status() == "running"
        assert "is cancelled" in manage("cancel", handle.id, "--force").text
        request = Event.objects.filter(type="run_cancel_requested").order_by("sequence").first()
        assert request is not None
        assert request.payload["reason"] == "why not"

    def test_wake_ends_sleeps(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.sleeping)
        workflows.run_until_idle()
        assert manage("wake", handle.id).text == "1 wait ended.\n"
        assert manage("wake", handle.id).text == "No wait was open.\n"
        workflows.run_until_idle()
        assert handle.status() == "completed"

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("show", "wrun_nobody"), "run_not_found"),
            (("cancel", "wrun_nobody"), "run_not_found"),
            (("wake", "wrun_nobody"), "run_not_found"),
            (("retry", "wrun_nobody"), "run_not_found"),
            (("resume", "no-such-token", "{}"), "hook_not_found"),
        ],
    )
    def test_what_is_not_there_is_named_by_its_code(
        self, manage: Manage, arguments: tuple[str, ...], code: str
    ) -> None:
        with pytest.raises(CommandError, match=code) as caught:
            manage(*arguments)
        assert caught.value.returncode == 1

    def test_what_has_ended_takes_no_more(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.failing)
        workflows.run_until_idle()
        for verb in ("cancel", "wake"):
            with pytest.raises(CommandError, match="run_not_active"):
                manage(verb, handle.id)

    def test_retry_reopens_a_failed_run(self, workflows: Workflows, manage: Manage) -> None:
        handle = workflows.start(work.failing)
        workflows.run_until_idle()
        manage("retry", handle.id)
        assert handle.status() == "running"


class TestPrune:
    def test_removes_what_has_outlived_its_retention(
        self, workflows: Workflows, manage: Manage, settings: object
    ) -> None:
        settings.DJANGO_WORKFLOWS = {"RETENTION": 60}  # type: ignore[attr-defined]
        workflows.start(work.failing)
        workflows.run_until_idle()
        assert manage("prune").text == "No ended run has outlived its retention.\n"
        workflows.advance("2m")
        assert manage("prune").text == "1 run removed.\n"
        assert not Run.objects.exists()


class TestTheCommand:
    def test_a_missing_table_is_answered_with_advice(self, manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise ProgrammingError('relation "django_workflows_run" does not exist')

        monkeypatch.setattr(api, "cancel_run", refuse)
        with pytest.raises(CommandError, match="run `manage"):
            manage("cancel", "wrun_1")

    def test_settings_that_are_wrong_are_a_sentence(self, manage: Manage, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"DATABASE": "nowhere"}
        with pytest.raises(CommandError, match=r"The settings are wrong: .*nowhere"):
            manage("list")
        settings.DJANGO_WORKFLOWS = {"DATABASE": 1}
        with pytest.raises(CommandError, match=r"The settings are wrong: .*takes a string"):
            manage("list")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("show", "wrun_\udcff"),
            ("resume", "\udcff", "1"),
            ("cancel", "\udcff"),
            ("verify", "\udcff"),
            ("list", "--limit", str(10**30)),
            ("list", "--queue", "\udcff"),
            ("start", "cli.sleeping", "[1e999]"),
            ("start", "cli.sleeping", "--priority", str(10**12)),
            ("start", "cli.sleeping", "--queue", "x" * 1000),
            ("start", "cli.sleeping", "--idempotency-key", "x" * 1000),
        ],
    )
    def test_odd_input_is_a_sentence_or_harmless(self, manage: Manage, arguments: tuple[str, ...]) -> None:
        with contextlib.suppress(CommandError):
            manage(*arguments)

    def test_djangos_own_options_are_understood_behind_the_subcommand(self, manage: Manage) -> None:
        assert manage("verify", "-v", "0", "--no-color").text == ""

    def test_every_subcommand_says_what_it_does(self) -> None:
        names = [subcommand.name for subcommand in SUBCOMMANDS]
        assert len(set(names)) == len(names)
        assert {
            "worker",
            "start",
            "list",
            "show",
            "cancel",
            "resume",
            "wake",
            "retry",
            "verify",
            "doctor",
            "prune",
        } <= set(names)
        assert all(subcommand.summary.endswith(".") for subcommand in SUBCOMMANDS)
