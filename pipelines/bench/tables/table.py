"""From cells to the table: a line a concept and row, pooled over seeds, and the joint order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.audit.made_by import several
from pipelines.bench.cell import Cell, Place
from pipelines.bench.rows import RANDOM, RANDOM_NAME, UNERASED, Row
from pipelines.bench.sources import Sources
from pipelines.bench.tables.beside import values_beside
from pipelines.bench.tables.column import Column, Value, pooled
from pipelines.bench.tables.columns import COLUMNS, values_of
from pipelines.bench.tables.gaps import Gap, gaps_of, lacking_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row on one concept."""

    concept: str
    row: Row
    seeds: tuple[int, ...] = ()
    """Those whose cells have values."""
    values: Mapping[str, Value] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    """Largest first."""
    lacking: tuple[str, ...] = ()
    """Shares of which it has no gap, though other rows have: it cannot be ranked."""
    failures: tuple[str, ...] = ()
    """Why cells have no values, or lack some."""
    missing: tuple[int, ...] = ()
    """Seeds whose cells are not made."""
    cells: tuple[Sources, ...] = ()

    @property
    def worst(self) -> Gap | None:
        """The largest gap; None where nothing is erased, or a share cannot be measured."""
        ranked = self.gaps and not self.lacking and self.row.kind not in UNERASED
        return self.gaps[0] if ranked else None

    @property
    def state(self) -> str:
        """`done`, `failed` or `missing`."""
        if self.values:
            return "done"
        return "failed" if self.failures else "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """One row over all concepts."""

    row: Row
    worst: Gap | None
    """The largest gap on any concept; None where no cell of the row has values."""
    concept: str
    """On which it is."""
    done: int
    """Concepts with values."""
    concepts: int
    failed: int
    """Concepts on which it failed, wholly or in what it is ranked by."""

    @property
    def where(self) -> str:
        """The concept of the largest gap; empty where no share is off by half a point."""
        return self.concept if self.worst and round(100 * self.worst.size) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All lines, in the order of concepts and rows."""

    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    """Those in which some line has a value."""
    unnamed: tuple[str, ...] = ()
    """Folders of finished cells that stand in no line: no row, concept or seed names them."""

    @property
    def missing(self) -> list[str]:
        """The cells that are not made, in words."""
        return [
            f"{line.concept}: {line.row.label}" + (f", seed {seed}" if seed else "")
            for line in self.lines
            for seed in line.missing
        ]

    def of(self, concept: str) -> list[Line]:
        """The lines of a concept: those that are ranked by their worst gap, then the others."""
        own = [line for line in self.lines if line.concept == concept]
        models = [line for line in own if line.row.kind in UNERASED]
        others = [line for line in own if line.row.kind not in UNERASED]
        return [*models, *sorted(others, key=_by_worst)]

    @property
    def concepts(self) -> list[str]:
        """The concepts in order."""
        return list(dict.fromkeys(line.concept for line in self.lines))

    @property
    def mixed(self) -> tuple[str, ...]:
        """Packages of which cells were made by several versions, a sentence each."""
        return several((one.cell.versions for line in self.lines for one in line.cells), "cells")

    @property
    def joint(self) -> list[Joint]:
        """Rows by the worst gap over all concepts; those that lack a concept come last."""
        rows: dict[str, list[Line]] = {}
        for line in self.lines:
            if line.row.kind not in UNERASED:
                rows.setdefault(line.row.label, []).append(line)
        return sorted(map(_joined, rows.values()), key=_by_joint)


def table_of(places: Sequence[Place], cells: Mapping[str, Cell]) -> Table:
    """The table of what is done.

    Args:
        places: all cells that there should be.
        cells: key -> cell, of those that are done.
    """
    groups: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        groups.setdefault((place.concept, place.row.label), []).append(place)
    plain = [_line(group, cells) for group in groups.values()]
    models: dict[tuple[str, str], Mapping[str, Value]] = {
        (line.concept, line.row.kind): line.values
        for line in plain
        if line.row.kind in UNERASED and line.values
    }
    ranked = [_with_gaps(line, models) for line in plain]
    lines = tuple(_with_beside(ranked))
    there = {
        key
        for line in lines
        for key, value in line.values.items()
        if value.value is not None or value.said
    }
    return Table(lines=lines, columns=tuple(c for c in COLUMNS if c.key in there))


def _line(places: Sequence[Place], cells: Mapping[str, Cell]) -> Line:
    done = [(place, cells[place.key]) for place in places if place.key in cells]
    sources = tuple(Sources(cell, place.folder) for place, cell in done if not cell.failure)
    read = [values_of(one) for one in sources]
    values = {
        column.key: value
        for column in COLUMNS
        if (value := pooled(column, [v[column.key] for v in read if column.key in v])) is not None
    }
    return Line(
        concept=places[0].concept,
        row=places[0].row,
        seeds=tuple(one.cell.seed for one in sources),
        values=values,
        failures=tuple(
            dict.fromkeys(
                f"{part}: {why}"
                for place, cell in done
                for part, why in {**Sources(cell, place.folder).damage, **cell.errors}.items()
            )
        ),
        missing=tuple(place.seed for place in places if place.key not in cells),
        cells=sources,
    )


def _with_beside(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines, where models have what methods' cells measured of them too, and after those of a
    concept one of random weights, where some cell measured it."""
    for concept in dict.fromkeys(line.concept for line in lines):
        own = [line for line in lines if line.concept == concept]
        cells = [one for line in own if line.row.kind == "method" for one in line.cells]
        for line in own:
            there = line.row.kind in UNERASED and line.values
            more = values_beside(cells, line.row.kind) if there else {}
            yield replace(line, values={**more, **line.values})
        if random := values_beside(cells, RANDOM):
            yield Line(concept=concept, row=Row(kind=RANDOM, name=RANDOM_NAME), values=random)


def _with_gaps(line: Line, models: Mapping[tuple[str, str], Mapping[str, Value]]) -> Line:
    base = models.get((line.concept, "base"))
    retrained = models.get((line.concept, "retrained"))
    ranked = line.values and line.row.kind not in UNERASED
    lacking = lacking_of(line.values, base, retrained) if ranked else ()
    return replace(line, gaps=gaps_of(line.values, base, retrained), lacking=lacking)


def _joined(lines: Sequence[Line]) -> Joint:
    done = [line for line in lines if line.worst is not None]
    worst = max(done, key=lambda line: line.worst.size if line.worst else 0.0, default=None)
    return Joint(
        row=lines[0].row,
        worst=None if worst is None else worst.worst,
        concept="" if worst is None else worst.concept,
        done=len(done),
        concepts=len(lines),
        failed=sum(line.state == "failed" or bool(line.lacking) for line in lines),
    )


def _by_worst(line: Line) -> float:
    return float("inf") if line.worst is None else line.worst.size


def _by_joint(joint: Joint) -> tuple[int, float]:
    return (joint.concepts - joint.done, 2.0 if joint.worst is None else joint.worst.size)
