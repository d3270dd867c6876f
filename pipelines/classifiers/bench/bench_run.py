"""Run a benchmark in a folder: search if asked, fill the missing cells, write the table and plot.

In the folder: `bench.toml` (the resolved settings), `cells.jsonl` (results), `trials.jsonl` and
`tuned/` (the search), `models/` (originals, retrained models, models with a training run of their
own), and what is made of the cells, `table.json`, `table.csv`, `table.md`, `gap.png` and
`report.html`.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from erasure.errors import CheckpointError, ConfigError
from erasure.local_paths import without_folders
from erasure.storage.disk import disk_errors
from erasure.storage.files import atomic
from pipelines.classifiers.bench.bench import World, model_name, run_world, worlds
from pipelines.classifiers.bench.bench_config import BenchConfig
from pipelines.classifiers.bench.bench_models import ModelStore
from pipelines.classifiers.bench.bench_table import Row, table, to_csv, to_json, to_markdown
from pipelines.classifiers.bench.cells import Cell, CellFile
from pipelines.classifiers.bench.page.bench_page import Bench, write_page
from pipelines.classifiers.bench.page.bench_plot import plot_gap_against_time
from pipelines.classifiers.bench.presets import RETRAIN, Preset, load_presets
from pipelines.classifiers.bench.tuned_values import TunedValues
from pipelines.classifiers.bench.tuning import trials, tune, tuned_values, tuning_seeds
from pipelines.classifiers.data.data import load_data
from pipelines.configs.recipe import dump_toml
from pipelines.process.progress import Reporter

CONFIG: Final = "bench.toml"
TUNED: Final = "tuned"
_HEADER: Final = (
    "A benchmark of diffusion-erasure.\n"
    "Paths stand here as they were given, so that it goes on where it was cut; leave this file out "
    "of what you publish."
)


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
    tuning: int = 1,
    tuned: Sequence[Path] = (),
    share: Share | None = None,
) -> list[Row]:
    """Every cell of a benchmark; those that the folder has already are not made again.

    Args:
        out: made if it is not there; the folder of an earlier benchmark is continued, also with
            further methods, seeds or settings.
        budget: trials of the search of each method and setting; 0 does not search. Several
            processes share the settings, and end with the search: call again without it.
        tuning: seeds of the search, each with an original and a retrained model of its own.
        tuned: files of tuned values; those in the folder win over them.
        share: which part of the work is ours; a group with one original stays together.

    Raises:
        CheckpointError: the folder holds something else.
        ConfigError: data, models or methods are wrong, or a seed is one of the search.
    """
    share = share or Share()
    load_presets(config.methods, tuned=tuned)  # what is wrong with them shows before any training
    _prepare(config, out)
    data = [load_data(one) for one in config.data]
    store = ModelStore(out / "models", device, reporter)
    everything = list(worlds(config, data, store))
    _require_apart(everything)
    _require_of_these(tuned, everything)
    if budget:
        _require_other_seeds(config, tuning)
        tries = CellFile(out, "trials", share.index)
        searched: dict[str, list[World]] = {}
        for world in worlds(config, data, store, seeds=tuning_seeds(tuning), held_out=True):
            searched.setdefault(world.name, []).append(world)
        for same in list(searched.values())[share.index :: share.count]:
            best = tune(same, _rows(config, same[0], tuned), budget, tries)
            tuned_values(same, best, budget).write(out / TUNED)
        if share.count > 1:  # the others may not be done
            return []
    files = [*tuned, *sorted((out / TUNED).glob("*.toml"))]
    cells = CellFile(out, process=share.index)
    done = CellFile(out, "trials").read().values()
    seeds = sorted({cell.seed for cell in done}) or tuning_seeds(1)
    tried = _tried(
        config, list(worlds(config, data, store, seeds=seeds, held_out=True)), tuned, out
    )
    for world in worlds(config, data, store, process=share.index, processes=share.count):
        run_world(world, _rows(config, world, files), cells)
        write_tables(out, _bench(everything, files, cells, tried))
    return list(_bench(everything, files, cells, tried).rows)


def _tried(
    config: BenchConfig, searched: Sequence[World], tuned: Sequence[Path], out: Path
) -> list[Cell]:
    """The trials of the search as the presets are now; the folder may hold those of older ones."""
    done = CellFile(out, "trials").read()
    counts = Counter((cell.setting, cell.row, cell.seed) for cell in done.values())
    rows = [(world, row) for world in searched for row in _rows(config, world, tuned)]
    keys = dict.fromkeys(
        world.key(trial)
        for world, row in rows
        if row.method != RETRAIN and counts[(world.name, row.name, world.seed)]
        for trial in trials(row, counts[(world.name, row.name, world.seed)])
    )
    return [done[key] for key in keys if key in done]


def _bench(
    everything: Sequence[World], tuned: Sequence[Path], cells: CellFile, tried: Sequence[Cell]
) -> Bench:
    """What is done, by any process, in the order of settings and methods."""
    first, done = everything[0], cells.read()
    keys = [world.key(row) for world in everything for row in _rows(world.config, world, tuned)]
    there = [done[key] for key in keys if key in done]
    settings = {world.name: world for world in everything}
    return Bench(
        config=first.config,
        data=list({world.data.fingerprint: world.data for world in everything}.values()),
        rows=table(there),
        cells=there,
        total=len(keys),
        weights={name: world.weights for name, world in settings.items()},
        trials=tried,
        device=str(first.store.device),
    )


def write_tables(out: Path, bench: Bench) -> None:
    """Write the table in its three forms, the plot and the page."""
    about = {"config": without_folders(asdict(bench.config)), "torch": torch.__version__}
    texts = {
        "table.json": to_json(bench.rows, **about),
        "table.csv": to_csv(bench.rows),
        "table.md": to_markdown(bench.rows),
    }
    for name, text in texts.items():
        with atomic(out / name) as part:
            part.write_text(text, encoding="utf-8")
    if any(row.gap is not None for row in bench.rows):
        plot_gap_against_time(bench.rows, out / "gap.png")
    write_page(bench, out)


def _rows(config: BenchConfig, world: World, tuned: Sequence[Path]) -> list[Preset]:
    """The rows of a setting, retraining first."""
    presets = load_presets(config.methods, found_for=world.found_for, tuned=tuned)
    kind = world.data.facts.kind
    rows = [
        row.at_most(config.unlearn_epochs)
        for row in presets
        if row.name in config.methods or row.applies_to(kind)
    ]
    if any(row.name == RETRAIN for row in rows):
        return rows
    return [Preset(name=RETRAIN, method=RETRAIN), *rows]


def _require_apart(everything: Sequence[World]) -> None:
    """Raises ConfigError where a table would give two settings one name."""
    prints: dict[str, tuple[str, str]] = {}
    for world in everything:
        own = world.data.fingerprint, world.data.judging_fingerprint
        if prints.setdefault(world.name, own) != own:
            raise ConfigError(
                f"two data sets of the benchmark would both be called {world.name!r} and share "
                "their rows; run them into two folders, or give them different numbers of examples "
                "to train on"
            )


def _require_other_seeds(config: BenchConfig, tuning: int) -> None:
    """Raises ConfigError where the table would use models that the search has looked at."""
    if same := sorted({*config.seeds} & {*tuning_seeds(tuning)}):
        raise ConfigError(
            f"the search would choose settings by seed {same[0]}, which the table has too; give "
            "other seeds"
        )


def _require_of_these(tuned: Sequence[Path], everything: Sequence[World]) -> None:
    """Raises ConfigError for a file whose values were found for none of the settings."""
    wanted = [world.found_for for world in everything]
    for path in tuned:
        known = TunedValues.read(path).found_for
        if known not in wanted:
            raise ConfigError(
                f"{path} was found for {known.examples} examples of {known.data}, "
                f"{model_name(known.model)}, {known.training.epochs} epochs and {known.forget}, "
                "and no setting of this benchmark is the same in all that it names; leave it out, "
                "or search again with --tune"
            )


def _prepare(config: BenchConfig, out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CONFIG).exists())):
        raise CheckpointError(f"{out} is there and no benchmark; give --out another folder")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with atomic(out / CONFIG) as part:
        part.write_text(dump_toml(config, _HEADER), encoding="utf-8")
