"""Fine-tuning (FT): go on training on what is kept, and let the rest fade."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from erasure.classifiers.descent import Descent
from erasure.classifiers.protocol import Need, Task
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTune(Descent):
    """CE(retain).

    Source: arXiv:1911.04933 (fine-tuning baseline), as in the released code of arXiv:2310.12508:
        SGD at 0.01 for 10 epochs. Its authors search the rate from 1e-4 to 0.1.
    """

    name: ClassVar[str] = "ft"
    source: ClassVar[str] = "arXiv:1911.04933, fine-tuning"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of retain data."""

        def losses(epoch: int) -> Iterator[Tensor]:
            for batch in task.retain.shuffled(task.seed, "retain", epoch):
                yield F.cross_entropy(task.logits(batch), batch.labels)

        return task.descend(self, losses)
