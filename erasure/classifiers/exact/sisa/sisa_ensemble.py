"""The networks of the shards, asked together."""

# B samples, C classes, S shards.

from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from erasure.classifiers.data.batch import Inputs, logits_of

Aggregate = Literal["mean", "vote"]
AGGREGATES: Final = get_args(Aggregate)


class ShardEnsemble(nn.Module):
    """Answers with log probabilities, which serve as logits: their softmax gives them back."""

    def __init__(self, shards: Sequence[nn.Module], aggregate: Aggregate, classes: int) -> None:
        """Take the networks as they are.

        Args:
            shards: one for each shard that has points.
            aggregate: "mean" of the probabilities, or share of the "vote".
        """
        super().__init__()
        self.shards = nn.ModuleList(shards)
        self.aggregate: Aggregate = aggregate
        self.classes = classes

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """(B, C); what a shard's network takes."""
        batch: Inputs = named or (inputs[0] if len(inputs) == 1 else inputs)
        total = torch.stack([self._answer(shard, batch) for shard in self.shards]).mean(0)
        return total.clamp(min=torch.finfo(total.dtype).tiny).log()

    def _answer(self, shard: nn.Module, inputs: Inputs) -> Tensor:
        """Probabilities of one shard, or its vote; (B, C), float64."""
        logits = logits_of(shard, inputs).double()
        if self.aggregate == "mean":
            return logits.softmax(1)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).double()
