"""Forward processes: how noise is mixed into latents, and what a model is trained to predict."""

# B samples, T time steps.

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from erasure.errors import ConfigError

Prediction = Literal["epsilon", "v_prediction"]


class Schedule(Protocol):
    """A forward process: all that training and saliency need to know of it."""

    def draw(self, generator: torch.Generator) -> Tensor:
        """A random time, (1,), in the numbers that the model takes."""
        ...

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t of x_0 (B, ...), noise (B, ...), t (B,)."""
        ...

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a perfect model predicts at x_t; shapes as `add_noise`."""
        ...


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, at T discrete times."""

    alphas_cumprod: Tensor
    """(T,) abar_t, float32, falling."""
    prediction: Prediction = "epsilon"
    """What the model was trained to predict."""

    def _levels(self, like: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        level = self.alphas_cumprod.to(t.device)[t].view(-1, *[1] * (like.dim() - 1))
        return level.sqrt().to(like.dtype), (1 - level).sqrt().to(like.dtype)

    def draw(self, generator: torch.Generator) -> Tensor:
        """A time step, (1,) int64, each as likely as any other."""
        return torch.randint(len(self.alphas_cumprod), (1,), generator=generator)

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

    def at(self, share: float) -> int:
        """The time step at so large a share of all steps, from 0 for the first to 1 for the last.

        Args:
            share: in [0, 1].
        """
        return round(share * (len(self.alphas_cumprod) - 1))

    def split(self, x_t: Tensor, predicted: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The x_0 and the noise that a prediction at x_t amounts to; all (B, ...), t (B,).

        Source: arXiv:2006.11239, eq. 4 solved for x_0; arXiv:2202.00512, appendix D, for v.
        """
        signal, spread = self._levels(x_t, t)
        if self.prediction == "epsilon":
            return (x_t - spread * predicted) / signal, predicted
        return signal * x_t - spread * predicted, signal * predicted + spread * x_t


@dataclass(frozen=True, slots=True)
class RectifiedFlow:
    """x_s = (1 - s) x_0 + s eps, and the model predicts the velocity eps - x_0.

    Source: arXiv:2209.03003; the density of s is the logit-normal one of arXiv:2403.03206, 3.1.
    """

    shift: float = 1.0
    """m of s' = m s / (1 + (m - 1) s), which moves the times towards noise; 1 moves none."""
    density: Literal["logit-normal"] = "logit-normal"
    """How s is drawn before it is shifted: sigmoid of a unit normal number."""

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.inf:
            raise ConfigError(f"shift is {self.shift}; give a finite number above 0")

    def draw(self, generator: torch.Generator) -> Tensor:
        """A time s in (0, 1), (1,) float32."""
        return self._shifted(torch.randn(1, generator=generator).sigmoid())

    def at(self, share: float) -> float:
        """The time s below which so large a share of the times of training lies, in [0, 1].

        Args:
            share: in [0, 1].
        """
        logit = torch.special.ndtri(torch.tensor(share, dtype=torch.float64))
        return float(self._shifted(logit.sigmoid()))

    def levels(self, steps: int) -> Tensor:
        """The times of a sampling from noise to clean, (S,) float32: 1, ..., 1 / S, shifted.

        Raises:
            ConfigError: no step.
        """
        if steps < 1:
            raise ConfigError(f"sampling steps is {steps}; give 1 or more")
        return self._shifted(1 - torch.arange(steps) / steps)

    def _shifted(self, s: Tensor) -> Tensor:
        return self.shift * s / (1 + (self.shift - 1) * s)

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_s of x_0 (B, ...), noise (B, ...), s (B,)."""
        s = t.view(-1, *[1] * (x_0.dim() - 1)).to(x_0.dtype)
        return (1 - s) * x_0 + s * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """eps - x_0, the same at every time."""
        return noise - x_0


def linear_betas(start: float, end: float, steps: int) -> Tensor:
    """(T,) float32, evenly spaced from `start` to `end`; arXiv:2006.11239, section 4."""
    return torch.linspace(start, end, steps, dtype=torch.float32)


def scaled_linear_betas(start: float, end: float, steps: int) -> Tensor:
    """(T,) float32, evenly spaced in their roots, as latent diffusion has it."""
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float32) ** 2


def cosine_betas(steps: int) -> Tensor:
    """(T,) float32, at most 0.999; arXiv:2102.09672, eq. 17."""

    def level(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    ratios = [level((i + 1) / steps) / level(i / steps) for i in range(steps)]
    return torch.tensor([min(1 - ratio, 0.999) for ratio in ratios], dtype=torch.float32)


def zero_terminal_betas(betas: Tensor) -> Tensor:
    """(T,) -> (T,): the roots of abar shifted and stretched so that the last step has no signal.

    Source: arXiv:2305.08891, algorithm 1.
    """
    roots = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    levels = ((roots - last) * (first / (first - last))) ** 2
    return 1 - torch.cat([levels[:1], levels[1:] / levels[:-1]])
