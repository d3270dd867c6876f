"""A hand-made rollout of the toy denoiser."""

import torch
from torch import Tensor

from erasure.diffusion.batches import Rollout
from erasure.diffusion.denoiser import Condition
from support.tiny import Toy, seeded, toy_condition


def rollout(rows: int = 3) -> Rollout:
    table = toy_condition(rows=3 * rows)
    parts = [table[torch.arange(n * rows, (n + 1) * rows)] for n in range(3)]
    x_t = torch.randn(rows, 2, 4, 4, generator=seeded(5))
    return Rollout(x_t, torch.tensor([1, 500, 900])[:rows], *parts)


def answers(network: Toy, batch: Rollout, condition: Condition) -> Tensor:
    return network(batch.x_t, batch.t, condition.tokens)
