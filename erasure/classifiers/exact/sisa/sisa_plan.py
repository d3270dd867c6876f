"""SISA's division of the points, which does not change for the others when one leaves."""

# N points, S shards, R slices a shard.

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erasure.classifiers.exact.stable_draws import hashed, key_of


def stage_epochs(epochs: int, slices: int) -> tuple[int, ...]:
    """Epochs after each slice is added, such that slicing costs no more than training at once.

    Source: arXiv:1912.03817, section on slicing: 2 epochs / (slices + 1) a stage on average;
        rounded as in its released code.
    """
    mean = 2 * epochs / (slices + 1)
    return tuple(int((part + 1) * mean) - int(part * mean) for part in range(slices))


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Training of one shard after a slice is added."""

    shard: int
    part: int
    """The slice, from 0."""
    members: Tensor
    """Places, among the ids, of the points that take part: those of this slice and all before."""
    epochs: int
    lineage: str
    """Hash of the ids that have a part in the state after this stage, slice by slice."""
    data: str = ""
    """The same of what these points are; empty where nobody has said."""

    @property
    def cost(self) -> int:
        """Sample-epochs."""
        return self.epochs * len(self.members)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which shard and slice a point belongs to: a hash of its id, so that it stays there.

    Equal parts, as in the paper, would have to be dealt out again after a deletion, and then the
    result would not be that of training without the point. Here a shard has N/S points, give or
    take the root of that.
    """

    shards: int
    slices: int
    epochs: int
    seed: int

    def shard_of(self, ids: Tensor) -> Tensor:
        """(N,), from 0 to S - 1."""
        return self._part_of(ids, "sisa shard", self.shards)

    def stages(self, ids: Tensor, shard: int, marks: Sequence[str] = ()) -> tuple[Stage, ...]:
        """The stages of one shard, (R,).

        Args:
            marks: hash of each point, by which points of the same id are told apart, (N,); none
                where they are not known.
        """
        own = (self.shard_of(ids) == shard).nonzero().flatten()
        parts = self._part_of(ids[own], "sisa slice", self.slices)
        digest, content = hashlib.sha256(repr(shard).encode()), hashlib.sha256()
        stages = []
        for part, epochs in enumerate(stage_epochs(self.epochs, self.slices)):
            added = own[parts == part]
            digest.update(repr((part, ids[added].tolist())).encode())
            content.update(repr([marks[place] for place in added] if marks else []).encode())
            data = content.hexdigest() if marks else ""
            stages.append(Stage(shard, part, own[parts <= part], epochs, digest.hexdigest(), data))
        return tuple(stages)

    def cost(self, ids: Tensor) -> int:
        """Sample-epochs of training all shards."""
        return sum(stage.cost for n in range(self.shards) for stage in self.stages(ids, n))

    def _part_of(self, ids: Tensor, what: str, count: int) -> Tensor:
        bits = hashed(key_of(self.seed, what), ids.numpy()) % np.uint64(count)
        return torch.from_numpy(bits.astype(np.int64))
