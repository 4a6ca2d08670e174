"""Makes the dumps of a release: ``python -m tests.upgrades.make_dump``, in a checkout **of that release**, four minutes.

For release 0.1.0 this has been done, and its dumps are frozen: what they hold cannot be made again by later code. For
the next release: check it out, put this folder into it, copy ``release_0_1`` to ``release_0_2``, give the new features
workflows and shapes there and here, name the new directory in ``RELEASE``, and run. ``make install`` brings what is needed.

Each of the four databases (PostgreSQL and SQLite, plain and encrypted) goes through the same story: real workers, killed
where the story says so, and the API. What a run has to come to is said here as a status; its output is what the release
itself comes to when it goes on with a copy of the dump.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually
from tests.upgrades import dumps
from tests.upgrades.dumps import Engine
from tests.upgrades.later import ENDED, Later
from tests.upgrades.site import ROOT, Site, start_worker

RELEASE = Path(__file__).parent / "0.1.0"
#: seconds: due when the dump is loaded, and not while it is being made
SOON = 25.0
FAR = datetime(2999, 1, 1, tzinfo=UTC)
DECADES = timedelta(days=300_000)

#: what keeps children's ends from being delivered, and is gone again before the dump
HOLD_BACK = {
    "postgres": (
        "CREATE FUNCTION hold_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'held back'; END $$",
        "CREATE TRIGGER hold_back BEFORE DELETE ON django_workflows_outbox EXECUTE FUNCTION hold_back()",
    ),
    "sqlite": (
        "CREATE TRIGGER hold_back BEFORE DELETE ON django_workflows_outbox BEGIN SELECT RAISE(ABORT, 'held back'); END",
    ),
}
LET_GO = {
    "postgres": ("DROP TRIGGER hold_back ON django_workflows_outbox", "DROP FUNCTION hold_back"),
    "sqlite": ("DROP TRIGGER hold_back",),
}


class Story:
    """What happens in one database. ``runs`` says of each run what it is there for."""

    def __init__(self, engine: Engine, url: str, environment: dict[str, str]) -> None:
        self.engine, self.url, self.environment = engine, url, environment
        self.runs: dict[str, dict[str, Any]] = {}
        self.keys: list[dict[str, Any]] = []
        self.streams: list[dict[str, Any]] = []

    # --- the means ---------------------------------------------------------------------------------------------------

    def start(
        self,
        shape: str,
        workflow: Any,
        *args: Any,
        at: str = "running",
        end: str = "completed",
        acts: list[dict[str, Any]] | None = None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """Start a run that is ``at`` a status when the dump is made, and comes to ``end`` when ``acts`` have been done."""
        run = (workflow.using(**options) if options else workflow).start(*args, **kwargs)
        self.expect(run.id, shape, at, end, acts or [])
        if options and "idempotency_key" in options:
            self.keys.append(
                {"workflow": workflow.name, "args": list(args), "kwargs": kwargs, "run": run.id}
                | {"key": options["idempotency_key"]}
            )
        return str(run.id)

    def expect(self, run_id: str, shape: str, at: str, end: str, acts: list[dict[str, Any]]) -> None:
        for act in acts:
            if act["verb"] in ("wake", "cancel", "retry"):
                act["run"] = run_id
        self.runs[run_id] = {"shape": shape, "at": at, "end": {"status": end}, "acts": acts}

    def worker(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        return start_worker({**self.environment, **environment}, *options)

    def burst(self, **environment: str) -> None:
        """A worker does what is due, except in the queue of those that are killed."""
        queues = ["--queue", "default", "--queue", "slow"]
        assert self.worker("--burst", *queues, **environment).wait() == 0

    @contextmanager
    def killed_worker(self) -> Iterator[None]:
        """A worker of the queue ``held``. It is killed at the end."""
        worker = self.worker("--queue", "held")
        try:
            yield
        finally:
            worker.kill()
            worker.wait()

    def manage(self, *arguments: str) -> str:
        from django.core.management import call_command

        printed = io.StringIO()
        try:
            call_command(*arguments, stdout=printed)
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(printed.getvalue()) from None
        return printed.getvalue()

    # --- what happens ------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        self.before_the_deploy()
        self.first_starts()
        self.burst()
        self.acts_of_others()
        self.burst()
        self.last_starts()
        self.burst()
        self.a_bad_deploy()
        self.kills()
        self.nobody_works()
        self.relatives()

    def before_the_deploy(self) -> None:
        from tests.upgrades.release_0_1 import workflows as w

        self.start("patched: began before the patch", w.patching, "unpatched", acts=[resume("unpatched", 1)])
        self.start("retried: has ended in its second life", w.charging, at="completed")
        self.start("retried: waits in its second life", w.charging, "again", acts=[resume("again", "paid")])
        self.start("failed: is retried", w.charging, "later", at="failed", acts=[retry(), resume("later", "at last")])
        self.burst(UPGRADES_CODE="unpatched,broken", UPGRADES_CODE_VERSION="before")

    def first_starts(self) -> None:
        from tests.upgrades.release_0_1 import workflows as w
        from tests.upgrades.release_0_1.values import every_value

        options = {"idempotency_key": "order-41", "priority": 7, "attributes": {"customer": "c1"}}
        self.start("completed: orders", w.orders, 41, express=True, options=options, at="completed")
        self.start("completed: values of every kind", w.values, every_value(), at="completed")
        self.start("values: a payload is to come", w.values, {"a": 1}, "any", acts=[resume("any", {"deep": [1, None]})])
        self.start("completed: branches", w.branches, None, at="completed")
        self.start("branches: one waits", w.branches, "left", acts=[resume("left", "L")])
        self.start("completed: a failure caught", w.failing, "caught", at="completed")
        for how in ("fatal", "after retries", "body", "unstorable", "step timeout", "group"):
            self.start(f"failed: {how}", w.failing, how, at="failed", end="failed")
        self.start("erased", w.waiting, "erased", at="completed", options={"attributes": {"person": "ada"}})
        self.start("cancelled: with a clean-up", w.waiting, "cancel", at="cancelled", end="cancelled")
        never = {"run_after": FAR}
        self.start("cancelled: before it began", w.orders, 46, at="cancelled", end="cancelled", options=never)
        self.start("cancelling: nobody has told it", w.waiting, "untold", end="cancelled")
        self.start("cancelled: by force", w.waiting, "force", at="cancelled", end="cancelled")
        self.start(
            "failed: timed out", w.waiting, "late", at="failed", end="failed", options={"timeout": timedelta(seconds=1)}
        )
        far = {"timeout": DECADES, "idempotency_key": "far"}
        self.start("deadline: far", w.waiting, "far", acts=[resume("far", 2)], options=far)
        self.start("hook: waits, with metadata", w.waiting, "plain", acts=[resume("plain", {"ok": True})])
        more = [resume("many", word) for word in ("c", "d")]
        self.start("hook: some payloads read", w.collecting, "many", 4, acts=more)
        self.start(
            "hook: payloads unread",
            w.collecting,
            "unread",
            3,
            acts=[resume("unread", 1, key="first"), resume("unread", 3)],
        )
        self.start(
            "hook: with a schema", w.approving, "schema", acts=[resume("schema", {"approved": "yes", "by": "Ada"})]
        )
        self.start("webhook: waits", w.listening, "web", "plain", acts=[webhook("web", "PUT")])
        self.start("webhook: answers itself", w.listening, "fixed", "respond", acts=[webhook("fixed", "POST")])
        self.start("webhook: signed", w.listening, "signed", "signed", acts=[webhook("signed", "POST", sign=True)])
        self.start("webhook: has received", w.listening, "had", "respond", at="completed")
        self.start("manual webhook: answered", w.answering, "answered", at="completed")
        self.start("manual webhook: its caller was told 504", w.answering, "expired")
        self.start("manual webhook: its caller is held", w.answering, "holding")
        self.start("sleeping: far in the future", w.sleeping, FAR, acts=[{"verb": "wake"}])
        self.start("completed: woken from its sleep", w.sleeping, FAR, at="completed")
        self.start("retry: far in the future", w.recovering, FAR, end="cancelled", acts=[{"verb": "cancel"}])
        self.start("patched", w.patching, "patched", acts=[resume("patched", 2)])
        self.start("parked", w.parking, "parked")
        self.start("child: its parent waits", w.parent, "wait", "kid", acts=[resume("kid", "grown up")])
        self.start("child: has continued", w.parent, "continue", "kid2", acts=[resume("kid2", "grown up, too")])
        self.start("child: completed", w.parent, "return", at="completed")
        self.start("child: failed", w.parent, "fail", at="completed")
        self.start("child: cancelled, its parent is not told yet", w.parent, "wait", "kid3")
        self.start(
            "child: not told that its parent was cancelled", w.parent, "wait", "kid4", at="cancelled", end="cancelled"
        )
        self.start(
            "child: detached from a cancelled parent",
            w.parent,
            "wait",
            "kid5",
            detached=True,
            at="cancelled",
            end="cancelled",
        )
        self.start("forked: the original", w.forking, 1, at="completed")
        self.start("continued: has ended", w.continuing, 2, "", at="completed")
        self.start("continued: waits", w.continuing, 1, "chain", at="completed", acts=[resume("chain", "end")])
        self.start("streams: open and closed", w.streaming, "stream", acts=[resume("stream", "last chunk")])
        self.start("a plain function", w.plain, "def", acts=[resume("def", "it goes on")])

    def acts_of_others(self) -> None:
        from django_workflows import WebhookRequest, api
        from django_workflows.models import Event, Run, Step
        from tests.upgrades.release_0_1 import workflows as w

        for token in ("erased", "many", "many"):
            api.resume_hook(token, {"erased": "Ada Lovelace"}.get(token, token), idempotency_key=None)
        api.cancel_run(self.named("cancelled: with a clean-up"), reason="changed her mind")
        api.cancel_run(self.named("cancelled: before it began"))
        api.cancel_run(self.named("cancelled: by force"), force=True)
        api.wake_run(self.named("completed: woken from its sleep"))
        assert api.resume_webhook("had", WebhookRequest("POST", body=b"body \xff", headers={"X-A": "1"})).status == 299
        for shape in ("retried: has ended in its second life", "retried: waits in its second life"):
            api.retry_run(self.named(shape))
        original = self.named("forked: the original")
        second = Step.objects.filter(run_id=original, name="upgrades.note").order_by("correlation_id").last()
        assert second is not None
        fork = api.fork_run(original, from_step=second.correlation_id)
        self.expect(fork.id, "forked: has ended", "completed", "completed", [])
        fork = api.fork_run(original, input={"args": [2], "kwargs": {"wait": True}})
        self.expect(fork.id, "forked: waits", "running", "completed", [])
        self.start("hook: in conflict", w.conflicting, "plain", at="completed")
        # a step answers a caller: it has to be held while a worker is there
        caller = threading.Thread(target=api.resume_webhook, args=("answered", WebhookRequest("POST", body=b"hello")))
        caller.start()
        answered = Event.objects.filter(run_id=self.named("manual webhook: answered"), type="hook_received")
        eventually(answered.exists, "the caller is held")
        # time passes, as far as the deadline
        late = Run.objects.get(pk=self.named("failed: timed out"))
        eventually(lambda: late.deadline_at < datetime.now(UTC), "the deadline is past")
        self.burst()
        caller.join()
        self.manage("workflows", "erase", "--attribute", "person=ada")

    def last_starts(self) -> None:
        """What becomes due between the dump and its loading. No worker comes so much later."""
        from tests.upgrades.release_0_1 import workflows as w

        soon = {"timeout": timedelta(seconds=SOON)}
        self.start("deadline: past when the dump is loaded", w.waiting, "soon", end="failed", options=soon)
        self.start("sleeping: due when the dump is loaded", w.sleeping, SOON)
        self.start("retry: due when the dump is loaded", w.recovering, SOON)

    def a_bad_deploy(self) -> None:
        """Code that does not fit the log of a run: it is parked."""
        from django_workflows import api
        from django_workflows.models import Run

        api.resume_hook("parked", "unseen")
        self.burst(UPGRADES_CODE="misfit", UPGRADES_CODE_VERSION="misfit")
        assert Run.objects.blocked().get().pk == self.named("parked")

    def kills(self) -> None:
        from django_workflows import api
        from django_workflows.models import Outbox, Step
        from tests.upgrades.release_0_1 import workflows as w

        self.engine.execute(self.url, *HOLD_BACK[self.engine.name])
        self.start("running: its worker is dead", w.held, "held")
        forced = self.start("cancelled: by force, its step ran on", w.held, "forced", at="cancelled", end="cancelled")
        self.start("child: completed, its parent is not told yet", w.held_parent)
        with self.killed_worker():
            running = Step.objects.filter(name="upgrades.hold", status="running")
            eventually(lambda: running.count() == 2, "the steps run")
            eventually(lambda: Outbox.objects.filter(kind="child_ended").exists(), "the child has ended")
            api.cancel_run(forced, reason="at once", force=True)
        assert running.count() == 2, "a step that is running stays so"
        self.engine.execute(self.url, *LET_GO[self.engine.name])

    def nobody_works(self) -> None:
        """What the API does while there is no worker."""
        from django_workflows import api
        from django_workflows.models import Outbox, WebhookCall
        from tests.upgrades.release_0_1 import workflows as w

        for payload, key in ((1, "first"), (2, None)):
            api.resume_hook("unread", payload, idempotency_key=key)
        self.start("pending", w.orders, 42, at="pending", options={"idempotency_key": "order-42", "priority": -1})
        self.start("pending: in another queue", w.orders, 43, at="pending", options={"queue": "default"})
        after = {"run_after": FAR}
        self.start(
            "pending: far", w.orders, 44, at="pending", end="cancelled", acts=[{"verb": "cancel"}], options=after
        )
        never = self.start("cancelling: before it began", w.orders, 45, at="pending", end="cancelled")
        for run_id in (never, self.named("cancelling: nobody has told it")):
            api.cancel_run(run_id, reason="not wanted")
        api.cancel_run(self.only_child_of("child: cancelled, its parent is not told yet"), force=True)
        for shape in ("child: not told that its parent was cancelled", "child: detached from a cancelled parent"):
            api.cancel_run(self.named(shape), force=True)
        owed = sorted(Outbox.objects.values_list("kind", flat=True))
        assert owed == ["cancel_child"] * 4 + ["child_ended"] * 2, owed
        with_timeout = {**self.environment, "UPGRADES_RESPONSE_TIMEOUT": "0.1"}
        assert self.caller("expired", with_timeout).wait() == 0
        held = self.caller("holding", self.environment)
        eventually(lambda: WebhookCall.objects.count() == 3, "the caller is held")
        held.kill()
        held.wait()

    def caller(self, token: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        code = (
            "import sys, django; django.setup()\n"
            "from django_workflows import WebhookRequest, api\n"
            "api.resume_webhook(sys.argv[1], WebhookRequest('POST', body=sys.argv[1].encode()))"
        )
        return subprocess.Popen([sys.executable, "-c", code, token], cwd=ROOT, env=environment)

    def named(self, shape: str) -> str:
        return next(run_id for run_id, run in self.runs.items() if run["shape"] == shape)

    def only_child_of(self, shape: str) -> str:
        from django_workflows.models import Run

        return str(Run.objects.get(parent_id=self.named(shape)).pk)

    def relatives(self) -> None:
        """Runs that other runs have started, and the token that one has drawn."""
        from django_workflows.models import Hook, Run

        waits = self.named("forked: waits")
        self.runs[waits]["acts"] = [resume(Hook.objects.get(run_id=waits).token, "to the fork")]
        ends = {
            "child: cancelled, its parent is not told yet": "cancelled",
            "child: not told that its parent was cancelled": "cancelled",
            "child: detached from a cancelled parent": "completed",
            "child: failed": "failed",
        }
        for run in Run.objects.exclude(pk__in=self.runs).order_by("created_at"):
            of = self.runs.get(run.parent_id or run.continued_from) or self.runs[run.continued_from]
            shape = of["shape"]
            word = "run after" if run.continued_from else "child of"
            acts = [resume("kid5", "left alone")] if shape == "child: detached from a cancelled parent" else []
            end = "completed" if run.continued_from else ends.get(shape, "completed")
            self.expect(run.pk, f"({word}) {shape}", run.status, end, acts)
        for run in Run.objects.all():
            assert run.status == self.runs[run.pk]["at"], (run.pk, self.runs[run.pk], run.status, run.error)


def resume(token: str, payload: Any, *, key: str | None = None) -> dict[str, Any]:
    act = {"verb": "resume", "token": token, "payload": payload}
    return act if key is None else {**act, "idempotency_key": key}


def retry() -> dict[str, Any]:
    return {"verb": "retry"}


def webhook(token: str, method: str, *, sign: bool = False) -> dict[str, Any]:
    body = json.dumps({"for": token})
    headers = {"Content-Type": "application/json", "X-Shop": token}
    if sign:
        digest = hmac.new(b"a secret of the dumps", body.encode(), hashlib.sha256).hexdigest()
        headers["X-Hub-Signature-256"] = f"sha256={digest}"
    return {
        "verb": "webhook",
        "token": token,
        "method": method,
        "query": {"q": ["1", "2"]},
        "headers": headers,
        "body": body,
    }


# --- one database ----------------------------------------------------------------------------------------------------


def schema() -> str:
    """The tables as this release's migrations make them."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.recorder import MigrationRecorder

    executor = MigrationExecutor(connection)
    with connection.schema_editor(collect_sql=True) as editor:
        editor.create_model(MigrationRecorder.Migration)
    blocks = ["\n".join(editor.collected_sql)]
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True):
        printed = io.StringIO()
        call_command("sqlmigrate", migration.app_label, migration.name, no_color=True, stdout=printed)
        blocks.append(f"-- {migration}\n{printed.getvalue()}")
    return "\n".join(blocks)


def make_one(engine: Engine, url: str, directory: Path, *, encrypted: bool) -> None:
    """Tell the story in this empty database, dump it, and see what it comes to. This process uses the database's site."""
    import django

    django.setup()
    story = Story(engine, url, dict(os.environ))
    story.manage("migrate", "--verbosity", "0")
    story.tell()
    name = f"{engine.name}-encrypted" if encrypted else engine.name
    text = engine.dump(url, schema() if engine.name == "postgres" else "")
    dumps.write(directory / f"{name}.sql.gz", text)
    if name == "postgres":
        ended = [pk for pk, run in story.runs.items() if run["at"] in ENDED]
        story.manage("workflows", "export", *ended, "--output", str(directory / "histories.jsonl"))
    add_ends(engine, text, story, encrypted=encrypted)
    expected = {"runs": story.runs, "keys": story.keys, "streams": story.streams}
    (directory / f"{name}.json").write_text(json.dumps(expected))


def add_ends(engine: Engine, text: str, story: Story, *, encrypted: bool) -> None:
    """Load the dump beside, let this release go on with it, and note what the runs come to."""
    with ExitStack() as stack:
        url = stack.enter_context(engine.fresh(story.url))
        engine.load(url, text)
        site = stack.enter_context(Site(dumps.environment(url, encrypted=encrypted)))
        found = Later(site, {"runs": story.runs}).go_on(timeout=90)
        for stream in ("default", "log"):
            run_id = story.named("streams: open and closed")
            chunks = site.ask("chunks", run=run_id, stream=stream)
            story.streams.append({"run": run_id, "stream": stream, "chunks": chunks})
    for run_id, run in story.runs.items():
        end = found[run_id]
        assert end["status"] == run["end"]["status"], (run["shape"], end)
        run["end"] = {key: end[key] for key in ("status", "output", "error_code", "error")}
        if run["at"] not in ENDED:  # how a later release words what it finds is its own affair
            del run["end"]["error"]


# --- all of them -----------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("ENGINE", "ENCRYPTED", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    engines = {engine.name: engine for engine in (dumps.POSTGRES, dumps.SQLITE)}
    if options.one:
        name, encrypted, url = options.one
        make_one(engines[name], url, RELEASE, encrypted=encrypted == "yes")
        return
    from tests.postgres import database_url

    if version("django-durable-workflows") != RELEASE.name or RELEASE.exists():
        raise SystemExit(f"{RELEASE.name} is frozen, or this is another release.")
    server = database_url()
    RELEASE.mkdir()
    expected = {}
    for engine in engines.values():
        for encrypted in (False, True):
            with engine.fresh(server) as url:
                one = ["--one", engine.name, "yes" if encrypted else "no", url]
                subprocess.run(
                    [sys.executable, "-m", "tests.upgrades.make_dump", *one],
                    cwd=ROOT,
                    env=dumps.environment(url, encrypted=encrypted),
                    check=True,
                )
            name = f"{engine.name}-encrypted" if encrypted else engine.name
            part = RELEASE / f"{name}.json"
            expected[name] = json.loads(part.read_text())
            part.unlink()
    (RELEASE / "expected.json").write_text(_by_line(expected))


def _by_line(expected: dict[str, Any]) -> str:
    """JSON with a line for each run, so that it can be read."""
    dumps = []
    for name, part in expected.items():
        runs = ",\n".join(f"{json.dumps(run_id)}: {json.dumps(run)}" for run_id, run in part.pop("runs").items())
        rest = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in part.items())
        dumps.append(f'{json.dumps(name)}: {{"runs": {{\n{runs}\n}},\n{rest}}}')
    return "{" + ",\n\n".join(dumps) + "}\n"


if __name__ == "__main__":
    main()
