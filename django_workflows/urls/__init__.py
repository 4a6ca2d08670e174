"""The routes of webhooks and of the REST API: ``path("workflows/", include("django_workflows.urls"))``."""

from __future__ import annotations

from django.urls import URLPattern, path

from ..rest import histories, hooks, runs, schedules, schema, streams
from . import webhooks

app_name = "django_workflows"

urlpatterns: list[URLPattern] = [
    *webhooks.urlpatterns,
    path("api/runs/", runs.RunList.as_view(), name="run-list"),
    path("api/runs/<str:run_id>/", runs.RunDetail.as_view(), name="run-detail"),
    path("api/runs/<str:run_id>/events/", histories.EventList.as_view(), name="run-events"),
    path("api/runs/<str:run_id>/steps/", histories.StepList.as_view(), name="run-steps"),
    path("api/runs/<str:run_id>/hooks/", histories.HookList.as_view(), name="run-hooks"),
    path("api/runs/<str:run_id>/waits/", histories.WaitList.as_view(), name="run-waits"),
    path("api/runs/<str:run_id>/cancel/", runs.RunCancel.as_view(), name="run-cancel"),
    path("api/runs/<str:run_id>/retry/", runs.RunRetry.as_view(), name="run-retry"),
    path("api/runs/<str:run_id>/wake/", runs.RunWake.as_view(), name="run-wake"),
    path("api/runs/<str:run_id>/unblock/", runs.RunUnblock.as_view(), name="run-unblock"),
    path("api/runs/<str:run_id>/streams/<path:name>/", streams.RunStream.as_view(), name="run-stream"),
    path("api/workflows/<path:name>/runs/", runs.RunStart.as_view(), name="run-start"),
    path("api/hooks/<str:token>/", hooks.HookDetail.as_view(), name="hook-detail"),
    path("api/hooks/<str:token>/resume/", hooks.HookResume.as_view(), name="hook-resume"),
    path("api/hooks/<str:token>/dispose/", hooks.HookDispose.as_view(), name="hook-dispose"),
    path("api/schedules/", schedules.ScheduleList.as_view(), name="schedule-list"),
    path("api/schedules/<path:name>/pause/", schedules.SchedulePause.as_view(), name="schedule-pause"),
    path("api/schedules/<path:name>/resume/", schedules.ScheduleResume.as_view(), name="schedule-resume"),
    path("api/schedules/<path:name>/trigger/", schedules.ScheduleTrigger.as_view(), name="schedule-trigger"),
    path("api/schedules/<path:name>/backfill/", schedules.ScheduleBackfill.as_view(), name="schedule-backfill"),
    path("api/schedules/<path:name>/", schedules.ScheduleDetail.as_view(), name="schedule-detail"),
    path("api/schema/", schema.Schema.as_view(), name="schema"),
]
