"""The table as JSON, CSV and Markdown."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from erasure.storage.tables import to_table
from pipelines.bench.rows import UNERASED
from pipelines.bench.tables.column import Column, Value
from pipelines.bench.tables.columns import title_of
from pipelines.bench.tables.gaps import Gap
from pipelines.bench.tables.table import Joint, Line, Table
from pipelines.spreadsheets import safe_cell
from pipelines.words import markdown

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
                "density": one.row.density,
                "worst": to_table(one.worst),
                "concept": one.concept,
                "done": one.done,
                "concepts": one.concepts,
            }
            for one in table.joint
        ],
        "missing": table.missing,
        "unnamed": list(table.unnamed),
    }
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _line(line: Line) -> dict[str, Any]:
    return {
        "concept": line.concept,
        "kind": line.row.kind,
        "row": line.row.name,
        "mask": line.row.mask,
        "density": line.row.density,
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
    """A line each, with the interval of every share and distance, the counts of the first, and the
    words that stand beside a number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [name for column in table.columns for name in _heads(column)]
    writer.writerow(
        [
            *("concept", "row", "mask", "density", "state", "seeds"),
            *heads,
            *("worst_gap", "worst_of", "failure"),
        ]
    )
    for concept in table.concepts:
        for line in table.of(concept):
            worst = line.worst
            writer.writerow(
                [
                    _plain(concept),
                    _plain(line.row.name),
                    line.row.mask,
                    "" if line.row.density is None else line.row.density,
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
    return str(safe_cell(" ".join(text.split())))


def _ends(column: Column) -> list[str]:
    """The parts of a value that have columns of their own, by the names of its fields."""
    ends = {"share": ["low", "high", "count", "total"], "units": ["low", "high"]}
    return [*ends.get(column.unit, []), *(["said"] if column.says else [])]


def _heads(column: Column) -> list[str]:
    return [column.key, *(f"{column.key}_{end}" for end in _ends(column))]


def _parts(column: Column, value: Value | None) -> list[str]:
    if value is None:
        return [""] * len(_heads(column))
    first = _plain(value.said) if value.value is None else f"{value.value:.6g}"
    return [first, *(_end(getattr(value, end)) for end in _ends(column))]


def _end(value: float | str | None) -> str:
    if isinstance(value, str):
        return _plain(value)
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"


def to_markdown(table: Table) -> str:
    """A section a concept, the rows in the order of their worst gap, then the joint order.

    Rows that are not made stand in a sentence below their table.
    """
    parts = [_concept(table, concept) for concept in table.concepts]
    done = [one for one in table.joint if one.done]
    if len(table.concepts) > 1 and done:
        parts.append(_joint(done))
    if table.unnamed:
        parts.append(f"{markdown.cell(passed_over(table.unnamed))}\n")
    parts += [f"{markdown.cell(text)}.\n" for text in table.mixed]
    return "\n".join(parts)


def passed_over(unnamed: Sequence[str]) -> str:
    """A sentence on the finished cells that stand in no line of the table."""
    cells = f"{len(unnamed)} finished cell{'s' if len(unnamed) > 1 else ''}"
    shown = ", ".join(unnamed[:3]) + (", ..." if len(unnamed) > 3 else "")
    return (
        f"The table is without {cells} that no row of this command names ({shown}); give the rows, "
        "concepts, seeds and settings of their making to see them, or delete their folders."
    )


def _concept(table: Table, concept: str) -> str:
    heads = ["row", "mask", "worst gap", *(c.title for c in table.columns)]
    lines = [f"### {markdown.cell(concept)}", "", *markdown.head(heads)]
    own = table.of(concept)
    for line in own:
        if line.state == "missing":
            continue
        values = [shown(line.values.get(c.key), c) for c in table.columns]
        if line.state != "done":
            values = [why_not(line), *[""] * (len(values) - 1)]
        lines.append(
            markdown.row([f"`{line.row.name}`", line.row.weights, worst_said(line), *values])
        )
    missing = [_left(line) for line in own if line.missing]
    if missing:
        lines += ["", f"{NOT_MADE.capitalize()}: {'; '.join(missing)}."]
    partly = [text for line in own if line.state == "done" for text in _partly(line)]
    if partly:
        lines += ["", *(f"- {text}" for text in partly)]
    return "\n".join(lines) + "\n"


def _partly(line: Line) -> Iterator[str]:
    """What failed of a row that has values all the same, and what it lacks for that."""
    for why in line.failures:
        yield markdown.cell(f"{line.row.label} failed in part: {why}")
    if line.lacking:
        yield markdown.cell(f"{line.row.label} is not ranked: it has no {', '.join(line.lacking)}")


def _left(line: Line) -> str:
    """A row whose cells are not made, and of a row that has some the seeds that lack."""
    seeds = f", seed {', '.join(map(str, line.missing))}" if line.state != "missing" else ""
    return markdown.cell(f"{line.row.label}{seeds}")


def _joint(joint: Sequence[Joint]) -> str:
    heads = ["row", "mask", "worst gap", "on", "concepts"]
    lines = ["### All concepts, by the worst gap of any", "", *markdown.head(heads)]
    for one in joint:
        gap = "" if one.worst is None else gap_said(one.worst)
        done = f"{one.done} of {one.concepts}"
        lines.append(markdown.row([f"`{one.row.name}`", one.row.weights, gap, one.where, done]))
    return "\n".join(lines) + "\n"


def why_not(line: Line) -> str:
    """What stands in the place of values."""
    return f"failed: {' '.join(line.failures)}" if line.failures else NOT_MADE


def worst_said(line: Line) -> str:
    """`12 (IRA)`, in points; empty where nothing is erased."""
    worst = line.worst
    if worst is None or line.row.kind in UNERASED:
        return ""
    return gap_said(worst)


def gap_said(gap: Gap) -> str:
    """`12 (IRA)`, in points; `0` where no share is off by half a point."""
    points = f"{100 * gap.size:.0f}"
    return points if points == "0" else f"{points} ({title_of(gap.column)})"


def shown(value: Value | None, column: Column) -> str:
    """A value as a person reads it, a share with its interval."""
    parts = (number_said(value, column), range_said(value, column), words_said(value))
    return " ".join(part for part in parts if part)


def number_said(value: Value | None, column: Column) -> str:
    """The number alone; empty where there is none."""
    if value is None or value.value is None:
        return ""
    if column.unit == "share":
        return f"{100 * value.value:.0f} %"
    return short(value.value, column.unit)


def range_said(value: Value | None, column: Column) -> str:
    """The interval of a share or a distance in brackets, the extremes of what else is pooled."""
    if value is None or value.low is None or value.high is None:
        return ""
    if column.unit == "share":
        return f"({100 * value.low:.0f} to {100 * value.high:.0f})"
    return f"({short(value.low, column.unit)} to {short(value.high, column.unit)})"


def words_said(value: Value | None) -> str:
    """What an audit or a measurement says of it."""
    return "" if value is None else value.said


def short(value: float, unit: str) -> str:
    """A number of a column in few characters."""
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"
    if unit == "seconds":
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    if unit == "units":
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,.0f}"
