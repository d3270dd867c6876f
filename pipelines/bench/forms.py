"""The table as JSON, CSV and Markdown."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from erasure.storage.tables import to_table
from pipelines.bench.columns import Column, Value
from pipelines.bench.rows import MODELS
from pipelines.bench.table import Joint, Line, Table

FORMAT: Final = "diffusion-erasure bench 1"
NOT_MADE: Final = "not made yet"


def to_json(table: Table, protocol: Mapping[str, Any]) -> str:
    """Everything, with the protocol before it."""
    values = {
        "format": FORMAT,
        "protocol": dict(protocol),
        "columns": [
            {
                "key": c.key,
                "title": c.title,
                "about": c.about,
                "unit": c.unit,
                "better": c.better,
            }
            for c in table.columns
        ],
        "lines": [_line(line) for concept in table.concepts for line in table.of(concept)],
        "joint": [
            {
                "row": one.row.name,
                "mask": one.row.mask,
                "worst": to_table(one.worst),
                "concept": one.concept,
                "done": one.done,
                "concepts": one.concepts,
            }
            for one in table.joint
        ],
        "missing": table.missing,
    }
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _line(line: Line) -> dict[str, Any]:
    return {
        "concept": line.concept,
        "kind": line.row.kind,
        "row": line.row.name,
        "mask": line.row.mask,
        "settings": to_table(line.row.settings),
        "state": line.state,
        "seeds": list(line.seeds),
        "values": to_table(line.values),
        "gaps": {gap.column: round(gap.size, 6) for gap in line.gaps},
        "worst": to_table(line.worst),
        "failures": list(line.failures),
        "missing_seeds": list(line.missing),
        "recipes": [one.cell.recipe for one in line.cells],
        "versions": [dict(one.cell.versions) for one in line.cells],
    }


def to_csv(table: Table) -> str:
    """A line each, with interval and counts of every share."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [name for column in table.columns for name in _heads(column)]
    writer.writerow(
        ["concept", "row", "mask", "state", "seeds", *heads, "worst_gap", "worst_of", "failure"]
    )
    for concept in table.concepts:
        for line in table.of(concept):
            worst = line.worst
            writer.writerow(
                [
                    _plain(concept),
                    _plain(line.row.name),
                    line.row.mask,
                    line.state,
                    " ".join(map(str, line.seeds)),
                    *(part for c in table.columns for part in _parts(c, line.values.get(c.key))),
                    "" if worst is None else f"{worst.size:.4f}",
                    "" if worst is None else worst.column,
                    _plain(" ".join(line.failures)),
                ]
            )
    return out.getvalue()


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula, on one line."""
    line = " ".join(text.split())
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") else line


def _heads(column: Column) -> list[str]:
    ends = ["low", "high", "count", "total"] if column.unit == "share" else []
    return [column.key, *(f"{column.key}_{end}" for end in ends)]


def _parts(column: Column, value: Value | None) -> list[str]:
    if value is None:
        return [""] * len(_heads(column))
    first = value.said if value.value is None else f"{value.value:.6g}"
    if column.unit != "share":
        return [first]
    ends = (value.low, value.high)
    return [first, *(_number(end) for end in ends), *map(str, (value.count, value.total))]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def to_markdown(table: Table) -> str:
    """A section a concept, the rows in the order of their worst gap, then the joint order."""
    parts = [_concept(table, concept) for concept in table.concepts]
    if len(table.concepts) > 1:
        parts.append(_joint(table.joint))
    if table.missing:
        parts.append(f"{NOT_MADE.capitalize()}: {'; '.join(map(_cell, table.missing))}.\n")
    return "\n".join(parts)


def _concept(table: Table, concept: str) -> str:
    heads = ["row", "mask", *(c.title for c in table.columns), "worst gap"]
    lines = [f"### {_cell(concept)}", "", _row(heads), _row(["---"] * len(heads))]
    for line in table.of(concept):
        values = [shown(line.values.get(c.key), c) for c in table.columns]
        if line.state != "done":
            values = [why_not(line), *[""] * (len(values) - 1)]
        lines.append(_row([f"`{line.row.name}`", line.row.mask, *values, worst_said(line)]))
    return "\n".join(lines) + "\n"


def _joint(joint: Sequence[Joint]) -> str:
    heads = ["row", "mask", "worst gap", "on", "concepts"]
    lines = ["### All concepts, by the worst gap of any", "", _row(heads), _row(["---"] * 5)]
    for one in joint:
        gap = "" if one.worst is None else f"{100 * one.worst.size:.0f} ({one.worst.column})"
        done = f"{one.done} of {one.concepts}"
        lines.append(_row([f"`{one.row.name}`", one.row.mask, gap, one.concept, done]))
    return "\n".join(lines) + "\n"


def why_not(line: Line) -> str:
    """What stands in the place of values."""
    return f"failed: {' '.join(line.failures)}" if line.failures else NOT_MADE


def worst_said(line: Line) -> str:
    """`12 (ira)`, in points; empty where nothing is erased."""
    worst = line.worst
    if worst is None or line.row.kind in MODELS:
        return ""
    return f"{100 * worst.size:.0f} ({worst.column})"


def shown(value: Value | None, column: Column) -> str:
    """A value as a person reads it, a share with its interval."""
    if value is None:
        return ""
    if value.value is None:
        return value.said
    if column.unit == "share":
        ends = "" if value.low is None or value.high is None else _ends(value.low, value.high)
        return f"{100 * value.value:.0f} %{ends}{f' {value.said}' if value.said else ''}"
    return f"{short(value.value, column.unit)}{f' {value.said}' if value.said else ''}"


def _ends(low: float, high: float) -> str:
    return f" ({100 * low:.0f} to {100 * high:.0f})"


def short(value: float, unit: str) -> str:
    """A number of a column in few characters."""
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"
    if unit == "seconds":
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    if unit == "units":
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,.0f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """A text that stays within its cell of a table, whatever a file said."""
    line = " ".join(text.split())
    return line.replace("|", "/").replace("<", "&lt;")
