"""Several results of one protocol in one table, for people and for machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

from rich.markup import escape
from rich.table import Table

from erasure.storage.tables import to_table
from eval.errors import EvalError
from eval.rates.intervals import Difference, Proportion
from pipelines.evaluation.outcome.results import DetectionPreset, Results
from pipelines.evaluation.outcome.results_file import FILE_NAME, read_results
from pipelines.evaluation.report.report_format import measure, signed

Unit = Literal["share", "count", "value"]

_NOT_COMPARED: Final = ("batch_size", "versions")
"""A picture is the same in any batch; versions are told beside the table instead."""


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
    """One of the results."""

    name: str
    """Name of its folder, or the whole path where two folders have one name."""
    model: str
    hash: str
    erased: tuple[str, ...]
    unusable: int
    """NaN and black pictures of the model, left out of its figures."""
    guard: str | None
    """As the model's record has it."""
    cells: Mapping[str, Cell]
    """By the key of the column; a figure that was not measured is not there."""


@dataclass(frozen=True, slots=True)
class ComparedResults:
    """The table."""

    suite: str
    pictures: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """Differences that may shift a figure a little: versions of packages."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = ("suite", "pictures", "columns", "rows", "notes")
        return {name: to_table(getattr(self, name)) for name in names}

    def to_table(self) -> Table:
        """For a terminal: the figure with its interval, below it the one before and the change."""
        table = Table(
            title=f"{self.suite}, {self.pictures:,} pictures each; 95 % intervals",
            caption="\n".join(self.notes) or None,
            show_lines=True,
        )
        table.add_column("result", overflow="fold")
        table.add_column("erased", overflow="fold")
        for column in self.columns:
            table.add_column(f"{column.label}\n({column.better} is better)", justify="right")
        if any(row.unusable for row in self.rows):
            table.add_column("unusable", justify="right")
        for row in self.rows:
            cells = [_told(row.cells.get(column.key), column.unit) for column in self.columns]
            more = [str(row.unusable)] if len(table.columns) > len(cells) + 2 else []
            # Not as markup: a folder may be called [red].
            name = row.name if row.guard is None else f"{row.name}\nguard: {row.guard}"
            names = [escape(text) for text in (name, ", ".join(row.erased))]
            table.add_row(*names, *cells, *more)
        return table


def compare_results(paths: Sequence[Path]) -> ComparedResults:
    """Read results and put them into one table, in the order given.

    Args:
        paths: two or more files `results.json`, or the folders they lie in.

    Raises:
        EvalError: fewer than two, one cannot be read, or they are of different protocols.
    """
    if len(paths) < 2:
        raise EvalError(f"{len(paths)} result given to compare; give two or more folders")
    read = [(path, read_results(path)) for path in paths]
    for path, results in read[1:]:
        _require_same(*read[0], path, results)
    columns: dict[str, Column] = {}
    rows = []
    for name, (_, results) in zip(_names(paths), read, strict=True):
        figures = list(_figures(results))
        columns |= {column.key: column for column, _ in figures if column.key not in columns}
        rows.append(
            Row(
                name=name,
                model=results.models.after.name,
                guard=results.models.after.guard,
                hash=results.models.after.hash,
                erased=results.erased,
                unusable=results.unusable.after.nan + results.unusable.after.black,
                cells={column.key: cell for column, cell in figures},
            )
        )
    first = read[0][1]
    return ComparedResults(
        suite=first.suite.name,
        pictures=first.suite.cases,
        columns=tuple(columns.values()),
        rows=tuple(rows),
        notes=tuple(_notes([results for _, results in read])),
    )


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


def _told(cell: Cell | None, unit: Unit) -> str:
    if cell is None:
        return "not measured"
    text = measure(cell.after, unit)
    if cell.low is not None and cell.high is not None:
        text += f"\n({measure(cell.low, unit)} to {measure(cell.high, unit)})"
    if cell.before is not None:
        text += f"\nbefore {measure(cell.before, unit)}"
    if cell.difference is not None:
        text += f"\n{signed(cell.difference.value)} points"
    return text


def _require_same(path: Path, one: Results, other_path: Path, other: Results) -> None:
    """Refuse different protocols; the field that says most comes first."""
    ours, theirs = dict(_protocol(one)), dict(_protocol(other))
    for name in dict.fromkeys(chain(ours, theirs)):
        first, second = ours.get(name, "absent"), theirs.get(name, "absent")
        if first != second:
            raise EvalError(
                f"{path} and {other_path} cannot be compared: {name} is {first!r} in the first "
                f"and {second!r} in the second; evaluate one of them again by the other's protocol"
            )


def _protocol(results: Results) -> Iterator[tuple[str, Any]]:
    yield "suite.name", results.suite.name
    protocol = to_table(results.protocol)
    for name, value in protocol.items():
        if name not in _NOT_COMPARED:
            yield from _flat(name, value)
    yield "suite.cases", results.suite.cases
    yield "suite.prompts_hash", results.suite.prompts_hash


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value


def _notes(results: Sequence[Results]) -> Iterator[str]:
    for package in dict.fromkeys(chain(*(r.protocol.versions for r in results))):
        versions = dict.fromkeys(r.protocol.versions.get(package, "unknown") for r in results)
        if len(versions) > 1:
            yield f"{package} differs: {', '.join(versions)}"
    bases = {r.models.before.hash for r in results if r.models.before is not None}
    if len(bases) > 1:
        yield f"the models before are {len(bases)} different ones"


def _names(paths: Sequence[Path]) -> list[str]:
    folders = [path.parent if path.name == FILE_NAME else path for path in paths]
    short = [folder.resolve().name for folder in folders]
    return [
        str(folder) if short.count(name) > 1 else name
        for folder, name in zip(folders, short, strict=True)
    ]
