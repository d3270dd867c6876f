"""l1-sparse unlearning: fine-tune while a falling penalty draws weights to zero."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.classifiers.descent import Descent
from erasure.classifiers.protocol import Need, Task
from erasure.classifiers.weights import trainable
from erasure.errors import ConfigError
from erasure.setting_checks import require_not_negative
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class L1Sparse(Descent):
    """CE(retain) + a_e * sum |weight|, with a_e = alpha (1 - e / (E - plain_epochs)), then 0.

    The sum runs over all trainable weights, biases and norms too, as released; no weight is set
    to zero afterwards. Weights outside a mask add to the value of the loss, not to any step.

    Source: arXiv:2304.04934, l1-sparse MU, and its released code, whose schedule this is. Its
        default alpha of 0.2 destroys a ResNet-18; later work uses 1e-4, as here.
    """

    name: ClassVar[str] = "l1-sparse"
    source: ClassVar[str] = "arXiv:2304.04934, l1-sparse MU"
    needs: ClassVar[frozenset[Need]] = frozenset()
    alpha: float = 1e-4
    """Penalty of the first epoch, for each unit of |weight|."""
    plain_epochs: int = 0
    """Last epochs without penalty."""

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        require_not_negative(self, "alpha")
        if not 0 <= self.plain_epochs < self.epochs:
            raise ConfigError(
                f"plain_epochs is {self.plain_epochs}; give 0 to below {self.epochs}, the epochs"
            )

    def penalty(self, epoch: int) -> float:
        """a_e of an epoch, counted from 0."""
        return max(0.0, self.alpha * (1 - epoch / (self.epochs - self.plain_epochs)))

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of retain data."""
        weights = trainable(task.model)

        def losses(epoch: int) -> Iterator[Tensor]:
            for batch in task.retain.shuffled(task.seed, "retain", epoch):
                size = torch.stack([weight.abs().sum() for weight in weights.values()]).sum()
                fit = F.cross_entropy(task.logits(batch), batch.labels)
                yield fit + self.penalty(epoch) * size

        return task.descend(self, losses)
