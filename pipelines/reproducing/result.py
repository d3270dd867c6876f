"""What a reproduction found: a JSON file, a CSV table and a page of markdown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from erasure.storage.files import atomic, write_json
from erasure.storage.tables import fields_to_table
from pipelines.reproducing.figures import Figure, Measure
from pipelines.reproducing.protocol import Published
from pipelines.spreadsheets import write_csv
from pipelines.words import markdown

FORMAT: Final = "diffusion-erasure reproduction 1"
FILE_NAME: Final = "reproduction.json"
TABLE: Final = "figures.csv"
PAGE: Final = "reproduction.md"
UNCHECKED: Final = "?"
NOT_MADE: Final = "not made"
_COLUMNS: Final = (
    "figure",
    "title",
    "unit",
    "ours",
    "low",
    "high",
    "pictures",
    "published",
    "method",
    "published_pictures",
    "checked",
    "comparable",
    "source",
    "not_made",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One setting: what the protocol says and what this run did."""

    key: str
    protocol: Any
    used: Any
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """All that is written; equal recipes give equal files, however often they were cut."""

    experiment: str
    title: str
    model: Mapping[str, Any]
    stands_in: bool
    """Whether the embedded checkpoint stands in, so that no figure can be compared."""
    figures: tuple[Figure, ...]
    changed: tuple[str, ...]
    """What this run does otherwise than the protocol, a sentence each."""
    not_made: tuple[str, ...]
    """What the paper reports and no run here measures, why, and what would; a sentence each."""
    differs: tuple[str, ...]
    """Where paper, release and this package differ, and which is followed."""
    settings: tuple[Used, ...]
    judges: Mapping[str, Mapping[str, Any]]
    seed: int
    cells: tuple[str, ...]
    """Folders below `cells`."""
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        values = fields_to_table(self)
        for row, figure in zip(values["figures"], self.figures, strict=True):
            row["published_lies_within"] = figure.within
        return {"format": FORMAT, **values}


def write_result(result: Reproduction, out: Path) -> None:
    """Write all three, each whole or not at all; DiskError where the disk refuses."""
    rows = (row for figure in result.figures for row in _csv_rows(figure))
    write_csv(out / TABLE, (_COLUMNS, *rows))
    with atomic(out / PAGE) as part:
        part.write_text("\n".join(page_of(result)) + "\n", encoding="utf-8")
    write_json(out / FILE_NAME, result.to_dict())


def _csv_rows(figure: Figure) -> Iterator[tuple[object, ...]]:
    ours = figure.ours or Measure(float("nan"), None, None, 0)
    first = (figure.key, figure.title, figure.unit)
    numbers = (
        _number(None if figure.ours is None else ours.value),
        _number(ours.low),
        _number(ours.high),
        ours.pictures,
    )
    for one in figure.published or (None,):
        theirs: tuple[object, ...] = ("",) * 4 + (figure.comparable, "")
        if one is not None:
            theirs = (
                _number(one.value),
                one.method,
                one.pictures or "",
                one.checked,
                figure.comparable,
                one.source,
            )
        yield (*first, *numbers, *theirs, figure.not_made)


def _number(value: float | None) -> object:
    return "" if value is None else round(value, 6)


def rows_of(result: Reproduction, sources: Sequence[str]) -> list[list[str]]:
    """The table as cells of text, its header first.

    Args:
        sources: as `sources_of` lists them.
    """
    rows = [["figure", "ours (95 %)", "pictures", "published", "in our interval"]]
    for figure in result.figures:
        rows.append(
            [
                figure.title,
                ours_said(figure),
                _pictures(figure),
                ", ".join(_theirs(one, sources) for one in figure.published) or "-",
                {None: "-", True: "yes", False: "no"}[figure.within],
            ]
        )
    return rows


def sources_of(result: Reproduction) -> list[str]:
    """Where the published figures stand, each once."""
    listed = (one.source for figure in result.figures for one in figure.published)
    return list(dict.fromkeys(listed))


def ours_said(figure: Figure) -> str:
    """`99.0 % (94.6 to 99.8)`, or the same of detections."""
    if figure.not_made:
        return NOT_MADE
    if figure.ours is None:
        return "no picture to judge"
    ours, scale = figure.ours, 100 if figure.unit == "share" else 1
    value = _short(ours.value * scale, figure)
    if ours.low is None or ours.high is None:
        return value
    low, high = (_plain(scale * bound, figure) for bound in (ours.low, ours.high))
    return f"{value} ({low} to {high})"


def _pictures(figure: Figure) -> str:
    if figure.not_made:
        return "-"
    return f"{figure.ours.pictures:,}" if figure.ours else "0"


def _theirs(one: Published, sources: Sequence[str]) -> str:
    value = f"{100 * one.value:.2f} %" if one.unit == "share" else f"{one.value:g}"
    mark = "" if one.checked else UNCHECKED
    return f"{one.method} {value}{mark} [{sources.index(one.source) + 1}]"


def _short(value: float, figure: Figure) -> str:
    return f"{_plain(value, figure)} %" if figure.unit == "share" else _plain(value, figure)


def _plain(value: float, figure: Figure) -> str:
    return f"{value:.1f}" if figure.unit == "share" else f"{value:,.0f}"


def notes_of(result: Reproduction) -> list[str]:
    """What must be read with the table."""
    listed = sources_of(result)
    notes = [f"[{number}] {source}" for number, source in enumerate(listed, 1)]
    if any(not one.checked for figure in result.figures for one in figure.published):
        notes.append(
            f"{UNCHECKED} this figure was not checked against the paper itself; look it up there "
            "before you quote it"
        )
    if any(figure.unit == "detections" for figure in result.figures):
        notes.append("detections are told for 4,703 pictures, however many were drawn")
    return notes


def page_of(result: Reproduction) -> list[str]:
    """The page of markdown."""
    sources = sources_of(result)
    header, *rows = rows_of(result, sources)
    lines = [f"# {result.title}", "", f"Model: `{result.model['name']}`, {result.model['kind']}."]
    if result.stands_in:
        lines += [
            "",
            "**The embedded checkpoint stands in: no figure of this page reproduces one.**",
        ]
    lines += ["", *markdown.head(header), *map(markdown.row, rows)]
    lines += ["", *(f"- {note}" for note in notes_of(result))]
    parts = (
        ("What this run does otherwise than the protocol", result.changed),
        (NOT_MADE.capitalize(), result.not_made),
        ("Where paper, release and this package differ", result.differs),
    )
    for title, sentences in parts:
        if sentences:
            lines += ["", f"## {title}", "", *(f"- {sentence}" for sentence in sentences)]
    lines += [
        "",
        "## Settings",
        "",
        *markdown.head(["setting", "protocol", "used", "source"]),
    ]
    lines += [
        markdown.row([f"`{one.key}`", _shown(one.protocol), _shown(one.used), one.source])
        for one in result.settings
    ]
    return lines


def _shown(value: Any) -> str:  # noqa: ANN401
    return "-" if value is None else str(value)


def text_of(result: Reproduction) -> list[str]:
    """The same for a terminal, without the settings and what a page has room for."""
    rows = rows_of(result, sources_of(result))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [f"{result.title}, on {result.model['name']}"]
    if result.stands_in:
        lines.append("the embedded checkpoint stands in: no figure here reproduces a published one")
    lines += [
        "  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += notes_of(result)
    lines += [f"otherwise than the protocol: {sentence}" for sentence in result.changed]
    lines += [f"{NOT_MADE}: {sentence}" for sentence in result.not_made]
    return lines
