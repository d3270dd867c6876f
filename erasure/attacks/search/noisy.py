"""Noisy pictures of the concept, which a search or a probe shows to a model; drawn by seed."""

# N pictures, B samples, C x H x W latents.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.errors import TrainingError
from erasure.seeds import generator_for


@dataclass(frozen=True, slots=True, eq=False)
class Noisy:
    """Noisy latents and what a model should answer to them, whatever it is told."""

    x_t: Tensor
    """(B, C, H, W)"""
    t: Tensor
    """(B,) times."""
    target: Tensor
    """(B, C, H, W) noise or velocity."""

    def __len__(self) -> int:
        return len(self.x_t)


@dataclass(frozen=True, slots=True)
class Show:
    """The random part of one sample."""

    picture: int
    """Row of the pictures."""
    key: tuple[int | str, ...]
    """Names the stream of its random numbers."""
    time: float | None = None
    """As the schedule's model is told it, whole where its times are steps; None to draw one."""


def noisy(
    mean: Tensor, std: Tensor, schedule: Schedule, shows: Sequence[Show], device: torch.device
) -> Noisy:
    """Noise pictures, each sample by its own stream, so that no sample knows of the others.

    Order of the numbers within a stream: time, posterior, noise. A time that is given takes none.

    Args:
        mean: (N, C, H, W) of the posteriors, scaled as the model takes them; on CPU.
        std: (N, C, H, W).
    """
    times, clean, noise = [], [], []
    for show in shows:
        generator = generator_for(*show.key)
        timed = show.time is not None
        times.append(torch.tensor([show.time]) if timed else schedule.draw(generator))
        middle, spread = mean[show.picture].float(), std[show.picture].float()
        clean.append(middle + spread * torch.randn(middle.shape, generator=generator))
        noise.append(torch.randn(middle.shape, generator=generator))
    t, x_0, eps = torch.cat(times), torch.stack(clean), torch.stack(noise)
    target = schedule.target(x_0, eps, t)
    return Noisy(schedule.add_noise(x_0, eps, t).to(device), t.to(device), target.to(device))


def squared_error(denoise: Denoiser, shown: Noisy, condition: Condition) -> Tensor:
    """Mean squared error of the prediction of each sample, (B,), float32; with its gradient."""
    predicted = denoise(shown.x_t, shown.t, condition).float()
    return (predicted - shown.target.float()).square().flatten(1).mean(dim=1)


def require_finite(losses: Tensor, step: int, search: str) -> None:
    """Raise TrainingError where a loss is NaN or infinite, so that this search ends."""
    if not bool(losses.isfinite().all()):
        raise TrainingError(
            f"the loss of the {search} is {float(losses.detach().sum())} in step {step}, so it "
            "cannot go on; lower its learning rate, or check the model and the pictures"
        )
