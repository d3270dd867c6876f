"""SCRUB: a student that disobeys its teacher on the forget data alone."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.classifiers.data.batches import logits_of
from erasure.classifiers.descent import Descent
from erasure.classifiers.methods.gradient.distillation import divergence
from erasure.classifiers.protocol import Need, Task
from erasure.errors import ConfigError
from erasure.setting_checks import require_not_negative, require_positive
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Scrub(Descent):
    """-KL(forget) in the first epochs, then gamma CE(retain) + alpha KL(retain) in each.

    KL is the divergence from the original model, the teacher. An epoch passes over the forget
    data (only the first `ascents` epochs) and then over the retain data.

    Source: arXiv:2302.09880, SCRUB, without the rewinding of SCRUB+R; values of one of the
        notebooks of its released code.
    """

    name: ClassVar[str] = "scrub"
    source: ClassVar[str] = "arXiv:2302.09880, SCRUB"
    needs: ClassVar[frozenset[Need]] = frozenset()
    epochs: int = 5
    lr: float = 5e-4
    ascents: int = 3
    """Epochs that begin with a pass away from the teacher."""
    alpha: float = 0.5
    gamma: float = 1.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        if not 0 <= self.ascents <= self.epochs:
            raise ConfigError(f"ascents is {self.ascents}; give 0 to {self.epochs}, the epochs")
        require_not_negative(self, "alpha", "gamma")
        require_positive(self, "temperature")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of either set."""
        teacher = copy.deepcopy(task.model).eval()

        def losses(epoch: int) -> Iterator[Tensor]:
            if epoch < self.ascents:
                for batch in task.forget.shuffled(task.seed, "forget", epoch):
                    with torch.no_grad():
                        taught = logits_of(teacher, batch.inputs)
                    yield -divergence(task.logits(batch), taught, self.temperature)
            for batch in task.retain.shuffled(task.seed, "retain", epoch):
                with torch.no_grad():
                    taught = logits_of(teacher, batch.inputs)
                logits = task.logits(batch)
                fit = F.cross_entropy(logits, batch.labels)
                yield self.gamma * fit + self.alpha * divergence(logits, taught, self.temperature)

        return task.descend(self, losses)
