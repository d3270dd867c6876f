"""Where a descent stands: yielded step by step, kept after every epoch, continued to the bit."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from erasure.classifiers.weights import MovingWeights
from erasure.errors import TrainingError
from erasure.storage.hashing import bytes_hash
from erasure.storage.state_file import load_run, save_run

FORMAT: Final = "erasure-classifier-state 1"


@dataclass(frozen=True, slots=True)
class Step:
    """One step done."""

    index: int
    """From 1."""
    loss: float
    """What was minimised, on this step's batch."""
    epoch: int
    """From 1; 0 in a method that has none."""


def numbered(losses: Iterable[float]) -> Iterator[Step]:
    """Losses as the steps of a method without epochs."""
    return (Step(index, loss, 0) for index, loss in enumerate(losses, 1))


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


@dataclass(frozen=True, slots=True)
class Progress:
    """A file that holds the last whole epoch of a run."""

    path: Path
    run: str
    """`run_hash`; a file of another run is refused."""

    def save(
        self,
        weights: MovingWeights,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        history: Sequence[Step],
    ) -> None:
        """Write values, running statistics, the optimiser's state and the history, atomically."""
        tensors = {f"value.{name}": value.detach() for name, value in weights.tensors.items()}
        tensors |= {f"buffer.{name}": value.detach() for name, value in model.named_buffers()}
        names = list(weights.tensors)
        for index, values in optimizer.state_dict()["state"].items():
            moments = {key: value for key, value in values.items() if value is not None}
            tensors |= {f"optimizer.{key}.{names[index]}": value for key, value in moments.items()}
        rows = [[step.index, step.loss, step.epoch] for step in history]
        tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)
        save_run(self.path, tensors, kind=FORMAT, run=self.run)

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
        tensors, _ = load_run(self.path, kind=FORMAT, run=self.run)
        try:
            return self._restore(tensors, weights, model, optimizer)
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError) as err:
            raise TrainingError(
                f"{self.path} does not fit the run ({err}); delete it to start anew"
            ) from err

    def _restore(
        self,
        tensors: Mapping[str, Tensor],
        weights: MovingWeights,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> list[Step]:
        for name, weight in weights.tensors.items():
            weight.copy_(tensors[f"value.{name}"])
        for name, buffer in model.named_buffers():
            buffer.copy_(tensors[f"buffer.{name}"])
        keys = [key.split(".", 2) for key in tensors if key.startswith("optimizer.")]
        states: dict[int, dict[str, Tensor]] = {}
        for index, name in enumerate(weights.tensors):
            own = {
                key: tensors[f"optimizer.{key}.{owner}"] for _, key, owner in keys if owner == name
            }
            if own:
                states[index] = own
        optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
        weights.write_back()
        return [Step(int(i), loss, int(epoch)) for i, loss, epoch in tensors["history"].tolist()]
