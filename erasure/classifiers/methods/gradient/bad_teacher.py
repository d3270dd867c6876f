"""Bad teacher: learn the forget data from a model that knows nothing."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from erasure.classifiers.data.batches import joined, logits_of
from erasure.classifiers.data.fresh import fresh_model
from erasure.classifiers.descent import Descent
from erasure.classifiers.methods.gradient.distillation import divergence
from erasure.classifiers.protocol import Need, Task
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.setting_checks import require_positive
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class BadTeacher(Descent):
    """KL from an untrained model on the forget data, and from the original on the retain data.

    Both kinds share each batch; `retain_share` of the retain data, drawn once, is used.

    Source: arXiv:2205.08096, blindspot unlearning with two teachers. Its released code means the
        divergence over the classes too, which makes the gradient C times smaller; rate, optimiser,
        share and temperature are those that the release of arXiv:2308.07707 runs it with.
    """

    name: ClassVar[str] = "bad-teacher"
    source: ClassVar[str] = "arXiv:2205.08096, competent and incompetent teacher"
    needs: ClassVar[frozenset[Need]] = frozenset()
    epochs: int = 1
    lr: float = 1e-4
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    retain_share: float = 0.3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        if not 0 < self.retain_share <= 1:
            raise ConfigError(f"retain_share is {self.retain_share}; give above 0 and at most 1")
        require_positive(self, "temperature")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of both sets."""
        competent = copy.deepcopy(task.model).eval()
        incompetent = fresh_model(task.model, task.seed, task.build).eval()
        draw = generator_for(task.seed, "retain share")
        count = max(1, int(self.retain_share * len(task.retain)))
        retain = task.retain.subset(torch.randperm(len(task.retain), generator=draw)[:count])
        both = joined(task.forget, retain)

        def losses(epoch: int) -> Iterator[Tensor]:
            for batch in both.shuffled(task.seed, "both", epoch):
                forgotten = (batch.index < len(task.forget)).to(task.device)  # (B,)
                with torch.no_grad():
                    good = logits_of(competent, batch.inputs)
                    bad = logits_of(incompetent, batch.inputs)
                taught = torch.where(forgotten[:, None], bad, good)
                yield divergence(task.logits(batch), taught, self.temperature)

        return task.descend(self, losses)
