"""Gradient descent that a seed decides, a mask bounds and a file can continue."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from erasure.classifiers.progress import Progress, Step
from erasure.classifiers.weights import BatchNormPolicy, MovingWeights, training_mode
from erasure.errors import ConfigError, TrainingError
from erasure.masks.masks import SaliencyMask
from erasure.seeds import seeded_torch

OPTIMIZERS: Final[Mapping[str, type[torch.optim.Optimizer]]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
SCHEDULES: Final = ("constant", "cosine", "step")


@dataclass(frozen=True, kw_only=True, slots=True)
class Descent:
    """Settings of every method that descends; the defaults are those of SalUn's release."""

    epochs: int = 10
    lr: float = 0.01
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.9
    """Only read by SGD."""
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """Course of the rate over the epochs: "step" divides it by 10 after 1/2 and after 3/4."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"epochs is {self.epochs}; give 1 or more")
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"lr is {self.lr}; give more than 0")
        for name, value in (("momentum", self.momentum), ("weight_decay", self.weight_decay)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"{name} is {value}; give 0 or more")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer is {self.optimizer!r}; give one of {tuple(OPTIMIZERS)}")
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"schedule is {self.schedule!r}; give one of {SCHEDULES}")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        if self.schedule == "step":
            passed = (2 * epoch >= self.epochs) + (4 * epoch >= 3 * self.epochs)
            return self.lr * 0.1**passed
        return self.lr

    def optimizer_of(self, weights: MovingWeights) -> torch.optim.Optimizer:
        """A fresh optimiser of these weights."""
        kind: Any = OPTIMIZERS[self.optimizer]
        extra = {"momentum": self.momentum} if self.optimizer == "sgd" else {}
        optimizer: torch.optim.Optimizer = kind(
            weights.tensors.values(), lr=self.lr, weight_decay=self.weight_decay, **extra
        )
        return optimizer


Losses = Callable[[int], Iterator[Tensor]]
"""For an epoch, from 0: the loss of each batch in turn, (), each computed when it is asked for."""


def descend(
    model: nn.Module,
    settings: Descent,
    losses: Losses,
    *,
    seed: int,
    mask: SaliencyMask | None = None,
    batchnorm: BatchNormPolicy = "update",
    progress: Progress | None = None,
    extra: nn.Module | None = None,
    after_step: Callable[[Mapping[str, Tensor], int], None] | None = None,
) -> Iterator[Step]:
    """Minimise the losses, one optimiser step each, and yield after every step.

    A run that is continued from its file first yields the steps it had, so that whoever iterates
    sees what an unbroken run would have shown.

    Args:
        losses: whatever is random in them must come from seeds; torch's own streams (dropout) are
            seeded here, anew for every step.
        mask: the weights that may move; None for all trainable ones.
        progress: where to keep the last whole epoch.
        extra: a part beside the model that is trained with it.
        after_step: called with the moving tensors by name and the epoch, and may change them.

    Raises:
        TrainingError: a loss or gradient is not finite; no weight has moved in that step.
    """
    weights = MovingWeights(model, mask, extra)
    optimizer = settings.optimizer_of(weights)
    history = [] if progress is None else progress.load(weights, model, optimizer)

    def next_loss(stream: Iterator[Tensor]) -> float | None:
        """The loss of the next batch, its gradient in place; None at the end of the epoch."""
        training_mode(model, batchnorm)
        optimizer.zero_grad()
        with seeded_torch(weights.device, seed, "step", len(history)), _one_sample_said():
            loss = next(stream, None)
            if loss is None:
                return None
            torch.autograd.backward(loss)
        _require_finite(len(history) + 1, float(loss.detach()), float(weights.gradient_norm()))
        return float(loss.detach())

    try:
        yield from tuple(history)
        for epoch in range(history[-1].epoch if history else 0, settings.epochs):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(epoch)
            stream = losses(epoch)
            while (loss := next_loss(stream)) is not None:
                optimizer.step()
                with torch.no_grad():
                    if after_step is not None:
                        after_step(weights.tensors, epoch)
                    weights.write_back()
                history.append(Step(len(history) + 1, loss, epoch + 1))
                yield history[-1]
            if progress is not None:
                progress.save(weights, model, optimizer, history)
    finally:
        weights.release()


def _require_finite(index: int, loss: float, norm: float) -> None:
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise TrainingError(
            f"step {index}: the loss is {loss} and the gradient norm {norm}, so the step was not "
            "taken; lower lr, or look for NaN in the data and the weights"
        )


@contextmanager
def _one_sample_said() -> Iterator[None]:
    """Say in our words that BatchNorm cannot take its statistics from one value."""
    try:
        yield
    except ValueError as err:
        if "more than 1 value per channel" not in str(err):
            raise
        raise TrainingError(
            "a batch of one sample gives BatchNorm no statistics; use batchnorm 'frozen', or more "
            "samples"
        ) from err
