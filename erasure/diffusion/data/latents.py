"""Encoded pictures with their prompts, and noisy samples of them, each from a seed of its own."""

# N pictures, B samples, C x H x W latents.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.diffusion.denoiser import Condition
from erasure.diffusion.schedule import Schedule
from erasure.errors import ConfigError
from erasure.seeds import generator_for


@dataclass(frozen=True, slots=True)
class LatentSet:
    """Posteriors of encoded pictures; samples are drawn from them, pixels are gone."""

    mean: Tensor
    """(N, C, H, W), scaled as the model wants it."""
    std: Tensor
    """(N, C, H, W), scaled likewise."""
    prompt: Tensor
    """(N,) int64 row of each picture's prompt in the prompt table."""

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == len(self.prompt):
            raise ConfigError(
                f"{len(self.mean)} means, {len(self.std)} deviations and {len(self.prompt)} "
                "prompts; give one of each a picture"
            )

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: Tensor) -> "LatentSet":
        """The chosen pictures, in the order of `rows`, (M,) int64."""
        return LatentSet(self.mean[rows], self.std[rows], self.prompt[rows])


@dataclass(frozen=True, slots=True)
class Noised:
    """Noisy latents, what the model is told about them, and what it should answer."""

    x_t: Tensor
    """(B, C, H, W)"""
    t: Tensor
    """(B,) time, in the numbers that the model takes."""
    target: Tensor
    """(B, C, H, W) noise or velocity."""
    condition: Condition

    def __len__(self) -> int:
        return len(self.x_t)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Noised":
        """Moved and cast."""
        return Noised(
            self.x_t.to(device, dtype),
            self.t.to(device),
            self.target.to(device, dtype),
            self.condition.to(device, dtype),
        )


@dataclass(frozen=True, slots=True)
class Draw:
    """The random part of one sample."""

    picture: int
    """Row of the latent set."""
    key: tuple[int | str, ...]
    """Names the stream of its random numbers."""


def noised(
    latents: LatentSet, prompts: Condition, schedule: Schedule, draws: Sequence[Draw]
) -> Noised:
    """Sample posterior, time step and noise of every draw, each from its own stream.

    Order of the numbers within a stream: time step, posterior, noise.
    """
    times, clean, noise = [], [], []
    for draw in draws:
        generator = generator_for(*draw.key)
        times.append(schedule.draw(generator))
        mean, std = latents.mean[draw.picture].float(), latents.std[draw.picture].float()
        clean.append(mean + std * torch.randn(mean.shape, generator=generator))
        noise.append(torch.randn(mean.shape, generator=generator))
    t, x_0, eps = torch.cat(times), torch.stack(clean), torch.stack(noise)
    rows = latents.prompt[[draw.picture for draw in draws]]
    return Noised(schedule.add_noise(x_0, eps, t), t, schedule.target(x_0, eps, t), prompts[rows])
