"""`bench.html`: tables that sort, a scatter and pictures of each concept, and the protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from erasure.checkpoints.wording import few, listed
from pipelines.audit.page.charts import HERE as CHARTS
from pipelines.audit.page.charts import TEMPLATES
from pipelines.bench.page.curves import Curves, curves_of
from pipelines.bench.page.facts import facts_of
from pipelines.bench.page.pictures import Sheet, sheet_of
from pipelines.bench.page.scatter import Scatter, scatter_of
from pipelines.bench.rows import UNERASED
from pipelines.bench.tables import forms
from pipelines.bench.tables.columns import title_of
from pipelines.bench.tables.table import Joint, Line, Table
from pipelines.evaluation.report.report_page import asset, rendered, write_html

T = TypeVar("T", Line, Joint)
FILE_NAME: Final = "bench.html"
_HERE: Final = Path(__file__).parent
_CLASSIFIERS: Final = Path(__file__).parents[2] / "classifiers" / "report_assets"
"""Styles and the script of sortable tables, which the page of the other benchmark has as well."""


@dataclass(frozen=True, slots=True)
class Section:
    """One concept."""

    name: str
    lines: Sequence[Line]
    scatter: Scatter | None
    curves: Curves | None
    sheet: Sheet | None

    @property
    def ranked(self) -> list[Line]:
        """The rows that have a worst gap, the smallest first."""
        return [line for line in self.lines if line.worst is not None]


def write_page(table: Table, protocol: Mapping[str, Any], folder: Path) -> Path:
    """Write the page; DiskError where the disk refuses."""
    styles = (
        asset("report.css"),
        asset("bench.css", _CLASSIFIERS),
        asset("curves.css", CHARTS),
        asset("rows.css", _HERE),
    )
    style, script = "\n".join(styles), asset("bench.js", _CLASSIFIERS)
    sections = [_section(table, concept) for concept in table.concepts]
    page = rendered(
        "page.html.j2",
        _HERE,
        TEMPLATES,
        style=style,
        script=script,
        sections=sections,
        table=table,
        joint=table.joint,
        done=sum(line.state == "done" for line in table.lines),
        failures=[(line, why) for line in table.lines for why in line.failures],
        unranked=[line for line in table.lines if line.lacking],
        facts=list(facts_of(protocol)),
        headline=_headline(table, sections),
        number=forms.number_said,
        range=forms.range_said,
        words=forms.words_said,
        gap=forms.gap_said,
        why=forms.why_not,
        worst=forms.worst_said,
        passed_over=forms.passed_over,
        unerased=UNERASED,
    )
    return write_html(page, folder / FILE_NAME)


def _section(table: Table, concept: str) -> Section:
    lines = table.of(concept)
    return Section(concept, lines, scatter_of(lines), curves_of(lines), sheet_of(lines))


def _headline(table: Table, sections: Sequence[Section]) -> str:
    """One sentence on what is done and which row has the smallest worst gap, or which rows."""
    whole = [one for one in table.joint if one.done == one.concepts and one.worst is not None]
    if len(sections) > 1 and whole:
        best = _best(whole)
        on = f", on {best[0].where}" if len(best) == 1 and best[0].where else ""
        return f"On all {len(sections)} concepts {_smallest(best)}: {_points(best)}{on}"
    for section in sections:
        if section.ranked:
            lines = _best(section.ranked)
            return f"On {section.name} {_smallest(lines)}: {_points(lines)}{_held_against(lines)}"
    return "No row with an erasure is done yet"


def _points(best: Sequence[Line | Joint]) -> str:
    """The size of a gap that several rows may have, and its column where they have one."""
    gaps = [one.worst for one in best if one.worst is not None]
    columns = {title_of(gap.column) for gap in gaps}
    size = f"{100 * gaps[0].size:.0f}"
    column = f" ({columns.pop()})" if size != "0" and len(columns) == 1 else ""
    return f"{size} points{column}"


def _best(ranked: Sequence[T]) -> list[T]:
    """The first, and those whose gap is the same in whole points."""
    points = [None if one.worst is None else round(100 * one.worst.size) for one in ranked]
    return [one for one, size in zip(ranked, points, strict=True) if size == points[0]]


def _smallest(rows: Sequence[Line | Joint]) -> str:
    """Which rows have the smallest worst gap; of many the first three."""
    names = [one.row.label.replace(", ", " ") for one in rows]
    if len(names) == 1:
        return f"{names[0]} has the smallest worst gap"
    return f"{listed(names) if len(names) < 4 else few(names)} have the smallest worst gap"


def _held_against(lines: Sequence[Line]) -> str:
    """What the loss on pictures of the concept says, beside a retrained model: an order by shares
    of pictures alone would hide that a row fights them."""
    losses = [line.values.get("d3") for line in lines]
    words = dict.fromkeys(loss.said for loss in losses if loss is not None and loss.said)
    if not words:
        return ""
    what = "its loss" if len(lines) == 1 else "their losses"
    says = "says" if len(lines) == 1 else "say"
    return f"; held against a retrained model, {what} on pictures of it {says}: {'; '.join(words)}"
