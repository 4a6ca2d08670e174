"""Rule 10 from the senders' side: what was confirmed to them is in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..eventlog import events
from ..models import Event
from .violation import Violation


def verify_deliveries(accepted: Iterable[Event], *, exactly: bool = True) -> list[Violation]:
    """Compare the events that ``resume_hook`` returned to its callers with the logs.

    Each must be in its log, unchanged. With ``exactly``, the hooks concerned have received nothing else: then a refused
    delivery has left no trace either. A delivery repeated under its idempotency key counts once.
    """
    confirmed: dict[tuple[str, int], Event] = {(event.run_id, event.sequence): event for event in accepted}
    found, received = [], Counter[tuple[str, str]]()
    rows = Event.objects.filter(run_id__in={run_id for run_id, _ in confirmed}, type=events.HookReceived.type)
    logged = {(event.run_id, event.sequence): event for event in rows}
    for key, event in confirmed.items():
        row = logged.get(key)
        if row is None or (row.correlation_id, row.data) != (event.correlation_id, event.data):
            found.append(Violation(event.run_id, 10, f"event {event.sequence} was confirmed and is not in the log"))
        received[event.run_id, event.correlation_id] += 1
    if exactly:
        counts = Counter((event.run_id, event.correlation_id) for event in logged.values())
        for (run_id, hook), count in counts.items():
            if (run_id, hook) in received and count != received[run_id, hook]:
                what = f"{hook} has received {count} payloads, {received[run_id, hook]} were confirmed"
                found.append(Violation(run_id, 10, what))
    return found
