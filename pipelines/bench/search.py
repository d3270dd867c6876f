"""The same search for every row: as many trials, ranges by one rule, judged on other concepts.

Each trial is a cell on a concept that the table does not judge, by seeds that the table does not
use. A row's settings are those of the trial with the smallest worst gap; of equal ones the first,
which is the defaults. No trial changes the steps, so that none is bought by a longer training.

Where the table has a retrained model, what a trial draws that shows nothing known is no gap: such
a model may draw just that, and there is none that never saw the concepts of the search.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from erasure.errors import ConfigError
from erasure.storage.files import write_json
from erasure.storage.tables import to_table
from pipelines.bench.cell import Cell, Place
from pipelines.bench.rows import Row
from pipelines.bench.tables.gaps import DESTROYED
from pipelines.bench.tables.table import Table, table_of
from pipelines.bench.world import World
from pipelines.classifiers.bench.search_space import Space, points, space_of

SEED: Final = 1_000_003
"""First seed of the search; no run of a table should use it."""
RATE: Final = "learning_rate"
SEARCHED: Final[tuple[str, ...]] = (
    RATE,
    "alpha",
    "strength",
    "weight",
    "erase_weight",
    "ridge",
)
"""Settings that are searched where a method has them: its rate, and how strongly it erases."""
TRIALS: Final = "trials"
FILE_NAME: Final = "tuned.json"
_PATIENCE: Final = 5.0
"""Seconds between two looks at a trial that another process has in work."""
_SILENCE: Final = 3600.0
"""Seconds without a new file in a trial after which its process counts as hanging."""

Fill = Callable[[Sequence[Place]], Mapping[str, Cell]]
"""Makes the cells of these places that are not done, and returns all that are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One setting of a row that was tried."""

    kind: str
    """What the concepts are that it was tried on, such as object or style."""
    row: str
    values: Mapping[str, Any]
    """Setting -> value; empty for the defaults."""
    gap: float | None
    """Mean over concepts and seeds of the worst gap; None where one of them failed."""
    chosen: bool = False


def spaces_of(world: World, row: Row, concept: str) -> dict[str, Space]:
    """Setting -> where to look for it, around the value that the row has without a search.

    Raises:
        ConfigError: the row's recipe cannot be resolved.
    """
    recipe = world.erasure(row, concept, SEED)
    kind = type(recipe.method)
    names = [field.name for field in fields(recipe.method)]  # type: ignore[arg-type]
    unread = getattr(recipe.method, "unread", {})
    spaces: dict[str, Space] = {
        name: space_of(kind, name, getattr(recipe.method, name))
        for name in SEARCHED
        if name in names and name not in unread and getattr(recipe.method, name)
    }
    if row.mask not in ("", "all") and not row.by_density:
        spaces["density"] = space_of(kind, "density", recipe.density)
    return spaces


def trials_of(world: World, row: Row, concept: str, budget: int) -> list[dict[str, Any]]:
    """The defaults, then the recipe's rates, or as many other settings as the budget allows."""
    rates = world.recipe.rate_list
    try:
        spaces = spaces_of(world, row, concept)
    except ConfigError:  # the row says why when its cell is made
        return [{}]
    if rates:
        start = getattr(world.erasure(row, concept, SEED).method, RATE, None)
        return [{}, *({RATE: rate} for rate in rates if RATE in spaces and rate != start)]
    if not spaces:
        return [{}]
    return [{}, *(dict(values) for values in points(row.label, spaces, budget - 1))]


def concepts_like(world: World, concept: str) -> tuple[str, ...]:
    """The concepts of the search that are of this one's kind; all where none is."""
    kind = world.plan(concept).kind
    same = tuple(other for other in world.recipe.tune_on if world.plan(other).kind == kind)
    return same or world.recipe.tune_on


@dataclass(frozen=True)
class Search:
    """The search of one benchmark."""

    world: World
    rows: tuple[Row, ...]
    root: Path
    fill: Fill

    def tuned(self, concept: str) -> tuple[dict[str, Row], list[Trial]]:
        """Label -> the row with its best settings for a concept's kind, and all trials.

        Trials that are done already are read.
        """
        others = concepts_like(self.world, concept)
        kind = self.world.plan(others[0]).kind
        best: dict[str, Row] = {}
        tried: list[Trial] = []
        budget = self.world.recipe.trials
        plan = [
            (row, [(v, row.with_values(v)) for v in trials_of(self.world, row, others[0], budget)])
            for row in self.rows
            if row.kind == "method"
        ]
        rows = [one for _, settings in plan for _, one in settings]
        # All trials at once: processes that share a search share its cells, and a trial has few.
        places = {place.key: place for one in rows for place in self._places(one, others)}
        self.fill(list(places.values()))
        for row, settings in plan:
            gaps = [self._gap(one, others) for _, one in settings]
            first = min(range(len(gaps)), key=lambda n: _or_worst(gaps[n]))
            best[row.label] = settings[first][1]
            tried += [
                Trial(kind=kind, row=row.label, values=values, gap=gap, chosen=n == first)
                for n, ((values, _), gap) in enumerate(zip(settings, gaps, strict=True))
            ]
        return best, tried

    def _gap(self, row: Row, concepts: Sequence[str]) -> float | None:
        """The mean of a trial's worst gaps; None where a cell of it failed.

        Raises:
            ConfigError: another process has a cell in work and writes nothing more.
        """
        places = list(self._places(row, concepts))
        began = time.time()
        while True:
            cells = self.fill(places)
            left = [place for place in places if place.key not in cells]
            if not left:
                break
            silent = time.time() - max(began, *map(_last_written, left))
            if silent >= _SILENCE:
                raise ConfigError(
                    f"the trial {left[0].said} in {left[0].folder} is in work in another process, "
                    f"which has written nothing for {silent / 60:.0f} minutes; end that process if "
                    "it hangs, and give the same command again"
                )
            time.sleep(_PATIENCE)
        unjudged = DESTROYED if self.world.recipe.retrained else ()
        return _mean_gap(table_of(places, cells), unjudged)

    def _places(self, row: Row, concepts: Sequence[str]) -> Iterator[Place]:
        for concept in concepts:
            yield self.world.place(Row(kind="base", name="base"), concept, SEED, self.root)
            for number in range(self.world.recipe.tune_seeds):
                yield self.world.place(row, concept, SEED + number, self.root)


def write_trials(trials: Sequence[Trial], out: Path) -> None:
    """Write what was tried and chosen; DiskError where the disk refuses."""
    write_json(out / FILE_NAME, [to_table(trial) for trial in trials], indent=1)


def _last_written(place: Place) -> float:
    """When anything of a cell was written last, in seconds of the clock; 0 where nothing was."""
    times = [0.0]
    for path in (place.folder, *place.folder.rglob("*")):
        with suppress(OSError):  # it went meanwhile, or is not there yet
            times.append(path.stat().st_mtime)
    return max(times)


def _mean_gap(table: Table, unjudged: Collection[str] = ()) -> float | None:
    """The mean over the lines of a trial of the largest gap that is judged."""
    lines = [line for line in table.lines if line.row.kind == "method"]
    # A line has values where one of its seeds has; a trial that fails by another seed is none.
    whole = [line for line in lines if not line.failures and not line.missing]
    judged = [
        [gap.size for gap in line.gaps if gap.column not in unjudged]
        for line in whole
        if line.worst is not None
    ]
    return fmean(map(max, judged)) if len(judged) == len(lines) and all(judged) else None


def _or_worst(gap: float | None) -> float:
    return float("inf") if gap is None else gap
