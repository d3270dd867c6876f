"""The autoencoder between pictures and latents, as diffusers' `AutoencoderKL` has it."""

# B pictures, C x h x w latents, H x W pixels.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from erasure.architectures.loading import loaded, maker_of
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.diffusion.data.latent_scale import latent_scale

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """Turns pictures into posteriors of latents, and latents into pictures."""

    network: Any
    """AutoencoderKL"""

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) in [-1, 1] -> scaled mean and deviation, (B, C, h, w) on CPU.

        All in one pass.
        """
        scale = latent_scale(self.network.config)
        taken = pixels.to(self.network.device, self.network.dtype)
        posterior = self.network.encode(taken).latent_dist
        return scale.posterior(posterior.mean.float().cpu(), posterior.std.float().cpu())

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w) -> pixels (B, 3, H, W), float32 on the network's device.

        All in one pass; gradients reach the latents.
        """
        scaled = latent_scale(self.network.config).decodable(latents)
        taken = scaled.to(self.network.device, self.network.dtype)
        pixels: Tensor = self.network.decode(taken, return_dict=False)[0]
        return pixels.float()

    def to(self, device: torch.device) -> "ImageCodec":
        """Move it, in place."""
        self.network.to(device)
        return self


autoencoder_of = maker_of("AutoencoderKL")


def build_autoencoder(checkpoint: "Checkpoint", dtype: torch.dtype) -> ImageCodec:
    """Build the autoencoder on CPU."""
    weights = {k: v.to(dtype) for k, v in checkpoint.components["vae"].items()}
    return ImageCodec(
        loaded(autoencoder_of, checkpoint.description.components["vae"], weights, "vae")
    )


def shrinking(description: "Description") -> int:
    """Give how many pixels a side one latent stands for."""
    levels: int = len(description.components["vae"]["block_out_channels"])
    return 1 << (levels - 1)


def latent_channels(description: "Description") -> int:
    """Give the channels of the latents, as the VAE's config has it or diffusers takes it.

    Raises:
        CheckpointError: the config has no whole number there.
    """
    return whole_number(description.components["vae"], "latent_channels", "the VAE", 4)


def latent_shape(description: "Description", height: int, width: int) -> tuple[int, int, int]:
    """Give (C, h, w) of the latents of a picture of so many pixels."""
    factor = shrinking(description)
    return latent_channels(description), height // factor, width // factor
