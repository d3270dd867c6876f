"""What a training moves: vectors beside a network, and how their values get into its answers."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from erasure.team import Team


class Trainables(Protocol):
    """The only tensors that an optimiser sees; all else of the network keeps its bits."""

    vectors: dict[str, nn.Parameter]
    """What moves, by name, float32 or wider; the gradients of a pass arrive here."""
    apart: bool
    """Whether the values stand beside the network's weights and not in them, so that they still act
    where the weights are those of another base."""

    def write_back(self) -> None:
        """Let the network answer with the vectors' values, after each step of the optimiser."""
        ...

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Let the network answer with other values of these vectors; the vectors stay."""
        ...

    def sum_gradients(self, team: Team) -> None:
        """Add up the gradients of all processes, in place."""
        ...

    def release(self) -> None:
        """Take the hooks off the network."""
        ...


def sum_over(team: Team, vectors: Mapping[str, nn.Parameter]) -> None:
    """Add up the gradients of all processes, in place, vector by vector.

    A vector that has a gradient nowhere keeps none, so that the optimiser passes it over.
    """
    if team.count == 1:
        return
    owners = torch.tensor([v.grad is not None for v in vectors.values()], dtype=torch.int64)
    team.sum_([owners])
    gradients = []
    for vector, known in zip(vectors.values(), owners.tolist(), strict=True):
        if known and vector.grad is None:
            vector.grad = torch.zeros_like(vector)
        if vector.grad is not None:
            gradients.append(vector.grad)
    team.sum_(gradients)
