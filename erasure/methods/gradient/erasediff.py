"""EraseDiff: hold what is kept while the concept is answered as another, weighed by two rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.task import Task
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByGradient
from erasure.methods.protocol import Need
from erasure.setting_checks import require_choice, require_positive
from erasure.training.objective import Loss
from erasure.training.retaining import predict_both, retain_loss, retain_target
from erasure.training.step import Step
from erasure.training.weights.split import Gradients


def balance(forget: Gradients, retain: Gradients, eta: float) -> float:
    """lambda = max(0, (eta |q|^2 - <q, F>) / |q|^2), q and F being both gradients over all names.

    With it, a step along F + lambda q lowers the forget loss by at least eta |q|^2, to first
    order. Where q is zero, so is lambda.
    """
    inner, square = 0.0, 0.0
    for name, gradient in forget.items():
        inner += float((gradient.double() * retain[name].double()).sum())
        square += float(gradient.double().square().sum())
    return max(0.0, eta - inner / square) if square > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Balanced:
    """The gradient F + lambda q with the lambda of `balance`."""

    eta: float

    def __call__(self, forget: Gradients, retain: Gradients, /) -> dict[str, Tensor]:
        """The one gradient by name."""
        weight = balance(forget, retain, self.eta)
        return {name: retain[name] + weight * gradient for name, gradient in forget.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class EraseDiff(ByGradient):
    """F + lambda f, f = |e(x_t | forget) - sg e(x_t | replacement)|^2, F the loss of the rest.

    `fixed` has a lambda that is given, so it is SalUn's objective with alpha 1 / lambda, up to
    scale. `computed` is the paper's rule: lambda is made anew in each step of both gradients, such
    that the forget loss falls by eta |grad f|^2 to first order while what is kept is minimised. The
    paper's constraint is f - f(theta_K) with theta_K after K inner steps; no gradient is taken of
    that constant, so the inner steps change nothing and are left out.

    Source: arXiv:2401.05779 with the rule of arXiv:2209.08709; steps, rate and batch of its
        release for nudity (which trains `--scope noxattn`; a class all weights for 60 steps). There
        lambda is 1 throughout: the code of the computed one reads an argument that is never
        defined. Its inner loop restores the weights and not the optimiser's moments. eta is not
        given there; the default is our choice.

    Examples:
        >>> edit = erase(checkpoint, data, mask, EraseDiff(steps=2))
    """

    name: ClassVar[str] = "erasediff"
    title: ClassVar[str] = "keep the rest while the concept is answered as another, in balance"
    source: ClassVar[str] = "arXiv:2401.05779, bi-level objective; rule of arXiv:2209.08709"
    default_mask: ClassVar[MaskKind] = "all"
    default_scope: ClassVar[str] = "full"

    steps: int = 160
    """Optimiser steps, not epochs."""
    batch_size: int = 16
    """Forget samples a step, and as many retain samples; of all processes together."""
    rule: Literal["fixed", "computed"] = "fixed"
    """Whether the weight of the forget loss is given or made of both gradients in each step."""
    weight: float = 1.0
    """lambda of the fixed rule, > 0."""
    eta: float = 0.5
    """How much of its own gradient's fall the forget loss must keep, > 0; the computed rule's."""

    def __post_init__(self) -> None:
        ByGradient.__post_init__(self)
        require_choice(self, "rule", "fixed", "computed")
        require_positive(self, "weight", "eta")

    @property
    def needs(self) -> frozenset[Need]:
        """Pictures of the concept and of what is kept."""
        return frozenset({"pictures"})

    @property
    def unread(self) -> Mapping[str, str]:
        """Setting that is not looked at -> why."""
        name = "eta" if self.rule == "fixed" else "weight"
        return {name: f"the rule is {self.rule}"}

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on pictures of the concept and of what is kept."""
        combine = Balanced(self.eta) if self.rule == "computed" else None
        return task.train(self, task.pictures(self), self, combine=combine)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        """Both losses of one batch; no gradient flows through the replacement's answer."""
        with torch.no_grad():
            wanted = student(batch.forget.x_t, batch.forget.t, batch.replacement)  # (B, C, H, W)
        predicted, retained = predict_both(student, batch)
        forget = F.mse_loss(predicted.float(), wanted.float())
        weight = self.weight if self.rule == "fixed" else 1.0
        return Loss(weight * forget, retain_loss(retained, retain_target(batch), 1.0))
