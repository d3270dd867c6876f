"""Sums of gradients in main memory, for devices that have no room for them beside the model."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erasure.team import ALONE, Team


class OffloadedGradients:
    """Adds up the gradients of some weights in main memory, in float32.

    A gradient leaves the device as soon as it is complete and is freed there, so the device holds
    one at a time, not one of each weight. Takes 4 bytes a weight of main memory.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter]) -> None:
        """Hook the weights, by name; they stay where they are."""
        self._sums: dict[str, Tensor] = {}
        self._weights = dict(weights)
        self._hooks: list[Any] = [
            weight.register_post_accumulate_grad_hook(self._taking(name))
            for name, weight in weights.items()
        ]

    def _taking(self, name: str) -> Callable[[Tensor], None]:
        def take(weight: Tensor) -> None:
            gradient, weight.grad = weight.grad, None
            assert gradient is not None
            part = gradient.to("cpu", torch.float32)
            if name in self._sums:
                self._sums[name].add_(part)
            else:
                self._sums[name] = part

        return take

    def scores(self, team: Team = ALONE) -> dict[str, Tensor]:
        """|sum of gradients|, by name, float32 in main memory; the hooks are taken off.

        As `erasure.diffusion.saliency.saliency_scores` has them.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for name, weight in self._weights.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros(weight.shape, dtype=torch.float32)
        scores = {name: self._sums.pop(name) for name in self._weights}
        team.sum_(scores.values())
        for score in scores.values():
            score.abs_()
        return scores
