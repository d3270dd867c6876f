"""Gradient ascent (GA): make the loss on the forget data larger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from erasure.classifiers.descent import Descent
from erasure.classifiers.protocol import Need, Task
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientAscent(Descent):
    """-CE(forget).

    Nothing bounds it from below, so few and small steps are all it can take: the defaults are
    those of the first release of arXiv:2310.12508, and its authors suggest up to 1e-3 where they
    do nothing.

    Source: arXiv:2109.13398, as in the released code of arXiv:2310.12508.
    """

    name: ClassVar[str] = "ga"
    source: ClassVar[str] = "arXiv:2109.13398, gradient ascent"
    needs: ClassVar[frozenset[Need]] = frozenset()
    epochs: int = 5
    lr: float = 1e-4

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of forget data."""

        def losses(epoch: int) -> Iterator[Tensor]:
            for batch in task.forget.shuffled(task.seed, "forget", epoch):
                yield -F.cross_entropy(task.logits(batch), batch.labels)

        return task.descend(self, losses)
