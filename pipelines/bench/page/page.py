"""`bench.html`: tables that sort, a scatter and pictures of each concept, and the protocol."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.bench.page.pictures import Sheet, sheet_of
from pipelines.bench.page.scatter import Scatter, scatter_of
from pipelines.bench.rows import MODELS
from pipelines.bench.tables import forms
from pipelines.bench.tables.gaps import Gap
from pipelines.bench.tables.table import Line, Table
from pipelines.evaluation.report.report_facts import Fact, Facts
from pipelines.evaluation.report.report_page import asset, rendered, write_html

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
    sheet: Sheet | None

    @property
    def ranked(self) -> list[Line]:
        """The rows that have a worst gap, the smallest first."""
        return [line for line in self.lines if line.worst is not None]


def write_page(table: Table, protocol: Mapping[str, Any], folder: Path) -> Path:
    """Write the page; DiskError where the disk refuses."""
    styles = (asset("report.css"), asset("bench.css", _CLASSIFIERS), asset("rows.css", _HERE))
    style, script = "\n".join(styles), asset("bench.js", _CLASSIFIERS)
    sections = [_section(table, concept) for concept in table.concepts]
    page = rendered(
        "page.html.j2",
        _HERE,
        style=style,
        script=script,
        sections=sections,
        table=table,
        joint=table.joint,
        done=sum(line.state == "done" for line in table.lines),
        failures=[(line, why) for line in table.lines for why in line.failures],
        unranked=[line for line in table.lines if line.lacking],
        facts=list(_facts(protocol)),
        headline=_headline(table, sections),
        number=forms.number_said,
        range=forms.range_said,
        words=forms.words_said,
        gap=forms.gap_said,
        why=forms.why_not,
        worst=forms.worst_said,
        passed_over=forms.passed_over,
        models=MODELS,
    )
    return write_html(page, folder / FILE_NAME)


def _section(table: Table, concept: str) -> Section:
    lines = table.of(concept)
    return Section(concept, lines, scatter_of(lines), sheet_of(lines))


def _headline(table: Table, sections: Sequence[Section]) -> str:
    """One sentence on what is done and which row has the smallest worst gap."""
    whole = [one for one in table.joint if one.done == one.concepts and one.worst is not None]
    if len(sections) > 1 and whole:
        first = whole[0]
        assert first.worst is not None
        return (
            f"On all of {len(sections)} concepts {first.row.label} has the smallest worst gap: "
            f"{forms.gap_said(first.worst)} points, on {first.concept}"
            f"{_shared(first.worst, (one.worst for one in whole[1:]))}"
        )
    for section in sections:
        if section.ranked:
            line, *rest = section.ranked
            assert line.worst is not None
            return (
                f"On {section.name} {line.row.label} has the smallest worst gap: "
                f"{forms.worst_said(line)} points{_shared(line.worst, (one.worst for one in rest))}"
                f"{_held_against(line)}"
            )
    return "No row with an erasure is done yet"


def _shared(first: Gap, others: Iterable[Gap | None]) -> str:
    """How many other rows have the same gap in whole points; empty for none."""
    points = round(100 * first.size)
    same = sum(gap is not None and round(100 * gap.size) == points for gap in others)
    return f", as {same} more row{'s have' if same > 1 else ' has'}" if same else ""


def _held_against(line: Line) -> str:
    """What the loss on pictures of the concept says, beside a retrained model: an order by shares
    of pictures alone would hide that a row fights them."""
    loss = line.values.get("d3")
    if loss is None or not loss.said:
        return ""
    return f"; held against a retrained model, its loss on pictures of it says: {loss.said}"


def _facts(protocol: Mapping[str, Any]) -> Iterator[Facts]:
    """Where the numbers come from."""
    base = protocol["base"]
    hashes = (Fact(name, value, code=True) for name, value in base["hashes"].items())
    yield Facts("Base", (Fact("name", str(base["name"])), *hashes))
    drawn = protocol["drawn"].items()
    yield Facts("Drawing and judging", tuple(Fact(k, _plain(v)) for k, v in drawn if v is not None))
    rest = ("concepts", "seeds", "neighbours", "search", "audit", "device")
    yield Facts("Protocol", tuple(Fact(name, _plain(protocol[name])) for name in rest))
    versions = protocol["versions"].items()
    yield Facts("Versions", tuple(Fact(name, str(value)) for name, value in versions))


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return json.dumps(value) if isinstance(value, dict) else str(value)
