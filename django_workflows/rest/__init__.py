"""The REST API and the webhooks: doors that parse, call ``api``, and render. Nothing is decided or written here.

::

    request ──▶ base (authentication, permissions, JSON in) ──▶ a view ──▶ api ──▶ serializers ──▶ answer
                                                                  └─ WorkflowError ──▶ errors ──▶ {"code", "detail"}

    base         what every view shares                   permissions  who may use it, and which runs a list shows
    runs         list, detail, start, and the verbs        hooks        look up, resume, dispose by token
    histories    events, steps, hooks, waits of one run    streams      Server-Sent Events, or a page of chunks
    webhooks     one view for every sender, without login  schema       the OpenAPI document
    filters      query strings of the list                 pagination   cursors over the pages of inspection.keyset
    queries      payload columns as JSON, undecoded        serializers  the shapes of requests and answers
    errors       the one table of HTTP statuses            schemas      drf-spectacular, where it is installed
    schedules    list, create, change, pause, trigger, backfill
    event_schema an event's payload in the OpenAPI document

A new route is a view in the module of its subject and a line in ``urls``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["WorkflowPermissions"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: permission classes need the models, and this package may be imported before them."""
    if name == "WorkflowPermissions":
        from .permissions import WorkflowPermissions

        return WorkflowPermissions
    raise AttributeError(name)
