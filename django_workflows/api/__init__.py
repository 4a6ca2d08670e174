"""Calling workflows: start runs, look at them, act on them. Every function has an ``a``-twin for async code.

The admin, REST and the commands enter through here as well; each use case stands in the module of its subject::

    starts      start one run, many, or by name         client      what handles and definitions ask (``run.result()``)
    runs        find, cancel, wake, unblock             hooks       look up, resume, dispose
    webhooks    an HTTP request in, its answer out      streams     pages of chunks, for doors that pass them on
    schedules   create, find, pause, trigger, backfill  recovery    repair, retry, fork, export, import
    upkeep      prune, erase                            inspection  explain, diagnose, verify
    deploys     the lock file                           availability  is the database away?

What writes joins the caller's ``transaction.atomic()``: it commits or rolls back with the caller's own writes. The
verbs of ``upkeep`` go through many runs and commit run by run, or batch by batch.
"""

from __future__ import annotations

from .client import client
from .hooks import adispose_hook, aget_hook_by_token, aresume_hook, dispose_hook, get_hook_by_token, resume_hook
from .inspection import Reason, adiagnose, aexplain, averify_runs, diagnose, explain, verify_runs
from .recovery import (
    aexport_run,
    afork_run,
    aimport_history,
    aplan_fork,
    arepair_run,
    aretry_run,
    export_run,
    fork_run,
    import_history,
    plan_fork,
    repair_run,
    replay_history,
    retry_run,
)
from .runs import acancel_run, aget_run, aunblock_run, awake_run, cancel_run, get_run, unblock_run, wake_run
from .schedules import (
    ScheduleHandle,
    acreate_schedule,
    aget_schedule,
    alist_schedules,
    create_schedule,
    get_schedule,
    list_schedules,
)
from .starts import astart_by_name, start, start_by_name, start_many, start_or_get
from .upkeep import aerase_runs, aprune_runs, erase_runs, prune_runs
from .webhooks import aresume_webhook, resume_webhook

__all__ = [
    "Reason",
    "ScheduleHandle",
    "acancel_run",
    "acreate_schedule",
    "adiagnose",
    "adispose_hook",
    "aerase_runs",
    "aexplain",
    "aexport_run",
    "afork_run",
    "aget_hook_by_token",
    "aget_run",
    "aget_schedule",
    "aimport_history",
    "alist_schedules",
    "aplan_fork",
    "aprune_runs",
    "arepair_run",
    "aresume_hook",
    "aresume_webhook",
    "aretry_run",
    "astart_by_name",
    "aunblock_run",
    "averify_runs",
    "awake_run",
    "cancel_run",
    "client",
    "create_schedule",
    "diagnose",
    "dispose_hook",
    "erase_runs",
    "explain",
    "export_run",
    "fork_run",
    "get_hook_by_token",
    "get_run",
    "get_schedule",
    "import_history",
    "list_schedules",
    "plan_fork",
    "prune_runs",
    "repair_run",
    "replay_history",
    "resume_hook",
    "resume_webhook",
    "retry_run",
    "start",
    "start_by_name",
    "start_many",
    "start_or_get",
    "unblock_run",
    "verify_runs",
    "wake_run",
]
