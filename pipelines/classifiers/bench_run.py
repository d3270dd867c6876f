"""Run a benchmark in a folder: search if asked, fill the missing cells, write the table and plot.

In the folder: `bench.toml` (the resolved settings), `cells.jsonl` (results), `trials.jsonl` and
`tuned/` (the search), `models/` (originals and retrained models), and what is made of
the cells, `table.json`, `table.csv`, `table.md` and `gap.png`.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from erasure.disk import disk_errors
from erasure.errors import CheckpointError, ConfigError
from erasure.files import atomic
from pipelines.classifiers.bench import BenchConfig, World, run_world, worlds
from pipelines.classifiers.bench_models import ModelStore
from pipelines.classifiers.bench_plot import plot_gap_against_time
from pipelines.classifiers.bench_table import Row, table, to_csv, to_json, to_markdown
from pipelines.classifiers.cells import Cell, CellFile
from pipelines.classifiers.data import load_data
from pipelines.classifiers.presets import RETRAIN, Preset, load_presets
from pipelines.classifiers.tuning import SEED, tune, write_tuned
from pipelines.progress import Reporter
from pipelines.recipe import dump_toml

CONFIG: Final = "bench.toml"
TUNED: Final = "tuned"


@dataclass(frozen=True, slots=True)
class Share:
    """Which of several processes this is; `accelerate launch` and `torchrun` say so."""

    index: int = 0
    count: int = 1

    @classmethod
    def of_environment(cls) -> "Share":
        """From `RANK` and `WORLD_SIZE`; alone where they are not set.

        Raises:
            ConfigError: they are no such numbers.
        """
        index, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise ConfigError(
                f"RANK is {index!r} and WORLD_SIZE {count!r}; unset both, or use accelerate launch"
            )
        return cls(int(index), int(count))


def run_bench(
    config: BenchConfig,
    out: Path,
    *,
    device: torch.device,
    reporter: Reporter,
    budget: int = 0,
    tuned: Sequence[Path] = (),
    share: Share | None = None,
) -> list[Row]:
    """Every cell of a benchmark; those that the folder has already are not made again.

    Args:
        out: made if it is not there; the folder of an earlier benchmark is continued, also with
            further methods, seeds or settings.
        budget: trials of the search of each method and setting; 0 does not search. Several
            processes share the settings, and end with the search: call again without it.
        tuned: files of tuned values; those in the folder win over them.
        share: which part of the work is ours; a group with one original stays together.

    Raises:
        CheckpointError: the folder holds something else.
        ConfigError: data, models or methods are wrong.
    """
    share = share or Share()
    load_presets(config.methods, tuned=tuned)  # what is wrong with them shows before any training
    _prepare(config, out)
    data = [load_data(one) for one in config.data]
    store = ModelStore(out / "models", device, reporter)
    if budget:
        trials = CellFile(out, "trials", share.index)
        searched = list(worlds(config, data, store, seeds=[SEED], held_out=True))
        for world in searched[share.index :: share.count]:
            best = tune(world, _rows(config, world, tuned), budget, trials)
            write_tuned(out / TUNED, world.name, best)
        if share.count > 1:  # the others may not be done
            return []
    files = [*tuned, *sorted((out / TUNED).glob("*.toml"))]
    cells = CellFile(out, process=share.index)
    everything = list(worlds(config, data, store))
    for world in worlds(config, data, store, process=share.index, processes=share.count):
        run_world(world, _rows(config, world, files), cells)
        write_tables(out, config, _there(everything, files, cells))
    return table(_there(everything, files, cells))


def _there(everything: Sequence[World], tuned: Sequence[Path], cells: CellFile) -> list[Cell]:
    """The cells that are done, by any process, in the order of settings and methods."""
    done = cells.read()
    keys = [world.key(row) for world in everything for row in _rows(world.config, world, tuned)]
    return [done[key] for key in keys if key in done]


def write_tables(out: Path, config: BenchConfig, cells: Sequence[Cell]) -> None:
    """Write the table in its three forms, and the plot."""
    rows = table(cells)
    about = {"config": asdict(config), "torch": torch.__version__}
    texts = {
        "table.json": to_json(rows, **about),
        "table.csv": to_csv(rows),
        "table.md": to_markdown(rows),
    }
    for name, text in texts.items():
        with atomic(out / name) as part:
            part.write_text(text, encoding="utf-8")
    if any(row.gap is not None for row in rows):
        plot_gap_against_time(rows, out / "gap.png")


def _rows(config: BenchConfig, world: World, tuned: Sequence[Path]) -> list[Preset]:
    """The rows of a setting, retraining first."""
    found = load_presets(config.methods, setting=world.name, tuned=tuned)
    rows = [row.at_most(config.unlearn_epochs) for row in found]
    if any(row.name == RETRAIN for row in rows):
        return rows
    return [Preset(name=RETRAIN, method=RETRAIN), *rows]


def _prepare(config: BenchConfig, out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CONFIG).exists())):
        raise CheckpointError(f"{out} is there and no benchmark; give --out another folder")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with atomic(out / CONFIG) as part:
        part.write_text(dump_toml(config, "A benchmark of diffusion-erasure."), encoding="utf-8")
