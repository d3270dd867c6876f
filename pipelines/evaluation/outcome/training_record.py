"""What the run that made a model left beside it: where its mask lies, how its loss fell."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from erasure.errors import ErasureError
from erasure.masks.mask_file import load_mask
from erasure.masks.mask_report import mask_report
from pipelines.run.run_folder import MASK


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What the report shows of the training; None where it is not there, as for a model from
    elsewhere."""

    density: Mapping[str, float] | None
    """Block of the network -> share of its weights that were free to move."""
    losses: Sequence[tuple[int, float]] | None
    """(step, loss)."""


def read_training_record(model: str) -> TrainingRecord:
    """Look beside `model`, a run or the folder `model` in one; damaged files count as missing."""
    here = Path(model)
    run = next((folder for folder in (here, here.parent) if (folder / MASK).is_file()), None)
    if run is None:
        return TrainingRecord(None, None)
    return TrainingRecord(_density(run / MASK), _losses(run / "loss.csv"))


def _density(path: Path) -> dict[str, float] | None:
    try:
        return {row.part: row.density for row in mask_report(load_mask(path)).blocks}
    except ErasureError:
        return None


def _losses(path: Path) -> list[tuple[int, float]] | None:
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
