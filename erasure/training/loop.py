"""The one loop of every training: gradients come in, and the vectors move by them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from erasure.training.step import Step
from erasure.training.update import take_step


class Moving(Protocol):
    """What moves, and how its values get into the answers of a network."""

    @property
    def vectors(self) -> Mapping[str, nn.Parameter]:
        """The only tensors that the optimiser sees, by name."""
        ...

    def write_back(self) -> None:
        """Let the network answer with the vectors' values."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """One step whose gradients are in the vectors, before it is taken."""

    step: Step
    """Its number and the losses that the gradients are of, as whoever iterates will see them."""
    rate: float
    """Learning rate of the step."""
    taken: Callable[[], None] | None = None
    """Called without gradients when the vectors have moved and the network has not; may change
    their values."""


def train(
    moving: Moving,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Ready],
    *,
    remedy: str,
    clip_norm: float | None = None,
) -> Iterator[Step]:
    """Take one step for each batch, and yield after it; the caller may stop at any time.

    Trainings differ in their batches alone: whether those come by steps or by epochs, how a batch
    is cut into passes and shared by processes, what is random in them, and what is kept in between.

    Args:
        optimizer: of `moving.vectors`.
        batches: puts the gradients of a batch into the vectors, which have none then, each time
            that it is asked. It is asked for a batch after the caller of this asked for the step.
        remedy: what the message tells to do about a loss that is not finite.
        clip_norm: largest norm of all gradients together.

    Raises:
        TrainingError: a loss or a gradient is not finite; no weight has moved in that step.
    """
    while True:
        optimizer.zero_grad(set_to_none=True)
        ready = next(batches, None)
        if ready is None:
            return
        take_step(
            optimizer,
            moving.vectors.values(),
            index=ready.step.index,
            loss=ready.step.loss,
            rate=ready.rate,
            remedy=remedy,
            clip_norm=clip_norm,
        )
        with torch.no_grad():
            if ready.taken is not None:
                ready.taken()
            moving.write_back()
        yield ready.step
