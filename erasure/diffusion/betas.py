"""The beta schedules of discrete-time diffusion: how much noise each step adds."""

# T time steps.

import math

import torch
from torch import Tensor


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
