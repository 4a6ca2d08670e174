"""Django signals, sent after the commit of what they report, by the process that made the change.

The sender is the ``Workflow``, for steps and lost workers the ``Step``; None where the sending process does not know it.
Receivers get ``run_id``, ``workflow``, ``queue``, for steps ``step``, ``step_id`` and ``attempt``, what the event says, and
``exception`` where something was raised. What a receiver raises is logged and changes nothing.

Signals are hints for metrics, notices and caches: a process that dies right after its commit has not sent them. What must
not be missed belongs in a workflow.
"""

from __future__ import annotations

from django.dispatch import Signal

run_started = Signal()
run_completed = Signal()
run_failed = Signal()
run_cancelled = Signal()
#: with ``reason``, and ``tries``: how often it was tried in vain, from 1
run_blocked = Signal()
run_unblocked = Signal()
step_started = Signal()
step_completed = Signal()
step_retrying = Signal()
step_failed = Signal()
hook_created = Signal()
#: a payload was delivered to a hook
hook_resumed = Signal()
#: the worker of an attempt has vanished; with ``worker``, its id
worker_lost = Signal()
