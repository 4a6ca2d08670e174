"""The subcommands that act on runs: doors that parse, call and print."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_workflows import api
from django_workflows.authoring import registry
from django_workflows.authoring.workflows import WORKFLOWS
from django_workflows.deploys import lockfile
from django_workflows.models import Run
from tests.recovery import bodies
from tests.recovery.bodies import World
from tests.recovery.conftest import Work


def workflows(*arguments: str) -> str:
    """What the command prints. A SystemExit is passed on to the caller."""
    out = io.StringIO()
    call_command("workflows", *arguments, stdout=out, skip_checks=True)
    return out.getvalue()


@pytest.fixture
def finished(work: Work) -> Any:
    run = bodies.three_steps.using(attributes={"customer": "c1"}).start()
    work()
    return run


class TestFork:
    def test_prints_what_runs_again_and_the_new_id(self, finished: Any) -> None:
        lines = workflows("fork", finished.id, "--from", "step:act:2").splitlines()
        assert lines[0].split() == ["taken", "over", "step", "step:act:1", "tests.recovery.bodies.act"]
        assert lines[1].startswith("runs again")
        assert Run.objects.get(pk=lines[-1]).forked_from == finished.id

    def test_with_plan_writes_nothing(self, finished: Any) -> None:
        assert "would run again" in workflows("fork", finished.id, "--from", "step:act:2", "--plan")
        assert Run.objects.count() == 1

    def test_answers_bad_input_with_a_sentence(self, finished: Any) -> None:
        with pytest.raises(CommandError, match=r"entity_conflict: .* has no step"):
            workflows("fork", finished.id, "--from", "step:no:1")
        with pytest.raises(CommandError, match="is not JSON"):
            workflows("fork", finished.id, "--input", "{")
        with pytest.raises(CommandError, match="too many positional arguments"):
            workflows("fork", finished.id, "--input", "[1]")


class TestRetry:
    def test_lets_the_run_go_on(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = bodies.three_steps.start()
        work()
        world.broken = set()
        workflows("retry", run.id)
        work()
        assert run.status() == "completed"


class TestExportImportReplay:
    def test_a_file_goes_out_is_replayed_and_comes_back(self, finished: Any, tmp_path: Path) -> None:
        file = str(tmp_path / "runs.jsonl")
        assert "1 run written" in workflows("export", finished.id, "--output", file)
        assert "1 history replayed: all fit the code." in workflows("replay", file)
        Run.objects.filter(pk=finished.id).get().delete()
        assert workflows("import", file) == f"{finished.id} imported.\n"
        assert finished.result(timeout=0) == ["a", "b", "c"]

    def test_replay_exits_1_where_the_code_does_not_fit(
        self, finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "runs.jsonl"
        file.write_text(workflows("export", "--since", "1d").replace('"args":["b"]', '"args":["z"]'))
        with pytest.raises(SystemExit) as left:
            workflows("replay", str(file))
        assert left.value.code == 1

    def test_export_needs_to_know_which_runs(self) -> None:
        with pytest.raises(CommandError, match="--since"):
            workflows("export")

    def test_import_says_which_line_is_bad(self, tmp_path: Path) -> None:
        file = tmp_path / "bad.jsonl"
        file.write_text("\n{\n")
        with pytest.raises(CommandError, match="Line 2 is not JSON"):
            workflows("import", str(file))


class TestLock:
    def test_makelock_and_check(self, finished: Any, tmp_path: Path) -> None:
        file = str(tmp_path / lockfile.NAME)
        assert "workflows" in workflows("makelock", "--file", file)
        assert "The code fits the lock file." in workflows("check", "--file", file)

    def test_check_exits_1_when_a_run_is_left_behind(self, work: Work, tmp_path: Path) -> None:
        file = str(tmp_path / lockfile.NAME)
        bodies.sleeper.start()
        work()
        workflows("makelock", "--file", file)
        with registry.isolated():
            WORKFLOWS.discard(bodies.sleeper.name)
            with pytest.raises(SystemExit) as left:
                workflows("check", "--file", file)
        assert left.value.code == 1

    def test_check_without_a_file_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="makelock"):
            workflows("check", "--file", str(tmp_path / "nothing"))


class TestErase:
    def test_dry_run_lists_and_the_real_one_erases(self, finished: Any) -> None:
        assert workflows("erase", "--attribute", "customer=c1", "--dry-run") == f"{finished.id} completed\n"
        assert workflows("erase", "--attribute", "customer=c1") == "1 run erased.\n"
        assert finished.result(timeout=0) == "[erased]"

    def test_exits_1_while_some_run_has_not_ended(self, work: Work) -> None:
        run = bodies.sleeper.using(attributes={"customer": "c2"}).start()
        work()
        with pytest.raises(SystemExit):
            workflows("erase", "--attribute", "customer=c2")
        api.cancel_run(run.id, force=True)

    def test_takes_pairs(self) -> None:
        with pytest.raises(CommandError, match="form key=value"):
            workflows("erase", "--attribute", "customer")


class TestPrune:
    def test_by_age(self, finished: Any) -> None:
        assert workflows("prune", "--older-than", "1h") == "No run ended that long ago.\n"
        assert workflows("prune", "--older-than", "0", "--dry-run") == "1 run would be removed.\n"
        assert workflows("prune", "--older-than", "0") == "1 run removed.\n"
        assert not Run.objects.exists()
