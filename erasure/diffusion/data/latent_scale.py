"""How the latents of an autoencoder become those that a denoiser is trained on, and back."""

# B samples, C x h x w latents.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DEFAULT_FACTOR = 0.18215
"""The factor that `AutoencoderKL` takes where its config has no `scaling_factor`."""


@dataclass(frozen=True, slots=True)
class LatentScale:
    """z -> (z - mean) * factor / deviation, channel by channel, or (z - shift) * factor.

    Source: `StableDiffusionXLPipeline` of diffusers, which decodes z * deviation / factor + mean
    where a config has both `latents_mean` and `latents_std`, and its image-to-image sibling, which
    encodes. `shift` is that of SD3's and FLUX's pipelines, which decode z / factor + shift.
    """

    factor: float = DEFAULT_FACTOR
    mean: tuple[float, ...] = ()
    """C numbers, or none."""
    deviation: tuple[float, ...] = ()
    """Standard deviations, as many as means."""
    shift: float = 0.0
    """`shift_factor`, one number for all channels; not beside means."""

    def posterior(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of latents, (B, C, h, w), -> those of scaled ones."""
        if not self.mean:
            centred = mean - self.shift if self.shift else mean
            return centred * self.factor, std * self.factor
        shift, deviation = _channels(self.mean, mean), _channels(self.deviation, mean)
        return (mean - shift) * self.factor / deviation, std * self.factor / deviation

    def decodable(self, latents: Tensor) -> Tensor:
        """Scaled latents, (B, C, h, w), -> what the decoder takes."""
        if not self.mean:
            scaled = latents / self.factor
            return scaled + self.shift if self.shift else scaled
        shift, deviation = _channels(self.mean, latents), _channels(self.deviation, latents)
        return latents * deviation / self.factor + shift


def latent_scale(config: Mapping[str, Any]) -> LatentScale:
    """The scale in a VAE's config, which `require_plain_vae` has checked."""
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    factor = config.get("scaling_factor")
    if factor is None:
        factor = DEFAULT_FACTOR
    shift = float(config.get("shift_factor") or 0.0)
    return LatentScale(float(factor), tuple(mean or ()), tuple(deviation or ()), shift)


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values).to(like)[:, None, None]
