"""The family of methods that train the selected weights by gradient."""

from dataclasses import dataclass

from erasure.masks.masks import SaliencyMask
from erasure.training.trainer import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ByGradient(TrainConfig):
    """Settings of the optimiser, to which a method adds its own."""

    def length(self, mask: SaliencyMask, /) -> int:
        """Steps of the optimiser."""
        return self.steps
