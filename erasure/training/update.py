"""One step of an optimiser on gradients that are there: checked, clipped, taken."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from erasure.errors import TrainingError


def gradient_norm(vectors: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, (), float32 or wider; 0 where there is none."""
    norms = [vector.grad.norm() for vector in vectors if vector.grad is not None]
    if not norms:
        return torch.zeros(())
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next steps have this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def take_step(
    optimizer: torch.optim.Optimizer,
    vectors: Iterable[nn.Parameter],
    *,
    index: int,
    loss: float,
    rate: float,
    remedy: str,
    clip_norm: float | None = None,
) -> None:
    """Move the vectors by their gradients, or leave them where they are.

    Args:
        index: of the step, from 1, for the message.
        loss: that the gradients are of.
        rate: learning rate of this step.
        remedy: what the message tells to do about a loss that is not finite.
        clip_norm: largest norm of all gradients together; longer ones are scaled down to it.

    Raises:
        TrainingError: the loss or the norm is not finite; nothing has moved.
    """
    own = list(vectors)
    norm = float(gradient_norm(own))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise TrainingError(
            f"step {index}: the loss is {loss} and the gradient norm {norm}, so the step was not "
            f"taken; {remedy}"
        )
    if clip_norm is not None and norm > clip_norm:
        for vector in own:
            if vector.grad is not None:
                vector.grad.mul_(clip_norm / norm)
    set_rate(optimizer, rate)
    optimizer.step()
