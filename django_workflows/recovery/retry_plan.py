"""What a retry leaves out of a failed run's log, so that the run continues from the step that failed it.

The failures that ended the run are found, and with them everything that the body did because of them. The rest of the
log stays: branches that ran beside the failure keep their results. Whether that works out is tried on the spot, by a
replay; where what the body did beside the failure depends on it after all, everything from there on is left out as
well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..engine.tracing import Trace
from ..eventlog import events
from ..eventlog.events import CREATIONS, RUN_TERMINALS, Record
from ..eventlog.lives import effective
from ..eventlog.records import raw_fields
from ..eventlog.statuses import RunStatus
from ..exceptions import CorruptedEventLogError, EntityConflictError, RunNotFoundError
from ..models import Run
from ..services.children import current_children
from ..store.event_log import read
from .replay_log import require_workflow, trace_log

_FAILURES = (events.StepFailed.type, events.ChildFailed.type, events.RunTimedOut.type)


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """``skipped``: sequences that replay leaves out from now on. It holds while the log ends with
    ``expected_sequence``.

    ``steps`` (correlation ids) are tried again; ``children`` (run ids) failed and have to be retried first. Both are
    empty where no step's failure ended the run, but its own code: then the body continues from its last event.
    """

    run_id: str
    expected_sequence: int
    skipped: tuple[int, ...]
    steps: tuple[str, ...]
    children: tuple[str, ...]
    #: the log as it will read, ``run_retried`` included
    log: list[Record] = field(repr=False)


def plan_retry(run_id: str) -> RetryPlan:
    """Find out what a retry of this run leaves out. Reads the log and replays it; writes nothing, locks nothing.

    Raises:
        EntityConflictError: the run has not failed, or its payloads were erased.
        ReplayDivergenceError: the code of this process does not fit what the run did before it failed.
    """
    run = Run.objects.filter(pk=run_id).only("workflow", "status").first()
    if run is None:
        raise RunNotFoundError(run_id)
    require_failed(run_id, run.status)
    workflow = require_workflow(run.workflow)
    log = read(run_id)
    require_payloads(log[0], run_id)
    search = _Search(run_id, log, trace_log(run_id, workflow, log))
    chosen = search.failures()
    skipped = search.consequences(chosen)
    first = min([search.terminal.sequence, *(record.sequence for record in chosen)])
    candidate = _retried(log, skipped)
    divergence = trace_log(run_id, workflow, candidate).divergence
    if divergence is not None and divergence.sequence is not None and divergence.sequence > first:
        skipped |= search.decided_from(divergence.sequence)
        candidate = _retried(log, skipped)
        divergence = trace_log(run_id, workflow, candidate).divergence
    if divergence is not None:
        raise divergence
    again = [record for record in chosen if not search.is_left_out(record.correlation_id, skipped)]
    return RetryPlan(
        run_id=run_id,
        expected_sequence=log[-1].sequence,
        skipped=tuple(sorted(skipped)),
        steps=tuple(r.correlation_id for r in again if r.type == events.StepFailed.type),
        children=_failed_children(run_id, [r.correlation_id for r in again if r.type == events.ChildFailed.type]),
        log=candidate,
    )


def _failed_children(run_id: str, correlation_ids: Sequence[str]) -> tuple[str, ...]:
    """Of the children whose failure failed the run, those that are still failed, as run ids."""
    found = current_children(run_id, correlation_ids)
    failed = []
    for correlation_id in correlation_ids:
        child = found.get(correlation_id)
        if child is None or child.status == RunStatus.CANCELLED:
            what = "was pruned" if child is None else f"({child.pk}) was cancelled"
            raise EntityConflictError(
                f"Run {run_id} failed because its child {correlation_id} {what}, which cannot be retried. "
                "fork_run() starts a new run from before the child."
            )
        if child.status == RunStatus.FAILED:
            failed.append(child.pk)
    return tuple(failed)


def require_failed(run_id: str, status: str) -> None:
    """Raise EntityConflictError unless the run has failed."""
    if status != RunStatus.FAILED:
        raise EntityConflictError(
            f"Run {run_id} is {status}; only a failed run can be retried. fork_run() starts a new run from any point."
        )


def require_payloads(created: Record, run_id: str) -> None:
    """Raise EntityConflictError for a run whose payloads were erased."""
    if raw_fields(created).get("erased"):
        raise EntityConflictError(f"The payloads of run {run_id} were erased; it cannot be replayed.")


def run_retried(skipped: Iterable[int]) -> events.RunRetried:
    """The event that a retry records, planned or done."""
    return events.RunRetried(sorted(skipped))


def _retried(log: Sequence[Record], skipped: Iterable[int]) -> list[Record]:
    last = log[-1]
    event = run_retried(skipped)
    return [*log, Record(last.sequence + 1, event.type, "", event.encode(), last.created_at)]


class _Search:
    """The failed life of a run: its records, and which led to which."""

    def __init__(self, run_id: str, log: Sequence[Record], trace: Trace) -> None:
        self._records = effective(log)
        self._trace = trace
        self._by_sequence = {record.sequence: record for record in self._records}
        self._created = {r.correlation_id: r for r in self._records if r.type in CREATIONS}
        terminal = next((record for record in reversed(self._records) if record.type in RUN_TERMINALS), None)
        if terminal is None:
            raise CorruptedEventLogError(f"Run {run_id} has failed, but its log has no end; run `workflows verify`.")
        self.terminal = terminal

    # --- which failures ended the run --------------------------------------------------------------------------------

    def failures(self) -> list[Record]:
        """The failures to be tried again: what the run's error shows, without those that led to another of them.

        Steps that failed when the body had ended are among them: it never saw that, and would fail by it at once.
        """
        ended = self._trace.end_cause or self.terminal.sequence
        candidates = self._shown()
        direct = self._by_sequence.get(self._trace.end_cause or 0)
        if raw_fields(self.terminal)["error_code"] == "run_timeout":
            direct = next((r for r in reversed(self._records) if r.type == events.RunTimedOut.type), direct)
            candidates = {}
        if direct is not None and direct.type in _FAILURES:
            candidates[direct.sequence] = direct
        handled = {sequence for record in candidates.values() for sequence in self._ancestors(record)}
        for record in self._records:
            if record.type == events.StepFailed.type and record.sequence > ended:
                candidates[record.sequence] = record
        return [record for sequence, record in sorted(candidates.items()) if sequence not in handled]

    def _shown(self) -> dict[int, Record]:
        """Failures that occur in the traceback of the run's error; of equal ones the last."""
        text = _plain(raw_fields(self.terminal)["error"]["traceback"])
        found: dict[str, Record] = {}
        for record in self._records:
            mark = _mark(record)
            if mark and mark in text and record.sequence < self.terminal.sequence:
                found[mark] = record
        return {record.sequence: record for record in found.values()}

    def _ancestors(self, record: Record) -> set[int]:
        """Sequences of the records that led, one to the next, to what this record is about."""
        found: set[int] = set()
        while (created := self._created.get(record.correlation_id)) is not None:
            cause = self._by_sequence.get(self._trace.causes.get(created.sequence, 0))
            if cause is None or cause.sequence in found:
                break
            found.add(cause.sequence)
            record = cause
        return found

    # --- what follows from them --------------------------------------------------------------------------------------

    def consequences(self, failures: Iterable[Record]) -> set[int]:
        """The failures, the run's end, what the body decided because of them, and what came of that."""
        skipped = {record.sequence for record in failures} | {self.terminal.sequence}
        gone: set[str] = set()
        for record in self._records:
            if record.is_decision and self._trace.causes.get(record.sequence) in skipped:
                skipped.add(record.sequence)
                if record.type in CREATIONS:
                    gone.add(record.correlation_id)
            elif record.correlation_id in gone:
                skipped.add(record.sequence)
        return skipped

    def decided_from(self, sequence: int) -> set[int]:
        """All decisions from this event on, and what came of them."""
        late = [r for r in self._records if r.sequence >= sequence and r.is_decision]
        gone = {record.correlation_id for record in late if record.type in CREATIONS}
        arrived = (r.sequence for r in self._records if r.correlation_id in gone)
        return {record.sequence for record in late} | set(arrived)

    def is_left_out(self, correlation_id: str, skipped: set[int]) -> bool:
        """Whether the decision that made this entity is itself among what is skipped."""
        created = self._created.get(correlation_id)
        return created is not None and created.sequence in skipped


def _mark(record: Record) -> str:
    """What a run's traceback shows if this failure is part of its error."""
    if record.type == events.StepFailed.type:
        error = raw_fields(record)["error"]
        return _plain(error["traceback"] or error["message"])
    if record.type == events.ChildFailed.type:
        return str(raw_fields(record)["child"])
    return ""


def _plain(text: str) -> str:
    """A traceback without the indentation and the bars that exception groups put in front of its lines."""
    return "\n".join(line.strip(" |+-") for line in text.strip().splitlines())
