"""Django signals, sent after the commit of what they report; receivers get ``run_id`` and ``workflow``.

A receiver's exception is logged and changes nothing. Signals are hints for metrics and logs, sent by the process that
made the change: what must not be missed belongs in a workflow or in the log.
"""

from __future__ import annotations

from django.dispatch import Signal

run_started = Signal()
run_completed = Signal()
run_failed = Signal()
run_cancelled = Signal()
run_blocked = Signal()
