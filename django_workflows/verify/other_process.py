"""Rule 7 in another process with another ``PYTHONHASHSEED``: what depends on memory or hashes shows there.

Logs go to the child through its standard input, so that it needs no database; violations come back as lines of JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from ..authoring.registry import find_workflow
from ..eventlog.events import Record
from ..recovery.replay_log import places_of, replay_log
from .replay import check_replay
from .violation import Subject, Violation

#: not ``-m``: importing this package needs the app registry
_CHILD = "import django; django.setup(); from django_workflows.verify.other_process import replay_stdin; replay_stdin()"


def replay_elsewhere(subjects: Iterable[Subject]) -> list[Violation]:
    """Replay these runs from every cut in a child process; here, where the child cannot import the workflow."""
    subjects = list(subjects)
    lines = [_line(subject) for subject in subjects if _is_known(subject)]
    if not lines:
        return []
    seed = str(random.SystemRandom().randrange(1, 2**32))
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), *sys.path])),
        "DJANGO_SETTINGS_MODULE": _settings_module(),
    }
    answer = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", _CHILD],
        input="\n".join(lines),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        last = answer.stderr.strip().rpartition("\n")[2]
        return [Violation("", 7, f"the replay in another process failed (PYTHONHASHSEED={seed}): {last}")]
    found = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith('{"run_id"')]
    unknown = {item["run_id"] for item in found if item["what"] is None}
    here = [violation for s in subjects if s.run.id in unknown for violation in check_replay(s, everywhere=True)]
    there = [item for item in found if item["what"] is not None]
    words = f"with PYTHONHASHSEED={seed} in another process"
    return [*here, *(Violation(item["run_id"], 7, f"{words}: {item['what']}") for item in there)]


def _settings_module() -> str:
    from django.conf import settings

    # Inside override_settings() the module is named by the settings beneath.
    return str(os.environ.get("DJANGO_SETTINGS_MODULE") or settings.SETTINGS_MODULE)


def _is_known(subject: Subject) -> bool:
    if not subject.events or subject.run.blocked_reason or subject.was_erased:
        return False
    return find_workflow(subject.run.workflow) is not None


def _line(subject: Subject) -> str:
    run, workflow = subject.run, find_workflow(subject.run.workflow)
    assert workflow is not None
    return json.dumps(
        {
            "run_id": run.id,
            "workflow": run.workflow,
            "module": workflow.fn.__module__,
            "ended": subject.ended,
            "records": [
                [r.sequence, r.type, r.correlation_id, r.data, r.created_at.isoformat()] for r in subject.records
            ],
        }
    )


# --- in the child ----------------------------------------------------------------------------------------------------


def _judge(item: dict[str, Any]) -> Sequence[str | None]:
    """What is wrong, in words; None for a workflow that cannot be imported: a script's, or a test's own."""
    workflow = find_workflow(item["workflow"])
    if workflow is None:
        try:
            import_module(item["module"])
        except ImportError:
            return [None]
        workflow = find_workflow(item["workflow"])
    if workflow is None:
        return [None]
    records = [
        Record(sequence, type, correlation_id, data, datetime.fromisoformat(at))
        for sequence, type, correlation_id, data, at in item["records"]
    ]
    places = places_of(records)
    return replay_log(workflow, item["run_id"], records, places, ended=item["ended"])


def replay_stdin() -> None:
    """What the child does: a line of JSON in for each log, a line out for each violation."""
    for line in sys.stdin:
        item = json.loads(line)
        for what in _judge(item):
            sys.stdout.write(json.dumps({"run_id": item["run_id"], "what": what}) + "\n")
