"""Selective synaptic dampening (SSD): shrink what matters far more to the forget data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from erasure.classifiers.curvature.per_sample import fisher_diagonal
from erasure.classifiers.progress import numbered
from erasure.classifiers.protocol import Need, Task
from erasure.classifiers.weights import assign, trainable
from erasure.setting_checks import require_not_negative
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectiveDampening:
    """weight *= min(lambda F_D / F_f, 1) where F_f > alpha F_D: Fisher information of a weight on
    the forget data and on all training data D, retain and forget.

    No training and no rate. Evaluation mode throughout, so running statistics never move.

    Source: arXiv:2308.07707, SSD, with alpha and lambda of its ResNet-18 (the paper asks for more
        alpha in larger models). Its released code squares the gradient of a whole batch, so the
        result depends on the batch size; here every sample's own, as the paper defines it.
    """

    name: ClassVar[str] = "ssd"
    source: ClassVar[str] = "arXiv:2308.07707, SSD"
    needs: ClassVar[frozenset[Need]] = frozenset({"per-sample-gradients"})
    alpha: float = 10.0
    """How many times more a weight must matter to the forget data."""
    dampening: float = 1.0
    """lambda; smaller shrinks more."""

    def __post_init__(self) -> None:
        require_not_negative(self, "alpha", "dampening")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of either set; the weights move at the end."""
        return numbered(self._losses(task))

    def _losses(self, task: Task) -> Iterator[float]:
        task.model.eval()
        weights = trainable(task.model)
        forget = yield from task.remembered(
            "ssd forget", fisher_diagonal(task.model, weights, task.forget)
        )
        retain = yield from task.remembered(
            "ssd retain", fisher_diagonal(task.model, weights, task.retain)
        )
        share = len(task.forget) / (len(task.forget) + len(task.retain))
        new = {}
        for name, weight in weights.items():
            whole = share * forget[name] + (1 - share) * retain[name]
            matters = forget[name] > self.alpha * whole
            factor = (self.dampening * whole / forget[name]).clamp(max=1)
            new[name] = torch.where(matters, weight.detach() * factor, weight.detach())
        assign(task.model, new, task.mask)
