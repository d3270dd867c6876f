"""A hand-made rollout of the toy denoiser, and the batches that a method asks for."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from erasure.diffusion.batches import Rollout
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Condition
from support.tiny import CPU, Toy, seeded, toy_condition, toy_data, toy_schedule


def rollout(rows: int = 3) -> Rollout:
    table = toy_condition(rows=3 * rows)
    parts = [table[torch.arange(n * rows, (n + 1) * rows)] for n in range(3)]
    x_t = torch.randn(rows, 2, 4, 4, generator=seeded(5))
    return Rollout(x_t, torch.tensor([1, 500, 900])[:rows], *parts)


def answers(network: Toy, batch: Rollout, condition: Condition) -> Tensor:
    return network(batch.x_t, batch.t, condition.tokens)


def batches_of(method: Any, data: ConceptData | None = None) -> Any:  # noqa: ANN401
    """The source that a method trains on, without a step of it."""
    asked: list[Any] = []

    def train(settings: Any, batches: Any, *others: Any, **more: Any) -> list[Any]:  # noqa: ANN401
        asked.append(batches)
        return []

    known = {"data": data or toy_data(), "schedule": toy_schedule(), "device": CPU, "tally": None}
    list(method.run(SimpleNamespace(**known, train=train)))
    (batches,) = asked
    return batches
