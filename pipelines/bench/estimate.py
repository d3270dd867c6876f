"""How long the cells of a benchmark take, kind by kind, before any is made."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final

from erasure.errors import ConfigError
from pipelines.bench.cell import Place, read_cell
from pipelines.bench.rows import Row
from pipelines.bench.run import Bench, settle
from pipelines.bench.settings import INTERSECTION
from pipelines.bench.tables.forms import passed_over
from pipelines.bench.world import World
from pipelines.configs.settings import DrawingConfig, GridConfig
from pipelines.jobs.intersected_mask import APART
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.planning import bill_before
from pipelines.planning.run_sizes import DRAW, GRID, MASK
from pipelines.words.durations import about

_SHARED: Final = (DRAW, "encode pictures")
"""Stages whose results rows of a concept share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKind:
    """The cells of one row."""

    row: str
    cells: int
    done: int
    erasing: float
    """Minutes of a cell's erasure; without what rows share."""
    drawing: float
    """Minutes of its pictures."""
    measured: float | None = None
    """Minutes that a finished cell of the kind took; None where there is none."""
    reason: str = ""
    """Why the method refuses the mask or a setting."""

    @property
    def minutes(self) -> float:
        """About what is left to do."""
        each = self.erasing + self.drawing if self.measured is None else self.measured
        return each * (self.cells - self.done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The whole."""

    kinds: tuple[CellKind, ...]
    shared: float
    """Minutes of the pictures that methods learn from, drawn once for all rows."""
    trials: int
    """Cells of the search, at most, beside the others; 0 without one, and where it is done."""
    uncounted: tuple[str, ...] = ()
    """What is made besides and has no minutes here."""
    unnamed: tuple[str, ...] = ()
    """Folders of finished cells that are none of these."""

    @property
    def minutes(self) -> float:
        """All that is left to do in the table itself."""
        return self.shared + sum(kind.minutes for kind in self.kinds)

    def lines(self) -> list[str]:
        """A line a kind of cell."""
        width = max(len(kind.row) for kind in self.kinds)
        lines = []
        for kind in self.kinds:
            time = f"{kind.erasing:.1f} min erasing and {kind.drawing:.1f} min of pictures each"
            if kind.measured is not None:
                time = f"{kind.measured:.1f} min each, as measured"
            time = kind.reason or time
            cells = "cell" if kind.cells == 1 else "cells"
            lines.append(f"{kind.row:<{width}}  {kind.cells} {cells}, {kind.done} done; {time}")
        lines.append(
            f"pictures to learn from, which rows share and the cache keeps: {self.shared:.1f} min"
        )
        if self.uncounted:
            lines.append(f"not counted: {', '.join(self.uncounted)}")
        if self.unnamed:
            lines.append(passed_over(self.unnamed))
        whole = about(60 * self.minutes)
        lines.append(f"in all about {whole} on a machine with nothing else to do")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; times in minutes."""
        return {**asdict(self), "minutes": self.minutes}


def estimate(bench: Bench) -> Estimate:
    """Count and time all cells; nothing is drawn or written."""
    if bench.world.recipe.trials:
        settle(bench)
    groups: dict[str, list[Place]] = {}
    for place in bench.places():
        groups.setdefault(place.row.label, []).append(place)
    kinds: list[CellKind] = []
    shared: dict[str, float] = {}
    for label, places in groups.items():
        done = [cell for place in places if (cell := read_cell(place)) is not None]
        whole = [cell.whole_seconds / 60 for cell in done if not cell.failure]
        erasing, drawing, drawn, reason = _minutes(bench.world, places[0])
        for place in places:
            shared[place.concept] = max(drawn, shared.get(place.concept, 0.0))
        kinds.append(
            CellKind(
                row=label,
                cells=len(places),
                done=len(done),
                erasing=erasing,
                drawing=drawing,
                measured=median(whole) if whole else None,
                reason=reason,
            )
        )
    methods = sum(places[0].row.kind == "method" for places in groups.values())
    trials = 0 if bench.tuned else _trials(bench, methods)
    return Estimate(
        kinds=tuple(kinds),
        shared=sum(shared.values()),
        trials=trials,
        uncounted=tuple(_uncounted(bench, trials)),
        unnamed=bench.unnamed(bench.places()),
    )


def _minutes(world: World, place: Place) -> tuple[float, float, float, str]:
    """Minutes of erasing, of the cell's pictures and of shared pictures, and why there are none."""
    row = place.row if place.row.kind == "method" else _stand_in(place)
    try:
        recipe = world.erasure(row, place.concept, place.seed)
        drawn = world.evaluation(world.recipe.model, place.concept)
        pictures = world.recipe.limit + world.recipe.neighbours
        grid = GridConfig(
            prompts=recipe.grid.prompts,
            # The bill counts each picture of a grid before and after.
            seeds=f"0-{max(0, -(-pictures // 2) - 1)}",
            drawing=DrawingConfig(
                steps=drawn.steps, guidance=drawn.guidance, batch_size=drawn.batch_size
            ),
        )
        bill = bill_before(replace(recipe, grid=grid), world.base)
    except ConfigError as err:
        return 0.0, 0.0, 0.0, str(err)
    by_name = dict(_by_stage(bill))
    drawing = by_name.pop(GRID, 0.0)
    shared = sum(by_name.pop(name, 0.0) for name in _SHARED)
    if row.mask == INTERSECTION:
        by_name |= {name: len(APART) * by_name[name] for name in MASK if name in by_name}
    erasing = sum(by_name.values()) if place.row.kind == "method" else 0.0
    return erasing, drawing, shared if place.row.kind == "method" else 0.0, ""


def _stand_in(place: Place) -> Row:
    """A row whose bill has the pictures of one in which nothing is erased."""
    return replace(place.row, kind="method", name="uce", mask="all")


def _by_stage(bill: BillInWords) -> Iterator[tuple[str, float]]:
    for stage in bill.bill.stages:
        yield stage.name, bill.minutes(stage)


def _uncounted(bench: Bench, trials: int) -> Iterator[str]:
    if trials:
        yield f"the search, at most {trials} further cells of the same kinds"
    if bench.world.recipe.attacks:
        yield "attacks, which `erasure audit --dry-run` prices"
    if bench.world.recipe.retrained and bench.world.recipe.twin:
        yield "distances"


def _trials(bench: Bench, rows: int) -> int:
    recipe = bench.world.recipe
    return rows * recipe.trials * recipe.tune_seeds * len(recipe.tune_on)
