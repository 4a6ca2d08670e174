"""A Django process on a database of its own: ``Site`` is its end in the test, ``python -m tests.upgrades.site`` the other.

It obeys one line of JSON at a time, ``{"do": …}``, and answers each with one, ``{"is": …}`` or ``{"error": …}``. It uses what a
user of the library may use: ``django_workflows``, its ``api`` and ``models``, and ``manage.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent.parent


class Site:
    """The process, from construction to the end of its ``with``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.upgrades.site"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, do: str, **given: Any) -> Any:
        """What the process answers. An exception there is an AssertionError here, with its traceback."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["is"]

    def manage(self, *arguments: str) -> tuple[int, str]:
        """The exit code of ``manage.py`` with these arguments, and what it prints."""
        code, text = self.ask("manage", arguments=arguments)
        return code, text


def start_worker(environment: Mapping[str, str], *options: str) -> subprocess.Popen[bytes]:
    """A real ``manage.py workflows worker``. To be ended by whoever has started it."""
    command = [sys.executable, "-m", "django", "workflows", "worker", *options, "-v", "0"]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


# --- the other end ---------------------------------------------------------------------------------------------------


def _manage(arguments: list[str]) -> list[Any]:
    from django.core.management import CommandError, call_command

    printed, code = io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            call_command(*arguments, stdout=printed, stderr=printed)
        except SystemExit as end:
            code = int(end.code or 0)
        except CommandError as error:
            printed.write(str(error))
            code = error.returncode
    return [code, printed.getvalue()]


def _start(workflow: str, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> str:
    from django_workflows import api

    return api.start_by_name(workflow, args, kwargs, **options).id


def _act(verb: str, **given: Any) -> Any:
    """One of the things that the outside does to a run. False: there is no such hook, or not yet."""
    from django_workflows import HookNotFoundError, WebhookRequest, api

    try:
        if verb == "resume":
            event = api.resume_hook(given["token"], given["payload"], idempotency_key=given.get("idempotency_key"))
            return event.sequence
        if verb == "webhook":
            response = api.resume_webhook(
                given["token"],
                WebhookRequest(
                    given["method"],
                    query=given.get("query"),
                    headers=given.get("headers"),
                    body=given["body"].encode(),
                ),
            )
            return response.status
    except HookNotFoundError:
        return False
    if verb == "wake":
        return api.wake_run(given["run"]) > 0
    (api.cancel_run if verb == "cancel" else api.retry_run)(given["run"])
    return True


def _look() -> dict[str, Any]:
    """All runs: where they are."""
    from django_workflows.models import Run
    from tests.upgrades.told import told

    return {
        run.id: {
            "workflow": run.workflow,
            "status": run.status,
            "parked": bool(run.blocked_reason),
            "output": told(run.output),
            "error_code": run.error_code,
            "error": None if run.error is None else [run.error["type"], run.error["message"]],
        }
        for run in Run.objects.all()
    }


def _chunks(run: str, stream: str) -> list[Any]:
    from django_workflows import api
    from tests.upgrades.told import told

    return [told(value) for value in api.get_run(run).stream(stream, timeout=30)]


def main() -> None:
    import django

    django.setup()
    verbs: dict[str, Callable[..., Any]] = {
        "manage": _manage,
        "start": _start,
        "act": _act,
        "look": _look,
        "chunks": _chunks,
    }
    answers = sys.stdout
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"is": verbs[request.pop("do")](**request)}
        except Exception:
            import traceback

            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
