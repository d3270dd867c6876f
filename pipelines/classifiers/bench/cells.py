"""Results of the benchmark, one line each, so that a run that is cut loses one cell at most."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from erasure.errors import ConfigError
from erasure.storage.disk import disk_errors
from erasure.storage.regular_files import require_regular
from erasure.storage.tables import read_record
from eval.rates.unlearning_metrics import Scores

log = logging.getLogger(__name__)
NOT_FOR_THESE: Final = "does not apply"
"""How the error of a cell begins whose method takes no data of this kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionFacts:
    """A deletion from a model that was trained to forget."""

    before: Scores
    """Scores of the model before it, on the same forget set; its seconds are its training's."""
    unit: str
    """What `spent` and `refit` count, such as `sample-epochs`."""
    spent: int
    """What the deletion took."""
    refit: int
    """What training again takes."""
    statement: str
    """What may be said of the points that left, in words."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Further numbers of the method, such as `epsilon`."""

    @property
    def redone(self) -> float:
        """Share of the training, in per cent, that had to be done again."""
        return 100 * self.spent / self.refit if self.refit else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One method, setting and seed."""

    key: str
    """Hash of all that decides the result."""
    setting: str
    """Data, architecture and forget set, such as `fashion-mnist/resnet18/10%`."""
    row: str
    """Name of the preset."""
    seed: int
    scores: Scores | None = None
    """None where it failed."""
    attack_seconds: float = 0.0
    """What the membership attack took."""
    others: Mapping[str, float] = field(default_factory=dict)
    """The attack on other signals, per cent."""
    moved: int = 0
    """Weights that changed."""
    steps: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method, mask included."""
    error: str = ""
    """Why there are no scores."""
    own_training: bool = False
    """Whether the method trained the model itself, which makes it another original."""
    deletion: DeletionFacts | None = None
    """What such a method says of its deletion."""


@dataclass(frozen=True, slots=True)
class CellFile:
    """A file of cells that only grows; each process of a run has its own in the folder."""

    folder: Path
    name: str = "cells"
    process: int = 0

    def read(self) -> dict[str, Cell]:
        """Every cell of every process by key. Torn lines are left out.

        Of equal keys it is the last, but one that failed gives way to one that did not: a later run
        may have made it with fewer processes, whose files are read before those of the others.
        """
        cells: dict[str, Cell] = {}
        for file in sorted(self.folder.glob(f"{self.name}*.jsonl")):
            require_regular(file)
            for number, line in enumerate(file.read_bytes().splitlines(), 1):
                try:
                    cell: Cell = read_record(Cell, json.loads(line), "cell", ConfigError)
                except (ValueError, RecursionError):
                    log.warning("%s, line %d is no cell and is made again", file, number)
                    continue
                if not (cell.error and cell.key in cells and not cells[cell.key].error):
                    cells[cell.key] = cell
        return cells

    def append(self, cell: Cell) -> None:
        """Add one line; it is on the disk when this returns.

        Raises:
            DiskError: the disk refuses.
        """
        tail = f"-{self.process}" if self.process else ""
        path = self.folder / f"{self.name}{tail}.jsonl"
        with disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                end = file.seek(0, os.SEEK_END)
                if end:
                    file.seek(end - 1)
                    if file.read(1) != b"\n":  # the last run was cut within a line
                        file.write(b"\n")
                file.write(json.dumps(asdict(cell), sort_keys=True).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
