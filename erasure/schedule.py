"""The forward process of a discrete-time diffusion model and the target of its training."""

# B samples, T time steps.

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps."""

    alphas_cumprod: Tensor
    """(T,) abar_t, float32, falling."""
    prediction: Prediction = "epsilon"
    """What the model was trained to predict."""

    def _levels(self, like: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        level = self.alphas_cumprod.to(t.device)[t].view(-1, *[1] * (like.dim() - 1))
        return level.sqrt().to(like.dtype), (1 - level).sqrt().to(like.dtype)

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t of x_0 (B, ...), noise (B, ...), t (B,); arXiv:2006.11239, eq. 4."""
        signal, spread = self._levels(x_0, t)
        return signal * x_0 + spread * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a perfect model predicts: the noise, or v (arXiv:2202.00512, appendix D)."""
        if self.prediction == "epsilon":
            return noise
        signal, spread = self._levels(x_0, t)
        return signal * noise - spread * x_0
