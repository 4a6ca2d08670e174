"""Finding runs by what a person knows of them: an id, a token, a key, an attribute. All look-ups go through an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db.models import Q

from ..authoring.registry import workflow_names
from ..models import Hook, Run, Step, Wait
from ..models.querysets import attribute_is
from ..services.start_options import about_attributes
from ..store import database

#: ids that one look-up gives at most, the newest first
MOST = 500
#: runs whose attributes are looked at to learn which keys are in use
_SAMPLE = 500

_WORKFLOWS = """
WITH RECURSIVE names AS (
    (SELECT workflow FROM django_workflows_run ORDER BY workflow LIMIT 1)
    UNION ALL
    SELECT (SELECT workflow FROM django_workflows_run WHERE workflow > names.workflow ORDER BY workflow LIMIT 1)
    FROM names WHERE names.workflow IS NOT NULL
)
SELECT workflow FROM names WHERE workflow IS NOT NULL LIMIT 1000
"""


def used_workflows() -> list[str]:
    """The workflows that have runs, by name. One look into the index for each, however many runs there are."""
    connection = database.connection()
    if connection.vendor != "postgresql":
        return sorted(Run.objects.values_list("workflow", flat=True).distinct())
    with connection.cursor() as cursor:
        cursor.execute(_WORKFLOWS)
        return [row[0] for row in cursor.fetchall()]


def used_queues(limit: int = 5000) -> list[str]:
    """The queues of the newest runs, and of all that are known here."""
    recent = _runs().order_by("-created_at", "-id").values_list("queue", flat=True)[:limit]
    return sorted(set(recent))


def used_attributes() -> list[str]:
    """The attribute keys of the newest runs, the most used first."""
    counts: Counter[str] = Counter()
    for attributes in _runs().order_by("-created_at", "-id").values_list("attributes", flat=True)[:_SAMPLE]:
        if isinstance(attributes, dict):
            counts.update(attributes.keys())
    return [key for key, _ in counts.most_common(50)]


def find_runs(text: str) -> Q:
    """Which runs a person means by ``text``.

    The id of a run (or its beginning), step, hook or wait; a hook's token; an idempotency key; an attribute as
    ``key=value`` or by its value. Where none of these fits: runs of the workflows whose name contains it.
    """
    text = text.strip().replace("\x00", "")
    ids = _by_id(text) or [
        *_by_token(text),
        *_by_key(text),
        *_by_attribute(text),
    ]
    if ids:
        return Q(pk__in=list(dict.fromkeys(ids))[:MOST])
    known = [name for name in {*used_workflows(), *workflow_names()} if text.lower() in name.lower()]
    return Q(workflow__in=sorted(known)) if known else Q(pk__in=[])


def _runs() -> Any:
    return Run.objects


def _by_id(text: str) -> list[str]:
    prefix, _, rest = text.partition("_")
    if not rest or not rest.isalnum():
        return []
    found: dict[str, Any] = {"step": Step, "hook": Hook, "wait": Wait}
    if prefix == "wrun":
        start = f"wrun_{rest.upper()[:26]}"
        # LIKE has no index here; the range does, in every collation that sorts digits before letters
        rows = _runs().filter(pk__gte=start, pk__lte=start.ljust(31, "Z"), pk__startswith=start).order_by("-pk")
        return list(rows.values_list("pk", flat=True)[:MOST])
    if prefix in found:
        rows = found[prefix].objects.filter(pk=text)
        return list(rows.values_list("run_id", flat=True))
    return []


def _by_token(text: str) -> list[str]:
    rows = Hook.objects.filter(token=text[:255]).order_by("-created_at")
    return list(rows.values_list("run_id", flat=True)[:MOST])


def _by_key(text: str) -> list[str]:
    """The unique index begins with the workflow: it is asked once for each."""
    rows = _runs().filter(workflow__in=used_workflows(), idempotency_key=text[:255])
    return list(rows.values_list("pk", flat=True)[:MOST])


def _by_attribute(text: str) -> list[str]:
    key, equals, value = text.partition("=")
    if equals and key.strip():
        return runs_with_attribute([key.strip()], value.strip())
    return runs_with_attribute(used_attributes(), text)


def attributes_about(instance: Any) -> dict[str, str]:
    """The attributes of runs that were started with ``using(about=instance)``: by them they are found again."""
    return about_attributes(instance)


def runs_with_attribute(keys: Sequence[str], value: str) -> list[str]:
    """Runs that have this value under one of the keys, at most ``MOST``.

    Asked without an order: with one, PostgreSQL may walk through all runs by time instead of using the GIN index.
    """
    runs = _runs()
    if not keys:
        return []
    match = Q()
    for key in keys:
        match |= attribute_is(key, value, database.alias())
    return list(runs.filter(match).values_list("pk", flat=True)[:MOST])
