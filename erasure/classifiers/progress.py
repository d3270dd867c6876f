"""Where a descent stands: yielded step by step, kept after every epoch, continued to the bit."""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from erasure.classifiers.weights import MovingWeights
from erasure.errors import TrainingError
from erasure.storage.state_file import load_run, save_run
from erasure.storage.tensors.hashing import bytes_hash
from erasure.training.state_tensors import fitting, restore, state_tensors
from erasure.training.step import Step

FORMAT: Final = "erasure-classifier-state 1"
SPENT: Final = "seconds.json"
"""In a folder of several parts: what those took that are done, until the training ends."""
_COLUMNS: Final = ("index", "loss", "epoch")


def numbered(losses: Iterable[float]) -> Iterator[Step]:
    """Losses as the steps of a method without epochs."""
    return (Step(index, loss) for index, loss in enumerate(losses, 1))


def require_finite(loss: float) -> None:
    """Raises TrainingError where a loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss}; look for NaN in the data and the weights")


def run_hash(model: nn.Module, *words: str) -> str:
    """Hash of the weights and statistics a run starts from, and of all else that defines it.

    Returns:
        64 hex digits.
    """
    start = bytes_hash(model.state_dict())
    return hashlib.sha256(repr((start, *words)).encode()).hexdigest()


def kept_seconds(place: Path) -> float:
    """Seconds that a training has taken which was cut, by what it left; 0 where it left nothing.

    Args:
        place: a file of `Progress`, or a folder of such and of `SPENT`.
    """
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    return sum(_seconds_in(file) for file in files if file.is_file())


def _seconds_in(file: Path) -> float:
    try:
        if file.name == SPENT:
            return float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
        if file.suffix not in (".state", ".partial"):
            return 0.0
        with safe_open(file, framework="pt") as state:
            return float((state.metadata() or {}).get("seconds", "0"))
    except (OSError, SafetensorError, ValueError, LookupError, TypeError):
        return 0.0  # A damaged file is said by who goes on from it.


@dataclass(frozen=True, slots=True)
class RunningStatistics:
    """The buffers of a model, such as those of BatchNorm, which move beside its weights."""

    model: nn.Module

    def tensors(self) -> dict[str, Tensor]:
        """What a state must hold of them."""
        return {f"buffer.{name}": value.detach() for name, value in self.model.named_buffers()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take them out of a state.

        Raises:
            KeyError, RuntimeError: the state is of another model.
        """
        for name, buffer in self.model.named_buffers():
            buffer.copy_(tensors[f"buffer.{name}"])


@dataclass(slots=True, eq=False)
class Progress:
    """A file that holds the last whole epoch of a run, and how long it took to come there."""

    path: Path
    run: str
    """`run_hash`; a file of another run is refused."""
    earlier: float = 0.0
    """Seconds that the epochs in the file took, once it is loaded."""
    begin: float = field(default_factory=lambda: time.perf_counter())
    """When this part of the run began."""

    def save(
        self,
        weights: MovingWeights,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        history: Sequence[Step],
    ) -> None:
        """Write values, running statistics, the optimiser's state and the history, atomically."""
        beside = (RunningStatistics(model),)
        tensors = state_tensors(weights.vectors, optimizer, history, _COLUMNS, beside)
        seconds = self.earlier + time.perf_counter() - self.begin
        save_run(self.path, tensors, kind=FORMAT, run=self.run, seconds=repr(seconds))

    @torch.no_grad()
    def load(
        self, weights: MovingWeights, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> list[Step]:
        """Put a fresh run where the saved one was; returns its history, empty without a file.

        Raises:
            TrainingError: the file is damaged, or belongs to another run.
        """
        if not self.path.exists():
            return []
        tensors, metadata = load_run(self.path, kind=FORMAT, run=self.run)
        with fitting(self.path):
            self.earlier = float(metadata.get("seconds", "0"))  # Older files do not say.
            beside = (RunningStatistics(model),)
            history = restore(tensors, weights.vectors, optimizer, _COLUMNS, beside)
            weights.write_back()
        return history
