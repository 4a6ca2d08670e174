"""The tables: columns and constraints, no behaviour. Read them freely; only the package's own verbs write them.

``Run`` is at once the lock, the queue entry and the head of its log: it is due when ``wake_at`` has come. ``Event`` is the
log; every other table is a fold of it, kept so that it can be queried, locked and constrained. All of them are pinned to
``DJANGO_WORKFLOWS["DATABASE"]``, whatever the project's routers say.

``fields`` has the kinds of columns (ids, encoded values, moments), ``querysets`` the English of the queries.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..eventlog.events import CHILD_TERMINALS, CREATIONS, RUN_TERMINALS, STEP_TERMINALS, TYPES, WAIT_TERMINALS, Record
from ..eventlog.statuses import ACTIVE_RUN, ACTIVE_STEP, TERMINAL_RUN, TERMINAL_STEP, RunStatus, StepStatus, WaitStatus
from .fields import AttributesIndex, IdField, IsOneOf, MomentField, PayloadField, SealedField, among  # noqa: F401 - migrations name them here
from .querysets import HookManager, PinnedManager, RunManager, StepManager, WaitManager, WorkerManager


class Run(models.Model):
    """One execution of a workflow: the lock of all that belongs to it, its place in the queue, and the head of its log.

    ``input`` is ``{"args": [...], "kwargs": {...}}``; of ``output`` and ``error`` the one is set with which it ended.
    ``Run.objects`` has ``active() ended() due() blocked() with_attributes()``.
    """

    id = IdField(primary_key=True, max_length=40)
    workflow = models.CharField(max_length=255)
    queue = models.CharField(max_length=100)
    priority = models.IntegerField(default=0)
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in RunStatus])
    input = PayloadField()
    output = PayloadField(null=True)
    error = PayloadField(null=True)
    error_code = models.CharField(max_length=64, default="")
    attributes = models.JSONField(default=dict)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - NULL: not deduplicated
    parent = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="children", db_index=False)
    parent_correlation_id = models.CharField(max_length=255, default="")
    #: not cancelled with its parent
    detached = models.BooleanField(default=False)
    forked_from = models.CharField(max_length=40, default="")
    continued_from = models.CharField(max_length=40, default="")
    #: source of the body's uuids and random numbers; never shown through a door
    seed = models.CharField(max_length=64)
    code_version = models.CharField(max_length=64, default="")
    created_at = MomentField()
    started_at = MomentField(null=True)
    completed_at = MomentField(null=True)
    deadline_at = MomentField(null=True)
    cancel_requested_at = MomentField(null=True)
    timed_out_at = MomentField(null=True)
    #: when a worker should look next; NULL: not before something arrives
    wake_at = MomentField(null=True)
    expires_at = MomentField(null=True)
    last_sequence = models.IntegerField(default=0)
    last_event_at = MomentField()
    #: from 0, one more for each ``retry_run``
    life = models.SmallIntegerField(default=0)
    blocked_reason = models.TextField(default="")
    blocked_until = MomentField(null=True)
    blocked_count = models.IntegerField(default=0)
    #: code version of the workers that could not advance the run last
    blocked_version = models.CharField(max_length=64, default="")
    #: code version, or ``"*"`` for all of them -> [Unix time before which it does not try again, tries, reason]
    pauses = models.JSONField(null=True)
    #: worker processes that its body has taken down since it was last advanced or unblocked
    crashes = models.IntegerField(default=0)

    objects = RunManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("workflow run")
        verbose_name_plural = _("workflow runs")
        default_permissions = ("view",)
        permissions = (
            ("start_run", "Can start a workflow run"),
            ("cancel_run", "Can cancel a workflow run"),
            ("force_cancel_run", "Can end a workflow run at once"),
            ("retry_run", "Can retry a failed workflow run"),
            ("wake_run", "Can wake a sleeping workflow run"),
            ("unblock_run", "Can have a blocked workflow run tried again"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(among("status", ACTIVE_RUN), completed_at__isnull=True)
                | Q(among("status", TERMINAL_RUN), completed_at__isnull=False),
                name="workflows_run_status",
            ),
            models.UniqueConstraint(
                fields=("workflow", "idempotency_key"),
                condition=Q(idempotency_key__isnull=False),
                name="workflows_run_idempotency_key",
            ),
        )
        indexes = (
            models.Index(
                fields=("queue", "priority", "wake_at"),
                condition=Q(wake_at__isnull=False, blocked_until__isnull=True),
                name="workflows_run_due",
            ),
            models.Index(fields=("-created_at", "-id"), name="workflows_run_newest"),
            models.Index(fields=("workflow", "-created_at"), name="workflows_run_by_workflow"),
            models.Index(fields=("status", "-created_at"), name="workflows_run_by_status"),
            models.Index(fields=("parent",), condition=Q(parent__isnull=False), name="workflows_run_children"),
            models.Index(fields=("expires_at",), condition=Q(expires_at__isnull=False), name="workflows_run_expiry"),
            models.Index(
                fields=("blocked_until",), condition=Q(blocked_until__isnull=False), name="workflows_run_blocked"
            ),
            AttributesIndex(fields=("attributes",), name="workflows_run_attributes", opclasses=("jsonb_path_ops",)),
        )

    def __str__(self) -> str:
        return str(self.id)


class Worker(models.Model):
    """A worker process: what it takes, and how others know that it lives. Rows of stopped workers stay.

    It lives while ``stopped_at`` is NULL and ``heartbeat_at`` is recent; with ``lock_trusted`` the disappearance of its
    advisory lock shows its death within a second. ``concurrency`` and ``load`` count attempts of steps.
    """

    id = IdField(primary_key=True, max_length=40)
    hostname = models.CharField(max_length=255)
    pid = models.IntegerField()
    queues = models.JSONField(default=list)  # []: all
    concurrency = models.IntegerField(default=1)
    load = models.IntegerField(default=0)
    code_version = models.CharField(max_length=64, default="")
    #: names that this worker's code defines, so that ``doctor`` can name the workflows that no worker knows
    workflows = models.JSONField(default=list)
    started_at = MomentField()
    heartbeat_at = MomentField()
    stopped_at = MomentField(null=True)
    #: key of the session advisory lock that shows that the process lives
    lock_key = models.BigIntegerField(default=0)
    #: False behind a transaction pooler, where the lock proves nothing
    lock_trusted = models.BooleanField(default=False)
    listening = models.BooleanField(default=False)
    #: the worker's wall clock minus the database's, in seconds
    clock_skew = models.FloatField(default=0.0)
    #: results that wait to be saved because the database refuses them, since when, and why; as of the last heartbeat
    unsaved = models.IntegerField(default=0)
    unsaved_since = MomentField(null=True)
    unsaved_reason = models.TextField(default="")

    objects = WorkerManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("heartbeat_at",), condition=Q(stopped_at__isnull=True), name="workflows_worker_alive"),
        )

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"


class Step(models.Model):
    """A call of a step by a body: claimable while ``pending`` and ``available_at`` has come, leased while ``running``.

    ``attempt`` with ``worker`` is the lease; ``failures`` are what the retry policy counts, ``losses`` the workers that
    vanished in mid-attempt. ``error`` of a step that is tried again is the last attempt's.
    """

    id = IdField(primary_key=True, max_length=40)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps", db_index=False)
    correlation_id = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in StepStatus])
    input = PayloadField()
    output = PayloadField(null=True)
    error = PayloadField(null=True)
    #: starts so far, also those whose worker vanished
    attempt = models.IntegerField(default=0)
    failures = models.IntegerField(default=0)
    losses = models.IntegerField(default=0)
    queue = models.CharField(max_length=100)
    priority = models.IntegerField(default=0)
    available_at = MomentField()
    worker = models.ForeignKey(
        Worker, null=True, on_delete=models.DO_NOTHING, related_name="steps", db_constraint=False, db_index=False
    )
    created_at = MomentField()
    #: of the first attempt
    started_at = MomentField(null=True)
    completed_at = MomentField(null=True)

    objects = StepManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=("run", "correlation_id"), name="workflows_step_correlation"),
            models.CheckConstraint(
                condition=Q(among("status", ACTIVE_STEP))
                | Q(among("status", TERMINAL_STEP), completed_at__isnull=False),
                name="workflows_step_status",
            ),
        )
        indexes = (
            models.Index(
                fields=("queue", "priority", "available_at"),
                condition=Q(status=StepStatus.PENDING.value),
                name="workflows_step_claimable",
            ),
            models.Index(
                fields=("worker",), condition=Q(status=StepStatus.RUNNING.value), name="workflows_step_running"
            ),
        )

    def __str__(self) -> str:
        return str(self.correlation_id)


class Hook(models.Model):
    """A body waits for payloads from outside under this token; active until ``disposed_at``. Its payloads are events."""

    id = IdField(primary_key=True, max_length=40)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="hooks", db_index=False)
    correlation_id = models.CharField(max_length=255)
    token = models.CharField(max_length=255)
    is_webhook = models.BooleanField(default=False)
    metadata = PayloadField(null=True)
    #: what the doors need to answer a delivery
    options = PayloadField(null=True)
    created_at = MomentField()
    disposed_at = MomentField(null=True)

    objects = HookManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("hook")
        verbose_name_plural = _("hooks")
        default_permissions = ("view",)
        permissions = (("resume_hook", "Can resume a hook"), ("dispose_hook", "Can dispose a hook"))
        constraints = (
            models.UniqueConstraint(
                fields=("token",), condition=Q(disposed_at__isnull=True), name="workflows_hook_active_token"
            ),
            models.UniqueConstraint(fields=("run", "correlation_id"), name="workflows_hook_correlation"),
        )
        indexes = (models.Index(fields=("token",), name="workflows_hook_by_token"),)

    def __str__(self) -> str:
        return str(self.correlation_id)


class Wait(models.Model):
    """A body sleeps until ``due_at``, by the database's clock, or until it is woken or cancelled (``completed_at``)."""

    id = IdField(primary_key=True, max_length=40)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="waits", db_index=False)
    correlation_id = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in WaitStatus])
    due_at = MomentField()
    created_at = MomentField()
    completed_at = MomentField(null=True)

    objects = WaitManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("wait")
        verbose_name_plural = _("waits")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=("run", "correlation_id"), name="workflows_wait_correlation"),
            models.CheckConstraint(condition=among("status", WaitStatus), name="workflows_wait_status"),
        )
        indexes = (
            models.Index(
                fields=("run", "due_at"), condition=Q(status=WaitStatus.WAITING.value), name="workflows_wait_open"
            ),
        )

    def __str__(self) -> str:
        return str(self.correlation_id)


class Event(models.Model):
    """One entry of a run's log, never changed. The types and their data are the classes of ``eventlog.events``.

    Within a run ``sequence`` orders the log without gaps. ``correlation_id`` names the step, hook, wait or child that the
    event is about; empty for the run itself.
    """

    pk = models.CompositePrimaryKey("run", "sequence")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events", db_index=False)
    #: dense from 1, allotted under the run's lock
    sequence = models.IntegerField()
    type = models.CharField(max_length=32, choices=[(name, name) for name in TYPES])
    correlation_id = models.CharField(max_length=255, default="")
    data = SealedField()
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - NULL: not deduplicated
    #: of the run when the event was written: a retried run ends, and so may its steps, once in each life
    life = models.SmallIntegerField(default=0, db_default=0)
    created_at = MomentField()

    objects: ClassVar[PinnedManager[Event]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view",)
        constraints = (
            models.CheckConstraint(condition=Q(sequence__gte=1), name="workflows_event_sequence_from_1"),
            # stronger than one per type: a hook is created or in conflict, never both
            models.UniqueConstraint(
                fields=("run", "correlation_id"),
                condition=Q(type__in=sorted(CREATIONS)),
                name="workflows_event_creation",
            ),
            models.UniqueConstraint(
                fields=("run", "correlation_id", "life"),
                condition=Q(type__in=sorted((*STEP_TERMINALS, *WAIT_TERMINALS, *CHILD_TERMINALS))),
                name="workflows_event_terminal",
            ),
            models.UniqueConstraint(
                fields=("run", "life"), condition=Q(type__in=sorted(RUN_TERMINALS)), name="workflows_event_run_terminal"
            ),
            models.UniqueConstraint(
                fields=("run", "correlation_id", "idempotency_key"),
                condition=Q(idempotency_key__isnull=False),
                name="workflows_event_idempotency_key",
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id} {self.sequence} {self.type}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A new event never takes the place of one that is there, as an object with a natural key would."""
        super().save(*args, **{**kwargs, "force_insert": True} if self._state.adding else kwargs)

    @property
    def record(self) -> Record:
        """The event as the engine takes it."""
        return Record(self.sequence, self.type, self.correlation_id, self.data, self.created_at)

    @property
    def payload(self) -> dict[str, Any]:
        """``data`` decoded."""
        return self.record.payload


class Stream(models.Model):
    """The head of a stream: the lock of its writers. ``next_index`` is its length, in chunks; none follows ``closed_at``."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="streams", db_index=False)
    name = models.CharField(max_length=255)
    next_index = models.IntegerField(default=0)
    created_at = MomentField()
    closed_at = MomentField(null=True)
    #: "<step id> <attempt>" of the attempt that closed it: a later attempt of that step may write on
    closed_by = models.CharField(max_length=64, default="")

    objects: ClassVar[PinnedManager[Stream]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=("run", "name"), name="workflows_stream_name"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.name}"


class StreamChunk(models.Model):
    """One value of a stream. ``index`` is dense from 0."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    stream = models.CharField(max_length=255)
    index = models.IntegerField()
    data = PayloadField()
    created_at = MomentField()

    objects: ClassVar[PinnedManager[StreamChunk]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=("run", "stream", "index"), name="workflows_chunk_index"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.stream} {self.index}"


class WebhookCall(models.Model):
    """A caller of a webhook that is held for a step's response, until ``answered_at`` or ``expired_at``."""

    id = IdField(primary_key=True, max_length=40)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="webhook_calls", db_index=False)
    correlation_id = models.CharField(max_length=255)
    response = PayloadField(null=True)
    created_at = MomentField()
    answered_at = MomentField(null=True)
    #: the caller got a 504; a later answer is refused
    expired_at = MomentField(null=True)

    objects: ClassVar[PinnedManager[WebhookCall]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ("view",)
        indexes = (models.Index(fields=("run",), name="workflows_call_run"),)

    def __str__(self) -> str:
        return str(self.id)


class Outbox(models.Model):
    """A message from one run's transition to another run; applied in a transaction of its own, once."""

    kind = models.CharField(max_length=32)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="outbox", db_index=False)
    target = models.CharField(max_length=40)
    payload = PayloadField()
    created_at = MomentField()

    objects: ClassVar[PinnedManager[Outbox]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ()
        indexes = (models.Index(fields=("run",), name="workflows_outbox_run"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id} -> {self.target}"


class Schedule(models.Model):
    """When a workflow is started again and again. Its runs carry its name as the attribute ``schedule``."""

    name = models.CharField(max_length=200, unique=True)
    workflow = models.CharField(max_length=255)
    #: ``{"cron": expression}``, or ``{"every": seconds, "epoch": ISO time}``
    spec = models.JSONField()
    #: IANA zone of a cron expression; of an interval, only the zone in which its times are shown
    tz = models.CharField(max_length=255)
    input = PayloadField()
    #: of ``.using()``
    options = PayloadField()
    #: what the middleware captured at ``create_schedule``
    context = PayloadField(null=True)
    overlap = models.CharField(max_length=16)
    catchup = models.CharField(max_length=16)
    #: seconds; NULL: a missed tick is never too old
    catchup_window = models.FloatField(null=True)
    #: seconds
    jitter = models.FloatField(default=0)
    pause_on_failure = models.BooleanField(default=False)
    paused_at = MomentField(null=True)
    paused_reason = models.TextField(default="")
    #: a person, the code that no longer declares it, or a failure: a new deploy lifts only what the code has set
    paused_by = models.CharField(max_length=16, default="")
    #: written in the code, beside the workflow
    declared = models.BooleanField(default=False)
    #: when the worker started that wrote the declaration; an older one leaves it alone
    declared_at = MomentField(null=True)
    #: the next tick; NULL: it never fires again
    next_at = MomentField(null=True)
    #: when the next tick is to be made: ``next_at`` and its jitter, or later where it waits for an earlier run
    due_at = MomentField(null=True)
    last_at = MomentField(null=True)
    last_run = models.ForeignKey(
        Run, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    created_at = MomentField()

    objects: ClassVar[PinnedManager[Schedule]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        default_permissions = ("view", "add", "change", "delete")
        permissions = (
            ("pause_schedule", "Can pause and resume a schedule"),
            ("trigger_schedule", "Can trigger and backfill a schedule"),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                condition=Q(due_at__isnull=False, paused_at__isnull=True),
                name="workflows_schedule_due",
            ),
        )

    def __str__(self) -> str:
        return str(self.name)


class ScheduleTick(models.Model):
    """One instant of a schedule: the run that it made, or why it made none."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="ticks", db_index=False)
    #: without the jitter
    at = MomentField()
    #: NULL: skipped, or waiting for an earlier run to end; the run itself may have been pruned
    run = models.ForeignKey(
        Run, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    #: why no run was made; empty: one was, or will be
    skipped = models.TextField(default="")
    #: counts for the overlap: waits, or its run was still active when last looked at
    open = models.BooleanField(default=False)
    created_at = MomentField()

    objects: ClassVar[PinnedManager[ScheduleTick]] = PinnedManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("schedule tick")
        verbose_name_plural = _("schedule ticks")
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=("schedule", "at"), name="workflows_tick_once"),)
        indexes = (
            models.Index(fields=("schedule", "at"), condition=Q(open=True), name="workflows_tick_open"),
            models.Index(fields=("created_at",), name="workflows_tick_by_age"),
        )

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.at}"
