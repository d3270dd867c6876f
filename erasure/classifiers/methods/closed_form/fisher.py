"""Fisher forgetting: blur every weight as far as the retain data lets it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from erasure.classifiers.curvature.per_sample import fisher_diagonal
from erasure.classifiers.progress import numbered
from erasure.classifiers.protocol import Need, Task
from erasure.classifiers.weights import assign, trainable
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.setting_checks import require_choice, require_not_negative
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class FisherForgetting:
    """weights += noise of variance alpha min(1 / (F + 1e-8), limit), F being their Fisher
    information on the retain data.

    Evaluation mode throughout, so running statistics never move.

    Source: arXiv:1911.04933, Fisher forgetting; variance, alpha and limit as in its released code,
        F by the model's own answers as there. Its further rules (a tenth of the limit and ten
        times the variance in the last layer, the mean of the variance over each row, a fixed row
        for a forgotten class) name layers by their size and are left out; so is what SalUn's
        release added, ten times the noise where a shape ends in 10.
    """

    name: ClassVar[str] = "fisher"
    source: ClassVar[str] = "arXiv:1911.04933, Fisher forgetting"
    needs: ClassVar[frozenset[Need]] = frozenset({"per-sample-gradients"})
    alpha: float = 1e-6
    limit: float = 1e3
    """Largest 1 / F; weights that do not matter would else lose themselves."""
    labels: Literal["model", "data"] = "model"
    """Whether F is over the model's answers, at one gradient a class, or over the labels given."""
    samples: int | None = 1000
    """Retain samples to measure F on, drawn from the seed; None for all, as released."""

    def __post_init__(self) -> None:
        require_not_negative(self, "alpha", "limit")
        require_choice(self, "labels", "model", "data")
        if self.samples is not None and self.samples < 1:
            raise ConfigError(f"samples is {self.samples}; give 1 or more, or none for all")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of retain data; the weights move at the end."""
        return numbered(self._losses(task))

    def _losses(self, task: Task) -> Iterator[float]:
        task.model.eval()
        weights = trainable(task.model)
        order = torch.randperm(len(task.retain), generator=generator_for(task.seed, "fisher"))
        data = task.retain if self.samples is None else task.retain.subset(order[: self.samples])
        information = yield from task.remembered(
            f"fisher {self.labels} {self.samples}",
            fisher_diagonal(task.model, weights, data, self.labels),
        )
        new = {}
        for name, weight in weights.items():
            inverse = 1 / (information[name].double() + 1e-8)
            deviation = (self.alpha * inverse.clamp(max=self.limit)).sqrt()
            draw = generator_for(task.seed, "noise", name)
            noise = torch.randn(weight.shape, generator=draw).to(weight.device)
            new[name] = weight.detach() + deviation * noise
        assign(task.model, new, task.mask)
