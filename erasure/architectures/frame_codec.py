"""The autoencoder of Qwen-Image, which is one of films: a picture is a film of one frame.

Source: `QwenImagePipeline` of diffusers, which decodes z * latents_std + latents_mean.
"""

# B pictures, C x h x w latents, H x W pixels.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from erasure.architectures.loading import loaded, maker_of
from erasure.diffusion.data.latent_scale import LatentScale

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class FrameCodec:
    """Turns pictures into posteriors of latents, and latents into pictures."""

    network: Any
    """AutoencoderKLQwenImage"""

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) in [-1, 1] -> scaled mean and deviation, (B, C, h, w) on CPU."""
        taken = pixels.to(self.network.device, self.network.dtype)[:, :, None]
        posterior = self.network.encode(taken).latent_dist
        mean, deviation = posterior.mean[:, :, 0], posterior.std[:, :, 0]
        return self._scale().posterior(mean.float().cpu(), deviation.float().cpu())

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w) -> pixels (B, 3, H, W), float32 on the network's device.

        All in one pass; gradients reach the latents.
        """
        scaled = self._scale().decodable(latents)
        taken = scaled.to(self.network.device, self.network.dtype)[:, :, None]
        pixels: Tensor = self.network.decode(taken, return_dict=False)[0]
        return pixels[:, :, 0].float()

    def to(self, device: torch.device) -> "FrameCodec":
        """Move it, in place."""
        self.network.to(device)
        return self

    def _scale(self) -> LatentScale:
        """Mean and deviation of each channel, which the config names."""
        config = self.network.config
        return LatentScale(1.0, tuple(config.latents_mean), tuple(config.latents_std))


frame_autoencoder_of = maker_of("AutoencoderKLQwenImage")


def build_frame_autoencoder(checkpoint: "Checkpoint", dtype: torch.dtype) -> FrameCodec:
    """Build the autoencoder on CPU."""
    weights = {k: v.to(dtype) for k, v in checkpoint.components["vae"].items()}
    config = checkpoint.description.components["vae"]
    return FrameCodec(loaded(frame_autoencoder_of, config, weights, "vae"))
