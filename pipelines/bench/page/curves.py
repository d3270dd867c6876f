"""Success of each attack against its cost: a chart a row, base and a floor in each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from erasure.attacks.registry import ATTACKS
from pipelines.audit.page.charts import FLOORS, Chart, chart
from pipelines.bench.tables.asked_columns import AUDITED
from pipelines.bench.tables.audited import Attacked, attacked
from pipelines.bench.tables.table import Line

_TICKS: Final = 4
"""On an axis, which is short."""
_PAST: Final = 1.15
"""The axis goes on, so that what came back at the last mark has a width."""
_OPEN: Final = 24
"""Charts of a concept up to which those of every attack are shown at once."""


@dataclass(frozen=True, slots=True)
class RowChart:
    """One row under one attack."""

    name: str
    state: str
    """The word of its verdict."""
    half: str
    """What it took to bring back half of the cases."""
    chart: Chart


@dataclass(frozen=True, slots=True)
class AttackCharts:
    """One attack on all rows."""

    name: str
    title: str
    """What it does."""
    cost: str
    """What the axis counts."""
    rows: tuple[RowChart, ...]

    @property
    def revived(self) -> int:
        """Rows whose concept came back."""
        return sum(row.state == "revived" for row in self.rows)


@dataclass(frozen=True, slots=True)
class Curves:
    """All attacks on the rows of a concept."""

    attacks: tuple[AttackCharts, ...]
    beside: tuple[str, ...]
    """The models whose curves stand in some chart beside a row's."""

    @property
    def open(self) -> bool:
        """Whether there are so few charts that all are shown at once."""
        return sum(len(one.rows) for one in self.attacks) <= _OPEN


def curves_of(lines: Sequence[Line]) -> Curves | None:
    """The curves of the rows that were attacked, of each its first seed; None where none was."""
    attacks = tuple(one for name in ATTACKS if (one := _attack(name, lines)) is not None)
    drawn = {curve.line for one in attacks for row in one.rows for curve in row.chart.curves}
    beside = tuple(name for name in ("base", *FLOORS) if name in drawn)
    return Curves(attacks, beside) if attacks else None


def _attack(name: str, lines: Sequence[Line]) -> AttackCharts | None:
    there = [
        (line, attack)
        for line in lines
        if line.row.kind == "method"
        for attack in _first(name, line)
    ]
    rows = tuple(row for line, attack in there for row in _row(line, attack))
    if not rows:
        return None
    first = there[0][1]
    return AttackCharts(name, str(first.values.get("title", "")), first.unit, rows)


def _first(name: str, line: Line) -> Iterator[Attacked]:
    """The attack on the first seed of a row that was attacked by it, if there is one."""
    attacks = (attacked(cell, name) for cell in line.cells)
    yield from [one for one in attacks if one is not None and one.curve(AUDITED)][:1]


def _row(line: Line, attack: Attacked) -> Iterator[RowChart]:
    # Of the models that never saw the concept the first that was attacked.
    floor = next((name for name in FLOORS if attack.curve(name)), FLOORS[0])
    curves = {name: attack.curve(name) for name in ("base", floor, AUDITED)}
    made = chart(curves, attack.cost, most=_TICKS, past=_PAST)
    if made is not None:
        yield RowChart(line.row.label, attack.state, _half(attack), made)


def _half(attack: Attacked) -> str:
    half = attack.half(AUDITED)
    what = attack.unit.partition(" ")[0]  # passes or steps
    return "never half" if half is None else f"half at {half:,.0f} {what}"
