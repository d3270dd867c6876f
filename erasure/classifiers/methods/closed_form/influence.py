"""Influence unlearning (IU): one Newton-like step from all the data to the retain data."""

# n_f and n_r samples, P weights in all.

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.classifiers.curvature.inverse_hessian import (
    conjugate_gradients,
    flat,
    hessian_product,
    shaped,
    woodfisher,
)
from erasure.classifiers.curvature.per_sample import in_pieces, per_sample_gradients
from erasure.classifiers.data.batches import Batches
from erasure.classifiers.progress import numbered, require_finite
from erasure.classifiers.protocol import Need, Task
from erasure.classifiers.weights import assign, trainable
from erasure.diffusion.precision import wide
from erasure.errors import ConfigError
from erasure.seeds import generator_for
from erasure.setting_checks import require_choice, require_counts, require_not_negative
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Influence:
    """weights += alpha H^-1 v, v = n_f / (n_f + n_r) (mean gradient of forget - of retain).

    v is the gradient of the mean loss over all data less that over the retain data. At a minimum
    of the former, alpha = 1 and the exact H make this the Newton step of the retain loss: exact
    for a quadratic. "newton" takes H as the Hessian of the retain loss plus `damping`, solved by
    conjugate gradients; "woodfisher" is the recursion of the released code, which hardly bends v
    (see `woodfisher`), so it needs a larger alpha, 1 to 20 in its studies.

    Evaluation mode throughout, so running statistics never move. A mask acts on the step.

    Source: arXiv:2304.04934 and arXiv:2310.12508, IU, and their released code. There the samples
        of the recursion are the first of the retain data; here they are drawn from the seed.
    """

    name: ClassVar[str] = "iu"
    source: ClassVar[str] = "arXiv:2304.04934, influence unlearning"
    needs: ClassVar[frozenset[Need]] = frozenset({"per-sample-gradients"})
    alpha: float = 10.0
    inverse: Literal["woodfisher", "newton"] = "woodfisher"
    samples: int = 1000
    """Retain samples for the curvature; all where there are fewer."""
    damping: float = 0.0
    """Added to the Hessian; the weight decay of the training belongs here. Only for "newton"."""
    iterations: int = 100
    """Largest number of Hessian products. Only for "newton"."""
    tolerance: float = 1e-4
    """Relative error of the solution. Only for "newton"."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha):
            raise ConfigError(f"alpha is {self.alpha}; give a number")
        require_choice(self, "inverse", "woodfisher", "newton")
        require_counts(self, "samples", "iterations")
        require_not_negative(self, "damping", "tolerance")

    def steps(self, task: Task, /) -> Iterator[Step]:
        """One step a batch of either gradient; the weights move at the end."""
        return numbered(self._losses(task))

    def _losses(self, task: Task) -> Iterator[float]:
        task.model.eval()
        weights = trainable(task.model)
        moved = yield from task.remembered(
            f"iu {replace(self, alpha=1.0)}", self._direction(task, weights)
        )
        change = shaped(self.alpha * moved, weights)
        new = {name: wide(weight.detach()) + change[name] for name, weight in weights.items()}
        assign(task.model, new, task.mask)

    def _direction(
        self, task: Task, weights: Mapping[str, Tensor]
    ) -> Generator[float, None, Tensor]:
        """H^-1 v, (P,); yields the mean loss of each batch."""
        forget = yield from mean_gradient(task, task.forget, weights)
        retain = yield from mean_gradient(task, task.retain, weights)
        share = len(task.forget) / (len(task.forget) + len(task.retain))
        return self.solve(task, weights, share * (forget - retain))

    def solve(self, task: Task, weights: Mapping[str, Tensor], vector: Tensor) -> Tensor:
        """H^-1 v, (P,)."""
        draw = generator_for(task.seed, "curvature")
        count = min(self.samples, len(task.retain))
        data = task.retain.subset(torch.randperm(len(task.retain), generator=draw)[:count])
        if self.inverse == "woodfisher":
            return woodfisher(vector, _rows(task, data, weights), count)

        def product(x: Tensor) -> Tensor:
            return hessian_product(task.model, weights, data, x) + self.damping * x

        return conjugate_gradients(product, vector, self.iterations, self.tolerance)


def mean_gradient(
    task: Task, data: Batches, weights: Mapping[str, Tensor]
) -> Generator[float, None, Tensor]:
    """Gradient of the mean cross-entropy over the data, (P,); yields each batch's mean loss."""
    total: Tensor | None = None
    for batch in data.ordered():
        loss = F.cross_entropy(task.logits(batch), batch.labels, reduction="sum")
        mean = float(loss.detach()) / len(batch)
        require_finite(mean)
        parts = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        total = flat(parts) if total is None else total + flat(parts)
        yield mean
    assert total is not None
    return total / len(data)


def _rows(task: Task, data: Batches, weights: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """The gradient of each sample, (P,)."""
    for batch in in_pieces(data, weights).ordered():
        gradients = per_sample_gradients(task.model, weights, batch)
        yield from torch.cat([wide(gradients[name]).flatten(1) for name in weights], dim=1)
