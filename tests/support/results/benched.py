"""A benchmark whose numbers are known, for the tests of its page."""

from typing import Any

import torch
from torch.utils.data import TensorDataset

from erasure.classifiers import TrainingRecipe
from eval.rates.unlearning_metrics import Scores
from pipelines.classifiers.bench.bench_config import BenchConfig
from pipelines.classifiers.bench.bench_table import table
from pipelines.classifiers.bench.cells import Cell, DeletionFacts
from pipelines.classifiers.bench.page.bench_page import Bench
from pipelines.classifiers.data.data import ClassifierData, DataConfig, DataFacts
from pipelines.classifiers.networks.architectures import ModelConfig

SETTING = "digits 120/mlp 0.05/10%"
RETRAINED = {"ua": 5.0, "ra": 100.0, "ta": 94.0, "mia": 13.0}


def cell(
    row: str,
    seed: int = 0,
    *,
    seconds: float = 2.0,
    settings: dict[str, Any] | None = None,
    moved: int = 1000,
    steps: int = 316,
    error: str = "",
    **scores: float,
) -> Cell:
    """One that worked; scores that are not given are those of retraining."""
    return Cell(
        key=f"{row} {seed} {settings}",
        setting=SETTING,
        row=row,
        seed=seed,
        scores=None if error else Scores(**(RETRAINED | scores), seconds=seconds),
        moved=moved,
        steps=steps,
        values={"settings": settings or {}},
        error=error,
    )


def own_cell(seed: int = 0) -> Cell:
    """Make a cell of SISA, which has a training of its own and so scores before the deletion."""
    facts = DeletionFacts(
        before=Scores(ua=3.0, ra=97.0, ta=91.0, mia=8.0, seconds=60.0),
        unit="sample-epochs",
        spent=1,
        refit=4,
        statement="2 of 5 shards were trained again",
    )
    made = cell("sisa", seed, seconds=20.0, settings={"shards": 5}, ua=9.0, ra=96.0)
    return Cell(
        key=f"sisa {seed}",
        setting=SETTING,
        row="sisa",
        seed=seed,
        scores=made.scores,
        values=made.values,
        own_training=True,
        deletion=facts,
    )


def bench() -> Bench:
    """Five methods, one of which failed and one of which has a training run of its own."""
    cells = [cell("retrain", seed, seconds=100.0, steps=0) for seed in (0, 1)]
    lr = {"epochs": 2, "lr": 0.013, "density": 0.5}
    cells += [cell("ft", seed, seconds=10.0, ua=0.0, mia=4.0) for seed in (0, 1)]
    for seed, ua in enumerate((6.0, 8.0)):
        cells.append(cell("salun", seed, seconds=30.0, settings=lr, moved=500, ua=ua))
    for seed, ua in enumerate((5.0, 15.0)):
        cells.append(cell("rl", seed, seconds=28.0, settings={"epochs": 2, "lr": 0.01}, ua=ua))
    cells += [cell("bs", error="the inputs run from 0 to 16"), own_cell()]
    trial = cell("salun", 9, seconds=0.5)
    return Bench(
        config=BenchConfig(
            data=(DataConfig(name="digits", train=120),),
            models=(ModelConfig(architecture="mlp", width=0.05),),
            training=TrainingRecipe(epochs=20),
            seeds=(0, 1),
        ),
        data=[_data()],
        rows=table(cells),
        cells=cells,
        total=len(cells),
        weights={SETTING: 1000},
        trials=[trial] * 6,
    )


def _data() -> ClassifierData:
    def examples(count: int) -> TensorDataset:
        return TensorDataset(torch.zeros(count, 4), torch.zeros(count, dtype=torch.int64))

    return ClassifierData(
        config=DataConfig(name="digits", train=120),
        facts=DataFacts("table", (4,), ("a", "b"), (0.0,) * 4, (1.0,) * 4),
        train=examples(120),
        held_out=examples(0),
        test=examples(30),
        origin="digits of nobody",
        fingerprint="f" * 32,
        judging_fingerprint="e" * 32,
    )
