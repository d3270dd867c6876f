"""Gradient ascent: make the concept's own diffusion loss worse, and keep the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.task import Task
from erasure.errors import ConfigError
from erasure.masks.masks import MaskKind
from erasure.methods.gradient.by_gradient import ByGradient
from erasure.methods.protocol import Need
from erasure.setting_checks import require_not_negative
from erasure.training.objective import Loss
from erasure.training.retaining import predict_both, retain_loss, retain_target
from erasure.training.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientAscent(ByGradient):
    """-|eps(x_t | forget) - target|^2 + alpha |eps(x_r | retain) - target|^2.

    Source: arXiv:2310.12508, the GA baseline of its release. Unbounded ascent destroys a model in
    a few steps; with `bound`, a sample whose error has reached it stops pushing.

    Examples:
        >>> edit = erase(checkpoint, data, mask, GradientAscent(steps=2, bound=0.5))
    """

    name: ClassVar[str] = "ascent"
    title: ClassVar[str] = "make the concept's own loss worse, up to a bound, and keep the rest"
    source: ClassVar[str] = "arXiv:2310.12508, the gradient-ascent baseline of its release"
    default_mask: ClassVar[MaskKind] = "salient"
    default_scope: ClassVar[str] = "full"
    reads_instead: ClassVar[bool] = False
    """Nothing is put in the concept's place."""

    alpha: float = 1.0
    """Weight of the retain loss, >= 0."""
    bound: float = 1.0
    """Largest squared error that ascent pushes a sample to; 1 is that of predicting nothing at
    all, about 2 in a model of rectified flow, and 0 stands for no bound."""

    def __post_init__(self) -> None:
        ByGradient.__post_init__(self)
        require_not_negative(self, "alpha")
        if self.bound < 0:
            raise ConfigError(f"bound is {self.bound}; give more than 0, or 0 for none")

    @property
    def needs(self) -> frozenset[Need]:
        """Ascent never asks the base."""
        return frozenset({"pictures"})

    def run(self, task: Task, /) -> Iterator[Step]:
        """Train on pictures of the concept and of what is kept."""
        return task.train(self, task.pictures(self), self)

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: PictureBatch, /) -> Loss:
        """Both losses of one batch."""
        predicted, retained = predict_both(student, batch)
        error = F.mse_loss(predicted.float(), batch.forget.target.float(), reduction="none")
        error = error.flatten(1).mean(dim=1)  # (B,)
        if self.bound:
            error = error.clamp(max=self.bound)
        return Loss(-error.mean(), retain_loss(retained, retain_target(batch), self.alpha))
