"""Writes ``docs/reference/events.md`` from the classes of the events: ``python -m tests.guards.event_reference``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django_workflows.eventlog.events import TYPES, Entity, Event, FieldTraits, Kind

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "events.md"

_HEADINGS = {
    Entity.RUN: "The run",
    Entity.STEP: "Steps",
    Entity.WAIT: "Sleeps",
    Entity.HOOK: "Hooks",
    Entity.CHILD: "Child runs",
    Entity.ATTRIBUTES: "Attributes",
    Entity.PATCH: "Patches",
}
_INTRODUCTION = """# Events

What a run's log can hold. `Event.type` is the name, `Event.payload` the fields below by name; `workflows show --events`
prints a log, `GET api/runs/<id>/events/` answers with it.

A **decision** exists because the body said so: a replay must make the same ones in the same order. An **arrival** comes
from outside the body. A **mark** is bookkeeping, neither of the two. Fields that are *erased* hold what people put in:
`workflows erase` replaces them; all others are kept. An *optional* field is left out where there is nothing to say. An
error is `{type, message, args, traceback, cause}`, its type a dotted path (builtins bare). Times are ISO 8601 in UTC.
"""


def render() -> str:
    """The page as it ought to be."""
    parts = [_INTRODUCTION]
    for entity, heading in _HEADINGS.items():
        parts.append(f"\n## {heading}\n")
        parts += [_render_event(cls) for cls in TYPES.values() if cls.traits.entity is entity]
    return "".join(parts)


def _render_event(cls: type[Event]) -> str:
    said = " ".join((cls.__doc__ or "").split()).partition(" Written by ")
    text = said[0] + "".join(f" {rest}" for rest in said[2].split(". ", 1)[1:])
    lines = [f"\n### `{cls.type}`\n", f"*{', '.join(_words(cls))}*. {text.replace('``', '`')}\n"]
    if cls.fields:
        lines += ["| field | type | | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(field) for field in cls.fields.values()]
        lines.append("")
    return "\n".join(lines)


def _words(cls: type[Event]) -> Iterator[str]:
    traits = cls.traits
    yield traits.kind.value if traits.arrives is None else f"{Kind.DECISION.value} or {Kind.ARRIVAL.value}"
    if traits.opens or traits.closes:
        yield " and ".join(word for word, is_so in (("begins", traits.opens), ("ends", traits.closes)) if is_so)
    if traits.status is not None:
        statuses = [traits.status, *([traits.status_if[1]] if traits.status_if else [])]
        yield "→ " + " or ".join(statuses)


def _row(field: FieldTraits) -> str:
    notes = ["erased"] if field.personal else []
    notes += ["optional"] if field.optional else []
    notes += ["never shown"] if field.secret else []
    type = field.type.replace(" | None", " or null").replace("Any", "any")
    return f"| `{field.name}` | {type} | {', '.join(notes)} | {field.doc.replace('|', '/')} |"


if __name__ == "__main__":
    PAGE.write_text(render())
