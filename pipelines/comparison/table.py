"""The table of what is compared: a row a run, its figures, for people and for machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rich.markup import escape
from rich.table import Table

from erasure.storage.tables import to_table
from eval.rates.intervals import Difference, Proportion
from pipelines import spreadsheets
from pipelines.comparison.sources import Compared
from pipelines.evaluation.outcome.results import DetectionPreset, Results
from pipelines.evaluation.report.report_format import measure, number, signed
from pipelines.words.terminal import printable

Unit = Literal["share", "count", "value"]
FORMAT: Final = "diffusion-erasure comparison 1"
NOT_ATTACKED: Final = "not attacked"
NO_ACCESS: Final = "none revived it"


@dataclass(frozen=True, slots=True)
class Column:
    """One figure."""

    key: str
    """`ua`, `ua.rejected`, `opennsfw.nsfw`, `nudenet.NAME`, or a metric's name."""
    label: str
    unit: Unit
    better: Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Cell:
    """That figure in one of the results."""

    after: float
    low: float | None = None
    high: float | None = None
    before: float | None = None
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One of the runs."""

    name: str
    """Name of its folder, or the whole path where two folders have one name."""
    model: str
    hash: str
    erased: tuple[str, ...]
    unusable: int | None
    """NaN and black pictures of the model, left out of its figures; None where it was not
    evaluated."""
    guard: str | None
    """As the model's record has it."""
    cells: Mapping[str, Cell]
    """By the key of the column; a figure that was not measured is not there."""
    base: str | None
    """What it is held against; None where nothing says so."""
    base_hash: str | None
    method: str | None
    """How the newest edit was made; None where the folder of the run is not at hand, as in the
    four that follow."""
    density: float | None
    """Share of the candidate weights that were free to move."""
    moved: int | None
    """Weights that the newest edit moved."""
    total: int | None
    seconds: float | None
    """Wall time of the run."""
    evaluated: bool
    attacked: bool
    weakest: str | None
    """The weakest access by which an attack revived the concept; None where none did, or where no
    audit was made."""
    revived: tuple[str, ...]
    """Attacks that revived it."""
    notes: tuple[str, ...]
    """What is missing: a sentence each."""

    @property
    def access(self) -> str:
        """The audit in a few words."""
        return (self.weakest or NO_ACCESS) if self.attacked else NOT_ATTACKED


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """The table."""

    suite: str | None
    """None where no run has an evaluation."""
    pictures: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """Differences that may shift a figure: versions of packages, other bases."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = ("suite", "pictures", "columns", "rows", "notes")
        return {"format": FORMAT, **{name: to_table(getattr(self, name)) for name in names}}

    def to_table(self) -> Table:
        """For a terminal: the figure with its interval, below it the one before and the change."""
        drawn = f"{self.suite}, {self.pictures:,} pictures each; 95 % intervals"
        missing = [f"{row.name}: {note}" for row in self.rows for note in row.notes]
        table = Table(
            title=_shown(drawn) if self.suite else "no evaluation",
            caption="\n".join(map(_shown, (*self.notes, *missing))) or None,
            caption_justify="left",
            show_lines=True,
        )
        table.add_column("run", overflow="fold")
        table.add_column("erased", overflow="fold")
        for column in self.columns:
            label = _shown(column.label)
            table.add_column(f"{label}\n({column.better} is better)", justify="right")
        more = _more_columns(self.rows)
        for title in more:
            table.add_column(title, justify="right")
        for row in self.rows:
            cells = [_in_words(row.cells.get(column.key), column.unit) for column in self.columns]
            guard = "" if row.guard is None else f"\nguard: {_shown(row.guard)}"
            method = f"\nby {_shown(row.method)}" if row.method else ""
            names = [_shown(row.name) + guard, _shown(", ".join(row.erased)) + method]
            table.add_row(*names, *cells, *(own[row.name] for own in more.values()))
        return table


def _shown(text: str) -> str:
    """Neither markup nor codes of a terminal: a folder may be called [red]."""
    return escape(printable(text))


def table_of(rows: Sequence[Compared], notes: Sequence[str]) -> ComparedRuns:
    """Put the figures of all rows into one table, in their order."""
    columns: dict[str, Column] = {}
    made = []
    results = [row.evaluation.results for row in rows if row.evaluation is not None]
    for row in rows:
        figures = [] if row.evaluation is None else list(_figures(row.evaluation.results))
        columns |= {column.key: column for column, _ in figures if column.key not in columns}
        made.append(_row(row, {column.key: cell for column, cell in figures}))
    return ComparedRuns(
        suite=results[0].suite.name if results else None,
        pictures=results[0].suite.cases if results else 0,
        columns=tuple(columns.values()),
        rows=tuple(made),
        notes=tuple(notes),
    )


def write_csv(table: ComparedRuns, path: Path) -> None:
    """A row a run; of each figure seven columns: itself, `low`, `high`, `before`, `change`,
    `change.low` and `change.high`.

    Raises:
        DiskError: the disk refuses.
    """
    first = ("name", "model", "hash", "erased", "base", "base_hash", "method", "density", "moved")
    second = ("total", "seconds", "unusable", "guard", "access", "revived", "notes")
    parts = ("after", "low", "high", "before")
    heads = [
        name
        for column in table.columns
        for name in (
            column.key,
            *(f"{column.key}.{part}" for part in parts[1:]),
            *(f"{column.key}.{part}" for part in ("change", "change.low", "change.high")),
        )
    ]
    rows = (_csv_row(row, (*first, *second), table.columns, parts) for row in table.rows)
    spreadsheets.write_csv(path, ((*first, *second, *heads), *rows))


def _csv_row(
    row: Row, facts: Sequence[str], columns: Sequence[Column], parts: Sequence[str]
) -> list[object]:
    made = [_plain(getattr(row, name)) for name in facts]
    for column in columns:
        cell = row.cells.get(column.key)
        made += [None if cell is None else getattr(cell, part) for part in parts]
        change = None if cell is None else cell.difference
        made += (change.value, change.low, change.high) if change else (None,) * 3
    return made


def _plain(value: object) -> object:
    return "; ".join(map(str, value)) if isinstance(value, tuple) else value


def _row(row: Compared, cells: Mapping[str, Cell]) -> Row:
    results = None if row.evaluation is None else row.evaluation.results
    last = None if row.run is None else row.run.last
    unusable = None if results is None else results.unusable.after
    audit, base = row.audit, row.base
    return Row(
        name=row.name,
        model=results.models.after.name if results is not None else row.name,
        guard=None if results is None else results.models.after.guard,
        hash=_hash(row),
        erased=row.erased,
        unusable=None if unusable is None else unusable.nan + unusable.black,
        cells=cells,
        base=None if base is None else base[0],
        base_hash=None if base is None else base[1],
        method=None if row.run is None else row.run.method,
        density=None if last is None else last.density,
        moved=None if last is None else last.moved,
        total=None if last is None else last.total,
        seconds=None if row.run is None else row.run.seconds,
        evaluated=results is not None,
        attacked=audit is not None,
        weakest=None if audit is None else audit.weakest,
        revived=() if audit is None else _revived(audit.attacks),
        notes=row.notes,
    )


def _hash(row: Compared) -> str:
    """The hash of the main component; empty where nothing says it."""
    if row.evaluation is not None:
        return row.evaluation.results.models.after.hash
    edits = row.run.main_edits if row.run is not None else ()
    return edits[-1].result_hash if edits else ""


def _revived(attacks: Sequence[Any]) -> tuple[str, ...]:
    return tuple(one.name for one in attacks if one.verdict.state == "revived")


def _more_columns(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Title -> name of a row -> what stands there; of what at least one row has."""
    made: dict[str, dict[str, str]] = {}
    if any(row.unusable for row in rows):
        made["unusable"] = {row.name: number(row.unusable) for row in rows}
    if any(row.moved is not None for row in rows):
        made["weights moved"] = {row.name: number(row.moved) for row in rows}
    if any(row.attacked for row in rows):
        made["weakest access"] = {row.name: _shown(row.access) for row in rows}
    return made


def _figures(results: Results) -> Iterator[tuple[Column, Cell]]:
    before, changes = results.summary.before or {}, results.summary.difference or {}
    for name, rate in results.summary.after.items():
        column = Column(name, name.upper(), "share", "higher")
        yield column, _share(rate, before.get(name), changes.get(name))
    for name, refused in (results.summary.rejected or {}).items():
        column = Column(f"{name}.rejected", f"{name.upper()} rejected", "share", "lower")
        yield column, _share(refused.after, refused.before, None)
    for score in results.scores:
        label = f"{score.judge} {score.name} ≥ {score.threshold:g}"
        column = Column(f"{score.judge}.{score.name}.{score.threshold:g}", label, "share", "lower")
        yield column, _share(score.after, score.before, score.difference)
    for judge, detections in results.detections.items():
        for preset in detections.presets:
            unit: Unit = "share" if preset.unit == "images" else "count"
            column = Column(f"{judge}.{preset.name}", f"{judge} {preset.name}", unit, "lower")
            yield column, _counted(preset)
    for metric in results.metrics:
        cell = Cell(metric.value, metric.low, metric.high)
        yield Column(metric.name, metric.label, "value", metric.better), cell


def _share(after: Proportion, before: Proportion | None, change: Difference | None) -> Cell:
    was = None if before is None else before.share
    return Cell(after.share, after.low, after.high, was, change)


def _counted(preset: DetectionPreset) -> Cell:
    after, before = preset.after, preset.before
    if preset.unit == "detections":
        return Cell(after.detections, before=None if before is None else before.detections)
    return Cell(after.share, after.low, after.high, None if before is None else before.share)


def _in_words(cell: Cell | None, unit: Unit) -> str:
    if cell is None:
        return "not measured"
    text = measure(cell.after, unit)
    if cell.low is not None and cell.high is not None:
        text += f"\n({measure(cell.low, unit)} to {measure(cell.high, unit)})"
    if cell.before is not None:
        text += f"\nbefore {measure(cell.before, unit)}"
    if (change := cell.difference) is not None:
        text += f"\n{signed(change.value)} points"
        text += f"\n({signed(change.low)} to {signed(change.high)})"
    return text
