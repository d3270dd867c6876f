"""Gradient descent that a seed decides, a mask bounds and a file can continue."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import torch
from torch import Tensor, nn

from erasure.classifiers.progress import Progress
from erasure.classifiers.weights import (
    BatchNormPolicy,
    MovingWeights,
    require_finite_statistics,
    training_mode,
)
from erasure.errors import ConfigError, TrainingError
from erasure.masks.masks import SaliencyMask
from erasure.seeds import seeded_torch
from erasure.setting_checks import require_counts
from erasure.training.clock import cosine, stairs
from erasure.training.loop import Ready, train
from erasure.training.optimizers import make_optimizer, require_optimizer
from erasure.training.step import Step

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
        require_counts(self, "epochs")
        require_optimizer(self, rate="lr")
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"schedule is {self.schedule!r}; give one of {SCHEDULES}")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        if self.schedule == "cosine":
            return cosine(self.lr, math.pi * epoch / self.epochs)
        if self.schedule == "step":
            return stairs(self.lr, epoch, self.epochs)
        return self.lr

    def optimizer_of(self, weights: MovingWeights) -> torch.optim.Optimizer:
        """A fresh optimiser of these weights."""
        return make_optimizer(self, weights.vectors.values(), self.lr)


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
        TrainingError: a loss or gradient is not finite, and no weight has moved in that step; or
            running statistics are not, at the end of an epoch.
    """
    weights = MovingWeights(model, mask, extra)
    optimizer = settings.optimizer_of(weights)
    history = [] if progress is None else progress.load(weights, model, optimizer)

    def next_loss(stream: Iterator[Tensor]) -> float | None:
        """The loss of the next batch, its gradient in place; None at the end of the epoch."""
        training_mode(model, batchnorm)
        with seeded_torch(weights.device, seed, "step", len(history)), _one_sample_said():
            loss = next(stream, None)
            if loss is None:
                return None
            torch.autograd.backward(loss)
        return float(loss.detach())

    def ready() -> Iterator[Ready]:
        """The batches that remain, by epochs; each whole epoch is kept."""
        for epoch in range(history[-1].epoch if history else 0, settings.epochs):
            stream = losses(epoch)
            while (loss := next_loss(stream)) is not None:
                step = Step(len(history) + 1, loss, epoch=epoch + 1)
                after = partial(after_step, weights.vectors, epoch) if after_step else None
                yield Ready(step, settings.rate(epoch), after)
            require_finite_statistics(model)
            if progress is not None:
                progress.save(weights, model, optimizer, history)

    remedy = "lower lr, or look for NaN in the data and the weights"
    try:
        yield from tuple(history)
        for step in train(weights, optimizer, ready(), remedy=remedy):
            history.append(step)
            yield step
    finally:
        weights.release()


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
