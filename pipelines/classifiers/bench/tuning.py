"""A small search for every method, all with the same budget, by Avg Gap on held-out data."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Final

from erasure.errors import ConfigError
from eval.rates.unlearning_metrics import average_gap
from pipelines.classifiers.bench.bench import World, run_world
from pipelines.classifiers.bench.cells import Cell, CellFile
from pipelines.classifiers.bench.presets import RETRAIN, Preset
from pipelines.classifiers.bench.search_space import points
from pipelines.classifiers.bench.tuned_values import Searched, TunedValues

SEED: Final = 1_000_003
"""First seed of the search: its originals, retrained models and forget sets use this one and those
after it, and no run of the table should. Its scores are of the held-out examples, so the table's
test data, forget sets and models are all new to what the search has chosen."""


def tuning_seeds(count: int) -> list[int]:
    """The seeds of a search.

    With one, many trials find what was lucky with it: large rates, where a seed decides. With
    more, a trial is judged by the mean of its gaps.

    Raises:
        ConfigError: fewer than one.
    """
    if count < 1:
        raise ConfigError(f"the search has {count} seeds; give 1 or more")
    return [SEED + n for n in range(count)]


def trials(preset: Preset, budget: int) -> Iterator[Preset]:
    """The row as it is, then `budget - 1` points spread evenly over its search space.

    A larger budget begins with the trials of a smaller one. A row with nothing to search has one
    trial.
    """
    yield preset
    if not preset.search or budget < 2:
        return
    for values in points(preset.name, preset.search, budget - 1):
        yield preset.with_values(values)


def tune(
    worlds: Sequence[World], rows: Sequence[Preset], budget: int, cells: CellFile
) -> dict[str, Preset]:
    """The best trial of each row by Avg Gap to the retrained model, on held-out examples.

    Rows that train the model themselves are not searched: their gap is of another original too.

    Args:
        worlds: one setting with each of `tuning_seeds`, and `held_out` set.
        budget: trials a row; a row that fails every one of them keeps its first values.
        cells: where trials are kept, so that a search that is cut goes on.

    Raises:
        ConfigError: the budget is below 1, or there are no held-out examples.
    """
    if budget < 1:
        raise ConfigError(f"the budget is {budget} trials a method; give 1 or more")
    if not all(len(world.data.held_out) for world in worlds):
        raise ConfigError("there are no held-out examples to tune on; give held_out in the data")
    retrain = [Preset(name=RETRAIN, method=RETRAIN)]
    targets = [run_world(world, retrain, cells)[RETRAIN] for world in worlds]
    best = {}
    for row in rows:
        if row.method != RETRAIN and not row.own_training:
            tried = list(trials(row, budget))
            gaps = [
                fmean(
                    _gap(run_world(world, [trial], cells)[row.name], target)
                    for world, target in zip(worlds, targets, strict=True)
                )
                for trial in tried
            ]
            best[row.name] = tried[gaps.index(min(gaps))]
    return best


def tuned_values(worlds: Sequence[World], best: Mapping[str, Preset], budget: int) -> TunedValues:
    """What `tune` found for the setting of these worlds, to be written."""
    rows = {
        name: {setting: preset.value(setting) for setting in sorted(preset.search)}
        for name, preset in best.items()
        if preset.search
    }
    return TunedValues(
        found_for=worlds[0].found_for, search=Searched(trials=budget, seeds=len(worlds)), rows=rows
    )


def _gap(cell: Cell, target: Cell) -> float:
    if cell.scores is None or target.scores is None:
        return float("inf")
    return average_gap(cell.scores, target.scores)
