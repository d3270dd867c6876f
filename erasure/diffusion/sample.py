"""Deterministic sampling in latent space, as short generators over a denoiser."""

# B samples, C x H x W latents, S steps.

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from erasure.diffusion.denoiser import Condition, Denoiser, join
from erasure.diffusion.schedule import NoiseSchedule, RectifiedFlow, Schedule
from erasure.errors import ConfigError


def ddim_times(schedule: NoiseSchedule, steps: int) -> Tensor:
    """S time steps from noise to clean, (S,) int64, evenly spaced; the last of them is 1.

    These are diffusers' `leading` steps with an offset of 1, as Stable Diffusion is sampled.

    Raises:
        ConfigError: more steps than the schedule has times, or none.
    """
    total = len(schedule.alphas_cumprod)
    if not 1 <= steps < total:
        raise ConfigError(f"sampling steps is {steps}; give 1 to {total - 1}")
    return (torch.arange(steps) * (total // steps) + 1).flip(0)


def sampling_times(schedule: Schedule, steps: int) -> Tensor:
    """S times from noise to clean, (S,), as the model is told them: of DDIM, or of Euler's steps.

    Raises:
        ConfigError: more steps than the schedule has times, or none, or another kind of schedule.
    """
    if isinstance(schedule, NoiseSchedule):
        return ddim_times(schedule, steps)
    if isinstance(schedule, RectifiedFlow):
        return schedule.levels(steps)
    raise ConfigError(
        "rollouts are drawn by DDIM or by Euler's steps, which need a schedule of discrete betas "
        "or of rectified flow; choose a method that learns from pictures"
    )


def ddim(
    denoise: Denoiser,
    schedule: NoiseSchedule,
    times: Tensor,
    latents: Tensor,
    condition: Condition,
    *,
    away: Condition | None = None,
    guidance: float = 1.0,
) -> Iterator[Tensor]:
    """Yield the latents before each step, and at last the clean ones: len(times) + 1 tensors.

    The k-th tensor that is yielded is at the noise level of `times[k]`, which is the time to tell
    the model with it.

    Args:
        latents: (B, C, H, W) unit normal noise.
        condition: of B samples.
        away: what guidance leads away from, of B samples; only read where `guidance` is not 1.
        guidance: g of e(away) + g (e(condition) - e(away)); 1 is none.

    Source: arXiv:2010.02502, eq. 12 with eta 0; guidance as arXiv:2207.12598.
    """
    for now, after in step_pairs(times):
        yield latents
        t = torch.full((len(latents),), now, device=latents.device)
        predicted = guided_answer(denoise, latents, t, condition, away, guidance)
        latents = ddim_step(schedule, latents, predicted, int(now), int(after))
    yield latents


def sampling_step(
    schedule: Schedule, latents: Tensor, predicted: Tensor, now: float, after: float
) -> Tensor:
    """The latents (B, C, H, W) of time `now` at time `after`, given the model's answer to them.

    Source: `ddim_step`; for rectified flow Euler's step along the velocity, arXiv:2209.03003.
    """
    if isinstance(schedule, NoiseSchedule):
        return ddim_step(schedule, latents, predicted, int(now), int(after))
    return latents + (after - now) * predicted.to(latents.dtype)


def renewed_flow_step(
    latents: Tensor, velocity: Tensor, now: float, after: float, *, eta: float, fresh: Tensor
) -> Tensor:
    """Euler's step of a rectified flow from s to s' < s, part of whose noise is new: (B, C, h, w).

    x_s' = (1 - s') x_0 + sqrt(s'^2 - d^2) eps + d z, where z is fresh and
    d = eta s'/s sqrt(s^2 - ((1 - s) / (1 - s'))^2 s'^2). At eta 0 it is Euler's step, at 1 what
    DDPM's is for discrete betas: the noise of x_s' given x_s and x_0.

    Args:
        fresh: z, (B, C, h, w) unit normal noise.

    Source: arXiv:2010.02502, eq. 12 and 16, where abar = (1 - s)^2 / ((1 - s)^2 + s^2): divided by
        the root of that sum, a flow's latents are noised as by discrete betas.
    """
    x_0, noise = latents - now * velocity, latents + (1 - now) * velocity
    share = (1 - now) / (1 - after)
    spread = eta * after / now * math.sqrt(now**2 - (share * after) ** 2)
    rest = math.sqrt(max(after**2 - spread**2, 0.0))  # rounding may leave less than nothing
    return (1 - after) * x_0 + rest * noise + spread * fresh


def step_pairs(times: Tensor) -> list[tuple[float, float]]:
    """Each time with the one it leads to; the last leads to time 0.

    Stable Diffusion's own sampler ends at the level of time 0 too, not at no noise; that of a flow
    ends at none, which is its time 0.
    """
    return list(pairwise([*times.tolist(), 0]))


def ddim_step(
    schedule: NoiseSchedule, latents: Tensor, predicted: Tensor, now: int, after: int
) -> Tensor:
    """The latents (B, C, H, W) of time `now` at time `after`, given the model's answer to them."""
    t = torch.full((len(latents),), now, device=latents.device)
    x_0, noise = schedule.split(latents, predicted.to(latents.dtype), t)
    return schedule.add_noise(x_0, noise, torch.full_like(t, after))


def guided_answer(
    denoise: Denoiser,
    x_t: Tensor,
    t: Tensor,
    condition: Condition,
    away: Condition | None,
    guidance: float,
) -> Tensor:
    """e(away) + g (e(condition) - e(away)), both in one pass; (B, C, H, W)."""
    if guidance == 1 or away is None:
        return denoise(x_t, t, condition)
    both = denoise(torch.cat([x_t, x_t]), torch.cat([t, t]), join([away, condition]))
    without, towards = both.chunk(2)
    return without + guidance * (towards - without)
