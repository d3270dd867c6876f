"""Gradient ascent: make the concept's own diffusion loss worse, and keep the rest."""

from dataclasses import dataclass

import torch.nn.functional as F

from erasure.denoiser import Denoiser
from erasure.errors import ConfigError
from erasure.objectives.protocol import Batch, Loss, predict_both, retain_loss, retain_target


@dataclass(frozen=True, slots=True)
class GradientAscent:
    """-|eps(x_t | forget) - target|^2 + alpha |eps(x_r | retain) - target|^2.

    Source: arXiv:2310.12508, the GA baseline of its release. Unbounded ascent destroys a model in
    a few steps; with `bound`, a sample whose error has reached it stops pushing.
    """

    alpha: float = 1.0
    """Weight of the retain loss, >= 0."""
    bound: float | None = 1.0
    """Largest squared error a sample is pushed to; 1 is that of predicting nothing at all."""

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ConfigError(f"alpha is {self.alpha}; give 0 or more")
        if self.bound is not None and self.bound <= 0:
            raise ConfigError(f"bound is {self.bound}; give more than 0, or none")

    @property
    def needs_frozen(self) -> bool:
        """Ascent never looks back."""
        return False

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: Batch, /) -> Loss:
        """Both losses of one batch."""
        predicted, kept = predict_both(student, batch)
        error = F.mse_loss(predicted.float(), batch.forget.target.float(), reduction="none")
        error = error.flatten(1).mean(dim=1)  # (B,)
        if self.bound is not None:
            error = error.clamp(max=self.bound)
        return Loss(-error.mean(), retain_loss(kept, retain_target(batch), self.alpha))
