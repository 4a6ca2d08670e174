"""The table for people and the raw lines for programs."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figure, Summary


def write_raw(figures: Iterable[Figure], path: Path) -> None:
    """One JSON object per line and figure, as it was measured."""
    with path.open("a") as file:
        for figure in figures:
            file.write(json.dumps(asdict(figure)) + "\n")


def put_into(page: Path, text: str) -> None:
    """Replace the text between the page's two marks."""
    before, rest = page.read_text().split("<!-- results -->")
    after = rest.split("<!-- end of results -->")[1]
    page.write_text(f"{before}<!-- results -->\n\n{text}\n\n<!-- end of results -->{after}")


def table(figures: Sequence[Figure], engines: Sequence[str], peers: Sequence[str]) -> str:
    """Markdown: a row per workload and figure, a column per engine; ``vs`` is how many times better ours is."""
    values: dict[tuple[str, str, str, bool], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for figure in figures:
        values[figure.workload, figure.name, figure.unit, figure.higher][figure.engine].append(figure.value)
    head = ["workload", "figure", "unit", *engines, *(f"vs {peer}" for peer in peers)]
    rows = []
    for (workload, name, unit, higher), by_engine in values.items():
        summaries = {engine: Summary.of(found) for engine, found in by_engine.items()}
        cells = [_cell(summaries.get(engine)) for engine in engines]
        rows.append([workload, name, unit, *cells, *(_ratio(summaries, peer, higher=higher) for peer in peers)])
    return _markdown(head, rows)


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    if summary.low == summary.high:
        return _number(summary.median)
    return f"{_number(summary.median)} ({_number(summary.low)}..{_number(summary.high)})"


def _number(value: float) -> str:
    if math.isinf(value):
        return "never"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _ratio(summaries: dict[str, Summary], peer: str, *, higher: bool) -> str:
    if peer not in summaries or "ours" not in summaries:
        return "-"
    ours, theirs = summaries["ours"].median, summaries[peer].median
    if ours <= 0 or theirs <= 0 or math.isinf(ours + theirs):
        return "-"
    return f"{ours / theirs if higher else theirs / ours:.1f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)
