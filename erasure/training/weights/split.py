"""The gradients of the forget and of the retain loss apart, for rules that weigh them anew."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from erasure.team import Team

Gradients = Mapping[str, Tensor]
"""Name of a weight -> gradient of its selected values, (s,)."""


class Combine(Protocol):
    """From two gradients to the one that the optimiser is given."""

    def __call__(self, forget: Gradients, retain: Gradients, /) -> Gradients:
        """Both have all names of the selected weights, of the sums over the whole team."""
        ...


class SplitGradients:
    """Adds up the gradients of two losses of the same passes, each by itself.

    Takes 8 bytes a selected weight, and a second backward pass through what both losses share.
    """

    def __init__(self, vectors: Mapping[str, nn.Parameter]) -> None:
        """Begin at zero for the vectors that the network's gradients are gathered in."""
        self._vectors = vectors
        self._forget = {name: torch.zeros_like(v) for name, v in vectors.items()}
        self._retain = {name: torch.zeros_like(v) for name, v in vectors.items()}

    def backward(self, forget: Tensor, retain: Tensor) -> None:
        """Add the gradients of both losses, (); one without a graph adds nothing."""
        for loss, sums in ((forget, self._forget), (retain, self._retain)):
            if loss.requires_grad:
                torch.autograd.backward(loss, retain_graph=loss is forget and retain.requires_grad)
                self._take(sums)

    def _take(self, sums: dict[str, Tensor]) -> None:
        for name, vector in self._vectors.items():
            if vector.grad is not None:
                sums[name].add_(vector.grad)
                vector.grad = None

    def put(self, combine: Combine, team: Team) -> None:
        """Give every vector the gradient that the rule makes of both sums over the team."""
        team.sum_([*self._forget.values(), *self._retain.values()])
        for name, gradient in combine(self._forget, self._retain).items():
            self._vectors[name].grad = gradient
